"""A passage that the best sentence of another passage names is raised, but never above that sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.relevance import Passage, Relevance
from zprompt.relevance.second_hop import NAMING, RAISE, raise_named

QUESTION = "When was the founder of Gull Press born?"
FOUNDED = "Gull Press was founded by Ada Lund."


def raised(*passages: tuple[str, str, float], question: str = QUESTION) -> list[float]:
    """Return the raised scores of passages of one unit, each given as title, text and score."""
    named = [(title, [text]) for title, text, _ in passages]
    scores = [np.array([score]) for *_, score in passages]
    return [float(unit_scores[0]) for unit_scores in raise_named(question, named, scores)]


def test_a_passage_that_the_best_sentence_names_is_raised_up_to_it() -> None:
    assert raised(("", FOUNDED, 2.0), ("Ada Lund", "She came from Bergen.", -3.0)) == [2.0, -3.0 + RAISE]
    assert raised(("", FOUNDED, 2.0), ("Ada Lund", "She came from Bergen.", 1.5)) == [2.0, 2.0]
    assert raised(("", FOUNDED, 2.0), ("Ada Lund (publisher)", "She came from Bergen.", 1.5)) == [2.0, 2.0]


def test_a_passage_that_is_better_already_keeps_its_score() -> None:
    assert raised(("", FOUNDED, 2.0), ("Ada Lund", "She came from Bergen.", 3.0)) == [2.0, 3.0]


@pytest.mark.parametrize("title", ["Ada Byron", "Gull Press", "Press", "The", "(Lund)"])
def test_an_incomplete_name_or_one_from_the_question_does_not_count(title: str) -> None:
    assert raised(("", FOUNDED, 2.0), (title, "it rained.", -3.0))[1] == -3.0


def test_a_passage_without_a_title_is_named_by_its_first_words() -> None:
    assert raised(("", FOUNDED, 2.0), ("", "Ada Lund was born in 1881.", -3.0))[1] == -3.0 + RAISE
    one_word = raised(("", "The lamp was lit.", 2.0), ("", "Lamp oil is made of fish.", -3.0))
    assert one_word[1] == -3.0


def test_only_the_best_sentences_raise_what_they_name() -> None:
    others = [("", "It rained.", 5.0)] * NAMING
    assert raised(*others, ("", FOUNDED, 2.0), ("Ada Lund", "She came from Bergen.", -3.0))[-1] == -3.0


def test_a_passage_does_not_name_itself() -> None:
    assert raised(("Ada Lund", "Ada Lund founded a press.", 2.0), ("", "It rained.", -3.0)) == [2.0, -3.0]


def test_no_passages_and_empty_passages_are_allowed() -> None:
    assert raise_named(QUESTION, [], []) == []
    [empty] = raise_named(QUESTION, [("", [])], [np.zeros(0)])
    assert not len(empty)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["", "Ada Lund", "Bergen"]), st.floats(-9, 9)), max_size=6))
def test_scores_rise_by_a_bounded_amount_and_the_best_score_stays(passages: list[tuple[str, float]]) -> None:
    before = [score for _, score in passages]
    after = raised(*((title, "Ada Lund came from Bergen.", score) for title, score in passages))
    assert all(old <= new <= old + RAISE for old, new in zip(before, after, strict=True))
    assert max(after, default=0.0) == max(before, default=0.0)


def test_the_second_hop_of_a_question_is_scored_above_what_it_does_not_need() -> None:
    passages = [
        Passage("The harbour was dredged in 1901. Ships land there.", "The harbour"),
        Passage(f"{FOUNDED} It prints maps.", "Gull Press"),
        Passage("She came from Bergen. Her birthday was 2 May 1881.", "Ada Lund"),
    ]
    harbour, _, founder = Relevance.from_pretrained(embedder=None).score(QUESTION, passages)
    assert founder.relevance > harbour.relevance
