"""What codes mean: usage is counted by hand where that can be done, and consistency is found where it was put."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import zprompt
from benchmarks import codes
from benchmarks.codes import (
    Analysis,
    Consistency,
    Items,
    Vectors,
    analyse,
    centred,
    compare,
    entropy,
    find_uses,
    role_names,
    summarise,
    usage_by_role,
    usage_by_subcode,
)
from benchmarks.common import Ints
from tests.benchmarks.conftest import tiled
from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import SENTENCES
from zprompt.codec import Codec, CodecSettings
from zprompt.errors import OptionError
from zprompt.llm import Backbone

TEXTS = [" ".join(SENTENCES), " the" * 60 + " dog sleeps on in the sun.", SENTENCES[2] * 3]

HAND_SETTINGS = CodecSettings(subcodes=2, subcode_size=4, max_gap=4, window=32)
BY_HAND = tiled(
    ("a b c d e f", [1, 2, 3, 4, 5, 6], [(2, (0, 1)), (0, (0, 0)), (1, (2, 3))]),
    ("a b c d e", [1, 2, 3, 2, 3], [(4, (1, 1))]),
)

COUNT, SIZE, VALUES, ROLES = 600, 24, 16, 2
RANDOM = np.random.default_rng(3)
ROLE = RANDOM.integers(0, ROLES, COUNT)
GROUP = ROLE * VALUES + RANDOM.integers(0, VALUES, COUNT)
NOISE = RANDOM.normal(size=(COUNT, SIZE)).astype(np.float32)
CENTRES = RANDOM.normal(size=(ROLES * VALUES, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def analysis(codec: Codec) -> Analysis:
    return analyse(codec, TEXTS)


# Uses, and how fully codes are used.


def test_each_subcode_stands_for_its_segment() -> None:
    uses = find_uses(BY_HAND, HAND_SETTINGS)

    assert [uses.segments[words] for words in uses.words] == [(2,), (3,), (6,), (6,), (2, 3), (2, 3)]
    assert [uses.roles[role] for role in uses.role] == [
        "1 token", "1 token", "1 token", "1 token, code 2", "2 tokens", "2 tokens",
    ]  # fmt: skip
    assert uses.value.tolist() == [0, 1, 2, 3, 1, 1]


def test_roles_are_named_by_size_and_stage() -> None:
    assert role_names(CodecSettings(subcodes=2, max_gap=6, window=64)) == (
        "1 token", "1 token, code 2", "2 tokens", "3 tokens",
    )  # fmt: skip


def test_usage_is_counted_for_each_role() -> None:
    one, second, two = usage_by_role(find_uses(BY_HAND, HAND_SETTINGS), 4)

    assert (one.uses, one.unused, one.segments) == (3, 1, 3)
    assert one.entropy_bits == pytest.approx(np.log2(3))
    assert one.unused_if_equal == pytest.approx(4 * 0.75**3)
    assert (second.uses, second.entropy_bits) == (1, 0)
    assert (two.uses, two.unused, two.segments, two.entropy_bits) == (2, 3, 1, 0)


def test_usage_is_counted_for_each_subcode() -> None:
    first, second = usage_by_subcode(find_uses(BY_HAND, HAND_SETTINGS), 2, 4)

    assert (first.name, first.uses, first.unused) == ("sub-code 1", 3, 1)
    assert second.entropy_bits == pytest.approx(entropy(np.array([1, 3, 1])))


def test_entropy_is_that_of_the_frequencies() -> None:
    assert entropy(np.array([5, 5, 5])) == 0
    assert entropy(np.arange(8)) == pytest.approx(3)
    assert entropy(np.array([], np.int64)) == 0


def test_a_codec_whose_codes_are_all_equal_carries_nothing(tiny_backbone: Backbone) -> None:
    heads = make_heads(tiny_backbone, SETTINGS)
    heads.code_head.out.zero_()
    analysis = analyse(Codec(tiny_backbone, heads, "equal"), TEXTS)

    assert analysis.usage_by_role
    for usage in (*analysis.usage_by_role, *analysis.usage_by_subcode):
        assert (usage.entropy_bits, usage.unused) == (0, usage.values - 1)
        assert usage.reachable in (None, 1)
    assert analysis.usage_by_role[0].reachable == 1
    for row in (*analysis.in_context, *analysis.alone):
        assert row.difference.value == pytest.approx(0, abs=1e-6)  # one value has all uses, shuffled or not


# Consistency.


def measure(vectors: Vectors, words: Ints | None = None) -> list[Consistency]:
    words = np.arange(COUNT) if words is None else words
    return summarise(compare(Items(centred(vectors, ROLE), GROUP, words, ROLE), 0), ("one", "two"), 0)


def test_vectors_that_know_nothing_of_their_value_are_no_more_alike_than_the_control() -> None:
    [every, *_] = measure(NOISE)

    assert every.difference.value == pytest.approx(0, abs=0.01)
    assert every.control.value == pytest.approx(0, abs=0.01)


def test_vectors_that_share_a_value_are_more_alike_than_the_control() -> None:
    every, one, two = measure(NOISE + CENTRES[GROUP])

    assert every.cosine.value > 0.4
    assert every.control.value == pytest.approx(0, abs=0.01)
    assert every.difference.low > 0.3
    assert (every.role, one.role, two.role) == ("all", "one", "two")
    assert every.items == one.items + two.items == COUNT


def test_the_sum_over_pairs_is_that_of_the_pairs() -> None:
    words = RANDOM.integers(0, 20, COUNT)
    vectors = centred(NOISE, ROLE)
    figures = compare(Items(vectors, GROUP, words, ROLE), 0)

    mine = np.flatnonzero(GROUP == figures.group[5])
    differ = words[mine][:, None] != words[mine]
    assert figures.pairs[5] == differ.sum() / 2
    assert figures.cosine[5] == pytest.approx((vectors[mine] @ vectors[mine].T)[differ].mean(), abs=1e-5)


def test_pairs_of_the_same_words_do_not_count() -> None:
    same = CENTRES[GROUP]  # each value has one meaning, because it has one segment

    assert measure(same, words=GROUP) == []
    assert measure(same)[0].cosine.value == pytest.approx(1)


def test_values_without_a_pair_are_left_out() -> None:
    alone = Items(centred(NOISE, ROLE), np.arange(COUNT), np.arange(COUNT), ROLE)

    assert summarise(compare(alone, 0), ("one", "two"), 0) == []


def test_the_control_and_the_interval_follow_the_seed() -> None:
    items = Items(centred(NOISE, ROLE), GROUP, np.arange(COUNT), ROLE)

    first, again, other = (summarise(compare(items, seed), ("one", "two"), seed) for seed in (0, 0, 1))
    assert first == again != other


def test_a_vector_that_is_its_roles_mean_becomes_zero() -> None:
    assert not centred(np.ones((3, 4), np.float32), np.zeros(3, np.int64)).any()


# The analysis.


def test_the_same_texts_have_the_same_figures(codec: Codec, analysis: Analysis) -> None:
    assert analyse(codec, TEXTS) == analysis


def test_the_figures_fit_together(analysis: Analysis) -> None:
    assert (analysis.texts, analysis.left_out) == (3, 0)
    assert sum(usage.uses for usage in analysis.usage_by_role) == analysis.uses > 0
    assert sum(usage.uses for usage in analysis.usage_by_subcode) == analysis.uses
    assert sum(share.tokens for share in analysis.word_classes) == analysis.source_tokens
    assert sum(stretch.tokens for stretch in analysis.over_text) == analysis.source_tokens
    kept = sum(share.kept.value * share.tokens for share in analysis.word_classes)
    assert kept == pytest.approx(analysis.z_tokens)


def test_the_most_used_values_show_their_segments(analysis: Analysis) -> None:
    for value in analysis.examples:
        assert value.uses >= sum(count for _, count in value.segments)
        assert value.distinct >= len(value.segments) > 0
        assert value.nearest.segment


def test_parts_of_speech_come_if_they_are_asked_for(codec: Codec, analysis: Analysis) -> None:
    pytest.importorskip("textblob")

    tagged = analyse(codec, TEXTS, tag=True).parts_of_speech

    assert analysis.parts_of_speech == []
    assert "determiner" in {share.name for share in tagged}


def test_a_text_of_one_token_can_be_analysed(codec: Codec) -> None:
    analysis = analyse(codec, ["."])

    assert (analysis.usage_by_role, analysis.in_context, analysis.examples) == ([], [], [])


def test_texts_that_cannot_be_analysed_are_counted(codec: Codec) -> None:
    assert analyse(codec, [TEXTS[1], "", "\ud800"]).left_out == 2


def test_texts_are_cut_after_some_tokens(codec: Codec) -> None:
    analysis = analyse(codec, [*TEXTS, "Rivers", "\ud800" + TEXTS[0]], tokens=20)

    assert analysis.source_tokens == 3 * 20 + len(codec.backbone.encode("Rivers"))
    assert analysis.left_out == 1


def test_a_sample_of_no_text_is_refused(codec: Codec) -> None:
    with pytest.raises(OptionError, match="None of 1 texts"):
        analyse(codec, [""])


def test_the_command_writes_json_and_tables_with_the_figures(
    codec: Codec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = tmp_path / "own.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    monkeypatch.setattr(zprompt, "load", lambda *_, **__: codec)
    monkeypatch.setattr(sys, "argv", ["codes", "--data", str(source), "--out", str(tmp_path)])

    codes.main()

    found = json.loads((tmp_path / "codes.json").read_text("utf-8"))["results"]
    text = (tmp_path / "codes.md").read_text("utf-8")
    assert f"{found['ratio']:.2f}" in text
    for usage in found["usage_by_role"]:
        assert f"{usage['entropy_bits']:.2f}" in text
    for row in found["in_context"]:
        assert f"{row['cosine']['value']:.3f}" in text
