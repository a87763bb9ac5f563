"""Show on a page what compression made of documents: what stays word for word, and why, beside the answer.

    result ─► passages ─► rows: a sentence, its relevance, whether it stays ─► templates/passages.html ─► Page

Of an answer, the words that stand in what stays are marked: all of it where it stands there as a whole, else its
longest runs of words that are not all stop words.

A page (templates/base.html) needs no script and nothing from elsewhere, and its own policy allows neither. All text on
it is untrusted: it is escaped, and control characters become pictures.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from zprompt.documents import Document, id_of, read_documents, score_of, title_of
from zprompt.results import CompressionResult, CompressionStats, KeptText, ScoredSentence

if TYPE_CHECKING:
    from zprompt.reader import Answer

_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C], "�")
_C1_CONTROLS = dict.fromkeys(range(0x80, 0xA0), "�")
_C0_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: "␡"}
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "�")  # which no encoding takes
_VISIBLE = _C0_CONTROLS | _C1_CONTROLS | _BIDI_CONTROLS | _SURROGATES

_NOT_FOUND = "not found"  # what a reader replies then; its own module would load torch
_FRAME = (
    '<div style="height: 40rem; max-height: 85vh; resize: vertical; overflow: hidden">'
    '<iframe sandbox srcdoc="{}" title="zprompt" style="width: 100%; height: 100%; border: 0"></iframe></div>'
)


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """An HTML page that needs nothing else; a notebook shows it."""

    html: str

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters of HTML)"

    def _repr_html_(self) -> str:
        # In a frame, so that neither the page's style reaches the notebook nor the notebook's reaches the page.
        return _FRAME.format(html.escape(self.html))

    def save(self, path: str | Path) -> None:
        """Write the page to a file, whose folder is made if it is missing."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.html.encode())


def show(result: CompressionResult, answer: Answer | str | None = None) -> Page:
    """Show what stays of documents word for word, what does not, and how relevant each sentence is to the question.

    :param result: From `compress`, in either form, with a query or without.
    :param answer: What a reader or any LLM answered, to be shown beside the documents.
    :return: The page: a notebook shows it; `page.save("page.html")` writes it, `page.html` is its source.
    """
    batch = read_documents(result.documents)
    kept = result.kept or (None,) * len(result.sources)
    rows = [list(_rows(source, own)) for source, own in zip(result.sources, kept, strict=True)]
    passages = [
        _Passage(_name(document), _about(document, text != source, own, tokens, result.stats), lines)
        for document, text, source, own, tokens, lines in zip(
            batch.documents, batch.texts, result.sources, kept, result.tokens, rows, strict=True
        )
    ]
    stats = result.stats
    return Page(
        render(
            "passages.html",
            figures=_figures(stats),
            question=result.query or getattr(answer, "question", None),
            focused=result.kept is not None,
            chooser="words alone" if stats.relevance == "words" else stats.relevance,
            rest="became Z-tokens, from which it comes back" if stats.z_tokens else "left out",
            missed=stats.missed,
            passages=passages,
            answer=None if answer is None else _reply(answer, rows, everywhere=result.kept is None),
        )
    )


@dataclass(slots=True)
class _Row:
    """A sentence on the page, or a whole text that was not scored."""

    text: str
    space: str  # after it
    kept: bool
    relevance: float | None
    marks: Sequence[tuple[int, int]] = ()  # where words of the answer stand in the text

    @property
    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Cut the text where marks begin and end; return each piece with whether it is marked."""
        place = 0
        for start, end in self.marks:
            yield self.text[place:start], False
            yield self.text[start:end], True
            place = end
        yield self.text[place:], False


@dataclass(frozen=True, slots=True)
class _Passage:
    """A document on the page."""

    name: str
    about: str
    rows: Sequence[_Row]


def _rows(source: str, kept: KeptText | None) -> Iterator[_Row]:
    """Cut a text into its sentences, or leave it whole where none was scored."""
    units = kept.sentences if kept and kept.sentences else None
    for unit in units or [ScoredSentence(0, len(source), 0.0, kept is not None)]:
        text = source[unit.start : unit.end]
        shown = text.rstrip(" \t\n")
        yield _Row(shown, text[len(shown) :], unit.kept, unit.relevance if units else None)


def _about(
    document: Document, changed: bool, kept: KeptText | None, tokens: tuple[int, int], stats: CompressionStats
) -> str:
    """Say what became of a document."""
    before, after = tokens
    parts = [f"{before:,} token{'s' * (before != 1)}"]
    if changed:
        parts[0] += f" → {after:,}{' Z-tokens' * bool(stats.z_tokens)}"
    if kept and kept.sentences:
        staying = sum(one.kept for one in kept.sentences)
        parts.append(f"{staying or 'none'} of {len(kept.sentences)} sentences stay{'s' * (staying == 1)}")
    elif not changed:
        parts.append("left as it is")
    if (score := score_of(document)) is not None:
        parts.append(f"retrieved with a score of {score:.3g}")
    return " · ".join(parts)


def _name(document: Document) -> str:
    own = id_of(document)
    return title_of(document) or (own and f"id {own}")


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer on the page."""

    text: str
    confidence: float | None  # None: nobody said
    found: bool
    places: str | None  # where its words stand; None where there is no answer


