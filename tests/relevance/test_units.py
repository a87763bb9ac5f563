"""Texts split into sentences and words, and the forms of a word have one stem."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.relevance.units import WORD, sentences, stem


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


def test_sentences_end_at_stops_and_lines() -> None:
    text = 'It was late. "Who is it?" she said!  Nobody… 他来了。\nA list:\n- 3.14 is a number'
    assert [text[start:end] for start, end in sentences(text)] == [
        "It was late. ",
        '"Who is it?" ',
        "she said!  ",
        "Nobody… ",
        "他来了。",
        "\n",
        "A list:\n",
        "- 3.14 is a number",
    ]


@given(st.text('aB .?!\n…。"', max_size=40))
def test_sentences_leave_nothing_out(text: str) -> None:
    assert "".join(text[start:end] for start, end in sentences(text)) == text
    assert all(start < end for start, end in sentences(text))
