"""Sentences, words and stems: how the project splits text and compares words.

A *unit* is what is kept or left out as a whole: a sentence of prose, and where there are no sentences a line, so an
item of a list, a row of a table, a line of a log or of code. Sentences are Wikimedia's `sentencex`, which knows
abbreviations ("Dr. Smith", "3.30 p.m.") and the full stops of all scripts. What has none for LONGEST characters, as
a transcript, is cut at white space.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from unicodedata import normalize

import sentencex

WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+")  # 3.14, 12:30 and 2024-05-17 are one word
STOP_WORDS = frozenset(
    "a about above after all also an and any are as at be because been before being but by can could did do does "
    "doing for from had has have he her here hers him his how i if in into is it its just me more most my no nor "
    "not of on or other our she should so some such than that the their them then there these they this those to "
    "too us very was we were what when where which while who whom whose why will with would you your".split()
)
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)  # Thai … Han
_NUMBERING = ".) \t0123456789"
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
LONGEST = 1000  # characters of a unit
_WINDOW = 4000  # characters of a line that are split at a time
_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE_SPACE = re.compile(r"[^\S\x00-\x7f]")
_MIN_PLURAL = 4  # letters: "is" and "gas" are no plurals
_MIN_STEM = 4
_ENDINGS = ("ing", "ed", "ly", "er", "ion")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Split a text into its units: after each sentence and each line.

    :param text: The text.
    :yields: The character ranges (start, end) of the units, which are adjacent and cover the text. White space belongs
        to the unit before it, or at the beginning of the text to the first one.
    """
    start = end = 0
    alone = counted = shown = False  # whether the unit so far is a line or has words, a letter or a digit, or anything
    for first, last in _pieces(text):
        piece = text[first:last]
        if alone and not piece.isspace():
            yield start, end
            start, alone, counted, shown = first, False, False, False
        end = last
        said = piece.rstrip(_NUMBERING)  # "1. " before an item says nothing by itself
        alone = alone or any(map(str.isalnum, said)) or (bool(said) and counted)
        counted = counted or any(map(str.isalnum, piece))
        shown = shown or not piece.isspace()
        alone = alone or (shown and piece.endswith("\n"))
    if end > start:
        yield start, end


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Split a text after each sentence and line, white space between them apart or not."""
    # sentencex takes no surrogates, and panics at white space beyond ASCII after an initial: "by J.\xa0Smith".
    for line in _LINE.finditer(_WIDE_SPACE.sub(" ", _SURROGATE.sub("\ufffd", text))):
        for start, end in _line_pieces(line.group()):
            yield from _cut(text, line.start() + start, line.start() + end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a piece that is too long, after white space if there is some."""
    while end - start > LONGEST:
        most = min(LONGEST, -(-(end - start) // 2))  # the last two are alike, so that none is a full stop alone
        space = text.rfind(" ", start + most // 2, start + most)
        cut = space + 1 if space > 0 else start + most
        yield start, cut
        start = cut
    yield start, end


def _line_pieces(line: str) -> Iterator[tuple[int, int]]:
    """Split a line after each sentence, window by window: sentencex looks back to the last space, which may be far."""
    start, width, whole = 0, _WINDOW, False
    while not whole:
        whole = start + width >= len(line)
        found = sentencex.get_sentence_boundaries("en", line[start : start + width])
        sure = found if whole else found[:-1]  # the last one may go on
        for piece in sure:
            yield start + piece["start_index"], start + piece["end_index"]
        start, width = (start + sure[-1]["end_index"], _WINDOW) if sure else (start, 2 * width)


def word_places(text: str) -> Iterator[tuple[int, int]]:
    """Return where the words of a text begin and end; where a script has no spaces between words, its characters."""
    for match in WORD.finditer(text):
        if _UNSPACED.search(match.group()):
            yield from ((at, at + 1) for at in range(*match.span()))
        else:
            yield match.span()


def word_stems(text: str) -> Iterator[str]:
    """Return the stems of a text's words; where a script has no spaces between words, its characters."""
    for match in WORD.finditer(normalize("NFC", text)):  # a combining accent would end a word
        word = match.group()
        if _UNSPACED.search(word):
            yield from word
        else:
            yield stem(word)


def content_stems(question: str) -> list[str]:
    """Return the stems of the words of a question that say what it is about, each once."""
    words = (match.group() for match in WORD.finditer(normalize("NFC", question)))
    kept = " ".join(word for word in words if word.casefold() not in STOP_WORDS)
    return list(dict.fromkeys(word_stems(kept)))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Fold case and strip a plural or another common ending, so that "designed" and "designer" are the same."""
    word = _singular(word.casefold())
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _MIN_STEM:
            return word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > _MIN_STEM else word


def _singular(word: str) -> str:
    if len(word) < _MIN_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "zes", "ches", "shes")) else word[:-1]
