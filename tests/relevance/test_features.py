"""A unit's features say what it shares with a question, and how it compares with the others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.relevance.features import FORM, MEANING, NAMES, Embeddings, Floats, Units, unit_features

RARITY = {"tower": 10.0, "bern": 12.0}


def features(question: str, *passages: list[str], titles: tuple[str, ...] = (), **column: str) -> dict[str, Floats]:
    """Compute the features of passages of units without an embedder, by name."""
    edges = [0, *np.cumsum([len(own) for own in passages]).tolist()]
    laid = Units([text for own in passages for text in own], edges, titles or ("",) * len(passages))
    found = unit_features(question, laid, RARITY, None)
    return {name: found[:, place] for place, name in enumerate(NAMES)}


def with_embeddings(
    question: list[float], *passages: list[list[float]], titles: list[list[float]]
) -> dict[str, Floats]:
    """Compute the features of passages of units without words that have some embeddings."""
    edges = [0, *np.cumsum([len(own) for own in passages]).tolist()]
    units = np.array([vector for own in passages for vector in own], np.float32)
    laid = Units(["."] * len(units), edges, [""] * len(passages))
    own = Embeddings(np.array(question, np.float32), units, np.array(titles, np.float32))
    found = unit_features("", laid, {}, own)
    return {name: found[:, place] for place, name in enumerate(NAMES)}


def test_words_of_a_unit_its_neighbours_and_its_title_count_by_their_rarity() -> None:
    found = features("", ["The towers.", "Rain.", "Snow.", "Hail."], ["Rain."], titles=("", "Bern"))
    assert found["words_context"] == pytest.approx([10 / 22, 10 / 22, 0, 0, 12 / 22])
    assert found["words_passage"] == pytest.approx([10 / 22] * 4 + [12 / 22])


def test_a_unit_with_more_of_the_rare_words_stands_out() -> None:
    found = features("", ["The tower of Bern.", "A tower.", "Rain falls on the town."])
    assert found["z_words"][0] > found["z_words"][1] > found["z_words"][2]
    assert found["z_bm25"][0] > found["z_bm25"][1] > found["z_bm25"][2]
    assert found["z_words"].mean() == pytest.approx(0) and found["z_bm25"].std() == pytest.approx(1)


@pytest.mark.parametrize(
    ("question", "feature", "has", "lacks"),
    [
        ("How many towers are there?", "number", "There are seven.", "There are some."),
        ("How many of the 7 are left?", "number", "There are 12 left.", "Of the 7 some are."),
        ("When was it built?", "time", "It was built in 1256.", "It was built in 12 days."),
        ("What year was it?", "time", "It fell in May.", "It may fall."),
        ("Who built it?", "name", "It is by Zähringen.", "It is by a duke."),
        ("Who built Bern?", "name", "It is by Berchtold.", "A duke built Bern."),
    ],
)
def test_a_unit_has_what_the_question_asks_for_and_did_not_name(
    question: str, feature: str, has: str, lacks: str
) -> None:
    assert features(question, [has, lacks])[feature].tolist() == [1, 0]
    assert features("Is it old?", [has, lacks])[feature].tolist() == [0, 0]


def test_length_and_place_are_told() -> None:
    found = features("", ["One two three.", "One."], ["One."])
    assert found["length"] == pytest.approx(np.log([4, 2, 2]))
    assert found["opens"].tolist() == [1, 0, 1]


def test_cosines_compare_a_unit_its_surroundings_and_its_title() -> None:
    found = with_embeddings([1, 0], [[1, 0], [0, 1], [-1, 0]], [[0, 1]], titles=[[0, 0], [1, 0]])
    assert found["cosine"].tolist() == [1, 0, -1, 0]
    assert found["cosine_context"] == pytest.approx(
        [1 / np.hypot(1, 0.25), 0.25 / np.hypot(0.25, 1), -1 / np.hypot(1, 0.5), 0.5 / np.hypot(0.5, 1)]
    )
    assert found["cosine_title"].tolist() == [0, 0, 0, 1]
    assert found["cosine_neighbour"].tolist() == [0, 1, 0, 0]  # a unit alone is its own neighbour


def test_a_second_hop_is_near_the_best_units_of_other_passages_alone() -> None:
    found = with_embeddings([1, 0, 0], [[0.8, 0.6, 0]], [[0, 1, 0], [0, 0, 1]], titles=[[0, 0, 0]] * 2)
    assert found["cosine_bridge"] == pytest.approx([0.6, 0.6, 0])
    alone = with_embeddings([1, 0, 0], [[0.8, 0.6, 0], [0, 1, 0]], titles=[[0, 0, 0]])
    assert not alone["cosine_bridge"].any()


def test_without_an_embedder_nothing_is_said_of_meaning() -> None:
    found = features("Who?", ["The tower of Bern.", "Rain."])
    assert not any(found[name].any() for name in MEANING)


def test_units_that_are_alike_do_not_stand_out() -> None:
    found = features("tower", ["The tower."], ["The tower."])
    assert not found["z_words"].any() and not found["z_bm25"].any()


@settings(max_examples=60)
@given(
    question=st.text(max_size=30),
    passages=st.lists(st.lists(st.text(max_size=12), min_size=1, max_size=4), min_size=1, max_size=4),
)
def test_features_are_finite_and_those_of_form_do_not_depend_on_other_passages(
    question: str, passages: list[list[str]]
) -> None:
    together = features(question, *passages)
    alone = features(question, passages[0])
    assert all(np.isfinite(values).all() for values in together.values())
    assert all(np.array_equal(together[name][: len(passages[0])], alone[name]) for name in (*FORM, "words_passage"))
