"""The Llama decoder in plain torch, since importing transformers takes longer than loading the model.

`import torch` takes about 2 s, `from transformers import LlamaForCausalLM` another 3.5 s, and this module nothing. The
modules have transformers' names, so its checkpoints fit, and the operations are the same in the same order, so the
hidden states are equal bit by bit (tests/llm/test_llama.py). Any other architecture runs through transformers.

    x = E[ids];  per layer: x += O attention(Q n(x), K n(x), V n(x));  x += down(silu(gate n(x)) * up n(x));  h = n(x)

n is RMSNorm; queries and keys are rotated by their positions; key heads are shared by groups of query heads. With
weights in bf16 (lora.py) everything but x and n is computed in bf16: its 8 bits lose more in a sum over 30 layers than
in products.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from zprompt.errors import BackboneError
from zprompt.llm.cache import DecoderStep, KeyValueCache, StepPlanner

_SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """The sizes and constants of a Llama decoder."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    norm_eps: float
    rope_theta: float
    max_positions: int  # the longest input that the model was trained for

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "LlamaShape | None":
        """Read the shape of a plain Llama from its config.

        :param config: The content of config.json.
        :return: The shape; None if the model is not a plain Llama.
        :raises BackboneError: If a size is missing.
        """
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        plain = (
            config.get("model_type") == "llama"
            and config.get("hidden_act", "silu") == "silu"
            and rope.get("rope_type", rope.get("type", "default")) == "default"
            and not config.get("attention_bias")
            and not config.get("mlp_bias")
        )
        if not plain:
            return None
        missing = [name for name in _SIZES if not isinstance(config.get(name), int)]
        if missing:
            raise BackboneError(
                f"The config.json of a Llama lacks {', '.join(missing)}. Pass a folder that save_pretrained wrote."
            )
        heads = config["num_attention_heads"]
        return cls(
            vocab_size=config["vocab_size"],
            hidden_size=config["hidden_size"],
            intermediate_size=config["intermediate_size"],
            layers=config["num_hidden_layers"],
            heads=heads,
            key_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            norm_eps=config.get("rms_norm_eps", 1e-6),
            rope_theta=rope.get("rope_theta") or config.get("rope_theta", 10_000.0),
            max_positions=config.get("max_position_embeddings", 2048),
        )


class LlamaDecoder(nn.Module):
    """Maps token ids to hidden states after the final norm; its state dict has the names of `LlamaModel`."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.shape = shape
        # from_pretrained, since the constructor draws random numbers, which on "meta" imports sympy (1.2 s).
        self.embed_tokens = nn.Embedding.from_pretrained(torch.empty(shape.vocab_size, shape.hidden_size))
        self.layers = nn.ModuleList(Layer(shape, index) for index in range(shape.layers))
        self.norm = RMSNorm(shape)

    def forward(self, ids: Tensor, cache: StepPlanner | None = None) -> Tensor:
        """Run the decoder over a batch of token ids, after those in a cache.

        :param ids: (B, T).
        :param cache: The keys and values so far, extended by this call; None: start without any, and keep none.
        :return: (B, T, D).
        """
        return self.run(self.embed_tokens(ids).float(), cache)

    def run(self, embedded: Tensor, cache: StepPlanner | None = None) -> Tensor:
        """Run the decoder over embeddings: of tokens, or of anything else that takes one position.

        :param embedded: (B, T, D).
        :param cache: As in `forward`.
        :return: (B, T, D).
        """
        step = cache.advance(embedded.shape[1]) if cache else None
        positions = step.positions if step else torch.arange(embedded.shape[1])[None]
        rotation = self._rotation(positions.to(embedded.device))
        x = embedded
        for layer in self.layers:
            x = layer(x, rotation, step)
        return cast(Tensor, self.norm(x))

    def new_cache(self, batch: int) -> KeyValueCache:
        """Return an empty cache for a batch of so many rows."""
        shape, embeddings = self.shape, self.embed_tokens.weight
        return KeyValueCache(batch, shape.layers, shape.key_heads, shape.head_size, embeddings.device, embeddings.dtype)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (1 or B, 1, T, d)."""
        angles = rotation_angles(self.shape, positions[:, None])
        angles = torch.cat((angles, angles), dim=-1)
        dtype = self.embed_tokens.weight.dtype
        return angles.cos().to(dtype), angles.sin().to(dtype)


def rotation_angles(shape: LlamaShape, positions: Tensor) -> Tensor:
    """Return the angles by which queries and keys are rotated, (..., d / 2), at positions, (...)."""
    even = torch.arange(0, shape.head_size, 2, dtype=torch.float, device=positions.device)
    return positions[..., None].float() * (1.0 / shape.rope_theta ** (even / shape.head_size))


class Layer(nn.Module):
    """Attention, then a gated MLP, each added to its input."""

    def __init__(self, shape: LlamaShape, index: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(shape)
        self.self_attn = Attention(shape, index)
        self.post_attention_layernorm = RMSNorm(shape)
        self.mlp = GatedMLP(shape)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], step: DecoderStep | None) -> Tensor:
        """Run the layer, (B, T, D) to (B, T, D)."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, step)
        return cast(Tensor, x + self.mlp(self.post_attention_layernorm(x)))


class Attention(nn.Module):
    """Causal attention whose key heads are shared by groups of query heads."""

    def __init__(self, shape: LlamaShape, index: int) -> None:
        super().__init__()
        self.index = index
        self.head_size = shape.head_size
        self.q_proj = nn.Linear(shape.hidden_size, shape.heads * shape.head_size, bias=False)
        self.k_proj = nn.Linear(shape.hidden_size, shape.key_heads * shape.head_size, bias=False)
        self.v_proj = nn.Linear(shape.hidden_size, shape.key_heads * shape.head_size, bias=False)
        self.o_proj = nn.Linear(shape.heads * shape.head_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor, rotation: tuple[Tensor, Tensor], step: DecoderStep | None) -> Tensor:
        """Let each position attend to itself and those before it, (B, T, D) to (B, T, D)."""
        queries = _rotate(self._heads(self.q_proj(x)), *rotation)  # (B, H, T, d)
        keys, values = _rotate(self._heads(self.k_proj(x)), *rotation), self._heads(self.v_proj(x))
        if step:
            attended = step.attend(self.index, queries, keys, values)
        else:
            attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
        return cast(Tensor, self.o_proj(attended.transpose(1, 2).flatten(2)))

    def _heads(self, x: Tensor) -> Tensor:
        """Split (B, T, H * d) into (B, H, T, d)."""
        return x.view(*x.shape[:2], -1, self.head_size).transpose(1, 2)


class GatedMLP(nn.Module):
    """The gated MLP of a layer."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.up_proj = nn.Linear(shape.hidden_size, shape.intermediate_size, bias=False)
        self.down_proj = nn.Linear(shape.intermediate_size, shape.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Run the MLP, (B, T, D) to (B, T, D)."""
        return cast(Tensor, self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x)))


class RMSNorm(nn.Module):
    """Scales to unit root mean square, then by a weight for each channel."""

    def __init__(self, shape: LlamaShape) -> None:
        super().__init__()
        self.eps = shape.norm_eps
        self.weight = nn.Parameter(torch.ones(shape.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        normalized = self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))
        return normalized.to(self.weight.dtype)


def _rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotate the pairs (i, i + d / 2) of each head by their position's angles."""
    first, second = x.chunk(2, dim=-1)
    return (x * cosines) + (torch.cat((-second, first), dim=-1) * sines)
