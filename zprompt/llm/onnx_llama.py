"""The Llama decoder in ONNX Runtime, on the CPU: 4-bit weights stay in 4 bits, with a LoRA beside them.

A weight W that is stored in 4 bits has, in each block of 32 inputs, 16 levels Q, a step d apart. ONNX Runtime
multiplies by levels around zero. The rest has a low rank, as has a LoRA s B A, so both are one narrow product beside
the wide one, and no fp32 copy of W is made:

    W + s B A  =  d (Q - 8)  +  [s B, M] [A; S]            M   the value of level 8 in each block
                  └ 4 bits ┘    └ rank r + blocks ┘        S   sums the inputs of each block

Any other weight is merged with its LoRA in fp32. All products are in fp32, so hidden states equal those of
`LlamaDecoder` up to rounding: sums are in another order. The graph uses ONNX Runtime's own operators for transformers,
and reads and writes keys and values in place, in `KeyValueCache`.
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
_MIDDLE = 8  # of 16 levels; ONNX Runtime subtracts it
_MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
_MICROSOFT_OPERATORS = ("GroupQueryAttention", "MatMulNBits", "SkipSimplifiedLayerNormalization")
_WEIGHTS = "weights"  # file name
_PAGE = 4096  # bytes; constants begin at multiples of it, so that they are memory-mapped
_HEAD_UNIT = 16  # GroupQueryAttention rotates heads whose size is a multiple of this
_OPSET, _IR_VERSION = 21, 10  # of ONNX Runtime 1.20, the oldest that zprompt supports

Floats = npt.NDArray[np.float32]


class OnnxDecoder:
    """Maps embeddings to hidden states after the final norm; thread-safe."""

    def __init__(self, shape: LlamaShape, embeddings: Tensor, session: Any) -> None:  # noqa: ANN401
        self.shape, self._session = shape, session
        self.embed_tokens = nn.Embedding.from_pretrained(embeddings)

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache for a batch of so many rows."""
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
            f"{layer}.{kind}": tensor
            for layer in range(self.shape.layers)
            for kind, tensor in zip(("keys", "values"), cache.layer(layer), strict=True)
        }
        hidden = torch.empty_like(inputs["embedded"])
        binding = self._session.io_binding()
        past = {f"past.{name}": tensor for name, tensor in stored.items()}
        present = {f"present.{name}": tensor for name, tensor in stored.items()}
        for name, tensor in {**inputs, **past}.items():
            binding.bind_input(name, *_binding_arguments(tensor))
        for name, tensor in {"hidden": hidden, **present}.items():
            binding.bind_output(name, *_binding_arguments(tensor))
        self._session.run_with_iobinding(binding)
        return hidden


def _binding_arguments(tensor: Tensor) -> tuple[str, int, type[np.generic], list[int], int]:
    """Return device, device index, type, shape and address of a tensor, as ONNX Runtime's bindings take them."""
    dtype = np.int32 if tensor.dtype == torch.int32 else np.float32
    return "cpu", 0, dtype, list(tensor.shape), tensor.data_ptr()


@torch.no_grad()
def merge_in_onnx(lora: Lora, backbone: Backbone) -> tuple[OnnxDecoder, Tensor]:
    """Build a decoder in ONNX Runtime from a backbone's weights, read anew from disk, and a LoRA.

    The weights are read one at a time, so fp32 weights, the backbone's included, are never all in memory.

    :param lora: The LoRA.
    :param backbone: The backbone, which stays as it is.
    :return: The decoder, which runs on as many threads as torch does now, and its LM head, (V, D).
    :raises MissingDependencyError: If onnx is not installed.
    :raises CheckpointError: If the LoRA does not fit, or the backbone is quantized.
    :raises BackboneError: If the files hold other weights than their config.json describes, or ONNX Runtime does not
        support the size of the attention heads.
    """
    shape = llama_shape(backbone)
    if shape.head_size % _HEAD_UNIT:
        raise BackboneError(
            f"The attention heads of {backbone.name!r} have {shape.head_size} channels, but ONNX Runtime needs "
            f"multiples of {_HEAD_UNIT}. Choose engine='fp32'."
        )
    # Through a file, since ONNX Runtime would keep a model given in memory beside its own copy.
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
    """A weight, (outputs, inputs), with at most 16 levels in each block of inputs."""

    packed: npt.NDArray[np.uint8]  # (outputs, blocks, 16), Q, two per byte
    steps: Floats  # (outputs, blocks), d
    middles: Floats  # (outputs, blocks), M

    @classmethod
    def of(cls, weight: Floats) -> _Levels | None:
        """Find the levels of a weight; None if there are more than 16 in a block, up to rounding."""
        if weight.ndim != 2 or weight.shape[1] % _BLOCK:
            return None
        blocks = weight.reshape(len(weight), -1, _BLOCK)
        lowest = blocks.min(2, keepdims=True)
        steps = (blocks.max(2, keepdims=True) - lowest) / 15
        levels = np.rint((blocks - lowest) / np.where(steps > 0, steps, 1))
        if np.abs(levels * steps + lowest - blocks).max() > 1e-6 * np.abs(weight).max():
            return None
        nibbles = levels.astype(np.uint8)
        return cls(nibbles[..., 0::2] | nibbles[..., 1::2] << 4, steps[..., 0], (lowest + _MIDDLE * steps)[..., 0])


