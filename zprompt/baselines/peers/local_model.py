"""Give other packages the backbone in the forms that they were written for."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from zprompt.baselines.lengths import DEFAULT_RATIO, check_ratio, check_text, wanted_tokens
from zprompt.baselines.protocol import Shortened
from zprompt.errors import PeerError

if TYPE_CHECKING:
    from torch import Tensor

    from zprompt.llm import Backbone

Result = TypeVar("Result")


def transformers_tokenizer(backbone: Backbone) -> Any:  # noqa: ANN401 - transformers is imported here
    """Give the backbone's tokenizer as transformers has it.

    :param backbone: The backbone.
    :return: A PreTrainedTokenizerFast.
    """
    from transformers import PreTrainedTokenizerFast

    start = backbone.decode([backbone.start_id])
    return PreTrainedTokenizerFast(
        tokenizer_object=backbone.tokenizer.backend, bos_token=start, eos_token=start, pad_token=start
    )


class TupleCacheModel:
    """A causal LM that takes and gives its cache as pairs of keys and values, as transformers did before version 5."""

    def __init__(self, model: Any) -> None:  # noqa: ANN401 - any of transformers' causal LMs
        """Wrap a model.

        :param model: The model.
        """
        self._model = model
        taken = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in taken else "past_key_values"  # its name before transformers 5.24

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
        :param use_cache: Ignored: the cache is always given.
        :return: `logits` and `past_key_values`.
        """
        from transformers import DynamicCache

        cache: Any = DynamicCache(config=self._model.config)  # its layers have keys and values, but for linear ones
        for layer, (keys, values) in enumerate(past_key_values or ()):
            cache.update(keys, values, layer)
        named: dict[str, Any] = {self._cache_name: cache}
        output = self._model(input_ids=input_ids, attention_mask=attention_mask, use_cache=True, **named)
        pairs = [(layer.keys, layer.values) for layer in cache.layers]
        return SimpleNamespace(logits=output.logits, past_key_values=pairs)


def ask_peer(package: str, work: Callable[[], Result]) -> Result:
    """Let another package work, and say so where it fails.

    :param package: Its name.
    :param work: What it does.
    :return: What that gives.
    :raises PeerError: If it raises anything.
    """
    try:
        return work()
    except Exception as error:  # whatever a peer raises is a finding
        raise PeerError(
            f"{package} failed on this text with {type(error).__name__}: {error}. That is no error of zprompt; leave "
            "this text or this method out."
        ) from error


class PeerPruning(ABC):
    """Prunes texts with another package, and the backbone as its model."""

    name: str

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
        from zprompt.codec import shared_codec

        return self._backbone or shared_codec().backbone

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Prune a text.

        :param text: The text.
        :param budget: Tokens that it is to have; how near it comes is up to the package. None: as the ratio says.
        :param query: What will be asked about the text; a package that knows no queries ignores it.
        :return: What the package made of it.
        """
        check_text(text)
        count = len(self.backbone.encode(text))
        wanted = wanted_tokens(count, budget, self._ratio)
        if wanted >= count:
            return Shortened(text, count, count, self.name)
        shortened = ask_peer(self.name, lambda: self._prune(text, count, wanted, query))
        return Shortened(shortened, count, len(self.backbone.encode(shortened)), self.name)

    @abstractmethod
    def _prune(self, text: str, count: int, wanted: int, query: str | None) -> str:
        """Let the package prune a text of `count` tokens to about `wanted`."""
