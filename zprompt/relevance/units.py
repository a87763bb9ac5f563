"""Sentences, words and stems: how the project splits text and compares words.

A *unit* is kept or left out as a whole: a sentence of prose, or where there are no sentences a line, such as an item of
a list, a row of a table, a line of a log or of code. Wikimedia's `sentencex` finds sentences; it knows abbreviations
("Dr. Smith", "3.30 p.m.") and the full stops of all scripts. Text without a full stop for LONGEST characters, such as a
transcript, is cut at white space.
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
LONGEST = 1000  # most characters of a unit
_WINDOW = 4000  # characters of a line that are split at a time
_SURROGATE = re.compile("[\ud800-\udfff]")
_WIDE_SPACE = re.compile(r"[^\S\x00-\x7f]")
_MIN_PLURAL = 4  # letters: "is" and "gas" are no plurals
_MIN_STEM = 4  # letters
_ENDINGS = ("ing", "ed", "ly", "er", "ion")


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Split a text into its units: after each sentence and each line.

    :param text: The text.
    :yields: The character ranges (start, end) of the units, which are adjacent and cover the text. White space belongs
        to the unit before it, or at the beginning of the text to the first unit.
    """
    start = end = 0
    # Whether the unit so far can stand alone, has a letter or digit, and has anything but white space.
    complete = alphanumeric = visible = False
    for piece_start, piece_end in _pieces(text):
        piece = text[piece_start:piece_end]
        if complete and not piece.isspace():
            yield start, end
            start, complete, alphanumeric, visible = piece_start, False, False, False
        end = piece_end
        content = piece.rstrip(_NUMBERING)  # "1. " before an item is no unit by itself
        complete = complete or any(map(str.isalnum, content)) or (bool(content) and alphanumeric)
        alphanumeric = alphanumeric or any(map(str.isalnum, piece))
        visible = visible or not piece.isspace()
        complete = complete or (visible and piece.endswith("\n"))
    if end > start:
        yield start, end


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Split a text after each sentence and line; white space between them may be a piece of its own."""
    # sentencex accepts no surrogates, and panics on non-ASCII white space after an initial: "by J.\xa0Smith".
    for line in _LINE.finditer(_WIDE_SPACE.sub(" ", _SURROGATE.sub("\ufffd", text))):
        for start, end in _line_pieces(line.group()):
            yield from _cut(text, line.start() + start, line.start() + end)


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a piece that is too long, after white space if there is any."""
    while end - start > LONGEST:
        limit = min(LONGEST, -(-(end - start) // 2))  # halves at the end, so that none is a full stop alone
        space = text.rfind(" ", start + limit // 2, start + limit)
        cut = space + 1 if space > 0 else start + limit
        yield start, cut
        start = cut
    yield start, end


def _line_pieces(line: str) -> Iterator[tuple[int, int]]:
    """Split a line after each sentence, window by window: sentencex looks back to the last space, which may be far."""
    start, width, is_last = 0, _WINDOW, False
    while not is_last:
        is_last = start + width >= len(line)
        boundaries = sentencex.get_sentence_boundaries("en", line[start : start + width])
        complete = boundaries if is_last else boundaries[:-1]  # the last sentence may continue in the next window
        for sentence in complete:
            yield start + sentence["start_index"], start + sentence["end_index"]
        start, width = (start + complete[-1]["end_index"], _WINDOW) if complete else (start, 2 * width)


def word_places(text: str) -> Iterator[tuple[int, int]]:
    """Yield the range of each word of a text, or of each character in a script without spaces between words."""
    for match in WORD.finditer(text):
        if _UNSPACED.search(match.group()):
            yield from ((index, index + 1) for index in range(*match.span()))
        else:
            yield match.span()


def word_stems(text: str) -> Iterator[str]:
    """Yield the stems of a text's words, or the characters in a script without spaces between words."""
    for match in WORD.finditer(normalize("NFC", text)):  # without NFC, a combining accent would end a word
        word = match.group()
        if _UNSPACED.search(word):
            yield from word
        else:
            yield stem(word)


def content_stems(question: str) -> list[str]:
    """Return the stems of a question's words that are not stop words, each once."""
    words = (match.group() for match in WORD.finditer(normalize("NFC", question)))
    kept = " ".join(word for word in words if word.casefold() not in STOP_WORDS)
    return list(dict.fromkeys(word_stems(kept)))


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Fold case, and strip a plural or another common ending, so that "designed" and "designer" have one stem."""
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