class _Graph:
    """A decoder as an ONNX graph."""

    def __init__(self, shape: LlamaShape, file: BinaryIO) -> None:
        """Start a graph whose weights are written to `file`, which is named `_WEIGHTS`."""
        try:
            import onnx
        except ImportError as error:
            raise MissingDependencyError(
                "engine='onnx' needs onnx, which exports the model to ONNX Runtime. Install it with "
                "`pip install 'zprompt[onnx]'`, or choose engine='fp32'."
            ) from error
        self._onnx = onnx
        self._shape, self._file = shape, file
        self._constants: list[Any] = []
        self._nodes: list[Any] = []
        self._levels: dict[str, tuple[int, int]] = {}  # (outputs, inputs) of 4-bit weights, by module

    def add_weight(self, module: str, weight: Tensor, lora: Lora) -> None:
        """Add the weight of a module, and its LoRA."""
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
        """Write the graph to another file in the folder of the weights, and load both."""
        import onnxruntime

        self._add_layers()
        self._file.flush()
        path.write_bytes(self._model().SerializeToString())
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.enable_cpu_mem_arena = False  # it would never release the memory of the longest prompt
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def _add_layers(self) -> None:
        shape = self._shape
        angles = rotation_angles(shape, torch.arange(shape.max_positions))
        rotation = [self._constant("cosines", angles.cos().numpy()), self._constant("sines", angles.sin().numpy())]
        x = "embedded"
        inputs = [x, "layers.0.input_layernorm"]
        [normalized] = self._add("SimplifiedLayerNormalization", inputs, epsilon=shape.norm_eps, axis=-1)
        for index in range(shape.layers):
            layer = f"layers.{index}"
            projected = [self._multiply(normalized, f"{layer}.self_attn.{kind}_proj") for kind in "qkv"]
            attended, *_ = self._add(
                "GroupQueryAttention",
                [*projected, f"past.{index}.keys", f"past.{index}.values", "last", "longest", *rotation],
                [f"attended.{index}", f"present.{index}.keys", f"present.{index}.values"],
                num_heads=shape.heads,
                kv_num_heads=shape.key_heads,
                do_rotary=1,
            )
            update = self._multiply(attended, f"{layer}.self_attn.o_proj")
            normalized, x = self._add_and_norm(x, update, f"{layer}.post_attention_layernorm")
            gate, up = (self._multiply(normalized, f"{layer}.mlp.{kind}_proj") for kind in ("gate", "up"))
            [sigmoid] = self._add("Sigmoid", [gate])
            [silu] = self._add("Mul", [gate, sigmoid])
            [gated] = self._add("Mul", [silu, up])
            update = self._multiply(gated, f"{layer}.mlp.down_proj")
            following = f"layers.{index + 1}.input_layernorm" if index + 1 < shape.layers else "norm"
            normalized, x = self._add_and_norm(x, update, following)
        self._add("Identity", [normalized], ["hidden"])

    def _add_and_norm(self, x: str, update: str, module: str) -> tuple[str, str]:
        """Add an update to x; return the RMSNorm of the sum, and the sum."""
        outputs = [f"{module}.normal", "", "", f"{module}.sum"]
        self._add("SkipSimplifiedLayerNormalization", [x, update, module], outputs, epsilon=self._shape.norm_eps)
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
        domain = _MICROSOFT if operator in _MICROSOFT_OPERATORS else ""
        self._nodes.append(self._onnx.helper.make_node(operator, inputs, outputs, name, domain=domain, **attributes))
        return outputs

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        """Write an array to the file, and return its name."""
        self._file.seek(-(-self._file.tell() // _PAGE) * _PAGE)
        location = {"location": _WEIGHTS, "offset": self._file.tell(), "length": value.nbytes}
        self._file.write(np.ascontiguousarray(value).data)
        proto = self._onnx.TensorProto
        constant = proto(name=name, dims=value.shape, data_location=proto.EXTERNAL)
        constant.data_type = self._onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        for key, entry in location.items():
            constant.external_data.add(key=key, value=str(entry))
        self._constants.append(constant)
        return name

    def _model(self) -> Any:  # noqa: ANN401 - onnx's ModelProto
        """Return the model without the values of its constants."""
        shape, helper, proto = self._shape, self._onnx.helper, self._onnx.TensorProto
        hidden = (proto.FLOAT, ["rows", "new", shape.hidden_size])
        stored = (proto.FLOAT, ["rows", shape.key_heads, "room", shape.head_size])
        names = [f"{layer}.{kind}" for layer in range(shape.layers) for kind in ("keys", "values")]
        inputs = {"embedded": hidden, "last": (proto.INT32, ["rows"]), "longest": (proto.INT32, [])}
        inputs |= {f"past.{name}": stored for name in names}
        outputs = {"hidden": hidden, **{f"present.{name}": stored for name in names}}
        infos = [
            [helper.make_tensor_value_info(name, *type_and_shape) for name, type_and_shape in tensors.items()]
            for tensors in (inputs, outputs)
        ]
        graph = helper.make_graph(self._nodes, "llama", *infos, self._constants)
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid(_MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
