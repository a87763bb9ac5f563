"""Figures as quotients of sums."""

import pytest

from zprompt.eval.figures import Share, summarise
from zprompt.eval.units import digits, less_is_better


def test_a_figure_is_the_quotient_of_sums_with_interval_and_worst_case() -> None:
    figure = summarise([Share(3, 4), None, Share(1, 4), Share(0, 0)], seed=0)

    assert figure is not None
    assert (figure.value, figure.worst, figure.samples) == (0.5, 0.25, 2)
    assert (figure.low, figure.high) == (0.25, 0.75)


def test_the_worst_case_is_the_highest_where_less_is_better() -> None:
    figure = summarise([Share(3), Share(1)], seed=0, less_is_better=True)

    assert figure is not None and figure.worst == 3


def test_samples_that_say_nothing_give_no_figure() -> None:
    assert summarise([None, Share(0, 0)], seed=0) is None


@pytest.mark.parametrize(
    ("name", "after_point", "less"),
    [
        ("positions ratio", 2, False),
        ("bits per source token", 1, True),
        ("KV MB, reader", 1, True),
        ("shortening tokens/s", 0, False),
        ("shortening s", 2, True),
        ("first token s, reader", 2, True),
        ("F1, reader", None, False),
        ("BLEU-4", 1, False),
    ],
)
def test_a_name_says_its_unit(name: str, after_point: int | None, less: bool) -> None:
    assert (digits(name), less_is_better(name)) == (after_point, less)
