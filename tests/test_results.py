"""Results are frozen values that print in one line and turn into JSON."""

import json
import math
from dataclasses import FrozenInstanceError, replace

import pytest

from zprompt.results import (
    CompressionResult,
    CompressionStats,
    ExplainedToken,
    Explanation,
    KeptText,
    ScoredSentence,
)

STATS = CompressionStats(
    documents=2,
    source_tokens=1200,
    z_tokens=300,
    positions=300,
    ratio=4.0,
    bits_per_z_token=75.96,
    bits_per_source_token=19.0,
    passed_through=0,
    seconds=0.5,
    exact=1.0,
    missed=None,
)
TOKEN = ExplainedToken(
    index=0,
    anchor="The",
    start=0,
    anchor_end=3,
    end=13,
    gap=2,
    code=(1, -1, 3, 4),
    residual_bits=5.5,
    cost=57.5,
)
EXPLANATION = Explanation("The quick fox", (TOKEN,), STATS, "[z2:…]")
SENTENCES = (ScoredSentence(0, 5, 0.75, True), ScoredSentence(5, 9, 0.125, False))
RESULT = CompressionResult(["[z2:a]", {"text": "[z2:b]"}], STATS, ("One. Two.", ""), ((1200, 300), (0, 0)))
FOCUSED = replace(RESULT, query="One?", kept=(KeptText(((0, 5),), 0.75, SENTENCES), KeptText((), 0.0)))


def as_json(value: object) -> object:
    """Send a value through strict JSON, without NaN and Infinity."""
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize(
    "result", [STATS, TOKEN, EXPLANATION, RESULT, FOCUSED], ids=lambda result: type(result).__name__
)
def test_every_result_turns_into_json_and_comes_back_the_same(
    result: CompressionStats | ExplainedToken | Explanation | CompressionResult,
) -> None:
    assert as_json(result.to_dict()) == result.to_dict()


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_numbers_that_json_does_not_know_become_null(number: float) -> None:
    assert as_json(replace(TOKEN, cost=number).to_dict())["cost"] is None
    assert as_json(replace(STATS, ratio=number).to_dict())["ratio"] is None


def test_a_result_turns_into_the_texts_of_its_documents() -> None:
    lengths = [[1200, 300], [0, 0]]
    assert RESULT.to_dict() == {"texts": ["[z2:a]", "[z2:b]"], "stats": STATS.to_dict(), "tokens": lengths}


def test_a_focused_result_has_the_question_and_the_relevance_of_each_sentence() -> None:
    values = FOCUSED.to_dict()

    assert values["query"] == "One?"
    assert values["kept"][0]["ranges"] == [[0, 5]]
    assert values["kept"][0]["sentences"][1] == {"start": 5, "end": 9, "relevance": 0.125, "kept": False}
    assert values["kept"][1]["sentences"] == []


def test_an_explanation_nests_its_tokens() -> None:
    assert EXPLANATION.to_dict()["tokens"] == [TOKEN.to_dict()]
    assert TOKEN.to_dict()["code"] == [1, -1, 3, 4]


def test_the_repr_of_a_result_shows_its_figures() -> None:
    assert repr(RESULT) == (
        "CompressionResult(CompressionStats(2 documents, 1,200 source tokens → 300 Z-tokens, ratio 4.00, "
        "76.0 bits per Z-token, 19.00 per source token, 100.0% exact, 0 passed through, 0.50 s))"
    )


def test_a_missed_ratio_is_among_the_figures() -> None:
    assert STATS.to_dict()["missed"] is None
    assert replace(STATS, missed="too many sentences").to_dict()["missed"] == "too many sentences"


def test_without_verification_the_repr_says_nothing_about_exactness() -> None:
    assert "exact" not in repr(replace(STATS, exact=None))
    assert replace(STATS, exact=None).to_dict()["exact"] is None


def test_the_repr_of_a_token_shows_its_anchor_gap_and_cost() -> None:
    assert repr(TOKEN) == "ExplainedToken(0: 'The' + 2, 58 bits)"


def test_a_long_text_does_not_flood_the_screen() -> None:
    assert len(repr(replace(EXPLANATION, text="word " * 10_000))) < 300


def test_results_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STATS.ratio = 5.0  # type: ignore[misc]
