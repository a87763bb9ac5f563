"""Other packages as their authors ship them, each behind the protocol and with our model.

None is modified, and none is a dependency of zprompt. Where a package would fetch a model, a subclass of its own class
is given the backbone; where it expects an older transformers, it gets the interface that it was written for. It is
given the budget once, and its output is counted. Anything it raises becomes a `PeerError`, which benchmarks report.
"""

from __future__ import annotations

import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from zprompt.baselines.protocol import (
    DEFAULT_RATIO,
    Output,
    Shortened,
    check_budget,
    check_ratio,
    check_text,
    default_tokenizer,
    target_tokens,
)
from zprompt.errors import PeerError

if TYPE_CHECKING:
    from torch import Tensor

    from zprompt.llm import Backbone, TextTokenizer

Result = TypeVar("Result")

_LONGLLMLINGUA: dict[str, Any] = {
    "rank_method": "longllmlingua",
    "condition_in_question": "after",
    "condition_compare": True,
    "dynamic_context_compression_ratio": 0.3,
    "concate_question": False,
}


def call_peer(package: str, work: Callable[[], Result]) -> Result:
    """Run another package's code; raise PeerError if it raises anything."""
    try:
        return work()
    except Exception as error:  # anything that a peer raises is a finding
        raise PeerError(
            f"{package} failed on this text with {type(error).__name__}: {error}. This is not an error of zprompt; "
            "leave out this text or this baseline."
        ) from error


class PeerPruning(ABC):
    """Prunes texts with another package that uses the backbone as its model."""

    name: str
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, ratio: float = DEFAULT_RATIO, backbone: Backbone | None = None) -> None:
        """Choose the model.

        :param ratio: Source tokens per token of the result, without a budget.
        :param backbone: The model; None: the default codec's, loaded once per process.
        """
        check_ratio(ratio)
        self._ratio, self._backbone = ratio, backbone

    @cached_property
    def backbone(self) -> Backbone:
        """Return the model, loaded with the first text."""
        from zprompt.codec import shared_codec

        return self._backbone or shared_codec().backbone

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Prune a text.

        :param text: The source.
        :param budget: Tokens to aim at; how close the result comes is up to the package. None: the ratio decides.
        :param query: The question that the text should answer, for packages that use it.
        :return: The pruned text.
        """
        check_text(text)
        count = len(self.backbone.encode(text))
        target = target_tokens(count, budget, self._ratio)
        if target >= count:
            return Shortened(text, count, count, self.name)
        shortened = call_peer(self.name, lambda: self._prune(text, count, target, query))
        return Shortened(shortened, count, len(self.backbone.encode(shortened)), self.name)

    @abstractmethod
    def _prune(self, text: str, count: int, target: int, query: str | None) -> str:
        """Let the package prune a text of `count` tokens to about `target`."""


class LLMLingua(PeerPruning):
    """Prunes texts with the package `llmlingua`; with a query as LongLLMLingua, with paragraphs as passages."""

    name = "llmlingua"

    @cached_property
    def compressor(self) -> Any:  # noqa: ANN401 - an optional package's
        """Return the package's `PromptCompressor`, with the backbone as its model."""
        from llmlingua import PromptCompressor

        backbone = self.backbone

        class LocalCompressor(PromptCompressor):  # type: ignore[misc]  # an optional package has no types
            """The compressor, with a model and a vocabulary that are loaded already.

            The constructor of version 0.2.2 would load a model from the hub and download tiktoken's vocabulary, so it
            is replaced by one that sets the same attributes; all methods are those of the package.
            """

            def __init__(self) -> None:
                self.model_name, self.use_llmlingua2 = backbone.name, False
                self.open_api_config: dict[str, Any] = {}
                self.retrieval_model = self.retrieval_model_name = None
                self.cache_bos_num, self.prefix_bos_num = 10, 100
                self.oai_tokenizer = SimpleNamespace(encode=backbone.encode)
                self.tokenizer, self.model = transformers_tokenizer(backbone), TupleCacheModel(backbone.model)
                self.device = str(backbone.device)
                self.context_idxs: list[Any] = []
                self.max_position_embeddings = backbone.model.config.max_position_embeddings

        return LocalCompressor()

    def _prune(self, text: str, count: int, target: int, query: str | None) -> str:
        options = {**_LONGLLMLINGUA, "question": query} if query and query.strip() else {}
        passages = [passage for passage in re.split(r"\n\s*\n", text) if passage.strip()]
        return str(self.compressor.compress_prompt(passages, target_token=target, **options)["compressed_prompt"])


