"""The loss measures what the decompressor will have to be told, and every part of the heads can lower it."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.heads import CodecHeads
from zprompt.codec.span_costs import SpanCosts, Window
from zprompt.llm import Backbone
from zprompt.train.objective import Objective, dropped_tokens
from zprompt.train.span_sampling import Spans
from zprompt.zspan.range_coder import RankCode

TEMPERATURE = 0.7


@pytest.fixture
def ids(windows: NDArray[np.int32]) -> Tensor:
    return torch.from_numpy(windows[:4].astype(np.int64))


@pytest.fixture
def hidden(tiny_backbone: Backbone, ids: Tensor) -> Tensor:
    start = torch.full((len(ids), 1), tiny_backbone.start_id)
    return tiny_backbone.hidden(torch.cat((start, ids[:, :-1]), 1))


@pytest.fixture
def spans() -> Spans:
    """Spans of every length in every window."""
    gaps = np.tile([1, 2, 3, 4, 5], 4)
    starts = np.tile(np.cumsum([0, 2, 3, 4, 5]), 4)
    return Spans(np.repeat(np.arange(4), 5), starts, gaps)


@pytest.fixture
def candidates(tiny_backbone: Backbone) -> Tensor:
    """The whole vocabulary."""
    return torch.arange(tiny_backbone.vocab_size)


@pytest.fixture
def objective(heads: CodecHeads, tiny_backbone: Backbone) -> Objective:
    return Objective(heads, tiny_backbone.output_embeddings, usage_weight=0.02)


def test_dropped_tokens_are_those_inside_the_spans() -> None:
    dropped = dropped_tokens(Spans(np.array([0, 2]), np.array([3, 0]), np.array([2, 1])), max_gap=5)
    assert dropped.span.tolist() == [0, 0, 1]
    assert dropped.token.tolist() == [0, 1, 0]
    assert dropped.gap.tolist() == [2, 2, 1]
    assert dropped.window.tolist() == [0, 0, 2]
    assert dropped.position.tolist() == [4, 5, 1]


@pytest.mark.parametrize("joint", [False, True], ids=["warmup", "joint"])
def test_training_lowers_the_loss(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor, joint: bool
) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([*objective.heads.parameters(), objective.warmup_scale], lr=3e-3)
    bits = []
    for _ in range(60):
        loss = objective(ids, spans, hidden if joint else None, candidates, TEMPERATURE)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        bits.append(float(loss.bits.mean()))
    assert np.mean(bits[-5:]) < 0.6 * np.mean(bits[:5])
    assert loss.right > 0.3


@pytest.mark.parametrize("joint", [False, True], ids=["warmup", "joint"])
def test_the_gradient_reaches_every_part_of_the_heads(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor, joint: bool
) -> None:
    torch.manual_seed(0)
    objective(ids, spans, hidden if joint else None, candidates, TEMPERATURE).total.backward()
    untouched = {
        name for name, weight in objective.heads.named_parameters() if weight.grad is None or not weight.grad.any()
    }
    assert untouched == (set() if joint else {"span_head.hidden.weight"})
    own, following = objective.heads.span_head.own.grad, objective.heads.span_head.following.grad
    assert own is not None and following is not None
    assert bool(own.flatten(1).any(1).all())  # in every place
    followers = set(objective.layout.follower.ravel().tolist()) - {-1}
    assert {role for role, table in enumerate(following) if table.any()} == followers


def test_the_backbone_gets_no_gradient(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor, tiny_backbone: Backbone
) -> None:
    objective(ids, spans, hidden, candidates, TEMPERATURE).total.backward()
    assert tiny_backbone.output_embeddings.grad is None
    assert tiny_backbone.embeddings.grad is None
    assert objective.heads.embeddings.grad is None


def test_it_counts_the_bits_that_the_span_head_leaves(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor, tiny_backbone: Backbone
) -> None:
    with torch.no_grad():
        for parameter in objective.heads.span_head.out.parameters():
            parameter.zero_()
        loss = objective(ids, spans, hidden, candidates, TEMPERATURE)
    dropped = loss.dropped
    logits = hidden[dropped.window, dropped.position] @ tiny_backbone.output_embeddings.T
    expected = -logits.log_softmax(-1).gather(1, ids[dropped.window, dropped.position, None])[:, 0] / np.log(2)
    torch.testing.assert_close(loss.bits, expected, rtol=1e-3, atol=1e-3)


def test_it_sees_what_the_compressor_sees(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor, tiny_backbone: Backbone
) -> None:
    """A sub-code's best value, drawn without noise, must mean in training what it means in use."""
    with torch.no_grad():
        objective.heads.code_head.out.mul_(1e4)  # noise decides nothing
        loss = objective(ids, spans, hidden, candidates, TEMPERATURE)
    code = RankCode(tiny_backbone.vocab_size)
    costs, dropped = SpanCosts(objective.heads, tiny_backbone.output_embeddings, code), loss.dropped
    for row in range(len(ids)):
        mine = dropped.window == row
        window = Window(ids[row], hidden[row], ids.shape[1])
        features = costs.features(costs.parts(window), dropped.position[mine], dropped.token[mine], dropped.gap[mine])
        corrected = hidden[row, dropped.position[mine]] + objective.heads.span_head.out(features)
        logits = (corrected @ tiny_backbone.output_embeddings.T).detach()
        bits = -logits.log_softmax(-1).gather(1, ids[row, dropped.position[mine], None])[:, 0] / np.log(2)
        torch.testing.assert_close(loss.bits[mine], bits, rtol=2e-3, atol=2e-3)


def test_the_true_tokens_are_candidates_even_where_none_are_given(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans
) -> None:
    few = objective(ids, spans, hidden, torch.arange(3), TEMPERATURE)
    assert bool(few.bits.isfinite().all())
    assert len(few.bits) == 4 * (1 + 2 + 3 + 4 + 5)


def test_codes_in_use_lower_the_loss(
    objective: Objective, ids: Tensor, hidden: Tensor, spans: Spans, candidates: Tensor
) -> None:
    torch.manual_seed(0)
    loss = objective(ids, spans, hidden, candidates, TEMPERATURE)
    assert 0 < loss.usage <= np.log2(objective.heads.settings.subcode_size) + 1e-3
    nats = float(loss.bits.mean()) * np.log(2)
    assert float(loss.total.detach()) == pytest.approx(nats - 0.02 * loss.usage * np.log(2), abs=1e-3)


def test_the_end_of_the_warm_up_keeps_what_corrections_say(
    objective: Objective, ids: Tensor, spans: Spans, tiny_backbone: Backbone
) -> None:
    head = objective.heads.span_head
    z = torch.randn(5, objective.heads.settings.width)
    with torch.no_grad():
        warm = head.out(head.features(z)) @ objective.heads.embeddings.T * objective.warmup_scale.exp()
        objective.finish_warmup()
        joint = head.out(head.features(z)) @ tiny_backbone.output_embeddings.T
    # The backbone ties its embeddings, so they are the same logits on the LLM's scale.
    factor = objective.heads.scale / float(tiny_backbone.embeddings.std())
    torch.testing.assert_close(joint * factor, warm, rtol=1e-3, atol=1e-4)
