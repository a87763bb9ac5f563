"""Render a compression result as an HTML page: which sentences stay word for word, and why, beside the answer.

    result ─► passages ─► rows: a sentence, its relevance, whether it stays ─► templates/passages.html ─► Page

The answer is marked where it occurs in what stays: as a whole where any passage has it, else its longest runs of words
that are not all stop words.

A page (templates/base.html) needs no scripts and no external resources, and its content security policy allows neither.
All text on it is untrusted: it is escaped, and control characters are replaced by visible symbols.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from zprompt.documents import Document, id_of, read_documents, score_of, title_of
from zprompt.errors import DocumentTypeError
from zprompt.results import CompressionResult, CompressionStats, KeptText, ScoredSentence

if TYPE_CHECKING:
    from zprompt.reader import Answer

_BIDI_CONTROLS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C], "�")
_C1_CONTROLS = dict.fromkeys(range(0x80, 0xA0), "�")
_C0_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"} | {0x7F: "␡"}
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "�")  # which no encoding accepts
_VISIBLE = _C0_CONTROLS | _C1_CONTROLS | _BIDI_CONTROLS | _SURROGATES

_NOT_FOUND = "not found"  # reader.NOT_FOUND, without loading torch
_FRAME = (
    '<div style="height: 40rem; max-height: 85vh; resize: vertical; overflow: hidden">'
    '<iframe sandbox srcdoc="{}" title="zprompt" style="width: 100%; height: 100%; border: 0"></iframe></div>'
)


@dataclass(frozen=True, slots=True, repr=False)
class Page:
    """A self-contained HTML page, which a notebook displays."""

    html: str

    def __repr__(self) -> str:
        return f"Page({len(self.html):,} characters of HTML)"

    def _repr_html_(self) -> str:
        # In a frame, so that the styles of the page and the notebook do not affect each other.
        return _FRAME.format(html.escape(self.html))

    def save(self, path: str | Path) -> None:
        """Write the page to a file, and create its folder if it is missing."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.html.encode())


