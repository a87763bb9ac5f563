"""Write a reader as a model that other engines run unchanged.

    config.json, generation_config.json, model.safetensors     the backbone with the LoRA merged in
    tokenizer.json, tokenizer_config.json, chat_template.jinja its tokenizer and chat template
    zprompt.json, zprompt/z_embedding.safetensors              which codec its Z-tokens are of, and the embeddings of
                                                               gaps

transformers and vLLM read the first two lines and know nothing of Z-tokens. A prompt with Z-spans reaches them as input
embeddings, which `Reader.embed` computes; the third line is what is needed to compute them elsewhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from zprompt.errors import OptionError
from zprompt.llm import LlamaDecoder, as_transformers, pull, quiet_transformers
from zprompt.reader.checkpoint import EMBEDDING_FILE
from zprompt.reader.reader import Reader

FORMAT = 2  # 1 had learned codes
ABOUT_FILE = "zprompt.json"
# A folder of its own: vLLM loads every *.safetensors that lies beside config.json, and stops at names it does not know.
EMBEDDING_FOLDER = "zprompt"


def export_reader(reader: Reader, folder: Path) -> None:
    """Write a reader as a Hugging Face checkpoint.

    :param reader: The reader, with engine "fp32".
    :param folder: A new folder, or that of an export, which is replaced.
    :raises OptionError: If the folder holds anything else, or the reader has another engine.
    """
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / ABOUT_FILE).is_file())):
        raise OptionError(f"{folder} holds something other than an exported reader. Choose a new folder.")
    decoder = reader.decoder
    if not isinstance(decoder, LlamaDecoder) or decoder.norm.weight.dtype != torch.float32:
        raise OptionError("This reader no longer has its fp32 weights. Load it with load_reader(…, engine='fp32').")
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        _write_model(reader, decoder, folder)
        _write_tokenizer(reader, folder)
    state = {name: tensor.cpu().contiguous() for name, tensor in reader.z_embedding.state_dict().items()}
    (folder / EMBEDDING_FOLDER).mkdir(exist_ok=True)
    save_file(state, folder / EMBEDDING_FOLDER / EMBEDDING_FILE)
    (folder / ABOUT_FILE).write_text(json.dumps(_about(reader), indent=2) + "\n", "utf-8")


def _write_model(reader: Reader, decoder: LlamaDecoder, folder: Path) -> None:
    """Write the merged weights, and the tokens that end a text."""
    from transformers import GenerationConfig

    backbone = reader.backbone
    model = as_transformers(decoder, backbone.output_embeddings, pull(backbone.name))
    ends = sorted(reader.end_ids)
    model.generation_config = GenerationConfig(
        bos_token_id=backbone.start_id, eos_token_id=ends, pad_token_id=ends[0], do_sample=False
    )
    model.save_pretrained(folder)
    # The names of transformers 4, which other engines may expect.
    _amend(folder / "config.json", rope_theta=decoder.shape.rope_theta, torch_dtype="float32")


def _write_tokenizer(reader: Reader, folder: Path) -> None:
    """Write the tokenizer with the chat template."""
    from transformers import PreTrainedTokenizerFast

    end = min(reader.template.end_ids or reader.end_ids)
    start_token, end_token = (reader.backbone.decode([token_id]) for token_id in (reader.backbone.start_id, end))
    PreTrainedTokenizerFast(
        tokenizer_object=reader.backbone.tokenizer.backend,
        bos_token=start_token,
        eos_token=end_token,
        pad_token=end_token,
        model_max_length=reader.max_positions,
        clean_up_tokenization_spaces=False,
        chat_template=reader.template.jinja,
    ).save_pretrained(folder)
    _amend(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")  # as transformers 4 calls it


def _amend(path: Path, **values: object) -> None:
    """Set values in a JSON file."""
    content = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**content, **values}, indent=2) + "\n", "utf-8")


def _about(reader: Reader) -> dict[str, Any]:
    """Return which Z-tokens the model reads."""
    return {
        "format": FORMAT,
        "reader": reader.name,
        "codec": reader.codec.name,
        "codec_fingerprint": reader.codec.fingerprint,
        "backbone": reader.backbone.name,
        "backbone_fingerprint": reader.backbone.weights_fingerprint,
        "max_gap": reader.z_embedding.max_gap,
    }
