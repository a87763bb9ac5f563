"""Texts split into sentences, lines and words, and the forms of a word have one stem."""

import time
from unicodedata import normalize

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.relevance import WORD, sentences
from zprompt.relevance.units import LONGEST, content_stems, stem


@pytest.mark.parametrize(
    "forms",
    [
        "city Cities",
        "church churches",
        "river RIVERS",
        "box boxes",
        "design designed designer designing designs",
        "create created creates creating",
        "quick quickly",
    ],
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len({stem(form) for form in forms.split()}) == 1


@pytest.mark.parametrize("word", ["is", "bus", "class", "analysis"])
def test_words_that_merely_end_in_s_keep_it(word: str) -> None:
    assert stem(word) == word


@pytest.mark.parametrize("word", ["ring", "red", "fly", "her", "lion", "sea"])
def test_short_words_keep_their_endings(word: str) -> None:
    assert stem(word) == word


def test_numbers_are_words_with_the_points_inside_them() -> None:
    assert [match.group() for match in WORD.finditer("3.14, at 12:30 on 2024-05-17.")] == [
        "3.14",
        "at",
        "12:30",
        "on",
        "2024-05-17",
    ]


UNITS = {
    "prose": ["It was late. ", '"Who is it?" she said!  ', "Nobody came."],
    "abbreviations": ["Dr. Smith came at 3.30 p.m. ", "He left. ", "J. R. R. Tolkien wrote it."],
    "more abbreviations": ["see Fig. 3 and e.g. this, i.e. that. ", "Then U.S. troops."],
    "Chinese": ["他来了。", "她走了！", "真的？", "是的。"],
    "Japanese": ["昔々、村がありました。", "村人は水を汲みました。"],
    "Arabic": ["مرحبا بالعالم. ", "كيف حالك؟ ", "أنا بخير."],
    "Hindi": ["वह आया। ", "वह गया।"],
    "a list": ["- one\n", "- two\n", "* three\n\n", "Then text."],
    "numbered items": ["1. First item.\n", "2. Second item.\n", "10) Third"],
    "items of two sentences": ["1. First. ", "More of it.\n", "2. Second."],
    "a table": ["| a | b |\n", "|---|---|\n", "| 1.5 | 2 |"],
    "a log": ["2024-01-01 12:00:01 INFO started x=1.5\n", "2024-01-01 12:00:02 WARN slow\n"],
    "code": ["def f(x):\n", "    return x.y\n\n\n", "class A:\n", "    pass\n"],
    "a heading": ["# Title\n\n", "Text follows. ", "And more.\n"],
    "lines that end in CRLF": ["One\r\n", "Two\r\n", "\tThree"],
    "white space first": [" \n\n Lead. ", "Next"],
    "white space last": ["Lead.\n \n\t"],
    "white space only": ["  \n\n \t"],
    "a number": ["1."],
    "dots": ["..."],
    "no words": ["!!! ???"],
    "one word": ["word"],
    "nothing": [],
}


@pytest.mark.parametrize("kind", UNITS)
def test_units_are_sentences_and_lines(kind: str) -> None:
    text = "".join(UNITS[kind])
    assert [text[start:end] for start, end in sentences(text)] == UNITS[kind]


PIECES = st.sampled_from(
    [
        "Dr. ",
        "e.g. ",
        "No.",
        "! ",
        "?",
        "…",
        "。",
        "।",
        "؟ ",
        "\n",
        "\r\n",
        "\n\n",
        " ",
        "\t",
        "1. ",
        "a) ",
        "- ",
        '"',
        ")",
        "word",
        "Word ",
        "3.14",
        "\u2028",
        "\x0c",
        "\x85",
        "é",
        "🌍",
        "\x00",
        "\ufeff",
    ]
)


@settings(max_examples=150)
@given(st.lists(PIECES | st.text(max_size=4) | st.characters(categories=["Cs"]), max_size=20).map("".join))
def test_units_are_adjacent_and_cover_any_text(text: str) -> None:
    units = list(sentences(text))
    assert [start for start, _ in units] == [0, *(end for _, end in units)][: len(units)]
    assert units == [] if not text else units[-1][1] == len(text)
    assert all(start < end for start, end in units)


@settings(max_examples=60)
@given(st.lists(PIECES, max_size=20).map("".join))
def test_a_unit_of_white_space_is_the_only_unit_of_its_text(text: str) -> None:
    units = [text[start:end] for start, end in sentences(text)]
    assert not any(unit.isspace() for unit in units) or len(units) == 1


@settings(max_examples=60)
@given(st.lists(PIECES, max_size=20).map("".join))
def test_no_unit_has_more_than_one_line_of_words(text: str) -> None:
    for start, end in sentences(text):
        unit = text[start:end]
        lines = [line for line in unit.split("\n") if not line.isspace() and line]
        assert len(lines) <= 1


@pytest.mark.parametrize(("piece", "ends"), [("so we went on ", " "), ("塔很古老", ""), ("Zm9v", "")])
def test_a_text_without_full_stops_is_cut_at_spaces_if_it_has_any(piece: str, ends: str) -> None:
    units = [(piece * 900)[start:end] for start, end in sentences(piece * 900)]
    assert "".join(units) == piece * 900
    assert all(LONGEST // 4 < len(unit) <= LONGEST for unit in units[:-1])
    assert all(unit.endswith(ends) for unit in units)


def test_a_decomposed_accent_is_part_of_its_word() -> None:
    assert content_stems(normalize("NFD", "Where is the résumé?")) == content_stems("Where is the résumé?")


@pytest.mark.parametrize(
    "piece", ["a. ", "Word ", "日本語。", "\n", "1. ", "。", "x\n", "...", "Dr. ", "  \n", "1. \n"]
)
def test_time_is_linear_in_the_length_of_the_text(piece: str) -> None:
    start = time.process_time()
    list(sentences(piece * 50_000))
    assert time.process_time() - start < 4


@pytest.mark.parametrize("space", ["\x85", "\xa0", "\u2003", "\u2028", "\u202f", "\u3000"])
@pytest.mark.parametrize("before", ["the J.", "Mr J.", "?\rB", "by J. R."])
def test_an_initial_may_be_followed_by_any_white_space(before: str, space: str) -> None:
    text = f"{before}{space}Smith. {space}9W.{space}It rains."
    assert "".join(text[start:end] for start, end in sentences(text)) == text


@pytest.mark.parametrize("sentence", ["It rains in Bern, as Dr. Smith says. ", "日本語です。", "x" * 5000 + ". "])
def test_a_line_is_split_in_the_same_way_however_long_it_is(sentence: str) -> None:
    count = 20_000 // len(sentence)
    pieces = -(-len(sentence) // LONGEST)
    ends = [end for _, end in sentences(sentence * count)][pieces - 1 :: pieces]
    assert ends == [len(sentence) * number for number in range(1, count + 1)]