def _reply(answer: Answer | str, passages: Sequence[Sequence[_Row]], everywhere: bool) -> _Reply:
    """Mark the words of an answer in what stays, or everywhere."""
    text = str(answer)
    confidence, found = (None, True) if isinstance(answer, str) else (answer.confidence, answer.found)
    if text == _NOT_FOUND:
        return _Reply(text, confidence, found, None)
    rows = [row for own in passages for row in own if row.kept or everywhere]
    for row, marks in zip(rows, find_words(text, [row.text for row in rows]), strict=True):
        row.marks = marks
    marked = [str(number) for number, own in enumerate(passages, 1) if any(row.marks for row in own)]
    if marked:
        places = f"Its words are marked in passage{'s' * (len(marked) > 1)} {', '.join(marked)}."
    else:
        places = f"None of its words stand in {'the passages' if everywhere else 'what stays of the passages'}."
    return _Reply(text, confidence, found, places)


def find_words(answer: str, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Find the words of an answer in texts: all of them in a row where any text has that, else the longest runs.

    :param answer: The answer.
    :param texts: The texts.
    :return: The character ranges of each text, from left to right, disjoint.
    """
    from zprompt.relevance import STOP_WORDS, word_places

    words = [answer[start:end].casefold() for start, end in word_places(answer)]
    found: list[list[tuple[int, int, int]]] = []
    for text in texts:
        places = list(word_places(text))
        own = [text[start:end].casefold() for start, end in places]
        found.append([])
        first = 0
        while first < len(own):
            length = _longest_run(own, first, words)
            run = own[first : first + length]
            # A single letter or stop words tell nothing, unless they are the whole answer.
            if length and (length == len(words) or (len("".join(run)) > 1 and not STOP_WORDS.issuperset(run))):
                found[-1].append((places[first][0], places[first + length - 1][1], length))
            first += max(1, length)
    whole = any(length == len(words) for own_runs in found for _, _, length in own_runs)
    return [[(start, end) for start, end, length in own if length == len(words) or not whole] for own in found]


def _longest_run(text: Sequence[str], first: int, answer: Sequence[str]) -> int:
    """Return how many words of a text from one on stand in an answer one after the other."""
    longest = 0
    for place, word in enumerate(answer):
        length = 0
        if word == text[first]:
            pairs = zip(text[first : first + len(answer) - place], answer[place:], strict=False)
            length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        longest = max(longest, length)
    return longest


def render(template: str, **values: object) -> str:
    """Render a page.

    :param template: The name of its file in templates/.
    :param values: What it shows.
    :return: The HTML.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("zprompt"),
        autoescape=True,
        finalize=lambda value: visible(str(value)) if isinstance(value, str) else value,  # no text is markup
        undefined=StrictUndefined,
    )
    environment.filters["percent"] = _percent
    return environment.get_template(template).render(values)


def visible(text: str) -> str:
    r"""Replace each control character but \t and \n by a picture of it; documents are untrusted."""
    return text.translate(_VISIBLE)


def text_figures(stats: CompressionStats) -> dict[str, str]:
    """Format the figures of a compression that make sense for a single text, too, by heading."""
    if stats.relevance and not stats.z_tokens:  # text form
        return {
            "source tokens": f"{stats.source_tokens:,}",
            "tokens": f"{stats.positions:,}",
            "ratio": f"{stats.ratio:.2f}",
            "chosen by": stats.relevance,
            "seconds": f"{stats.seconds:.1f}",
        }
    return {
        "source tokens": f"{stats.source_tokens:,}",
        "Z-tokens": f"{stats.z_tokens:,}",
        "ratio": f"{stats.ratio:.2f}",
        "bits/Z-token": f"{stats.bits_per_z_token:.1f}",
        "bits/source token": f"{stats.bits_per_source_token:.2f}",
        "seconds": f"{stats.seconds:.1f}",
    }


def _figures(stats: CompressionStats) -> dict[str, str]:
    """Format the figures of a call by heading."""
    figures = text_figures(stats) | ({"word for word": f"{stats.verbatim:.0%}"} if stats.relevance else {})
    figures.pop("chosen by", None)  # the legend says it
    figures.pop("seconds")
    return figures


def _percent(share: float) -> str:
    return "<1%" if 0 < share < 0.005 else f"{share:.0%}"
