"""Sentences matter by what they share with the question."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.relevance.shared_words import HALF, relevant_sentences, word_penalties

IDS = {"lamp": [5000], "lit": [600], "storm": [9000], "keeper": [9000, 9000, 9000, 9000]}


def encode(word: str) -> list[int]:
    return IDS.get(word.strip(), [100])


def relevances(text: str, query: str) -> list[float]:
    return [one.relevance for one in relevant_sentences(text, query, encode)]


def test_what_shares_more_is_worth_more() -> None:
    none, one, both = relevances("Rain fell. A lamp burned. She lit the lamp.", "Who lit the lamp?")
    assert none < one < both


def test_a_rare_word_says_more_than_a_frequent_one() -> None:
    frequent, rare = relevances("They lit it. A storm rose. Rain fell.", "lit storm")[:2]
    assert frequent < rare


def test_a_word_of_many_tokens_says_no_more_than_a_rare_one() -> None:
    assert (
        relevances("A keeper came.", "keeper lamp lit storm")[0]
        < relevances("A lamp, lit, a storm.", "keeper lamp lit storm")[0]
    )


def test_a_word_that_every_sentence_has_says_less() -> None:
    everywhere = relevances("A lamp burned. A lamp fell. A lamp broke.", "lamp storm")
    once = relevances("A lamp burned. It fell. It broke.", "lamp storm")
    assert everywhere[0] < once[0]


def test_of_two_that_share_the_same_the_first_is_worth_more() -> None:
    first, second = relevances("A lamp burned. A lamp fell.", "lamp")
    assert first > second


@pytest.mark.parametrize("query", ["", "what is it?", "???"])
def test_a_query_without_content_asks_for_nothing(query: str) -> None:
    assert relevances("What is it? Rain.", query) == [0.0, 0.0]


def test_words_are_worth_less_the_farther_they_are_from_those_of_the_question() -> None:
    text = "Far from it " + "so " * HALF + "a lamp, lit. Rain"
    found = {text[start:end].strip(): bits for start, end, bits in word_penalties(text, "lamp lit", encode)}
    assert found["Far"] < found["from"] < found["it"] < found["a"] < found["lamp,"] == found["lit."]
    assert found["Rain"] == 0
    assert (found["it"] + 1) / (found["lamp,"] + 1) == pytest.approx(2 ** -((HALF + 2) / HALF))


@given(st.text(), st.text())
def test_ranges_cover_the_text_and_bits_are_finite(text: str, query: str) -> None:
    found = list(word_penalties(text, query, encode))
    assert "".join(text[start:end] for start, end, _ in found) == text
    assert all(0 <= bits < math.inf for _, _, bits in found)
