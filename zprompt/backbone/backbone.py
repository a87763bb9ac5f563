"""A frozen causal language model and its tokenizer, as the codec sees them."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from zprompt.backbone.quantization import Quantization
from zprompt.backbone.tokenizer import TextTokenizer


class Backbone:
    """A causal language model that gives hidden states, and the tokenizer that belongs to it."""

    def __init__(
        self,
        *,
        name: str,
        model: nn.Module,
        tokenizer: TextTokenizer,
        start_id: int,
        fingerprint: str,
        quantization: Quantization,
    ) -> None:
        """Freeze a model.

        :param name: What the user called it.
        :param model: A transformers causal LM on its device.
        :param tokenizer: Its tokenizer.
        :param start_id: The token that starts every window.
        :param fingerprint: Hex digits that name weights, tokenizer and quantization.
        :param quantization: How the linear layers are kept.
        """
        self.name = name
        self.model: Any = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.start_id = start_id
        self.fingerprint = fingerprint
        self.quantization = quantization

    @property
    def embeddings(self) -> Tensor:
        """Return the input embeddings.

        :return: (V, D).
        """
        return cast(Tensor, self.model.get_input_embeddings().weight)

    @property
    def output_embeddings(self) -> Tensor:
        """Return the LM head: a hidden state's logits are its products with these.

        :return: (V, D).
        """
        return cast(Tensor, self.model.get_output_embeddings().weight)

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

    @torch.inference_mode()
    def hidden(self, ids: Tensor) -> Tensor:
        """Run the model without its head.

        :param ids: (B, T) token ids.
        :return: (B, T, D), after the final norm.
        """
        return cast(Tensor, self.model.base_model(input_ids=ids.to(self.device), use_cache=False).last_hidden_state)
