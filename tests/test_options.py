"""Options that cannot be met are refused before anything runs."""

import math
import re
from typing import Any

import numpy as np
import pytest

from zprompt.errors import OptionError
from zprompt.options import CompressOptions, check_batch_size


def test_a_ratio_and_a_number_of_tokens_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="exclude each other"):
        CompressOptions(ratio=2, max_tokens=100)


@pytest.mark.parametrize("ratio", [0.99, 0, -1, math.nan])
def test_a_ratio_below_one_is_refused(ratio: float) -> None:
    with pytest.raises(OptionError, match="ratio must be at least 1"):
        CompressOptions(ratio=ratio)


@pytest.mark.parametrize("name", ["max_tokens", "min_tokens"])
def test_a_number_of_tokens_below_one_is_refused(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        CompressOptions(**{name: 0})


def test_an_unknown_way_to_handle_errors_is_refused() -> None:
    with pytest.raises(OptionError, match="'raise', 'passthrough', got 'ignore'"):
        CompressOptions(on_error="ignore")  # type: ignore[arg-type]


def test_a_query_must_be_a_string() -> None:
    with pytest.raises(OptionError, match="query must be a str, got list"):
        CompressOptions(query=["who"])  # type: ignore[arg-type]


def test_an_empty_query_becomes_none() -> None:
    assert CompressOptions(query="") == CompressOptions(query=None) == CompressOptions()
    assert CompressOptions(query=" \n").query is None


@pytest.mark.parametrize("options", [{"ratio": "4"}, {"max_tokens": "5"}, {"min_tokens": "5"}, {"ratio": True}])
def test_a_number_of_another_type_is_an_option_error(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="must be a number"):
        CompressOptions(**options)


@pytest.mark.parametrize("name", ["max_tokens", "min_tokens"])
@pytest.mark.parametrize("value", [2.5, math.nan, math.inf])
def test_a_number_of_tokens_must_be_whole(name: str, value: float) -> None:
    with pytest.raises(OptionError, match=f"{name} must be a whole number"):
        CompressOptions(**{name: value})
    assert CompressOptions(**{name: 5.0}) == CompressOptions(**{name: np.int64(5)}) == CompressOptions(**{name: 5})


def test_a_ratio_may_be_a_numpy_number() -> None:
    assert CompressOptions(ratio=np.float32(2.5)).ratio == 2.5


def test_a_bad_regex_is_refused_at_once() -> None:
    with pytest.raises(OptionError, match="not a valid regular expression"):
        CompressOptions(protect="(")


@pytest.mark.parametrize(
    ("options", "has_length"),
    [
        (CompressOptions(), False),
        (CompressOptions(query="who?", protect="x", min_tokens=3), False),
        (CompressOptions(ratio=1), True),
        (CompressOptions(max_tokens=9), True),
    ],
)
def test_a_ratio_or_a_number_of_tokens_is_a_wanted_length(options: CompressOptions, has_length: bool) -> None:
    assert options.has_length is has_length


def test_what_is_protected_may_be_a_regex_or_literals() -> None:
    assert CompressOptions(protect=r"\d+").protection.ranges("a 12") == [(2, 4)]
    assert CompressOptions(protect=re.compile("a")).protection.ranges("a 12") == [(0, 1)]
    assert CompressOptions(protect=["12", "."]).protection.ranges("a 12") == [(2, 4)]
    assert CompressOptions().protection.ranges("a 12") == []


def test_several_patterns_and_literals_protect_all_that_they_match_even_where_matches_overlap() -> None:
    backwards = re.compile(r"(\w)\1")
    protection = CompressOptions(protect=[re.compile("a b"), re.compile("B C", re.I), backwards, "x"]).protection

    assert protection.ranges("a b c, dd x") == [(0, 5), (7, 9), (10, 11)]


@pytest.mark.parametrize("wrong", [[""], [3], [re.compile(b"a")], ["a", None], b"a"])
def test_protection_of_anything_but_text_and_regexes_is_refused(wrong: Any) -> None:  # noqa: ANN401
    with pytest.raises(OptionError, match="must be a regular expression"):
        CompressOptions(protect=wrong)


@pytest.mark.parametrize("batch_size", [0, -3])
def test_a_batch_size_below_one_is_refused(batch_size: int) -> None:
    check_batch_size(1)
    with pytest.raises(OptionError, match="batch_size must be at least 1"):
        check_batch_size(batch_size)


@pytest.mark.parametrize("batch_size", ["3", None, 2.5, True])
def test_a_batch_size_of_another_type_is_an_option_error(batch_size: Any) -> None:  # noqa: ANN401
    with pytest.raises(OptionError, match="batch_size must be a"):
        check_batch_size(batch_size)
