"""A frozen causal language model and its tokenizer, as the codec sees them.

The tokenizer and the fingerprints are there from the start; the weights are read when they are first needed. A reader
has weights of its own, so unless it must compress a text, the backbone's 650 MB are never in memory.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from zprompt.errors import CheckpointError
from zprompt.llm.cache import Cache, StepPlanner
from zprompt.llm.llama import LlamaShape
from zprompt.llm.packed import PackedLinear, can_pack
from zprompt.llm.tokenizer import TextTokenizer
from zprompt.zspan import EscapedText

Quantization = Literal["none", "nf4", "int8"]


class Decoder(Protocol):
    """Maps token ids to hidden states."""

    def __call__(self, ids: Tensor, cache: Any = None) -> Tensor:  # noqa: ANN401 - from its own `new_cache`
        """Run over a batch of token ids, after those in a cache.

        :param ids: (B, T).
        :param cache: The keys and values so far, extended by this call; None: start without any, and keep none.
        :return: (B, T, D).
        """

    def new_cache(self, batch: int) -> Cache:
        """Return an empty cache for a batch of so many rows."""


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A model in memory, frozen, on its device."""

    decoder: Decoder  # the model without its head
    embeddings: Tensor  # (V, D)
    output_embeddings: Tensor  # (V, D) LM head: logits are the products of a hidden state with its rows
    make_model: Callable[[], Any]  # makes the transformers causal LM
    output_bias: Tensor | None = None  # (V,) added to the logits by the few models that have it


class Backbone:
    """A causal language model that returns hidden states, and the tokenizer that belongs to it."""

    def __init__(
        self,
        *,
        name: str,
        load: Callable[[], Weights],
        vocab_size: int,
        hidden_size: int,
        device: torch.device,
        tokenizer: TextTokenizer,
        start_id: int,
        weights_fingerprint: str,
        fingerprint: str,
        quantization: Quantization,
        end_ids: frozenset[int] = frozenset(),
        max_positions: int | None = None,
        llama: LlamaShape | None = None,
        read_weights: Callable[[], Iterator[tuple[str, Tensor]]] = lambda: iter(()),
    ) -> None:
        """Build a backbone from its parts.

        :param name: The name or path that it was loaded by.
        :param load: Loads the weights; called once, when they are first needed.
        :param vocab_size: V, the number of rows of the embeddings.
        :param hidden_size: D, the width of a hidden state.
        :param device: The device that the model runs on.
        :param tokenizer: The tokenizer that belongs to the model.
        :param start_id: The token that starts every window.
        :param weights_fingerprint: 16 hex digits that name weights and tokenizer.
        :param fingerprint: 16 hex digits that name weights, tokenizer and quantization.
        :param quantization: The format of the linear layers.
        :param end_ids: The tokens that end a generated text.
        :param max_positions: The longest input that the model was trained for, in tokens; None: no limit.
        :param llama: The shape of a Llama; None: the model is not a Llama.
        :param read_weights: Reads a Llama's named weights in fp32 on the CPU, one at a time.
        """
        self.name = name
        self.vocab_size, self.hidden_size, self.device = vocab_size, hidden_size, device
        self.llama, self.read_weights = llama, read_weights
        self.tokenizer = tokenizer
        self.start_id = start_id
        self.end_ids = end_ids
        self.weights_fingerprint = weights_fingerprint
        self.fingerprint = fingerprint
        self.quantization = quantization
        self.max_positions = max_positions
        self._load, self._lock = load, threading.Lock()
        self._loaded: tuple[Weights, nn.Module | None] | None = None

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, {self.quantization}, {self.device}, fingerprint={self.fingerprint!r})"

    @cached_property
    def model(self) -> Any:  # noqa: ANN401 - any of transformers' causal LMs
        """Return the transformers causal LM.

        For a Llama it is made on first use, since importing transformers' models takes 3.5 s.
        """
        return self.load()[0].make_model()

    @property
    def decoder(self) -> Decoder:
        """Return the model without its head."""
        return self.load()[0].decoder

    @property
    def embeddings(self) -> Tensor:
        """Return the input embeddings, (V, D)."""
        return self.load()[0].embeddings

    @property
    def output_embeddings(self) -> Tensor:
        """Return the LM head, (V, D)."""
        return self.load()[0].output_embeddings

    def require_weights(self, fingerprint: str, name: str, what: str, advice: str) -> None:
        """Check that something was made on these weights.

        :param fingerprint: The fingerprint of the weights that it was made on.
        :param name: The name of their LLM.
        :param what: What was made on them, for the error message.
        :param advice: What to do, in a sentence, for the error message.
        :raises CheckpointError: If it was made on other weights.
        """
        if self.weights_fingerprint != fingerprint:
            raise CheckpointError(
                f"{what} was made on the backbone {name!r} ({fingerprint}), but {self.name!r} "
                f"({self.weights_fingerprint}) is loaded. {advice}"
            )

    def load(self) -> tuple[Weights, nn.Module | None]:
        """Load the weights, if they are not in memory yet.

        :return: The weights, and the packed LM head; None if it cannot be packed.
        :raises BackboneError: If the files hold other weights than their config.json describes.
        """
        with self._lock:  # two threads must not load them twice
            if self._loaded is None:
                weights = self._load()
                head = weights.output_embeddings
                self._loaded = weights, PackedLinear(head) if can_pack(head) else None
            return self._loaded

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text; see `TextTokenizer.encode`."""
        return self.tokenizer.encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids of a text, and the character range of each; see `TextTokenizer.encode_with_offsets`."""
        return self.tokenizer.encode_with_offsets(text)

    def decode(self, ids: list[int]) -> str:
        """Return the text of token ids; see `TextTokenizer.decode`."""
        return self.tokenizer.decode(ids)

    def escape(self, text: str) -> EscapedText:
        """Escape the characters of a text that the tokenizer would change or lose; see `TextTokenizer.escape`."""
        return self.tokenizer.escape(text)

    # no_grad and not inference_mode, whose tensors autograd cannot save for a backward pass.
    @torch.no_grad()
    def hidden(self, ids: Tensor, cache: Cache | StepPlanner | None = None) -> Tensor:
        """Run the model without its head.

        :param ids: (B, T) token ids.
        :param cache: The keys and values so far, from `new_cache`, extended by this call; None: start without any, and
            keep none. For a Llama, also any other `StepPlanner`.
        :return: (B, T, D), after the final norm.
        """
        return self.decoder(ids.to(self.device), cache)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of all tokens, (..., V), given hidden states, (..., D)."""
        weights, head = self.load()
        logits: Tensor = head(hidden) if head else hidden @ weights.output_embeddings.T
        return logits if weights.output_bias is None else logits + weights.output_bias

    def new_cache(self, batch: int) -> Cache:
        """Return an empty key-value cache for a batch of so many rows, each of which can be rolled back by itself."""
        return self.decoder.new_cache(batch)
