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
from typing import Any, ClassVar, TYPE_CHECKING
from unittest.mock import patch

from zprompt.baselines.peers.local_model import PeerPruning, TupleCacheModel, transformers_tokenizer

if TYPE_CHECKING:
    from zprompt.llm import Backbone

LONG: dict[str, Any] = {
    "rank_method": "longllmlingua",
    "condition_in_question": "after",
    "condition_compare": True,
    "dynamic_context_compression_ratio": 0.3,
    "concate_question": False,
}


class LLMLingua(PeerPruning):
    """Prunes texts with the package `llmlingua`."""

    name = "llmlingua"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    @cached_property
    def compressor(self) -> Any:  # noqa: ANN401 - an optional package's
        """Construct the compressor.

        :return: A `PromptCompressor`.
        """
        return make_compressor(self.backbone)

    def _prune(self, text: str, count: int, wanted: int, query: str | None) -> str:
        """Prune a text, whose paragraphs are the passages."""
        options = {**LONG, "question": query} if query and query.strip() else {}
        passages = [passage for passage in re.split(r"\n\s*\n", text) if passage.strip()]
        return str(self.compressor.compress_prompt(passages, target_token=wanted, **options)["compressed_prompt"])


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
