"""Forms of a word are one word, and other words are others."""

import pytest

from zprompt.relevance.units import WORD, stem


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
