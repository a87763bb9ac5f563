"""One budget is spent on the best units, and a unit that needs another one brings it along."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.relevance import choose_covering, choose_nearest, choose_within
from zprompt.relevance.selection import Bools, Floats, best_first, companions

Call = tuple[Floats, list[int], list[int | None]]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Draw scores, costs and needs of some units; a unit needs an earlier one."""
    size = draw(st.integers(0, 12))
    scores = draw(st.lists(st.floats(-8, 8), min_size=size, max_size=size))
    costs = draw(st.lists(st.integers(1, 40), min_size=size, max_size=size))
    needs = [draw(st.none() | st.integers(0, index - 1)) if index else None for index in range(size)]
    return np.array(scores, np.float64), costs, needs


def cost(kept: Bools, costs: list[int]) -> int:
    return int(kept @ np.array(costs, np.int64)) if costs else 0


@settings(max_examples=150)
@given(call=calls(), most=st.integers(0, 200))
def test_a_limit_is_kept_and_no_unit_that_would_fit_is_left_out(call: Call, most: int) -> None:
    _, costs, needs = call
    kept = choose_within(*call, most)
    remaining = most - cost(kept, costs)
    assert remaining >= 0
    for index in np.flatnonzero(~kept):
        need = needs[index]
        assert costs[index] + (0 if need is None or kept[need] else costs[need]) > remaining


@settings(max_examples=150)
@given(call=calls(), wanted=st.floats(1, 300))
def test_a_wanted_length_keeps_the_best_unit_and_stops_when_it_is_reached(call: Call, wanted: float) -> None:
    scores, costs, needs = call
    kept = choose_nearest(*call, wanted)
    if len(scores):
        assert kept[best_first(scores)[0]]
        assert cost(kept, costs) >= wanted or all(
            kept[index] or _worse_by_ratio(index, kept, costs, needs, wanted) for index in range(len(costs))
        )


def _worse_by_ratio(index: int, kept: Bools, costs: list[int], needs: list[int | None], wanted: float) -> bool:
    """Return whether a unit that was passed over would have made the length miss by more."""
    length, need = cost(kept, costs), needs[index]
    longer = length + costs[index] + (0 if need is None or kept[need] else costs[need])
    return longer > wanted and longer / wanted >= wanted / length * (1 - 1e-9)


@pytest.mark.parametrize(
    ("wanted", "kept"), [(1, [1, 0, 0, 0]), (10, [1, 0, 0, 0]), (13, [1, 0, 0, 1]), (19, [1, 1, 0, 0]), (99, [1] * 4)]
)
def test_the_length_comes_nearest_by_ratio(wanted: float, kept: list[int]) -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    assert choose_nearest(scores, [10, 10, 30, 3], [None] * 4, wanted).tolist() == kept


@settings(max_examples=100)
@given(call=calls(), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted))
def test_a_larger_coverage_keeps_all_that_a_smaller_one_keeps(call: Call, shares: list[float]) -> None:
    fewer, more = (choose_covering(*call, share) for share in shares)
    assert not (fewer & ~more).any()
    assert fewer.any() == bool(len(call[0]))


def test_one_unit_that_stands_out_is_enough_but_equal_units_are_all_needed() -> None:
    costs, needs = [1] * 5, [None] * 5
    assert choose_covering(np.array([0.0, 9.0, 0.0, 0.0, 0.0]), costs, needs, 0.9).tolist() == [0, 1, 0, 0, 0]
    assert choose_covering(np.zeros(5), costs, needs, 0.9).all()


@settings(max_examples=100)
@given(call=calls(), length=st.integers(1, 200), share=st.floats(0, 1))
def test_what_a_unit_needs_is_kept_with_it_unless_the_unit_was_only_brought_along(
    call: Call, length: int, share: float
) -> None:
    needs = call[2]
    for kept in (choose_within(*call, length), choose_nearest(*call, length), choose_covering(*call, share)):
        brought = {needs[index] for index in np.flatnonzero(kept)}
        assert all(
            needs[index] in (None, *np.flatnonzero(kept)) for index in np.flatnonzero(kept) if index not in brought
        )


def test_of_equal_scores_the_first_is_taken() -> None:
    assert choose_within(np.zeros(3), [5] * 3, [None] * 3, 11).tolist() == [True, True, False]


def test_a_sentence_that_refers_to_the_one_before_brings_it() -> None:
    texts = [
        "It rains. ",
        "Bern is old. ",
        "“It has a tower.” ",
        "However, it burnt. ",
        "Italy is near. ",
        "Theirs is.",
    ]
    assert companions(texts) == [None, None, 1, 2, None, None]


def test_a_row_of_a_table_brings_its_header() -> None:
    texts = ["Towns:\n", "| town | built |\n", "|---|---|\n", "| Bern | 1191 |\n\n", "Then:\n", "| a |\n", "| b |"]
    assert companions(texts) == [None, None, 1, 1, 3, None, 5]


def test_a_row_of_delimited_values_brings_its_header() -> None:
    towns = ["name,city of birth,year\n", "Ada,London,1815\n", "Emmy,Erlangen,1882\n"]
    tabs = ["a\tb\n", "1\t2\n", "3\t4"]
    assert companions([*towns, "\n", "Rain fell.\n", *tabs]) == [None, 0, 0, None, None, None, 5, 5]


@pytest.mark.parametrize("lines", [["1,2,3\n", "3,4,5\n", "5,6,7\n"], ["Hi, Bob\n", "Yes, Ann\n", "No, thanks\n"]])
def test_lines_without_column_names_bring_nothing(lines: list[str]) -> None:
    assert companions(lines) == [None] * 3


PREFIXES = ["src/a.py:12: ", "2025-03-04 11:02:17 ERROR ", "[11:02:17] ", "a.c(12): ", "a.py-3-"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_later_sentence_of_a_record_brings_the_beginning_of_its_line(prefix: str) -> None:
    first = [f"{prefix}It opens a file. ", "The file is long. ", "Nobody closes it.\n"]
    assert companions([*first, f"{prefix}Next.\n", "The end. ", "Yes."]) == [None, 0, 0, None, None, None]


def test_quoted_values_may_hold_delimiters() -> None:
    people = ["name,born,job\n", "Ada Lund,1811,cook\n", '"Lee, Bo",1840,"boy, cabin"\n']
    assert companions(people) == [None, 0, 0]
