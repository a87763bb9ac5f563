"""A frozen causal language model and its tokenizer, as the codec sees them."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from zprompt.llm.cache import Cache
from zprompt.llm.packed import PackedLinear, can_pack
from zprompt.llm.tokenizer import TextTokenizer
from zprompt.zspan import EscapedText

Quantization = Literal["none", "nf4", "int8"]


class Decoder(Protocol):
    """Maps token ids to hidden states."""

    def __call__(self, ids: Tensor, cache: Any = None) -> Tensor:  # noqa: ANN401 - the cache that it made itself
        """Run over a batch of token ids, after those in a cache.

        :param ids: (B, T).
        :param cache: The keys and values so far, extended by this call; None: there are none, and none are kept.
        :return: (B, T, D).
        """

    def new_cache(self, batch: int) -> Cache:
        """Return an empty cache of so many rows."""


class Backbone:
    """A causal language model that returns hidden states, and the tokenizer that belongs to it."""

    def __init__(
        self,
        *,
        name: str,
        decoder: Decoder,
        embeddings: Tensor,
        output_embeddings: Tensor,
        make_model: Callable[[], Any],
        tokenizer: TextTokenizer,
        start_id: int,
        weights_fingerprint: str,
        fingerprint: str,
        quantization: Quantization,
        end_ids: frozenset[int] = frozenset(),
        output_bias: Tensor | None = None,
        max_positions: int | None = None,
    ) -> None:
        """Put the parts together.

        :param name: The name or path that it was loaded by.
        :param decoder: The model without its head, frozen, on its device.
        :param embeddings: (V, D) input embeddings.
        :param output_embeddings: (V, D) LM head: a hidden state's logits are its products with these.
        :param make_model: Makes the transformers causal LM.
        :param tokenizer: The tokenizer that belongs to the model.
        :param start_id: The token that starts every window.
        :param weights_fingerprint: 16 hex digits that name weights and tokenizer.
        :param fingerprint: 16 hex digits that name weights, tokenizer and quantization.
        :param quantization: The format of the linear layers.
        :param end_ids: The tokens that end a generated text.
        :param output_bias: (V,) added to the logits by the few models that have it.
        :param max_positions: The longest input that the model was made for; None: it has no limit.
        """
        self.name = name
        self.decoder = decoder
        self.embeddings = embeddings.detach()
        self.output_embeddings = output_embeddings.detach()
        self.tokenizer = tokenizer
        self.start_id = start_id
        self.end_ids = end_ids
        self.weights_fingerprint = weights_fingerprint
        self.fingerprint = fingerprint
        self.quantization = quantization
        self.max_positions = max_positions
        self._make_model = make_model
        self._head: nn.Module | None = PackedLinear(output_embeddings) if can_pack(output_embeddings) else None
        self._output_bias = output_bias

    def __repr__(self) -> str:
        return f"Backbone({self.name!r}, {self.quantization}, {self.device}, fingerprint={self.fingerprint!r})"

    @cached_property
    def model(self) -> Any:  # noqa: ANN401 - any of transformers' causal LMs
        """Return the transformers causal LM.

        For a Llama it is made on first use, since that imports transformers' models (3.5 s).
        """
        return self._make_model()

    @property
    def vocab_size(self) -> int:
        """Return V, the number of rows of the embeddings."""
        return self.embeddings.shape[0]

    @property
    def hidden_size(self) -> int:
        """Return D, the width of a hidden state."""
        return self.embeddings.shape[1]

    @property
    def device(self) -> torch.device:
        """Return the device that the model runs on."""
        return self.embeddings.device

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

    # no_grad and not inference_mode: training saves hidden states for its own backward pass.
    @torch.no_grad()
    def hidden(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Run the model without its head.

        :param ids: (B, T) token ids.
        :param cache: The keys and values so far, from `new_cache`, extended by this call; None: none, none kept.
        :return: (B, T, D), after the final norm.
        """
        return self.decoder(ids.to(self.device), cache)

    @torch.no_grad()
    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits of all tokens, (..., V), given hidden states, (..., D)."""
        logits: Tensor = self._head(hidden) if self._head else hidden @ self.output_embeddings.T
        return logits if self._output_bias is None else logits + self._output_bias

    def new_cache(self, batch: int) -> Cache:
        """Return an empty key-value cache of so many rows, which can be rolled back one by one."""
        return self.decoder.new_cache(batch)
