"""Load a backbone by name: find its folder, read its weights, quantize its linear layers, place it on a device."""

import torch
from torch import Tensor

from zprompt.errors import BackboneError, OptionError
from zprompt.llm.backbone import Backbone, Decoder
from zprompt.llm.fetching import ModelFolder, describe, digest_of, pull
from zprompt.llm.gguf import read_tensors
from zprompt.llm.hub import TransformersDecoder, as_transformers, load_transformers_model
from zprompt.llm.llama import LlamaDecoder, LlamaShape
from zprompt.llm.quantization import choose_quantization, quantize
from zprompt.llm.tokenizer import TextTokenizer


def load_backbone(name: str = "default", *, device: str = "auto", quantization: str = "auto") -> Backbone:
    """Load a backbone, fetching it first if that is needed and allowed.

    :param name: "default", the path of a model folder, or a model's name on the Hugging Face hub.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The backbone, frozen, computing in fp32.
    """
    place = choose_device(device)
    kept_as = choose_quantization(quantization, place)
    folder = describe(pull(name))
    decoder: Decoder
    shape = LlamaShape.from_config(folder.config)
    if shape:
        llama, head = _read_llama(folder, shape)
        quantize(llama, kept_as, place)
        llama, head = llama.to(place), head.to(place)
        decoder, make_model = llama, lambda: as_transformers(llama, head, folder.path)
        embeddings = llama.embed_tokens.weight
    else:
        model = load_transformers_model(folder.path)
        quantize(model.base_model, kept_as, place)
        model = model.to(place).eval().requires_grad_(False)
        decoder, make_model = TransformersDecoder(model.base_model), lambda: model
        embeddings, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    return Backbone(
        name=name,
        decoder=decoder,
        embeddings=embeddings,
        output_embeddings=head,
        make_model=make_model,
        tokenizer=TextTokenizer.from_folder(folder.path),
        start_id=folder.start_id,
        end_ids=folder.end_ids,
        weights_fingerprint=folder.digest[:16],
        fingerprint=digest_of(folder.digest, kept_as)[:16],
        quantization=kept_as,
    )


def choose_device(wanted: str) -> torch.device:
    """Turn the `device` option into a device.

    :param wanted: "auto" (a GPU if there is one), "cpu" or "cuda".
    :return: The device.
    :raises OptionError: If `wanted` is something else, or there is no GPU.
    """
    if wanted not in {"auto", "cpu", "cuda"}:
        raise OptionError(f"device is {wanted!r}. Must be one of 'auto', 'cpu', 'cuda'.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise OptionError("device is 'cuda', but torch finds no GPU here. Choose 'cpu' or 'auto'.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _read_llama(folder: ModelFolder, shape: LlamaShape) -> tuple[LlamaDecoder, Tensor]:
    """Build a Llama decoder and fill it; return it with its head."""
    tensors = read_tensors(folder.path / "model.gguf", folder.packed) if folder.packed else _read_safetensors(folder)
    head = tensors.pop("lm_head.weight", None)
    with torch.device("meta"):
        decoder = LlamaDecoder(shape)
    try:
        decoder.load_state_dict({name.removeprefix("model."): tensor for name, tensor in tensors.items()}, assign=True)
    except RuntimeError as error:
        raise BackboneError(f"The weights in {folder.path} are not those of its config.json: {error}") from error
    if head is None or folder.config.get("tie_word_embeddings", False):
        head = decoder.embed_tokens.weight.detach()
    return decoder.eval().requires_grad_(False), head


def _read_safetensors(folder: ModelFolder) -> dict[str, Tensor]:
    """Read all weights of a folder in fp32."""
    from safetensors.torch import load_file

    files = sorted(folder.path.glob("*.safetensors"))
    return {name: tensor.float() for path in files for name, tensor in load_file(path).items()}
