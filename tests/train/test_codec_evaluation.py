"""Heads are measured by tiling, and the rank table is fitted to what tilings need."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.codec.conftest import make_heads
from tests.train.conftest import SETTINGS
from zprompt.codec.heads import CodecHeads
from zprompt.llm import Backbone
from zprompt.train.codec_evaluation import evaluate, fit_rank_table, frequencies
from zprompt.zspan.range_coder import BUCKETS, PRECISION, RankCode


@pytest.fixture
def predictable(tiny_backbone: Backbone) -> NDArray[np.int32]:
    """Windows of which heads that expect " the" can drop most."""
    [the] = tiny_backbone.encode(" the")
    ids = np.full((2, 32), the, np.int32)
    ids[:, ::7] = tiny_backbone.encode(" sand")[0]
    return ids


@pytest.fixture
def leaning(tiny_backbone: Backbone) -> CodecHeads:
    """Heads that expect " the"."""
    return make_heads(tiny_backbone, SETTINGS)


def test_nothing_is_longer_than_the_text(
    tiny_backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]
) -> None:
    figures = evaluate(tiny_backbone, heads, windows[:4])
    assert 1.0 <= figures.worst_ratio <= figures.ratio
    assert (figures.windows, figures.source_tokens) == (4, 4 * 32)
    assert figures.ratio == figures.source_tokens / figures.z_tokens
    assert figures.bits_per_source_token == pytest.approx(figures.bits_per_z_token / figures.ratio)
    assert figures.bits_per_z_token > heads.settings.alphabet(tiny_backbone.vocab_size).bits_per_z_token
    assert 0 <= figures.right <= 1


def test_what_the_heads_expect_is_short(
    tiny_backbone: Backbone, leaning: CodecHeads, predictable: NDArray[np.int32]
) -> None:
    figures = evaluate(tiny_backbone, leaning, predictable)
    assert figures.ratio > 2
    assert figures.right > 0.5


def test_evaluation_leaves_heads_as_they_were(
    tiny_backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]
) -> None:
    before = heads.fingerprint()
    evaluate(tiny_backbone, heads, windows[:2])
    assert heads.fingerprint() == before
    assert heads.training
    assert all(parameter.requires_grad for parameter in heads.parameters())


def test_the_fitted_table_is_one_that_a_codec_takes(
    tiny_backbone: Backbone, heads: CodecHeads, windows: NDArray[np.int32]
) -> None:
    table = fit_rank_table(tiny_backbone, heads, windows[:4])
    assert heads.settings.rank_table == table
    assert replace(SETTINGS, rank_table=table).rank_table == table  # refuses what is no distribution
    code = RankCode(tiny_backbone.vocab_size, table)
    assert code.decode(code.encode([0, 1]), 2) == [0, 1]


def test_a_fitted_table_does_not_make_texts_longer(
    tiny_backbone: Backbone, leaning: CodecHeads, predictable: NDArray[np.int32]
) -> None:
    before = evaluate(tiny_backbone, leaning, predictable)
    fit_rank_table(tiny_backbone, leaning, predictable)
    after = evaluate(tiny_backbone, leaning, predictable)
    assert after.z_tokens <= before.z_tokens
    assert after.bits_per_source_token <= before.bits_per_source_token


@pytest.mark.parametrize("counts", [[0] * BUCKETS, [10**9] + [0] * 9, [5, 4, 3] + [1] * 7, [10**6] * BUCKETS])
def test_frequencies_are_positive_and_add_up(counts: list[int]) -> None:
    table = frequencies(np.array(counts))
    assert len(table) == BUCKETS
    assert min(table) >= 1
    assert sum(table) == 1 << PRECISION


def test_frequencies_follow_the_counts() -> None:
    table = frequencies(np.array([700, 200, 90, 10] + [0] * 6))
    assert list(table[:4]) == sorted(table[:4], reverse=True)
    assert table[0] / table[1] == pytest.approx(3.5, rel=0.05)
