"""Any other causal LM runs through transformers."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from zprompt.errors import BackboneError
from zprompt.llm import Backbone, load_backbone
from zprompt.llm.transformers_decoder import quiet_transformers


@pytest.fixture(scope="module")
def gpt2(gpt2_backbone_dir: Path) -> Backbone:
    return load_backbone(str(gpt2_backbone_dir), device="cpu")


def some_ids(backbone: Backbone, rows: int, length: int) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return torch.randint(0, backbone.vocab_size, (rows, length), generator=generator)


def test_hidden_states_are_those_after_the_final_norm(gpt2: Backbone) -> None:
    ids = some_ids(gpt2, 2, 30)
    logits = gpt2.hidden(ids) @ gpt2.output_embeddings.T
    torch.testing.assert_close(logits, gpt2.model(ids).logits)


def test_sizes_are_those_of_the_model(gpt2: Backbone) -> None:
    assert gpt2.embeddings.shape == (gpt2.vocab_size, gpt2.hidden_size)
    assert gpt2.hidden_size == 64 and gpt2.start_id == 0


def test_decoding_in_steps_gives_the_same_hidden_states(gpt2: Backbone) -> None:
    ids = some_ids(gpt2, 2, 60)
    cache = gpt2.new_cache(2)
    pieces = [gpt2.hidden(piece, cache) for piece in ids.split([20, 1, 39], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), gpt2.hidden(ids), atol=1e-5, rtol=1e-5)


def test_rows_roll_back_to_different_lengths_and_can_be_dropped(gpt2: Backbone) -> None:
    ids = some_ids(gpt2, 3, 60)
    expected = gpt2.hidden(ids)
    cache = gpt2.new_cache(3)
    gpt2.hidden(ids[:, :40], cache)
    cache.rollback(torch.tensor([10, 40, 31]))
    cache.keep_rows(torch.tensor([2, 0]))
    assert cache.lengths.tolist() == [31, 10]
    hidden = gpt2.hidden(torch.stack([ids[2, 31:36], ids[0, 10:15]]), cache)
    torch.testing.assert_close(hidden[0], expected[2, 31:36], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden[1], expected[0, 10:15], atol=1e-5, rtol=1e-5)


def test_a_folder_with_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(BackboneError, match="cannot be loaded as a causal language model"):
        load_backbone(str(tmp_path), device="cpu")


def test_transformers_logs_again_afterwards() -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with pytest.raises(ZeroDivisionError), quiet_transformers():
        assert not logging.is_progress_bar_enabled()
        raise ZeroDivisionError
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before
