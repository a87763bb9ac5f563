"""Usage is counted by hand where that can be done."""

import numpy as np
import pytest

from tests.analysis.conftest import TEXTS, sample_of
from zprompt.analysis.report import analyse
from zprompt.analysis.segments import find_occurrences, role_names
from zprompt.analysis.usage import entropy, usage_by_role, usage_by_subcode
from zprompt.codec.codec import Codec
from zprompt.codec.settings import CodecSettings

SETTINGS = CodecSettings(subcodes=2, subcode_size=4, max_gap=4, window=32)
SAMPLE = sample_of(
    ("a b c d e f", [1, 2, 3, 4, 5, 6], [(2, (0, 1)), (0, (0, 0)), (1, (2, 3))]),
    ("a b c d e", [1, 2, 3, 2, 3], [(4, (1, 1))]),
)


def test_each_subcode_stands_for_its_segment() -> None:
    occurrences = find_occurrences(SAMPLE, SETTINGS)

    segments = [occurrences.segments[words] for words in occurrences.words]
    assert segments == [(2,), (3,), (6,), (6,), (2, 3), (2, 3)]
    assert [occurrences.roles[role] for role in occurrences.role] == [
        "1 token", "1 token", "1 token", "1 token, code 2", "2 tokens", "2 tokens",
    ]  # fmt: skip
    assert occurrences.value.tolist() == [0, 1, 2, 3, 1, 1]


def test_roles_are_named_by_size_and_stage() -> None:
    assert role_names(CodecSettings(subcodes=2, max_gap=6, window=64)) == (
        "1 token", "1 token, code 2", "2 tokens", "3 tokens",
    )  # fmt: skip


def test_usage_is_counted_for_each_role() -> None:
    one, second, two = usage_by_role(find_occurrences(SAMPLE, SETTINGS), 4)

    assert (one.uses, one.unused, one.segments) == (3, 1, 3)
    assert one.entropy_bits == pytest.approx(np.log2(3))
    assert one.unused_if_equal == pytest.approx(4 * 0.75**3)
    assert (second.uses, second.entropy_bits) == (1, 0)
    assert (two.uses, two.unused, two.segments, two.entropy_bits) == (2, 3, 1, 0)


def test_usage_is_counted_for_each_subcode() -> None:
    first, second = usage_by_subcode(find_occurrences(SAMPLE, SETTINGS), 2, 4)

    assert (first.name, first.uses, first.unused) == ("sub-code 1", 3, 1)
    assert second.entropy_bits == pytest.approx(entropy(np.array([1, 3, 1])))


def test_entropy_is_that_of_the_frequencies() -> None:
    assert entropy(np.array([5, 5, 5])) == 0
    assert entropy(np.arange(8)) == pytest.approx(3)
    assert entropy(np.array([], np.int64)) == 0


def test_a_codec_whose_codes_are_all_equal_carries_nothing(equal_codec: Codec) -> None:
    analysis = analyse(equal_codec, TEXTS)

    assert analysis.usage_by_role
    for usage in (*analysis.usage_by_role, *analysis.usage_by_subcode):
        assert (usage.entropy_bits, usage.unused) == (0, usage.values - 1)
        assert usage.reachable in (None, 1)
    assert analysis.usage_by_role[0].reachable == 1
    for row in (*analysis.in_context, *analysis.alone):
        assert row.difference.value == pytest.approx(0, abs=1e-6)  # one value has all uses, shuffled or not
