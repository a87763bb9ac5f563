"""Tokens get the class of the word that they belong to."""

import re

import pytest

from zprompt.analysis.words import CLASSES, PARTS, parts_of_speech, word_classes

TEXT = "The keeper, Margaret Hale, didn't light 3 lamps in 1834.\n"
OFFSETS = [match.span() for match in re.finditer(r" ?\w+| ?[^\w\s]|\s", TEXT)]


def _classes(found: list[str]) -> dict[str, str]:
    return {TEXT[start:end].strip() or "\n": name for (start, end), name in zip(OFFSETS, found, strict=True)}


def test_numbers_names_and_function_words_are_told_apart() -> None:
    found = _classes(word_classes(TEXT, OFFSETS))

    assert found == {
        "The": "function word", "keeper": "other word", ",": "punctuation, symbols", "Margaret": "name",
        "Hale": "name", "didn": "function word", "'": "punctuation, symbols", "t": "function word",
        "light": "other word", "3": "number", "lamps": "other word", "in": "function word", "1834": "number",
        ".": "punctuation, symbols", "\n": "white space",
    }  # fmt: skip
    assert set(found.values()) == set(CLASSES)


def test_parts_of_speech_are_those_of_the_tagger() -> None:
    pytest.importorskip("textblob")

    found = _classes(parts_of_speech()(TEXT, OFFSETS))

    expected = {"The": "determiner", "Margaret": "proper noun", "keeper": "noun", "3": "number", "in": "preposition"}
    assert {word: found[word] for word in expected} == expected
    assert (found[","], found["\n"]) == ("punctuation, symbols", "white space")
    assert set(found.values()) <= set(PARTS)


@pytest.mark.parametrize("text", ["", "a/b c//d", "😀 x", "__init__ _ -- \n\n"])
def test_any_text_is_tagged(text: str) -> None:
    pytest.importorskip("textblob")
    offsets = [(i, i + 1) for i in range(len(text))]

    assert set(parts_of_speech()(text, offsets)) <= set(PARTS)
    assert set(word_classes(text, offsets)) <= set(CLASSES)
