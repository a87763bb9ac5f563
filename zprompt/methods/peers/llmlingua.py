"""LLMLingua as it is (`llmlingua.PromptCompressor`), with the backbone as its model.

Its constructor wants CUDA, a model from the hub and a vocabulary that tiktoken downloads. `load_model` is therefore
overridden to take the backbone, and while it is constructed, a stand-in for tiktoken counts with the backbone's
tokenizer; nothing else is changed. With a query it runs as LongLLMLingua: passages ranked by how well they explain the
question, tokens by contrast.
"""

from __future__ import annotations

import re
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from zprompt.methods.lengths import DEFAULT_RATIO, check_ratio, check_text, wanted_tokens
from zprompt.methods.peers.local_model import TupleCacheModel, ask_peer, transformers_tokenizer
from zprompt.methods.protocol import Shortened

if TYPE_CHECKING:
    from zprompt.backbone import Backbone

LONG: dict[str, Any] = {
    "rank_method": "longllmlingua",
    "condition_in_question": "after",
    "condition_compare": True,
    "dynamic_context_compression_ratio": 0.3,
    "concate_question": False,
}


class LLMLingua:
    """Prunes texts with the package `llmlingua`."""

    name = "llmlingua"

    def __init__(self, ratio: float = DEFAULT_RATIO, backbone: Backbone | None = None) -> None:
        """Choose the model.

        :param ratio: Source tokens per token of the result where no budget is given.
        :param backbone: The model; None: the default codec's, which this process loads once.
        """
        check_ratio(ratio)
        self._ratio, self._backbone = ratio, backbone

    @cached_property
    def backbone(self) -> Backbone:
        """Give the model, which is loaded with the first text.

        :return: The model.
        """
        from zprompt.api import shared_codec

        return self._backbone or shared_codec().backbone

    @cached_property
    def compressor(self) -> Any:  # noqa: ANN401 - an optional package's
        """Construct the compressor.

        :return: A `PromptCompressor`.
        """
        return make_compressor(self.backbone)

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Prune a text.

        :param text: The text; its paragraphs are the passages.
        :param budget: Tokens that it is to have; how near it comes is up to the package. None: as the ratio says.
        :param query: What will be asked about the text.
        :return: What the package made of it.
        """
        check_text(text)
        count = len(self.backbone.encode(text))
        wanted = wanted_tokens(count, budget, self._ratio)
        if wanted >= count:
            return Shortened(text, count, count, self.name)
        options = {**LONG, "question": query} if query and query.strip() else {}
        passages = [passage for passage in re.split(r"\n\s*\n", text) if passage.strip()]
        result = ask_peer(self.name, lambda: self.compressor.compress_prompt(passages, target_token=wanted, **options))
        shortened = str(result["compressed_prompt"])
        return Shortened(shortened, count, len(self.backbone.encode(shortened)), self.name)


def make_compressor(backbone: Backbone) -> Any:  # noqa: ANN401 - an optional package's
    """Construct the package's compressor with a backbone.

    :param backbone: The model.
    :return: A `PromptCompressor`.
    """
    from llmlingua import PromptCompressor, prompt_compressor

    class LocalCompressor(PromptCompressor):  # type: ignore[misc]  # an optional package has no types
        """The compressor, with a model that is already there."""

        def load_model(self, model_name: str, device_map: str = "cpu", model_config: object = None) -> None:
            """Take the backbone instead of loading a model.

            :param model_name: Ignored.
            :param device_map: Ignored.
            :param model_config: Ignored.
            """
            self.tokenizer, self.model = transformers_tokenizer(backbone), TupleCacheModel(backbone.model)
            self.device = str(backbone.device)
            self.context_idxs: list[object] = []
            self.max_position_embeddings = backbone.model.config.max_position_embeddings

    counter = SimpleNamespace(encoding_for_model=lambda name: SimpleNamespace(encode=backbone.encode))
    with patch.object(prompt_compressor, "tiktoken", counter):
        return LocalCompressor(backbone.name, device_map="cpu")
