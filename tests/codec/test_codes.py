"""Sub-codes are written where they pay, and both directions compute the same from them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codec.conftest import SETTINGS, make_heads
from tests.conftest import SENTENCES
from zprompt.codec.code_layout import layout
from zprompt.codec.codec import Codec
from zprompt.codec.codes import PRICE, CodeWriter, DroppedTokens, corrected
from zprompt.codec.compressor import Compressor
from zprompt.codec.heads import CodecHeads
from zprompt.llm import Backbone
from zprompt.zspan import LITERALS, NO_CODE, ZToken, encode, parse_span

NONE = (NO_CODE,) * 3
CODES = st.tuples(*[st.just(NO_CODE) | st.integers(0, 15)] * 3)
TOKENS = st.lists(st.builds(ZToken, st.integers(0, 400), st.integers(0, 8), CODES), max_size=10)
MAX_GAP = 6


@pytest.fixture(scope="module")
def heads(tiny_backbone: Backbone) -> CodecHeads:
    return make_heads(tiny_backbone)


def closed(tokens: list[ZToken]) -> list[ZToken]:
    """Put an anchor at the end."""
    return [*tokens, ZToken(7, 0, NONE)]


@settings(max_examples=40)
@given(TOKENS)
def test_every_dropped_token_of_a_span_that_may_have_a_code_is_listed_in_order(tokens: list[ZToken]) -> None:
    expected, position, residual_index = [], 0, 0
    for index, (token, following) in enumerate(zip(tokens, closed(tokens)[1:], strict=True)):
        if token.gap <= MAX_GAP:
            expected += [
                (residual_index + j, position + 1 + j, j, token.gap, following.anchor, index, token.code)
                for j in range(token.gap)
            ]
        position, residual_index = position + token.gap + 1, residual_index + token.gap
    rows = DroppedTokens.of(closed(tokens), MAX_GAP)
    columns = (rows.place, rows.position, rows.token, rows.gap, rows.anchor, rows.span, map(tuple, rows.code.tolist()))
    assert list(zip(*(list(column) for column in columns), strict=True)) == expected


def test_the_last_span_of_a_window_has_no_code() -> None:
    assert len(DroppedTokens.of([ZToken(7, 3, (1, 2, 3))], MAX_GAP).place) == 0
    assert len(DroppedTokens.of([ZToken(7, 0, NONE)] * 3, MAX_GAP).place) == 0


@settings(max_examples=20)
@given(TOKENS.filter(len))
def test_the_right_context_does_not_depend_on_the_spans_around(heads: CodecHeads, tokens: list[ZToken]) -> None:
    together = DroppedTokens.of(closed(tokens), MAX_GAP).right_context(heads)
    alone = [
        DroppedTokens.of([token, ZToken(following.anchor, 0, NONE)], MAX_GAP).right_context(heads)
        for token, following in zip(tokens, closed(tokens)[1:], strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("code", [(3, 1, 4), (3, NO_CODE, 4), (NO_CODE, 1, NO_CODE), NONE])
@pytest.mark.parametrize("gap", range(1, MAX_GAP + 1))
def test_the_right_context_is_the_sum_that_heads_define(heads: CodecHeads, gap: int, code: tuple[int, ...]) -> None:
    head, cut = heads.span_head, layout(3, MAX_GAP)
    rows = DroppedTokens.of([ZToken(7, gap, code), ZToken(9, 0, NONE)], MAX_GAP)
    context, written = rows.right_context(heads), rows.written(heads)
    for j in range(gap):
        total = head.anchor_context(heads.embeddings[[9]], torch.tensor([gap - j]))[0] + head.forward_place[j]
        covering = [m for m in range(3) if 0 <= j - cut.start[gap, m] < cut.sizes[cut.role[gap, m]]]
        for m in covering:
            role = cut.role[gap, m]
            if code[m] != NO_CODE:
                total = total + head.own[cut.first_place[role] + j - cut.start[gap, m], code[m]]
        if covering[-1] < 2 and code[covering[-1] + 1] != NO_CODE:
            total = total + head.following[cut.role[gap, covering[-1] + 1], code[covering[-1] + 1]]
        torch.testing.assert_close(context[j], total, atol=1e-5, rtol=1e-5)
        assert written[j] == any(code[m] != NO_CODE for m in covering)


class TestWriting:
    @pytest.fixture
    def ids(self, tiny_backbone: Backbone) -> list[int]:
        return tiny_backbone.encode(SENTENCES[4])[:30]

    @pytest.fixture
    def plain(self, tiny_compressor: Compressor, ids: list[int]) -> tuple[torch.Tensor, list[ZToken], list[int]]:
        """Return hidden states, Z-tokens and symbols of a window with an anchor at each fourth token."""
        [hidden] = tiny_compressor.hidden([ids])
        symbols = tiny_compressor.symbols([hidden], [ids])[0].tolist()
        tokens = [ZToken(ids[index], min(3, len(ids) - index - 1)) for index in range(0, len(ids), 4)]
        return hidden, tokens, [symbol for index, symbol in enumerate(symbols) if index % 4]

    def test_all_sub_codes_are_written_if_they_cost_nothing(
        self,
        tiny_compressor: Compressor,
        heads: CodecHeads,
        ids: list[int],
        plain: tuple[torch.Tensor, list[ZToken], list[int]],
    ) -> None:
        hidden, tokens, symbols = plain
        coded, coded_symbols = CodeWriter(tiny_compressor, heads, -np.inf).write(ids, hidden, tokens, symbols)
        assert [(token.anchor, token.gap) for token in coded] == [(token.anchor, token.gap) for token in tokens]
        assert all(NO_CODE not in token.code for token in coded[:-1])
        assert coded[-1].code == NONE
        assert coded_symbols != symbols

    def test_symbols_are_ranks_under_the_corrected_logits(
        self,
        tiny_compressor: Compressor,
        heads: CodecHeads,
        ids: list[int],
        plain: tuple[torch.Tensor, list[ZToken], list[int]],
    ) -> None:
        hidden, tokens, symbols = plain
        coded, coded_symbols = CodeWriter(tiny_compressor, heads, -np.inf).write(ids, hidden, tokens, symbols)
        rows = DroppedTokens.of(coded, MAX_GAP)
        position = torch.from_numpy(rows.position)
        true_ids = torch.tensor(ids)
        shifted = corrected(heads, hidden[position], true_ids[position - 1], rows.right_context(heads))
        logits = shifted @ tiny_compressor.backbone.output_embeddings.T
        for row, token, symbol in zip(
            logits, true_ids[position].tolist(), np.array(coded_symbols)[rows.place], strict=True
        ):
            assert symbol in (int((row > row[token]).sum()), LITERALS + token)

    @pytest.mark.parametrize("price", [0.0, 9.0, 1e9])
    def test_a_window_never_gets_longer(
        self,
        tiny_compressor: Compressor,
        heads: CodecHeads,
        ids: list[int],
        plain: tuple[torch.Tensor, list[ZToken], list[int]],
        price: float,
    ) -> None:
        hidden, tokens, symbols = plain
        written = CodeWriter(tiny_compressor, heads, price).write(ids, hidden, tokens, symbols)
        assert len(encode(*written)) <= len(encode(tokens, symbols))
        assert (written == (tokens, symbols)) or price < 1e9

    def test_a_window_of_anchors_has_no_codes(
        self, tiny_compressor: Compressor, heads: CodecHeads, ids: list[int]
    ) -> None:
        [hidden] = tiny_compressor.hidden([ids])
        anchors = [ZToken(token, 0) for token in ids]
        assert CodeWriter(tiny_compressor, heads, -np.inf).write(ids, hidden, anchors, []) == (anchors, [])


TEXTS = st.lists(st.sampled_from([*SENTENCES, "é🌍", "[z2:", "Moon\n\n"]), max_size=6).map(" ".join)


@settings(max_examples=15)
@given(TEXTS | st.text(st.characters(exclude_categories=["Cs"]), max_size=60), st.none() | st.floats(1, 12))
@pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
def test_texts_come_back_with_all_their_codes(coded_codec: Codec, text: str, ratio: float | None) -> None:
    written = coded_codec.compress(text, ratio=ratio).documents
    assert coded_codec.decompress(written) == text


def test_a_long_text_has_codes_in_every_window(coded_codec: Codec) -> None:
    span = parse_span(coded_codec.compress(" ".join(SENTENCES) * 2, ratio=4).documents)
    coded = [any(subcode != NO_CODE for subcode in token.code) for token in span.tokens]
    assert sum(coded) > 10


@pytest.fixture(scope="module", params=[-20.0, 0.0, PRICE])
def frugal_codec(request: pytest.FixtureRequest, tiny_backbone: Backbone) -> Codec:
    """Return a codec that writes sub-codes whose gain exceeds a price in bits; below 0 they may cost some."""
    codec = Codec(tiny_backbone, SETTINGS, make_heads(tiny_backbone), "frugal")
    assert codec._code_writer
    codec._code_writer.price = request.param
    return codec


@settings(max_examples=12)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 12))
@pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
def test_heads_make_no_stream_longer(tiny_codec: Codec, frugal_codec: Codec, text: str, ratio: float | None) -> None:
    plain = parse_span(tiny_codec.compress(text, ratio=ratio).documents)
    written = frugal_codec.compress(text, ratio=ratio).documents
    coded = parse_span(written)
    assert len(coded.stream) <= len(plain.stream)
    assert [(token.anchor, token.gap) for token in coded.tokens] == [(t.anchor, t.gap) for t in plain.tokens]
    assert frugal_codec.decompress(written) == text


def test_codes_that_do_not_pay_in_the_text_as_a_whole_are_left_out(
    tiny_codec: Codec, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = Codec(tiny_backbone, SETTINGS, make_heads(tiny_backbone), "hopeful")
    assert codec._code_writer
    hopeful = CodeWriter(codec._compressor, make_heads(tiny_backbone), -np.inf)
    monkeypatch.setattr(codec._code_writer, "write", hopeful.write)  # as if all codes paid in their windows
    written, plain = (c.parse(c.compress(" ".join(SENTENCES)).documents) for c in (codec, tiny_codec))
    assert (written.tokens, written.symbols) == (plain.tokens, plain.symbols)
