"""Any causal LM is a codec: other architectures compress and restore without any training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.errors import BackboneError

pytestmark = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
TEXTS = st.lists(
    st.sampled_from([*SENTENCES, "é🌍", "\n\n", "日本。"])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    max_size=4,
).map(" ".join)
LONG = " ".join(SENTENCES) * 5  # more than one window


def gpt2(vocab_size: int) -> Any:  # noqa: ANN401 - transformers' own types
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(vocab_size=vocab_size, n_embd=64, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    )


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def qwen2(vocab_size: int) -> Any:  # noqa: ANN401
    from transformers import Qwen2Config, Qwen2ForCausalLM

    return Qwen2ForCausalLM(Qwen2Config(vocab_size=vocab_size, **SIZES))


def gemma(vocab_size: int) -> Any:  # noqa: ANN401
    from transformers import GemmaConfig, GemmaForCausalLM

    return GemmaForCausalLM(GemmaConfig(vocab_size=vocab_size, head_dim=16, **SIZES))


def mistral(vocab_size: int) -> Any:  # noqa: ANN401
    from transformers import MistralConfig, MistralForCausalLM

    return MistralForCausalLM(MistralConfig(vocab_size=vocab_size, sliding_window=64, **SIZES))


def gemma3(vocab_size: int) -> Any:  # noqa: ANN401
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    kinds = ["sliding_attention", "full_attention"]
    return Gemma3ForCausalLM(
        Gemma3TextConfig(vocab_size=vocab_size, head_dim=16, sliding_window=64, layer_types=kinds, **SIZES)
    )


MAKERS: dict[str, Callable[[int], Any]] = {
    "GPT-2": gpt2,
    "Qwen2": qwen2,
    "Gemma": gemma,
    "Mistral": mistral,
    "Gemma 3": gemma3,
}


Save = Callable[[Callable[[int], Any]], Path]


@pytest.fixture(scope="module")
def save(tmp_path_factory: pytest.TempPathFactory, tiny_tokenizer: Tokenizer) -> Save:
    """Return a function that saves a model with random weights, built for the size of the tokenizer's vocabulary."""

    def make(maker: Callable[[int], Any]) -> Path:
        folder: Path = tmp_path_factory.mktemp("any") / "llm"
        with torch.random.fork_rng():
            torch.manual_seed(0)
            maker(tiny_tokenizer.get_vocab_size()).save_pretrained(folder)
        tiny_tokenizer.save(str(folder / "tokenizer.json"))
        return folder

    return make


@pytest.fixture(scope="module", params=MAKERS)
def codec(request: pytest.FixtureRequest, save: Save) -> Codec:
    """Return a codec over a tiny LLM of some architecture."""
    return Codec.from_pretrained(save(MAKERS[request.param]), device="cpu")


@settings(max_examples=8)
@given(text=TEXTS, ratio=st.none() | st.floats(1, 9))
def test_any_text_comes_back(codec: Codec, text: str, ratio: float | None) -> None:
    assert codec.decompress(codec.compress(text, ratio=ratio).documents) == text


@settings(max_examples=4)
@given(texts=st.lists(TEXTS, max_size=5), batch_size=st.integers(1, 4))
def test_texts_come_back_in_batches_and_their_spans_do_not_depend_on_the_batch(
    codec: Codec, texts: list[str], batch_size: int
) -> None:
    spans = codec.compress(texts, batch_size=batch_size).documents
    assert spans == [codec.compress(text).documents for text in texts]
    assert codec.decompress(spans, batch_size=batch_size) == texts


def test_a_text_of_several_windows_comes_back(codec: Codec) -> None:
    result = codec.compress(LONG, ratio=4)
    assert result.stats.source_tokens > codec.settings.window
    assert codec.decompress(result.documents) == LONG
    ranked = [symbol for symbol in codec.parse(result.documents).symbols if symbol < 256]
    assert len(ranked) > 100  # the LLM predicts most of them


def test_windows_are_no_longer_than_the_llm_reads(save: Save) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_positions": 100, "n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
    folder = save(lambda size: GPT2LMHeadModel(GPT2Config(vocab_size=size, **sizes)))
    codec = Codec.from_pretrained(folder, device="cpu")
    assert codec.settings.window == 64
    assert codec.decompress(codec.compress(LONG).documents) == LONG


def test_a_recurrent_llm_is_refused(save: Save) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    folder = save(lambda size: MambaForCausalLM(MambaConfig(vocab_size=size, hidden_size=32, num_hidden_layers=1)))
    with pytest.raises(BackboneError, match="recurrent"):
        Codec.from_pretrained(folder, device="cpu")
