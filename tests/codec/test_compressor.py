"""The symbol of a token is its rank under the LLM, which the decompressor computes too."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec import compressor
from zprompt.codec.compressor import Compressor
from zprompt.codec.settings import CodecSettings
from zprompt.llm import Backbone
from zprompt.zspan import LITERALS

some = settings(max_examples=25, deadline=None)
NEAR = 1e-5  # in logits: rivals nearer than this may swap ranks


@pytest.fixture
def windows(tiny_backbone: Backbone) -> list[list[int]]:
    texts = (*SENTENCES, "a", " ".join(SENTENCES))
    return [tiny_backbone.encode(text)[:90] for text in texts]


def test_hidden_states_are_those_of_each_window_alone(
    tiny_compressor: Compressor, tiny_backbone: Backbone, windows: list[list[int]]
) -> None:
    for ids, hidden in zip(windows, tiny_compressor.hidden(windows), strict=True):
        alone = tiny_backbone.hidden(torch.tensor([[tiny_backbone.start_id, *ids[:-1]]]))[0]
        torch.testing.assert_close(hidden, alone, atol=1e-5, rtol=1e-5)


def test_hidden_states_are_the_same_bits_in_any_batch(tiny_compressor: Compressor, windows: list[list[int]]) -> None:
    together = tiny_compressor.hidden(windows)
    for ids, hidden in zip(windows, together, strict=True):
        assert torch.equal(tiny_compressor.hidden([ids])[0], hidden)


@some
@given(st.lists(st.integers(1, 300), min_size=1, max_size=6), st.integers(0, 5))
def test_any_windows_are_read_and_ranked_as_if_each_were_alone(
    tiny_compressor: Compressor, tiny_backbone: Backbone, lengths: list[int], which: int
) -> None:
    windows = [[(7 * index + length) % tiny_backbone.vocab_size for index in range(length)] for length in lengths]
    chosen = which % len(windows)
    hidden = tiny_compressor.hidden(windows)
    [alone] = tiny_compressor.hidden([windows[chosen]])
    assert [len(states) for states in hidden] == lengths
    assert torch.equal(hidden[chosen], alone)
    [symbols] = tiny_compressor.symbols([alone], [windows[chosen]])
    assert tiny_compressor.symbols(hidden, windows)[chosen].tolist() == symbols.tolist()


def test_symbols_are_ranks_in_the_full_vocabulary_or_the_tokens_themselves(
    tiny_compressor: Compressor, tiny_backbone: Backbone, windows: list[list[int]]
) -> None:
    margin, is_literal = tiny_compressor.settings.margin, set()
    hidden = tiny_compressor.hidden(windows)
    for ids, states, symbols in zip(windows, hidden, tiny_compressor.symbols(hidden, windows), strict=True):
        logits = states @ tiny_backbone.output_embeddings.T
        for row, token, symbol in zip(logits, ids, symbols.tolist(), strict=True):
            rank = int((row > row[token]).sum())
            rivals = int(((row - row[token]).abs() < margin + NEAR).sum()) - 1
            assert symbol == rank or (symbol == LITERALS + token and (rivals > 0 or rank >= LITERALS))
            is_literal.add(symbol >= LITERALS)
    assert is_literal == {False, True}


def test_symbols_do_not_depend_on_how_many_rows_are_ranked_at_a_time(
    tiny_compressor: Compressor, windows: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tiny_compressor.hidden(windows)
    usual = tiny_compressor.symbols(hidden, windows)
    monkeypatch.setattr(compressor, "RANKED_ROWS", 7)
    for symbols, before in zip(tiny_compressor.symbols(hidden, windows), usual, strict=True):
        assert symbols.tolist() == before.tolist()


def test_a_margin_that_no_token_has_leaves_literals_only(tiny_backbone: Backbone, windows: list[list[int]]) -> None:
    compressor_with_margin = Compressor(tiny_backbone, CodecSettings(margin=100.0))
    [symbols] = compressor_with_margin.symbols(compressor_with_margin.hidden(windows[:1]), windows[:1])
    assert symbols.tolist() == [LITERALS + token for token in windows[0]]


def test_a_text_that_the_llm_expects_has_low_ranks(tiny_compressor: Compressor, tiny_backbone: Backbone) -> None:
    ids = [tiny_backbone.start_id]
    for _ in range(12):
        logits = tiny_compressor.hidden([[*ids[1:], 0]])[0][-1] @ tiny_backbone.output_embeddings.T
        ids.append(int(logits.argmax()))
    [symbols] = tiny_compressor.symbols(tiny_compressor.hidden([ids[1:]]), [ids[1:]])
    assert all(symbol in (0, LITERALS + token) for symbol, token in zip(symbols.tolist(), ids[1:], strict=True))
    assert 0 in symbols


def test_no_windows_have_no_hidden_states(tiny_compressor: Compressor) -> None:
    assert tiny_compressor.hidden([]) == []
    assert tiny_compressor.symbols([], []) == []
