"""Selective Context as it is (`selective_context.SelectiveContext`), with the backbone in place of GPT-2.

Its constructor fetches GPT-2 from the hub: `_prepare_model` is overridden to take the backbone, nothing else. It needs
spaCy's English model, since it drops noun phrases and other units of text, each by its own self-information.
"""

from __future__ import annotations

from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from typing import Any, ClassVar, TYPE_CHECKING

from zprompt.baselines.lengths import DEFAULT_RATIO
from zprompt.baselines.peers.local_model import PeerPruning, transformers_tokenizer

if TYPE_CHECKING:
    from zprompt.llm import Backbone


class SelectiveContext(PeerPruning):
    """Prunes texts with the package `selective-context`."""

    name = "selective-context"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, ratio: float = DEFAULT_RATIO, level: str = "phrase", backbone: Backbone | None = None) -> None:
        """Choose the model.

        :param ratio: Source tokens per token of the result where no budget is given.
        :param level: What is dropped: "sent", "phrase" or "token", as the package calls them.
        :param backbone: The model; None: the default codec's, which this process loads once.
        """
        super().__init__(ratio, backbone)
        self._level = level

    @cached_property
    def compressor(self) -> Any:  # noqa: ANN401 - an optional package's
        """Construct the compressor; the package prints while it is imported and constructed.

        :return: A `SelectiveContext`.
        """
        with redirect_stdout(StringIO()):
            return _make_compressor(self.backbone)

    def _prune(self, text: str, count: int, wanted: int, query: str | None) -> str:
        """Prune an English text; the package knows no queries."""
        shortened, _ = self.compressor(text, reduce_ratio=1 - wanted / count, reduce_level=self._level)
        return str(shortened)


def _make_compressor(backbone: Backbone) -> Any:  # noqa: ANN401 - an optional package's
    """Construct the package's compressor with a backbone."""
    from selective_context import SelectiveContext as Theirs

    class LocalContext(Theirs):  # type: ignore[misc]  # an optional package has no types
        """The compressor, with a model that is already there."""

        def _prepare_model(self) -> None:
            """Take the backbone instead of loading GPT-2."""
            self.tokenizer, self.model = transformers_tokenizer(backbone), backbone.model
            self.device = backbone.device
            self.max_token_length = backbone.model.config.max_position_embeddings
            self.get_self_information = self._get_self_info_via_gpt2

    return LocalContext()
