"""Load a backbone by name: find its folder, read its weights, quantize its linear layers, place it on a device.

The linear layers may be replaced by bitsandbytes' 4-bit or 8-bit ones:

    nf4    4 bits in blocks of 64 with one scale each     int8   8 bits, one scale per row

The embeddings and the LM head are not quantized: the codec uses both as plain matrices. On a CPU without AVX-512
quantization saves memory but costs time (figures in docs/quantization.md), so on a CPU "auto" does not quantize.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import get_args

import torch
from torch import Tensor, nn

from zprompt.errors import BackboneError, MissingDependencyError, OptionError
from zprompt.llm.backbone import Backbone, Quantization, Weights
from zprompt.llm.fetching import ModelFolder, describe, digest_of, pull
from zprompt.llm.gguf import read_tensors
from zprompt.llm.llama import LlamaDecoder, LlamaShape
from zprompt.llm.packed import pack
from zprompt.llm.tokenizer import TextTokenizer
from zprompt.llm.transformers_decoder import TransformersDecoder, as_transformers, load_transformers_model


def load_backbone(name: str = "default", *, device: str = "auto", quantization: str = "auto") -> Backbone:
    """Load a backbone, fetching it first if needed and allowed.

    :param name: "default", the path of a model folder, or a model's name on the Hugging Face hub.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The backbone, frozen, computing in fp32. A Llama's weights are read when they are first needed.
    """
    chosen_device = choose_device(device)
    chosen_quantization = choose_quantization(quantization, chosen_device)
    folder = describe(pull(name))
    shape = LlamaShape.from_config(folder.config)
    positions: int | None
    load: Callable[[], Weights]
    if shape:
        vocab_size, hidden_size, positions = shape.vocab_size, shape.hidden_size, shape.max_positions
        load = partial(_load_llama, folder, shape, chosen_quantization, chosen_device)
    else:  # only the model itself knows its sizes
        weights, positions = _load_other(folder, chosen_quantization, chosen_device)
        vocab_size, hidden_size = weights.embeddings.shape
        load = lambda: weights  # noqa: E731
    backbone = Backbone(
        name=name,
        load=load,
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        device=chosen_device,
        tokenizer=TextTokenizer.from_folder(folder.path),
        start_id=folder.start_id,
        end_ids=folder.end_ids,
        weights_fingerprint=folder.digest[:16],
        fingerprint=digest_of(folder.digest, chosen_quantization)[:16],
        quantization=chosen_quantization,
        max_positions=positions,
        llama=shape,
        read_weights=partial(_read_weights, folder),
    )
    if chosen_quantization != "none":
        backbone.load()  # a missing bitsandbytes is an error now, not at the first use
    return backbone


def choose_device(wanted: str) -> torch.device:
    """Return the device for a `device` option; raise OptionError if it is unknown or not available."""
    if wanted not in {"auto", "cpu", "cuda"}:
        raise OptionError(f"device must be one of 'auto', 'cpu', 'cuda', got {wanted!r}.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise OptionError("device='cuda', but torch finds no GPU here. Choose 'cpu' or 'auto'.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def choose_quantization(wanted: str, device: torch.device) -> Quantization:
    """Return the format for a `quantization` option on a device; raise OptionError if it is unknown."""
    if wanted == "auto":
        return "nf4" if device.type == "cuda" else "none"
    for allowed in get_args(Quantization):
        if wanted == allowed:
            return allowed  # type: ignore[no-any-return]
    raise OptionError(f"quantization must be one of 'auto', 'none', 'nf4', 'int8', got {wanted!r}.")


def quantize(model: nn.Module, quantization: Quantization, device: torch.device) -> None:
    """Replace linear layers with quantized ones in place; bitsandbytes quantizes them as they move to the device.

    :param model: The model without its LM head, in fp32.
    :param quantization: The format of the layers.
    :param device: Where the model will run.
    :raises MissingDependencyError: If bitsandbytes is needed and not installed.
    """
    if quantization == "none":
        return
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"quantization={quantization!r} needs bitsandbytes. Install it with `pip install 'zprompt[quantization]'`, "
            f"or choose quantization='none'."
        ) from error
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _quantized(child, quantization).to(device))


def _quantized(linear: nn.Linear, quantization: Quantization) -> nn.Module:
    from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit

    shape, bias = (linear.in_features, linear.out_features), linear.bias is not None
    quantized: nn.Module
    if quantization == "nf4":
        quantized = Linear4bit(*shape, bias=bias, compute_dtype=torch.float32, quant_type="nf4")
        quantized.weight = Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    else:
        quantized = Linear8bitLt(*shape, bias=bias, has_fp16_weights=False)
        quantized.weight = Int8Params(linear.weight.data, requires_grad=False, has_fp16_weights=False)
    if bias:
        quantized.bias = nn.Parameter(linear.bias.data, requires_grad=False)
    return quantized


def _load_llama(folder: ModelFolder, shape: LlamaShape, quantization: Quantization, device: torch.device) -> Weights:
    """Load a Llama into our own decoder."""
    llama, head = _read_llama(folder, shape)
    quantize(llama, quantization, device)
    llama, head = llama.to(device), head.to(device)
    pack(llama)
    return Weights(llama, llama.embed_tokens.weight.detach(), head, lambda: as_transformers(llama, head, folder.path))


def _load_other(folder: ModelFolder, quantization: Quantization, device: torch.device) -> tuple[Weights, int | None]:
    """Load any other model through transformers; return it with the length of its longest input."""
    model = load_transformers_model(folder.path)
    quantize(model.base_model, quantization, device)
    model = model.to(device).eval().requires_grad_(False)
    output = model.get_output_embeddings()
    bias = None if output.bias is None else output.bias.detach()
    embeddings, head = model.get_input_embeddings().weight.detach(), output.weight.detach()
    weights = Weights(TransformersDecoder(model.base_model), embeddings, head, lambda: model, bias)
    return weights, getattr(model.config, "max_position_embeddings", None)


def _read_llama(folder: ModelFolder, shape: LlamaShape) -> tuple[LlamaDecoder, Tensor]:
    """Read a Llama decoder and its LM head."""
    tensors = dict(_read_weights(folder))
    head = tensors.pop("lm_head.weight", None)
    with torch.device("meta"):
        decoder = LlamaDecoder(shape)
    try:
        decoder.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        raise BackboneError(f"The weights in {folder.path} do not match its config.json: {error}") from error
    if head is None:
        head = decoder.embed_tokens.weight.detach()
    return decoder.eval().requires_grad_(False), head


def _read_weights(folder: ModelFolder) -> Iterator[tuple[str, Tensor]]:
    """Read the weights of a Llama in fp32, one at a time; "lm_head.weight" only if it is not tied to the embeddings.

    :param folder: The model's folder.
    :yields: The name in `LlamaDecoder`, and the weight.
    """
    tied = folder.config.get("tie_word_embeddings", False)
    tensors = read_tensors(folder.path / "model.gguf", folder.packed) if folder.packed else _read_safetensors(folder)
    for name, tensor in tensors:
        if name != "lm_head.weight" or not tied:
            yield name.removeprefix("model."), tensor


def _read_safetensors(folder: ModelFolder) -> Iterator[tuple[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    for path in sorted(folder.path.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                yield from ((name, file.get_tensor(name).float()) for name in file.keys())
        except SafetensorError as error:
            raise BackboneError(f"{path} cannot be read: {error}. Fetch the model again.") from error
