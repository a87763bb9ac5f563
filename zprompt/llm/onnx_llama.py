"""The Llama decoder in ONNX Runtime, on the CPU: weights in 4 bits stay in 4 bits, with a LoRA beside them.

A weight W that lies on disk in 4 bits has, in each block of 32 inputs, 16 levels Q, a step d apart. ONNX Runtime
multiplies by levels around zero. What is left has a low rank, as a LoRA s B A has, so both are one narrow product
beside the wide one, and no fp32 copy of W is made:

    W + s B A  =  d (Q - 8)  +  [s B, M] [A; S]            M   what level 8 stands for, in each block
                  └ 4 bits ┘    └ rank r + blocks ┘        S   sums the inputs of each block

Any other weight is merged with its LoRA in fp32. All products are in fp32, so hidden states are those of
`LlamaDecoder` but for rounding: the order of sums is another. The graph has ONNX Runtime's own operators for
transformers, and reads and writes keys and values where they lie, in `KeyValueCache`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zprompt.errors import BackboneError, MissingDependencyError
from zprompt.llm.backbone import Backbone
from zprompt.llm.cache import KeyValueCache
from zprompt.llm.llama import LlamaShape, rotation_angles
from zprompt.llm.lora import Lora, llama_shape, read_mergeable

_BLOCK = 32  # inputs that share a step and a minimum, as in GGUF's Q4_1
_MIDDLE = 8  # of 16 levels, which ONNX Runtime subtracts
_MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators, which are:
_MICROSOFTS = ("GroupQueryAttention", "MatMulNBits", "SkipSimplifiedLayerNormalization")
_WEIGHTS = "weights"  # name of the file
_PAGE = 4096  # bytes: constants begin at multiples of it, so that they are mapped
_HEAD_UNIT = 16  # GroupQueryAttention rotates heads whose size is a multiple of this
_OPSET, _IR_VERSION = 21, 10  # of ONNX Runtime 1.20, the oldest that zprompt takes

Floats = npt.NDArray[np.float32]


class OnnxDecoder:
    """Maps embeddings to hidden states after the final norm; may be used from several threads at a time."""

    def __init__(self, shape: LlamaShape, embeddings: Tensor, session: Any) -> None:  # noqa: ANN401
        self.shape, self._session = shape, session
        self.embed_tokens = nn.Embedding.from_pretrained(embeddings)

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache of so many rows."""
        shape, device = self.shape, self.embed_tokens.weight.device
        return KeyValueCache(batch, shape.layers, shape.key_heads, shape.head_size, device)

    def run(self, embedded: Tensor, cache: KeyValueCache) -> Tensor:
        """Run the decoder over embeddings, after those in a cache.

        :param embedded: (B, T, D) in fp32; T is 1 unless the cache is empty.
        :param cache: The keys and values so far, extended by this call.
        :return: (B, T, D).
        """
        cache.advance(embedded.shape[1])
        inputs = {
            "embedded": embedded.contiguous(),
            "last": (cache.lengths - 1).int(),
            "longest": cache.lengths.max().int(),
        }
        stored = {
            f"{layer}.{part}": tensor
            for layer in range(self.shape.layers)
            for part, tensor in zip(("keys", "values"), cache.layer(layer), strict=True)
        }
        hidden = torch.empty_like(inputs["embedded"])
        binding = self._session.io_binding()
        for name, tensor in {**inputs, **{f"past.{name}": own for name, own in stored.items()}}.items():
            binding.bind_input(name, *_place(tensor))
        for name, tensor in {"hidden": hidden, **{f"present.{name}": own for name, own in stored.items()}}.items():
            binding.bind_output(name, *_place(tensor))
        self._session.run_with_iobinding(binding)
        return hidden


def _place(tensor: Tensor) -> tuple[str, int, type[np.generic], list[int], int]:
    """Say where a tensor lies, as ONNX Runtime is told it."""
    kind = np.int32 if tensor.dtype == torch.int32 else np.float32
    return "cpu", 0, kind, list(tensor.shape), tensor.data_ptr()


