"""Sentences that share most with a question stay, as many as fit."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.extraction import choose

TEXTS = ["Rain fell. She lit the lamp. It burned.", "The lamp was old. Nobody came."]


def encode(text: str) -> list[int]:
    """Stand for a tokenizer of words."""
    return [1000] * len(text.split())


def test_the_best_sentences_stay_in_their_order() -> None:
    assert choose(TEXTS, "Who lit the old lamp?", 8, encode) == ["She lit the lamp.", "The lamp was old."]


def test_what_does_not_fit_leaves_room_for_what_does() -> None:
    assert choose(TEXTS, "Who lit the old lamp?", 2, encode) == ["Rain fell.", ""]


def test_all_stays_where_there_is_room() -> None:
    assert choose(TEXTS, "Who?", 100, encode) == TEXTS


@given(st.lists(st.text("ab .\n", max_size=40), max_size=3), st.integers(0, 12))
def test_the_budget_is_kept(texts: list[str], budget: int) -> None:
    kept = choose(texts, "ab ba", budget, encode)
    assert len(kept) == len(texts)
    assert sum(len(encode(text)) for text in kept) <= budget