class SelectiveContext(PeerPruning):
    """Prunes English texts with the package `selective-context`, which drops units of text and ignores queries."""

    name = "selective-context"

    def __init__(self, ratio: float = DEFAULT_RATIO, level: str = "phrase", backbone: Backbone | None = None) -> None:
        """Choose the model.

        :param ratio: Source tokens per token of the result, without a budget.
        :param level: The units to drop: "sent", "phrase" or "token", as the package calls them.
        :param backbone: The model; None: the default codec's, loaded once per process.
        """
        super().__init__(ratio, backbone)
        self._level = level

    @cached_property
    def compressor(self) -> Any:  # noqa: ANN401 - an optional package's
        """Return the package's `SelectiveContext`, with the backbone in place of GPT-2."""
        with redirect_stdout(StringIO()):  # the package prints while it is imported and constructed
            from selective_context import SelectiveContext as PeerSelectiveContext

            backbone = self.backbone

            class LocalContext(PeerSelectiveContext):  # type: ignore[misc]  # an optional package has no types
                """The compressor, with a model that is loaded already."""

                def _prepare_model(self) -> None:
                    self.tokenizer, self.model = transformers_tokenizer(backbone), backbone.model
                    self.device = backbone.device
                    self.max_token_length = backbone.model.config.max_position_embeddings
                    self.get_self_information = self._get_self_info_via_gpt2

            return LocalContext()

    def _prune(self, text: str, count: int, target: int, query: str | None) -> str:
        shortened, _ = self.compressor(text, reduce_ratio=1 - target / count, reduce_level=self._level)
        return str(shortened)


class DeltaLtsc:
    """Replaces repeats with the package `delta-ltsc`.

    The package has no text form: the text here is its sequence as JSON, ids and meta-tokens by name.
    """

    name = "delta-ltsc"
    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "ids"

    def __init__(
        self,
        selection: str = "greedy",
        longest: int = 8,
        nested: bool = True,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """Choose the mode.

        :param selection: "greedy", "optimal", "beam" or "ilp", as the package calls them.
        :param longest: Maximum tokens of a repeat; above 16 the package warns.
        :param nested: Whether entries of the dictionary may use other entries.
        :param tokenizer: Cuts texts into tokens; None: the default backbone's.
        """
        self._selection, self._longest, self._nested, self._tokenizer = selection, longest, nested, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Replace the repeats of a text; budget and query are ignored."""
        import delta

        check_text(text)
        check_budget(budget)
        ids = (self._tokenizer or default_tokenizer()).encode(text)
        if not ids:
            return Shortened("[]", 0, 0, self.name)
        result = call_peer(self.name, lambda: delta.compress(ids, self._config()))
        sequence = list(result.serialized_tokens)
        if call_peer(self.name, lambda: list(delta.decompress(sequence, self._config()))) != ids:
            raise PeerError(f"{self.name} cannot restore the sequence that it wrote. Choose another of its modes.")
        return Shortened(json.dumps(sequence), len(ids), len(sequence), self.name)

    def restore(self, text: str) -> str:
        """Return exactly the source of a text that `shorten` wrote."""
        import delta

        sequence = json.loads(text)
        ids = call_peer(self.name, lambda: list(delta.decompress(sequence, self._config()))) if sequence else []
        return (self._tokenizer or default_tokenizer()).decode(ids)

    def _config(self) -> Any:  # noqa: ANN401 - an optional package's
        import delta

        return delta.CompressionConfig(
            selection_mode=self._selection,
            max_subsequence_length=self._longest,
            hierarchical_enabled=self._nested,
            dict_length_enabled=self._nested,  # without lengths, the package fails to restore nested dictionaries
            metrics_enabled=False,
            static_dictionary_auto=False,
        )


def transformers_tokenizer(backbone: Backbone) -> Any:  # noqa: ANN401 - transformers is imported here
    """Wrap the backbone's tokenizer as a PreTrainedTokenizerFast."""
    from transformers import PreTrainedTokenizerFast

    start = backbone.decode([backbone.start_id])
    return PreTrainedTokenizerFast(
        tokenizer_object=backbone.tokenizer.backend, bos_token=start, eos_token=start, pad_token=start
    )


class TupleCacheModel:
    """A causal LM whose cache is pairs of keys and values, as transformers had it before version 5."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - any of transformers' causal LMs
        """Wrap a model."""
        self._model = model
        parameters = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in parameters else "past_key_values"  # the name before transformers 5.24

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Sequence[tuple[Tensor, Tensor]] | None = None,
        use_cache: bool = True,
    ) -> SimpleNamespace:
        """Run the model.

        :param input_ids: (B, T).
        :param attention_mask: (B, S + T).
        :param past_key_values: Keys and values of each layer; None: nothing came before.
        :param use_cache: Ignored: the cache is always returned.
        :return: `logits` and `past_key_values`.
        """
        from transformers import DynamicCache

        cache: Any = DynamicCache(config=self._model.config)  # its layers have keys and values, unless they are linear
        for layer, (keys, values) in enumerate(past_key_values or ()):
            cache.update(keys, values, layer)
        cache_argument: dict[str, Any] = {self._cache_name: cache}
        output = self._model(input_ids=input_ids, attention_mask=attention_mask, use_cache=True, **cache_argument)
        pairs = [(layer.keys, layer.values) for layer in cache.layers]
        return SimpleNamespace(logits=output.logits, past_key_values=pairs)
