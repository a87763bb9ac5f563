"""The decoder in plain torch agrees with that of transformers, and in steps with one pass over all tokens."""

import pytest
import torch
from torch import Tensor

from zprompt.llm import Backbone, unpack
from zprompt.llm.cache import KeyValueCache
from zprompt.llm.llama import LlamaDecoder, LlamaShape


def some_ids(backbone: Backbone, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return torch.randint(0, backbone.vocab_size, (rows, length), generator=generator)


@pytest.mark.parametrize(("rows", "length"), [(1, 1), (1, 2), (3, 77), (2, 512)])
def test_hidden_states_are_bit_equal_to_those_of_transformers(tiny_backbone: Backbone, rows: int, length: int) -> None:
    assert isinstance(tiny_backbone.decoder, LlamaDecoder)
    ids, plain = some_ids(tiny_backbone, rows, length), unpack(tiny_backbone.decoder)
    output = tiny_backbone.model(ids, output_hidden_states=True)
    with torch.no_grad():
        assert torch.equal(plain(ids), output.hidden_states[-1])
    torch.testing.assert_close(tiny_backbone.logits(tiny_backbone.hidden(ids)), output.logits, atol=1e-5, rtol=1e-5)


def test_the_transformers_model_shares_the_weights(tiny_backbone: Backbone) -> None:
    shared = tiny_backbone.model.model.embed_tokens.weight
    assert shared.data_ptr() == tiny_backbone.embeddings.data_ptr()
    assert tiny_backbone.model.lm_head.weight.data_ptr() == shared.data_ptr()


def test_decoding_in_steps_gives_the_same_hidden_states(tiny_backbone: Backbone) -> None:
    ids = some_ids(tiny_backbone, 3, 150)
    cache = tiny_backbone.new_cache(3)
    pieces = [tiny_backbone.hidden(piece, cache) for piece in ids.split([40, 1, 1, 8, 100], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), tiny_backbone.hidden(ids), atol=1e-5, rtol=1e-5)
    assert cache.lengths.tolist() == [150] * 3


def test_rows_roll_back_to_different_lengths(tiny_backbone: Backbone) -> None:
    ids = some_ids(tiny_backbone, 3, 60)
    cache = tiny_backbone.new_cache(3)
    tiny_backbone.hidden(some_ids(tiny_backbone, 3, 50), cache)
    cache.rollback(torch.tensor([0, 0, 0]))
    tiny_backbone.hidden(ids[:, :50], cache)
    cache.rollback(torch.tensor([10, 50, 31]))
    next_ids = torch.stack([row[length : length + 5] for row, length in zip(ids, cache.lengths, strict=True)])
    hidden, expected = tiny_backbone.hidden(next_ids, cache), tiny_backbone.hidden(ids)
    for row, length in enumerate([10, 50, 31]):
        torch.testing.assert_close(hidden[row], expected[row, length : length + 5], atol=1e-5, rtol=1e-5)


def test_rolling_back_never_lengthens_a_row(tiny_backbone: Backbone) -> None:
    cache = tiny_backbone.new_cache(2)
    tiny_backbone.hidden(some_ids(tiny_backbone, 2, 5), cache)
    cache.rollback(torch.tensor([9, 3]))
    assert cache.lengths.tolist() == [5, 3]


def test_rows_can_be_dropped(tiny_backbone: Backbone) -> None:
    ids = some_ids(tiny_backbone, 3, 30)
    cache = tiny_backbone.new_cache(3)
    tiny_backbone.hidden(ids[:, :20], cache)
    cache.keep_rows(torch.tensor([2, 0]))
    hidden = tiny_backbone.hidden(ids[[2, 0], 20:], cache)
    torch.testing.assert_close(hidden, tiny_backbone.hidden(ids)[[2, 0], 20:], atol=1e-5, rtol=1e-5)


def test_padding_on_the_right_changes_nothing(tiny_backbone: Backbone) -> None:
    ids = some_ids(tiny_backbone, 1, 128)
    longer = torch.cat((ids, torch.zeros(1, 64, dtype=torch.long)), dim=1)
    torch.testing.assert_close(tiny_backbone.hidden(longer)[:, :128], tiny_backbone.hidden(ids), atol=1e-5, rtol=1e-5)


def test_hidden_states_can_be_used_in_training(tiny_backbone: Backbone) -> None:
    weight = torch.ones(tiny_backbone.hidden_size, requires_grad=True)
    (tiny_backbone.hidden(some_ids(tiny_backbone, 1, 4)) * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gpt2"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"mlp_bias": True},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"rope_scaling": {"type": "linear", "factor": 2.0}},
    ],
)
def test_a_model_that_is_no_plain_llama_is_left_to_transformers(change: dict[str, object]) -> None:
    plain = {
        "model_type": "llama",
        "vocab_size": 10,
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "rope_theta": 5e5,
    }
    shape = LlamaShape.from_config(plain)
    assert shape is not None and (shape.key_heads, shape.head_size, shape.rope_theta) == (2, 4, 5e5)
    assert LlamaShape.from_config({**plain, **change}) is None


def test_running_embeddings_gives_the_same_as_running_their_tokens(tiny_backbone: Backbone) -> None:
    ids = some_ids(tiny_backbone, 3, 50)
    decoder = tiny_backbone.decoder
    assert isinstance(decoder, LlamaDecoder)
    assert torch.equal(decoder.run(decoder.embed_tokens(ids)), tiny_backbone.hidden(ids))

    cache = tiny_backbone.new_cache(3)
    assert isinstance(cache, KeyValueCache)
    pieces = [decoder.run(decoder.embed_tokens(piece), cache) for piece in ids.split([20, 30], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), tiny_backbone.hidden(ids), atol=1e-5, rtol=1e-5)


def test_the_context_is_as_long_as_the_configuration_says(tiny_backbone: Backbone) -> None:
    assert isinstance(tiny_backbone.decoder, LlamaDecoder)
    assert tiny_backbone.decoder.shape.max_positions == 1024
