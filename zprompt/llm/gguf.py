"""Read a backbone's weights straight from the 4-bit GGUF file.

The GGUF (98 MB) is the only copy of the weights on disk. Converting it once means writing an index of its tensors, plus
`config.json` and `tokenizer.json` as transformers would; loading means unpacking the tensors to fp32, which takes half
a second. An fp32 copy would need 540 MB more disk and, when it is not in the page cache, more time to read.

    Q4_1: 32 weights in 20 bytes   w = d * q + m      d, m half precision, q in 0..15, low nibbles first
    Q8_0: 32 weights in 34 bytes   w = d * q          q in -128..127

numpy and not torch, since numpy unpacks on one thread: with torch, another busy process made this 20 times slower.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zprompt.errors import BackboneError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_LLAMA_NAMES = {
    "token_embd": "embed_tokens",
    "output_norm": "norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, slots=True)
class PackedTensor:
    """The location and encoding of a tensor in a GGUF file."""

    kind: str  # "Q4_1", "Q8_0" or "F32"
    offset: int  # bytes from the start of the file
    size: int  # bytes
    shape: tuple[int, ...]  # of the unpacked tensor
    heads: int  # attention heads whose rows llama.cpp interleaves; 0: rows are in order


def index_tensors(path: Path) -> dict[str, PackedTensor]:
    """List the tensors of a Llama GGUF file by their names in transformers.

    :param path: The GGUF file.
    :return: The tensors by name.
    :raises BackboneError: If a tensor has an encoding or a name that is not supported.
    """
    from gguf import GGUFReader

    reader = GGUFReader(path)
    heads = {
        "attn_q": int(reader.fields["llama.attention.head_count"].contents()),
        "attn_k": int(reader.fields["llama.attention.head_count_kv"].contents()),
    }
    index: dict[str, PackedTensor] = {}
    for tensor in reader.tensors:
        kind, part = tensor.tensor_type.name, tensor.name.split(".")[-2]
        if kind not in _UNPACK or part not in _LLAMA_NAMES:
            raise BackboneError(
                f"{path} has tensor {tensor.name!r} as {kind}. Supported: Llama models in {', '.join(_UNPACK)}."
            )
        shape = tuple(int(size) for size in reversed(tensor.shape))
        index[_transformers_name(tensor.name)] = PackedTensor(
            kind, int(tensor.data_offset), int(tensor.n_bytes), shape, heads.get(part, 0)
        )
    return index


def read_tensors(path: Path, index: Mapping[str, PackedTensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Unpack the tensors of an index to fp32.

    :param path: The GGUF file.
    :param index: Where they are in the file.
    :yields: Each tensor with its name.
    """
    for name, entry in index.items():
        # One map per tensor: the pages of a map of the whole file would stay in memory until all tensors are read.
        yield name, _read_tensor(np.memmap(path, np.uint8, "r", entry.offset, (entry.size,)), entry)


def index_to_json(index: Mapping[str, PackedTensor]) -> dict[str, Any]:
    """Return an index as JSON values."""
    return {name: asdict(entry) for name, entry in index.items()}


def index_from_json(data: Mapping[str, Any]) -> dict[str, PackedTensor]:
    """Read an index that `index_to_json` wrote."""
    return {name: PackedTensor(**{**entry, "shape": tuple(entry["shape"])}) for name, entry in data.items()}


def _transformers_name(name: str) -> str:
    """Translate `blk.3.attn_q.weight` to `model.layers.3.self_attn.q_proj.weight`."""
    *block, part, suffix = name.split(".")
    prefix = f"model.layers.{block[1]}" if block else "model"
    return f"{prefix}.{_LLAMA_NAMES[part]}.{suffix}"


def _read_tensor(raw: Bytes, entry: PackedTensor) -> torch.Tensor:
    """Unpack one tensor."""
    values = _UNPACK[entry.kind](raw).reshape(entry.shape)
    if entry.heads:  # llama.cpp stores each head's rows as pairs (i, i + half); transformers as two halves
        pairs = values.reshape(entry.heads, -1, 2, entry.shape[-1])
        values = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(entry.shape)
    return torch.from_numpy(values)


def _halves(packed: Bytes) -> Floats:
    """Read (N, 2) bytes as (N, 1) half-precision numbers."""
    return np.ascontiguousarray(packed).view(np.float16).astype(np.float32)


def _unpack_q4_1(raw: Bytes) -> Floats:
    """Unpack blocks of d, m and 16 bytes, each of which holds two weights."""
    blocks = raw.reshape(-1, 20)
    values = np.empty((len(blocks), 32), dtype=np.float32)
    values[:, :16] = blocks[:, 4:] & 15
    values[:, 16:] = blocks[:, 4:] >> 4
    values *= _halves(blocks[:, 0:2])
    values += _halves(blocks[:, 2:4])
    return values


def _unpack_q8_0(raw: Bytes) -> Floats:
    """Unpack blocks of d and 32 signed bytes."""
    blocks = raw.reshape(-1, 34)
    return blocks[:, 2:].view(np.int8) * _halves(blocks[:, :2])


def _unpack_f32(raw: Bytes) -> Floats:
    """Copy the numbers, since the memory map is read-only."""
    return raw.view(np.float32).copy()


_UNPACK: dict[str, Callable[[Bytes], Floats]] = {"Q4_1": _unpack_q4_1, "Q8_0": _unpack_q8_0, "F32": _unpack_f32}
