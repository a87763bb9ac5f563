"""transformers loads an exported reader, which then generates what our reader does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.conftest import SENTENCES
from tests.reader.conftest import random_embedding
from zprompt.codec.codec import Codec
from zprompt.errors import OptionError
from zprompt.llm import Backbone
from zprompt.llm.transformers_decoder import quiet_transformers
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.export import export_reader
from zprompt.reader.prompt import Message
from zprompt.reader.reader import Reader


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_reader: Reader) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "reader"
    export_reader(tiny_reader, folder)
    return folder


@pytest.fixture(scope="module")
def model(exported: Path) -> Any:  # noqa: ANN401
    with quiet_transformers():
        return AutoModelForCausalLM.from_pretrained(exported, local_files_only=True)


@pytest.fixture(scope="module")
def prompts(chat_codec: Codec) -> list[list[Message]]:
    spans = list(chat_codec.compress([sentence + " the the the the" for sentence in SENTENCES]).documents)
    contents = [f"{sentence} {span}?" for sentence, span in zip(SENTENCES, spans, strict=True)]
    return [[{"role": "user", "content": content}] for content in contents]


def test_transformers_generates_what_the_reader_does(
    model: Any,  # noqa: ANN401
    exported: Path,
    tiny_reader: Reader,
    prompts: list[list[Message]],
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported, local_files_only=True)

    for messages in prompts:
        embedded = tiny_reader.embed(messages)[None]
        ids = model.generate(inputs_embeds=embedded, attention_mask=torch.ones(embedded.shape[:2]), max_new_tokens=30)

        assert tokenizer.decode(ids[0], skip_special_tokens=True) == (
            tiny_reader.generate(messages, max_new_tokens=30).text
        )


def test_the_exported_tokenizer_writes_the_same_prompt(exported: Path, tiny_reader: Reader) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported, local_files_only=True)
    messages = [{"role": "user", "content": SENTENCES[0]}]

    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)

    assert torch.equal(tiny_reader.backbone.embeddings[ids], tiny_reader.embed(messages))
    assert Tokenizer.from_file(str(exported / "tokenizer.json")).encode("The fox").ids == (
        tiny_reader.backbone.encode("The fox")
    )


def test_the_exported_model_has_the_end_tokens_of_the_reader(model: Any, tiny_reader: Reader) -> None:  # noqa: ANN401
    assert set(model.generation_config.eos_token_id) == tiny_reader.end_ids
    assert model.dtype == torch.float32


def test_the_config_serves_both_generations_of_transformers(exported: Path, tiny_reader: Reader) -> None:
    config, tokenizer = (json.loads((exported / name).read_text()) for name in ("config.json", "tokenizer_config.json"))

    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == tiny_reader.decoder.shape.rope_theta
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"


def test_the_z_embedding_is_exported_too(exported: Path, tiny_reader: Reader) -> None:
    config = json.loads((exported / "zprompt.json").read_text())
    embedding = ZEmbedding(tiny_reader.backbone.hidden_size, config["max_gap"])
    embedding.load_state_dict(load_file(exported / "zprompt" / "z_embedding.safetensors"))

    assert config["codec_fingerprint"] == tiny_reader.codec.fingerprint
    assert torch.equal(embedding.gap, tiny_reader.z_embedding.gap)


def test_the_model_is_the_only_weight_file_in_the_folder_itself(exported: Path) -> None:
    assert [path.name for path in exported.glob("*.safetensors")] == ["model.safetensors"]  # vLLM loads all of them


def test_an_export_overwrites_an_export_and_nothing_else(tiny_reader: Reader, tmp_path: Path) -> None:
    export_reader(tiny_reader, tmp_path / "one")
    export_reader(tiny_reader, tmp_path / "one")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("keep me")

    with pytest.raises(OptionError, match="something other"):
        export_reader(tiny_reader, tmp_path / "other")
    with pytest.raises(OptionError, match="something other"):
        export_reader(tiny_reader, tmp_path / "other" / "letter.txt")


def test_a_reader_without_chatml_is_exported_with_the_plain_template(tiny_backbone: Backbone, tmp_path: Path) -> None:
    codec = Codec(tiny_backbone, name="plain")
    reader = Reader(codec, tiny_backbone.decoder, random_embedding(codec))  # type: ignore[arg-type]  # a Llama
    messages = [{"role": "user", "content": SENTENCES[0]}]

    export_reader(reader, tmp_path / "plain")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "plain", local_files_only=True)

    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert torch.equal(tiny_backbone.embeddings[ids], reader.embed(messages))
