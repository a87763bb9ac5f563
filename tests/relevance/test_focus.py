"""The sentences that a question needs stay word for word, and what is left out between them is marked."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.counting import counter
from zprompt.errors import OptionError
from zprompt.relevance import ELISION, NOTHING, Choice, Length, Passage, Relevance, elide, sentences
from zprompt.results import KeptText

WORDS = Relevance.from_pretrained(embedder=None)
READER = counter("reader")
UNITS = ("The tower was built in 1256. ", "It rains a lot.\n\n", "Bears are brown.  ", "The bakery opens at six.")
TEXT = "".join(UNITS)
ENDS = [sum(map(len, UNITS[: index + 1])) for index in range(len(UNITS))]


def kept(*units: int) -> KeptText:
    """Keep some units of TEXT, adjacent ones as one range."""
    ranges: list[tuple[int, int]] = []
    for start, end in ((ENDS[unit] - len(UNITS[unit]), ENDS[unit]) for unit in units):
        is_adjacent = ranges and ranges[-1][1] == start
        ranges[-1:] = [(ranges[-1][0], end)] if is_adjacent else [*ranges[-1:], (start, end)]
    return KeptText(tuple(ranges), 0.5)


@pytest.mark.parametrize(
    ("units", "written"),
    [
        ((0, 1), UNITS[0] + "It rains a lot."),
        ((0, 2), f"The tower was built in 1256.\n{ELISION}\nBears are brown."),
        ((1, 3), f"It rains a lot.\n{ELISION}\nThe bakery opens at six."),
        ((0, 1, 2, 3), TEXT),
        ((3,), UNITS[3]),
        ((), NOTHING),
    ],
)
def test_adjacent_units_keep_their_white_space_and_other_gaps_are_marked(units: tuple[int, ...], written: str) -> None:
    assert elide(TEXT, kept(*units), len) == (
        written,
        KeptText(((0, len(TEXT)),), 0.5) if len(units) == 4 else kept(*units),
    )


def test_a_sentence_never_seems_to_be_on_the_line_of_another() -> None:
    text = "a.py:1: It opens a file. It closes it.\nb.py:2: It reads. It may fail."
    units = list(sentences(text))
    (first, second, _, last) = units
    assert elide(text, KeptText((first, last), 0.0), len)[0] == f"a.py:1: It opens a file.\n{ELISION}\nIt may fail."
    assert elide(text[: second[1]] + "Yes.", KeptText((first,), 0.0), len)[0] == "a.py:1: It opens a file."


def test_a_gap_within_a_line_is_marked_in_that_line() -> None:
    text = "It opens a file. It is long. It closes it."
    first, _, last = sentences(text)
    assert elide(text, KeptText((first, last), 0.0), len)[0] == f"It opens a file. {ELISION} It closes it."


@pytest.mark.parametrize("text", ["No", "", " \n", "1"])
def test_a_text_as_short_as_the_mark_stays_whole(text: str) -> None:
    assert elide(text, KeptText((), 0.0), READER) == (text, KeptText(((0, len(text)),) if text else (), 0.0))


@settings(max_examples=80)
@given(
    text=st.lists(st.sampled_from([*UNITS, "é。", "\n", "Ah! ", "- item\n", " "]), max_size=8).map("".join),
    mask=st.lists(st.booleans(), min_size=24, max_size=24),
)
def test_a_text_is_never_longer_than_it_was_and_its_units_keep_their_order(text: str, mask: list[bool]) -> None:
    ranges = tuple(unit for unit, is_kept in zip(sentences(text), mask, strict=False) if is_kept)
    written, actual = elide(text, KeptText(ranges, 0.0), READER)
    assert READER(written) <= READER(text)
    words = iter(written.replace(ELISION, "").replace(NOTHING, "").split())
    assert all(word in words for start, end in actual.ranges for word in text[start:end].split())
    assert next(words, None) is None  # and no other word is written


def choose(
    question: str,
    texts: Sequence[str],
    length: Length = Length(),  # noqa: B008 - frozen
    always: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> list[list[str]]:
    """Return the texts of the kept ranges of each passage; a unit costs one token per word."""
    passages = [Passage(text) for text in texts]
    choice = Choice(WORDS, question, passages, lambda index, start, end: len(texts[index][start:end].split()), always)
    chosen = choice.choose(length)
    return [[text[start:end] for start, end in kept.ranges] for text, kept in zip(texts, chosen, strict=True)]


def test_the_budget_goes_to_the_passage_that_needs_it() -> None:
    texts = [UNITS[2] + UNITS[3], UNITS[0] + UNITS[1], "Sand is dry. Snow is cold."]
    assert choose("When was the tower built?", texts, Length(wanted=6)) == [[], [UNITS[0]], []]


def test_a_limit_that_leaves_room_to_spare_changes_nothing() -> None:
    question = "When was the tower built?"
    assert choose(question, [TEXT], Length(most=1000)) == choose(question, [TEXT])
    assert choose(question, [TEXT], Length(most=6)) == [[UNITS[0]]]
    assert choose(question, [TEXT], Length(most=0)) == [[]]


def test_adjacent_kept_units_are_one_range() -> None:
    assert choose("tower rain", [TEXT], Length(wanted=10)) == [[UNITS[0] + UNITS[1]]]


@pytest.mark.parametrize("length", [Length(), Length(wanted=1), Length(most=8)])
def test_what_is_protected_stays_whatever_the_question(length: Length) -> None:
    start = TEXT.index("brown")
    [pieces] = choose("When was the tower built?", [TEXT], length, [[(start, start + 1)]])
    assert any("Bears are brown." in piece for piece in pieces)


def test_a_limit_below_what_is_protected_is_an_error() -> None:
    with pytest.raises(OptionError, match="leaves 2 tokens for sentences, but what is protected needs more"):
        choose("tower", [TEXT], Length(most=2), [[(0, 3)]])


def test_of_no_passages_nothing_is_kept() -> None:
    assert choose("Who?", []) == [] and choose("Who?", ["", " "]) == [[], []]
