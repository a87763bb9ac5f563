"""Settings refuse impossible values, and come back from JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.codec.settings import CodecSettings, HeadSettings
from zprompt.errors import CheckpointError, OptionError

CODECS = st.builds(CodecSettings, st.integers(1, 1000), st.floats(0, 1))
HEADS = st.builds(
    HeadSettings, st.integers(1, 7), st.integers(1, 256), st.integers(1, 40), st.integers(1, 64), st.integers(1, 64)
)
some = settings(max_examples=40)


@pytest.mark.parametrize("name", ["subcodes", "subcode_size", "max_gap", "width", "span_width"])
def test_a_size_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(OptionError, match=f"{name} must be at least 1, got 0"):
        HeadSettings(**{name: 0})


def test_a_window_below_one_is_refused_by_name() -> None:
    with pytest.raises(OptionError, match=r"window must be at least 1, got 0\. See CodecSettings"):
        CodecSettings(window=0)


@pytest.mark.parametrize("margin", [-0.1, float("nan")])
def test_a_margin_below_zero_is_refused(margin: float) -> None:
    with pytest.raises(OptionError, match="margin must be at least 0"):
        CodecSettings(margin=margin)


@pytest.mark.parametrize("values", [{"window": "many"}, {"window": 1.5}, {"window": None}, {"margin": "small"}])
def test_a_value_that_is_no_number_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="must be a number"):
        CodecSettings(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("values", [{"subcodes": 8}, {"subcode_size": 257}])
def test_codes_that_no_stream_can_hold_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="at most 7 sub-codes of 256 values"):
        HeadSettings(**values)


@some
@given(CODECS | HEADS)
def test_settings_come_back_from_json(saved: CodecSettings | HeadSettings) -> None:
    assert type(saved).from_dict(json.loads(json.dumps(saved.to_dict()))) == saved


@some
@given(CODECS | HEADS, CODECS | HEADS)
def test_only_equal_settings_have_the_same_canonical_json(
    first: CodecSettings | HeadSettings, second: CodecSettings | HeadSettings
) -> None:
    assert (first.to_json() == second.to_json()) == (first == second)


@pytest.mark.parametrize("defaults", [CodecSettings(), HeadSettings()])
def test_canonical_json_has_its_keys_in_order(defaults: CodecSettings | HeadSettings) -> None:
    keys = list(json.loads(defaults.to_json()))
    assert keys == sorted(keys)


def test_missing_settings_take_their_default() -> None:
    assert CodecSettings.from_dict({"window": 64}) == CodecSettings(window=64)
    assert HeadSettings.from_dict({"subcodes": 2}) == HeadSettings(subcodes=2)


@pytest.mark.parametrize("name", ["beam", "rank_table", "subcodes"])
def test_a_setting_of_another_release_is_refused_by_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"'{name}'"):
        CodecSettings.from_dict({name: 3})