def show(result: CompressionResult, answer: Answer | str | None = None) -> Page:
    """Show which sentences of documents stay word for word, and how relevant each is to the question.

    :param result: From `compress`, in either form, with a query or without.
    :param answer: What a reader or any LLM answered, to be shown beside the documents.
    :return: The page: a notebook shows it; `page.save("page.html")` writes it, `page.html` is its source.
    :raises DocumentTypeError: If it is no such result.
    """
    if not isinstance(result, CompressionResult):
        raise DocumentTypeError(
            f"show takes what compress returns, got {type(result).__name__}. Pass all of the result."
        )
    batch = read_documents(result.documents)
    kept_texts = result.kept or (None,) * len(result.sources)
    rows = [list(_rows(source, kept)) for source, kept in zip(result.sources, kept_texts, strict=True)]
    passages = [
        _Passage(_name(document), _about(document, text != source, kept, tokens, result.stats), passage_rows)
        for document, text, source, kept, tokens, passage_rows in zip(
            batch.documents, batch.texts, result.sources, kept_texts, result.tokens, rows, strict=True
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
    marks: Sequence[tuple[int, int]] = ()  # ranges of the text that occur in the answer

    @property
    def pieces(self) -> Iterator[tuple[str, bool]]:
        """Split the text at its marks; return each piece with whether it is marked."""
        offset = 0
        for start, end in self.marks:
            yield self.text[offset:start], False
            yield self.text[start:end], True
            offset = end
        yield self.text[offset:], False


@dataclass(frozen=True, slots=True)
class _Passage:
    """A document on the page."""

    name: str
    about: str
    rows: Sequence[_Row]


def _rows(source: str, kept: KeptText | None) -> Iterator[_Row]:
    """Split a text into its sentences, or leave it whole if none was scored."""
    sentences = kept.sentences if kept and kept.sentences else None
    for sentence in sentences or [ScoredSentence(0, len(source), 0.0, kept is not None)]:
        text = source[sentence.start : sentence.end]
        stripped = text.rstrip(" \t\n")
        yield _Row(stripped, text[len(stripped) :], sentence.kept, sentence.relevance if sentences else None)


def _about(
    document: Document, changed: bool, kept: KeptText | None, tokens: tuple[int, int], stats: CompressionStats
) -> str:
    """Describe what compression did to a document."""
    before, after = tokens
    parts = [f"{before:,} token{'s' * (before != 1)}"]
    if changed:
        parts[0] += f" → {after:,}{' Z-tokens' * bool(stats.z_tokens)}"
    if kept and kept.sentences:
        staying = sum(sentence.kept for sentence in kept.sentences)
        parts.append(f"{staying or 'none'} of {len(kept.sentences)} sentences stay{'s' * (staying == 1)}")
    elif not changed:
        parts.append("left as it is")
    if (score := score_of(document)) is not None:
        parts.append(f"retrieved with a score of {score:.3g}")
    return " · ".join(parts)


def _name(document: Document) -> str:
    document_id = id_of(document)
    return title_of(document) or (document_id and f"id {document_id}")


@dataclass(frozen=True, slots=True)
class _Reply:
    """An answer on the page."""

    text: str
    confidence: float | None  # None: unknown
    found: bool
    places: str | None  # where its words occur, as a sentence; None if the answer is "not found"


def _reply(answer: Answer | str, passages: Sequence[Sequence[_Row]], everywhere: bool) -> _Reply:
    """Mark the words of an answer in the rows that stay, or in all."""
    text = str(answer)
    confidence, found = (None, True) if isinstance(answer, str) else (answer.confidence, answer.found)
    if text == _NOT_FOUND:
        return _Reply(text, confidence, found, None)
    rows = [row for passage in passages for row in passage if row.kept or everywhere]
    for row, marks in zip(rows, find_words(text, [row.text for row in rows]), strict=True):
        row.marks = marks
    marked = [str(number) for number, passage in enumerate(passages, 1) if any(row.marks for row in passage)]
    if marked:
        places = f"Its words are marked in passage{'s' * (len(marked) > 1)} {', '.join(marked)}."
    else:
        places = f"None of its words stand in {'the passages' if everywhere else 'what stays of the passages'}."
    return _Reply(text, confidence, found, places)


def find_words(answer: str, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
    """Find an answer in texts: the whole of it where any text has that, else its longest runs of words.

    :param answer: The answer.
    :param texts: The texts.
    :return: The character ranges of each text, from left to right, disjoint.
    """
    from zprompt.relevance import STOP_WORDS, word_places

    answer_words = [answer[start:end].casefold() for start, end in word_places(answer)]
    runs: list[list[tuple[int, int, int]]] = []  # of each text: characters start and end, number of words
    for text in texts:
        ranges = list(word_places(text))
        words = [text[start:end].casefold() for start, end in ranges]
        runs.append([])
        first = 0
        while first < len(words):
            length = _longest_run(words, first, answer_words)
            run = words[first : first + length]
            # A single letter or stop words tell nothing, unless they are the whole answer.
            if length and (length == len(answer_words) or (len("".join(run)) > 1 and not STOP_WORDS.issuperset(run))):
                runs[-1].append((ranges[first][0], ranges[first + length - 1][1], length))
            first += max(1, length)
    whole = any(length == len(answer_words) for text_runs in runs for _, _, length in text_runs)
    return [
        [(start, end) for start, end, length in text_runs if length == len(answer_words) or not whole]
        for text_runs in runs
    ]


def _longest_run(text: Sequence[str], first: int, answer: Sequence[str]) -> int:
    """Return the length of the longest run of words that begins at text[first] and occurs in the answer."""
    longest = 0
    for index, word in enumerate(answer):
        length = 0
        if word == text[first]:
            pairs = zip(text[first : first + len(answer) - index], answer[index:], strict=False)
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
    r"""Replace each control character but \t and \n by a visible symbol; documents are untrusted."""
    return text.translate(_VISIBLE)


def text_figures(stats: CompressionStats) -> dict[str, str]:
    """Format the figures that also make sense for a single text, by heading."""
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
