"""A frozen causal language model and its tokenizer, as the codec sees them."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from zprompt.llm.cache import Cache
from zprompt.llm.quantization import Quantization
from zprompt.llm.tokenizer import TextTokenizer
from zprompt.zspan import EscapedText


class Decoder(Protocol):
    """Token ids to hidden states."""

    def __call__(self, ids: Tensor, cache: Any = None) -> Tensor:  # noqa: ANN401 - the cache that it made itself
        """Run over a batch of token ids, after those that a cache has seen.

        :param ids: (B, T).
        :param cache: What came before, extended by this call; None: nothing, and nothing is kept.
        :return: (B, T, D).
        """

    def new_cache(self, batch: int) -> Cache:
        """Start a cache.

        :param batch: Rows.
        :return: A cache that has seen nothing.
        """


class Backbone:
    """A causal language model that gives hidden states, and the tokenizer that belongs to it."""

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
    ) -> None:
        """Put the parts together.

        :param name: What the user called it.
        :param decoder: The model without its head, frozen, on its device.
        :param embeddings: (V, D) input embeddings.
        :param output_embeddings: (V, D) LM head: a hidden state's logits are its products with these.
        :param make_model: Gives the transformers causal LM.
        :param tokenizer: The tokenizer that belongs to the model.
        :param start_id: The token that starts every window.
        :param weights_fingerprint: 16 hex digits that name weights and tokenizer.
        :param fingerprint: 16 hex digits that name weights, tokenizer and quantization.
        :param quantization: How the linear layers are kept.
        :param end_ids: The tokens that end what the model says.
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
        self._make_model = make_model

    def __repr__(self) -> str:
        """Name the model and how it is kept.

        :return: A short description.
        """
        return f"Backbone({self.name!r}, {self.quantization}, {self.device}, fingerprint={self.fingerprint!r})"

    @cached_property
    def model(self) -> Any:  # noqa: ANN401 - any of transformers' causal LMs
        """Return the transformers causal LM, which shares the decoder's weights.

        For a Llama it is made on first use, since that imports transformers' models (3.5 s).

        :return: The model.
        """
        return self._make_model()

    @property
    def vocab_size(self) -> int:
        """Return the number of rows of the embeddings.

        :return: V.
        """
        return self.embeddings.shape[0]

    @property
    def hidden_size(self) -> int:
        """Return the width of a hidden state.

        :return: D.
        """
        return self.embeddings.shape[1]

    @property
    def device(self) -> torch.device:
        """Return where the model runs.

        :return: The device.
        """
        return self.embeddings.device

    def encode(self, text: str) -> list[int]:
        """Cut a text into tokens.

        :param text: Any text without lone surrogates.
        :return: Token ids, without special tokens added.
        """
        return self.tokenizer.encode(text)

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Cut a text into tokens and say where each lies.

        :param text: Any text without lone surrogates.
        :return: Token ids, and for each the first and one past the last of its characters.
        """
        return self.tokenizer.encode_with_offsets(text)

    def decode(self, ids: list[int]) -> str:
        """Put tokens together again.

        :param ids: Token ids.
        :return: Their text, special tokens included.
        """
        return self.tokenizer.decode(ids)

    def escape(self, text: str) -> EscapedText:
        """Escape the characters of a text that the tokenizer would change or lose; see `TextTokenizer.escape`."""
        return self.tokenizer.escape(text)

    # no_grad and not inference_mode: training saves hidden states for its own backward pass.
    @torch.no_grad()
    def hidden(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Run the model without its head.

        :param ids: (B, T) token ids.
        :param cache: What came before, from `new_cache`, extended by this call; None: nothing, and nothing is kept.
        :return: (B, T, D), after the final norm.
        """
        return self.decoder(ids.to(self.device), cache)

    def new_cache(self, batch: int) -> Cache:
        """Start a cache of keys and values, for decoding step by step.

        :param batch: Rows.
        :return: A cache that has seen nothing; its rows can be rolled back one by one.
        """
        return self.decoder.new_cache(batch)
