"""The features of a unit tell what it shares with the question and how it compares with other units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.relevance.features import FORM, MEANING, NAMES, Embeddings, Floats, Units, unit_features

RARITY = {"tower": 10.0, "bern": 12.0}


def features(question: str, *passages: list[str], titles: tuple[str, ...] = (), **column: str) -> dict[str, Floats]:
    """Return the features of passages, each a list of units, by name; there is no embedder."""
    edges = [0, *np.cumsum([len(passage) for passage in passages]).tolist()]
    units = Units([text for passage in passages for text in passage], edges, titles or ("",) * len(passages))
    values = unit_features(question, units, RARITY, None)
    return {name: values[:, index] for index, name in enumerate(NAMES)}


def with_embeddings(
    question: list[float], *passages: list[list[float]], titles: list[list[float]]
) -> dict[str, Floats]:
    """Return the features of passages, each a list of embeddings of units without words, by name."""
    edges = [0, *np.cumsum([len(passage) for passage in passages]).tolist()]
    vectors = np.array([vector for passage in passages for vector in passage], np.float32)
    units = Units(["."] * len(vectors), edges, [""] * len(passages))
    embeddings = Embeddings(np.array(question, np.float32), vectors, np.array(titles, np.float32))
    values = unit_features("", units, {}, embeddings)
    return {name: values[:, index] for index, name in enumerate(NAMES)}


def test_words_of_a_unit_its_neighbours_and_its_title_count_by_their_rarity() -> None:
    by_name = features("", ["The towers.", "Rain.", "Snow.", "Hail."], ["Rain."], titles=("", "Bern"))
    assert by_name["words_context"] == pytest.approx([10 / 22, 10 / 22, 0, 0, 12 / 22])
    assert by_name["words_passage"] == pytest.approx([10 / 22] * 4 + [12 / 22])


def test_a_unit_with_more_of_the_rare_words_stands_out() -> None:
    by_name = features("", ["The tower of Bern.", "A tower.", "Rain falls on the town."])
    assert by_name["z_words"][0] > by_name["z_words"][1] > by_name["z_words"][2]
    assert by_name["z_bm25"][0] > by_name["z_bm25"][1] > by_name["z_bm25"][2]
    assert by_name["z_words"].mean() == pytest.approx(0) and by_name["z_bm25"].std() == pytest.approx(1)


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
def test_a_unit_has_what_the_question_asks_for_and_does_not_contain(
    question: str, feature: str, has: str, lacks: str
) -> None:
    assert features(question, [has, lacks])[feature].tolist() == [1, 0]
    assert features("Is it old?", [has, lacks])[feature].tolist() == [0, 0]


def test_length_and_position_are_features() -> None:
    by_name = features("", ["One two three.", "One."], ["One."])
    assert by_name["length"] == pytest.approx(np.log([4, 2, 2]))
    assert by_name["opens"].tolist() == [1, 0, 1]


def test_cosines_compare_a_unit_its_surroundings_and_its_title() -> None:
    by_name = with_embeddings([1, 0], [[1, 0], [0, 1], [-1, 0]], [[0, 1]], titles=[[0, 0], [1, 0]])
    assert by_name["cosine"].tolist() == [1, 0, -1, 0]
    assert by_name["cosine_context"] == pytest.approx(
        [1 / np.hypot(1, 0.25), 0.25 / np.hypot(0.25, 1), -1 / np.hypot(1, 0.5), 0.5 / np.hypot(0.5, 1)]
    )
    assert by_name["cosine_title"].tolist() == [0, 0, 0, 1]
    assert by_name["cosine_neighbour"].tolist() == [0, 1, 0, 0]  # the only unit of a passage is its own neighbour


def test_a_bridge_is_a_unit_near_the_best_units_of_other_passages_only() -> None:
    by_name = with_embeddings([1, 0, 0], [[0.8, 0.6, 0]], [[0, 1, 0], [0, 0, 1]], titles=[[0, 0, 0]] * 2)
    assert by_name["cosine_bridge"] == pytest.approx([0.6, 0.6, 0])
    alone = with_embeddings([1, 0, 0], [[0.8, 0.6, 0], [0, 1, 0]], titles=[[0, 0, 0]])
    assert not alone["cosine_bridge"].any()


def test_without_an_embedder_the_features_of_meaning_are_zero() -> None:
    by_name = features("Who?", ["The tower of Bern.", "Rain."])
    assert not any(by_name[name].any() for name in MEANING)


def test_equal_units_do_not_stand_out() -> None:
    by_name = features("tower", ["The tower."], ["The tower."])
    assert not by_name["z_words"].any() and not by_name["z_bm25"].any()


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