@torch.no_grad()
def merge_in_onnx(lora: Lora, backbone: Backbone) -> tuple[OnnxDecoder, Tensor]:
    """Make a decoder in ONNX Runtime of the weights that a backbone is made of, and a LoRA.

    The weights are read one after the other: neither all of them in fp32 nor the backbone's own are in memory.

    :param lora: The LoRA.
    :param backbone: The backbone, which stays as it is.
    :return: The decoder, which runs on as many threads as torch now does, and its LM head, (V, D).
    :raises MissingDependencyError: If onnx is not installed.
    :raises CheckpointError: If the LoRA does not fit, or the backbone is quantized.
    :raises BackboneError: If the files hold other weights than their config.json describes, or attention heads have a
        size that ONNX Runtime does not rotate.
    """
    shape = llama_shape(backbone)
    if shape.head_size % _HEAD_UNIT:
        raise BackboneError(
            f"The attention heads of {backbone.name!r} have {shape.head_size} channels, and ONNX Runtime takes "
            f"multiples of {_HEAD_UNIT}. Choose engine='fp32'."
        )
    # In a file, since ONNX Runtime keeps what it is given in memory beside its own copy.
    with (
        TemporaryDirectory(prefix="zprompt-", ignore_cleanup_errors=True) as folder,
        Path(folder, _WEIGHTS).open("wb") as file,
    ):
        graph = _Graph(shape, file)
        tables: dict[str, Tensor] = {}
        for module, weight in read_mergeable(lora, backbone):
            if module in ("embed_tokens", "lm_head"):
                tables[module] = weight
            else:
                graph.add_weight(module, weight, lora)
        session = graph.load(Path(folder, "model.onnx"), torch.get_num_threads())
    embeddings = tables["embed_tokens"]
    return OnnxDecoder(shape, embeddings, session), tables.get("lm_head", embeddings)


@dataclass(frozen=True, slots=True)
class _Levels:
    """A weight, (outputs, inputs), that has 16 levels in each block of inputs."""

    packed: npt.NDArray[np.uint8]  # (outputs, blocks, 16), Q, two to a byte
    steps: Floats  # (outputs, blocks), d
    middles: Floats  # (outputs, blocks), M

    @classmethod
    def of(cls, weight: Floats) -> _Levels | None:
        """Find the levels of a weight; None if it has others, by more than rounding."""
        if weight.ndim != 2 or weight.shape[1] % _BLOCK:
            return None
        blocks = weight.reshape(len(weight), -1, _BLOCK)
        lowest = blocks.min(2, keepdims=True)
        steps = (blocks.max(2, keepdims=True) - lowest) / 15
        levels = np.rint((blocks - lowest) / np.where(steps > 0, steps, 1))
        if np.abs(levels * steps + lowest - blocks).max() > 1e-6 * np.abs(weight).max():
            return None
        whole = levels.astype(np.uint8)
        return cls(whole[..., 0::2] | whole[..., 1::2] << 4, steps[..., 0], (lowest + _MIDDLE * steps)[..., 0])


