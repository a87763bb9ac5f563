"""Settings refuse what no codec can have, and survive being written down."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.codec.settings import CodecSettings
from zprompt.errors import CheckpointError, OptionError
from zprompt.zspan.alphabet import Alphabet
from zprompt.zspan.range_coder import DEFAULT_TABLE

POSITIVE = ["subcodes", "subcode_size", "max_gap", "width", "span_width", "window"]


@st.composite
def all_settings(draw: st.DrawFn) -> CodecSettings:
    max_gap = draw(st.integers(1, 30))
    return CodecSettings(
        subcodes=draw(st.integers(1, 6)),
        subcode_size=draw(st.integers(1, 512)),
        max_gap=max_gap,
        width=draw(st.integers(1, 64)),
        span_width=draw(st.integers(1, 64)),
        window=draw(st.integers(2 * (max_gap + 1), 1000)),
        margin=draw(st.floats(0, 1)),
        rank_table=draw(st.sampled_from([(), DEFAULT_TABLE])),
    )


@pytest.mark.parametrize("name", POSITIVE)
def test_a_size_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        CodecSettings(**{name: 0})


def test_a_window_that_holds_less_than_two_of_the_longest_spans_is_refused() -> None:
    CodecSettings(max_gap=7, window=16)
    with pytest.raises(OptionError, match="16 tokens"):
        CodecSettings(max_gap=7, window=15)


def test_a_rank_table_that_is_no_distribution_is_refused() -> None:
    with pytest.raises(OptionError, match="rank table"):
        CodecSettings(rank_table=(4096,))


@given(all_settings())
def test_settings_come_back_from_json(settings: CodecSettings) -> None:
    assert CodecSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@given(all_settings(), all_settings())
def test_only_equal_settings_have_the_same_canonical_json(one: CodecSettings, two: CodecSettings) -> None:
    assert (one.to_json() == two.to_json()) == (one == two)


def test_canonical_json_has_its_keys_in_order() -> None:
    keys = list(json.loads(CodecSettings().to_json()))
    assert keys == sorted(keys)


def test_settings_that_miss_entries_take_the_defaults() -> None:
    assert CodecSettings.from_dict({"subcodes": 2}) == CodecSettings(subcodes=2)


def test_a_setting_from_a_later_release_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="'beam'"):
        CodecSettings.from_dict({"beam": 3})


def test_a_setting_of_an_earlier_release_is_refused_by_name() -> None:
    with pytest.raises(CheckpointError, match="'residual_bits'"):
        CodecSettings.from_dict({"residual_bits": 24})


def test_the_alphabet_has_the_sizes_of_the_settings() -> None:
    settings = CodecSettings(subcodes=2, subcode_size=8, max_gap=3)
    assert settings.alphabet(100) == Alphabet(100, 3, 2, 8)
