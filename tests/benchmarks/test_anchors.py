"""Anchors are counted where they are, and tokens get the class of the word that they belong to."""

import re

import pytest

from benchmarks.anchors import (
    CLASSES,
    PARTS,
    class_shares,
    density_over_text,
    density_over_window,
    parts_of_speech,
    word_classes,
)
from tests.benchmarks.conftest import tiled

TEXTS = tiled(
    ("then Anna saw 7 dogs there", [1, 2, 3, 4, 5, 6], [(0, (0,)), (1, (1,)), (0, (0,)), (1, (1,))]),
    ("dogs run in Rome now", [5, 7, 8, 9, 6], [(2, (0,)), (1, (0,))]),
)
TEXT = "The keeper, Margaret Hale, didn't light 3 lamps in 1834.\n"
OFFSETS = [match.span() for match in re.finditer(r" ?\w+| ?[^\w\s]|\s", TEXT)]


def _by_word(found: list[str]) -> dict[str, str]:
    return {TEXT[start:end].strip() or "\n": name for (start, end), name in zip(OFFSETS, found, strict=True)}


def test_the_anchors_of_each_class_are_counted() -> None:
    shares = {share.name: share for share in class_shares(TEXTS, word_classes, CLASSES, seed=0)}

    assert shares["name"].kept.value == 1  # Anna and Rome
    assert shares["number"].tokens == 1
    assert shares["function word"].kept.value == 0  # there, in
    assert shares["other word"].tokens == 6  # then saw dogs dogs run now
    assert shares["other word"].share_of_anchors == pytest.approx(3 / 6)  # then dogs dogs
    assert sum(share.share_of_tokens for share in shares.values()) == pytest.approx(1)
    assert sum(share.share_of_dropped for share in shares.values()) == pytest.approx(1)


def test_density_is_measured_along_texts_and_windows() -> None:
    text = density_over_text(TEXTS, seed=0)
    window = density_over_window(TEXTS, window=32, seed=0)

    assert sum(stretch.tokens for stretch in text) == 11
    assert text[0].density.value == 1  # both begin with an anchor
    assert [(stretch.start, stretch.tokens) for stretch in window] == [(0, 4), (2, 4), (4, 3)]
    assert window[0].density.value == pytest.approx(3 / 4)


def test_numbers_names_and_function_words_are_told_apart() -> None:
    found = _by_word(word_classes(TEXT, OFFSETS))

    assert found == {
        "The": "function word", "keeper": "other word", ",": "punctuation, symbols", "Margaret": "name",
        "Hale": "name", "didn": "function word", "'": "punctuation, symbols", "t": "function word",
        "light": "other word", "3": "number", "lamps": "other word", "in": "function word", "1834": "number",
        ".": "punctuation, symbols", "\n": "white space",
    }  # fmt: skip
    assert set(found.values()) == set(CLASSES)


def test_parts_of_speech_are_those_of_the_tagger() -> None:
    pytest.importorskip("textblob")

    found = _by_word(parts_of_speech(TEXT, OFFSETS))

    expected = {"The": "determiner", "Margaret": "proper noun", "keeper": "noun", "3": "number", "in": "preposition"}
    assert {word: found[word] for word in expected} == expected
    assert (found[","], found["\n"]) == ("punctuation, symbols", "white space")
    assert set(found.values()) <= set(PARTS)


@pytest.mark.parametrize("text", ["", "a/b c//d", "😀 x", "__init__ _ -- \n\n"])
def test_any_text_is_tagged(text: str) -> None:
    pytest.importorskip("textblob")
    offsets = [(i, i + 1) for i in range(len(text))]

    assert set(parts_of_speech(text, offsets)) <= set(PARTS)
    assert set(word_classes(text, offsets)) <= set(CLASSES)