class _Graph:
    """A decoder as ONNX Runtime reads it."""

    def __init__(self, shape: LlamaShape, file: BinaryIO) -> None:
        """Begin a graph whose weights go to a file named `_WEIGHTS`."""
        try:
            import onnx
        except ImportError as error:
            raise MissingDependencyError(
                "engine='onnx' needs onnx, which writes the model down for ONNX Runtime. Install it with "
                "`pip install 'zprompt[onnx]'`, or choose engine='fp32'."
            ) from error
        self._onnx = onnx
        self._shape, self._file = shape, file
        self._constants: list[Any] = []
        self._nodes: list[Any] = []
        self._levels: dict[str, tuple[int, int]] = {}  # outputs and inputs of weights in levels

    def add_weight(self, module: str, weight: Tensor, lora: Lora) -> None:
        """Add the weight of a module, and what a LoRA adds to it."""
        levels = _Levels.of(weight.numpy())
        if levels is None:
            merged = weight + lora.delta(module) if module in lora.down else weight
            self._constant(module, merged.numpy().T)
            return
        self._levels[module] = len(weight), weight.shape[1]
        self._constant(f"{module}.levels", levels.packed)
        self._constant(f"{module}.steps", levels.steps.reshape(-1))
        sums = np.repeat(np.eye(levels.steps.shape[1], dtype=np.float32), _BLOCK, 0)
        down, up = [sums], [levels.middles.T]
        if module in lora.down:
            down.append(lora.down[module].float().numpy().T)
            scaled = lora.alpha / lora.rank * lora.up[module].float()
            up.append(scaled.numpy().T)
        self._constant(f"{module}.down", np.concatenate(down, 1))
        self._constant(f"{module}.up", np.concatenate(up))

    def load(self, path: Path, threads: int) -> Any:  # noqa: ANN401 - ONNX Runtime's InferenceSession
        """Write the layers to another file in that folder, and load both."""
        import onnxruntime

        self._add_layers()
        self._file.flush()
        path.write_bytes(self._model().SerializeToString())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # it would keep what the longest prompt took
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _add_layers(self) -> None:
        shape = self._shape
        angles = rotation_angles(shape, torch.arange(shape.max_positions))
        rotation = [self._constant("cosines", angles.cos().numpy()), self._constant("sines", angles.sin().numpy())]
        x = "embedded"
        inputs = [x, "layers.0.input_layernorm"]
        [normal] = self._add("SimplifiedLayerNormalization", inputs, epsilon=shape.norm_eps, axis=-1)
        for index in range(shape.layers):
            layer = f"layers.{index}"
            projected = [self._multiply(normal, f"{layer}.self_attn.{part}_proj") for part in "qkv"]
            attended, *_ = self._add(
                "GroupQueryAttention",
                [*projected, f"past.{index}.keys", f"past.{index}.values", "last", "longest", *rotation],
                [f"attended.{index}", f"present.{index}.keys", f"present.{index}.values"],
                num_heads=shape.heads,
                kv_num_heads=shape.key_heads,
                do_rotary=1,
            )
            added = self._multiply(attended, f"{layer}.self_attn.o_proj")
            normal, x = self._norm(x, added, f"{layer}.post_attention_layernorm")
            gate, up = (self._multiply(normal, f"{layer}.mlp.{part}_proj") for part in ("gate", "up"))
            [opened] = self._add("Sigmoid", [gate])
            [passed] = self._add("Mul", [gate, opened])
            [gated] = self._add("Mul", [passed, up])
            added = self._multiply(gated, f"{layer}.mlp.down_proj")
            following = f"layers.{index + 1}.input_layernorm" if index + 1 < shape.layers else "norm"
            normal, x = self._norm(x, added, following)
        self._add("Identity", [normal], ["hidden"])

    def _norm(self, x: str, added: str, module: str) -> tuple[str, str]:
        """Add to x; return the sum's RMSNorm, and the sum."""
        outputs = [f"{module}.normal", "", "", f"{module}.sum"]
        self._add("SkipSimplifiedLayerNormalization", [x, added, module], outputs, epsilon=self._shape.norm_eps)
        return outputs[0], outputs[3]

    def _multiply(self, x: str, module: str) -> str:
        """Multiply by the weight of a projection."""
        if module not in self._levels:
            return self._add("MatMul", [x, module])[0]
        outputs, inputs = self._levels[module]
        weight = [f"{module}.levels", f"{module}.steps"]
        [wide] = self._add("MatMulNBits", [x, *weight], N=outputs, K=inputs, bits=4, block_size=_BLOCK)
        [narrow] = self._add("MatMul", [x, f"{module}.down"])
        [rest] = self._add("MatMul", [narrow, f"{module}.up"])
        return self._add("Add", [wide, rest])[0]

    def _add(
        self,
        operator: str,
        inputs: Sequence[str],
        outputs: Sequence[str] = (),
        **attributes: Any,  # noqa: ANN401
    ) -> Sequence[str]:
        """Add an operator, and return the names of its outputs."""
        name = f"{operator}.{len(self._nodes)}"
        outputs = outputs or [name]
        domain = _MICROSOFT if operator in _MICROSOFTS else ""
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, outputs, name, domain=domain, **attributes))
        return outputs

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Write an array to the file, and return its name."""
        self._file.seek(-(-self._file.tell() // _PAGE) * _PAGE)
        about = {"location": _WEIGHTS, "offset": self._file.tell(), "length": value.nbytes}
        self._file.write(np.ascontiguousarray(value).data)
        kind = self._onnx.TensorProto
        constant = kind(name=name, dims=value.shape, data_location=kind.EXTERNAL)
        constant.data_type = self._onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        for key, own in about.items():
            constant.external_data.add(key=key, value=str(own))
        self._constants.append(constant)
        return name

    def _model(self) -> Any:  # noqa: ANN401 - onnx's ModelProto
        """Return everything but the constants' values."""
        shape, helper, kind = self._shape, self._onnx.helper, self._onnx.TensorProto
        hidden = (kind.FLOAT, ["rows", "new", shape.hidden_size])
        stored = (kind.FLOAT, ["rows", shape.key_heads, "room", shape.head_size])
        names = [f"{layer}.{part}" for layer in range(shape.layers) for part in ("keys", "values")]
        inputs = {"embedded": hidden, "last": (kind.INT32, ["rows"]), "longest": (kind.INT32, [])}
        inputs |= {f"past.{name}": stored for name in names}
        outputs = {"hidden": hidden, **{f"present.{name}": stored for name in names}}
        infos = [
            [helper.make_tensor_value_info(name, *about) for name, about in tensors.items()]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "llama", *infos, self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
