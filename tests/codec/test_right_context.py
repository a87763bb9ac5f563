"""Both directions know the same of a dropped token before the LLM has read up to it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec.code_layout import layout
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads, DroppedTokens, right_context
from zprompt.codec.span_costs import Window
from zprompt.llm import Backbone
from zprompt.llm.batch_invariance import pad_rows
from zprompt.zspan.alphabet import ZToken

NO_CODE = (0, 0, 0)
CODES = st.tuples(*[st.integers(0, 15)] * 3)
TOKENS = st.lists(st.builds(ZToken, st.integers(0, 400), st.integers(0, 6), CODES), max_size=12)


def windows_of(tokens: list[ZToken]) -> list[ZToken]:
    """Put the anchor at the end that every window has."""
    return [*tokens, ZToken(7, 0, NO_CODE)]


@given(TOKENS)
def test_every_dropped_token_is_listed_where_it_stands(tokens: list[ZToken]) -> None:
    expected, position = [], 0
    for token, following in zip(tokens, windows_of(tokens)[1:], strict=True):
        expected += [(position + 1 + j, j, token.gap, following.anchor, token.code) for j in range(token.gap)]
        position += token.gap + 1
    dropped = DroppedTokens.of(windows_of(tokens))
    columns = (dropped.position, dropped.token, dropped.gap, dropped.anchor, map(tuple, dropped.code.tolist()))
    assert list(zip(*(list(column) for column in columns), strict=True)) == expected


@given(TOKENS)
def test_what_is_ahead_does_not_depend_on_the_spans_around(tiny_heads: CodecHeads, tokens: list[ZToken]) -> None:
    together, alone = right_context(tiny_heads, DroppedTokens.of(windows_of(tokens))), []
    for token, following in zip(tokens, windows_of(tokens)[1:], strict=True):
        alone.append(right_context(tiny_heads, DroppedTokens.of([token, ZToken(following.anchor, 0, NO_CODE)])))
    expected = torch.cat(alone) if alone else together
    assert together.shape == (sum(token.gap for token in tokens), tiny_heads.settings.width)
    torch.testing.assert_close(together, expected, atol=1e-5, rtol=1e-5)


def test_it_is_the_sum_that_heads_define(tiny_heads: CodecHeads) -> None:
    head, cut = tiny_heads.span_head, layout(3, 6)
    for gap in range(1, 7):
        code = (3, 1, 4)
        rows = right_context(tiny_heads, DroppedTokens.of([ZToken(7, gap, code), ZToken(9, 0, NO_CODE)]))
        for j in range(gap):
            total = head.anchor_context(tiny_heads.embeddings[[9]], torch.tensor([gap - j]))[0] + head.forward_place[j]
            mine = [m for m in range(3) if 0 <= j - cut.start[gap, m] < cut.sizes[cut.role[gap, m]]]
            for m in mine:
                role = cut.role[gap, m]
                total = total + head.own[cut.first_place[role] + j - cut.start[gap, m], code[m]]
            if mine[-1] < 2:
                total = total + head.following[cut.role[gap, mine[-1] + 1], code[mine[-1] + 1]]
            torch.testing.assert_close(rows[j], total, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", [{"code": (3, 1, 5)}, {"code": (4, 1, 4)}, {"anchor": 8}, {"gap": 4}])
def test_code_anchor_and_gap_all_matter(tiny_heads: CodecHeads, change: dict[str, object]) -> None:
    values = {"anchor": 9, "gap": 5, "code": (3, 1, 4)}

    def rows(anchor: int, gap: int, code: tuple[int, ...]) -> torch.Tensor:
        return right_context(tiny_heads, DroppedTokens.of([ZToken(7, gap, code), ZToken(anchor, 0, NO_CODE)]))

    one, other = rows(**values), rows(**{**values, **change})  # type: ignore[arg-type]
    count = min(len(one), len(other))
    assert not torch.allclose(one[:count], other[:count], atol=1e-3)


def test_a_window_of_anchors_has_nothing_ahead(tiny_heads: CodecHeads) -> None:
    assert right_context(tiny_heads, DroppedTokens.of([ZToken(7, 0, NO_CODE)] * 3)).shape == (
        0,
        tiny_heads.settings.width,
    )
    assert len(DroppedTokens.of([]).position) == 0


def test_the_compressor_computes_the_same_features_for_the_same_spans(
    tiny_backbone: Backbone, tiny_compressor: Compressor
) -> None:
    checker, ids = tiny_compressor.span_costs, tiny_backbone.encode(SENTENCES[2])[:24]
    [hidden] = tiny_compressor.hidden([ids])
    window = Window(pad_rows(torch.tensor(ids)), pad_rows(hidden), len(ids))
    parts, cut, head = checker.parts(window), checker.layout, tiny_compressor.heads.span_head
    for gap in range(1, 7):
        for t in range(len(ids) - gap - 1):
            code = parts.subcodes[t + 1 + cut.start[gap], cut.role[gap]].tolist()
            dropped = DroppedTokens.of([ZToken(ids[t], gap, tuple(code)), ZToken(ids[t + gap + 1], 0, NO_CODE)])
            position = torch.from_numpy(dropped.position) + t
            context = head.left_context(tiny_compressor.heads.embeddings[window.ids[position - 1]], hidden[position])
            shared = head.features(context + right_context(tiny_compressor.heads, dropped))
            token, gaps = torch.from_numpy(dropped.token), torch.from_numpy(np.array(dropped.gap))
            torch.testing.assert_close(checker.features(parts, position, token, gaps), shared, atol=1e-4, rtol=0)
