"""The protocol of baselines: a text goes in, a shorter one comes out, and lossless ones restore the source.

    shortened = baseline.shorten(text, budget=200, query="Who …?")
    baseline.restore(shortened.text) == text          # if the baseline is lossless

Lengths are in tokens of the model that reads the result: by default of the default backbone, whose tokenizer loads
without its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from zprompt.errors import DocumentTypeError, OptionError
from zprompt.zspan import require_no_surrogates

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer

DEFAULT_RATIO = 2.0  # source tokens per token of the result, without a budget

Output: TypeAlias = Literal["text", "z", "ids"]
"""What a baseline writes: text that any model can read, Z-spans, or token ids as numbers."""


@dataclass(frozen=True, slots=True)
class Shortened:
    """A shortened text and its length."""

    text: str
    source_tokens: int
    tokens: int  # of the shortened text, including all that is needed to read it
    baseline: str  # its name

    @property
    def reduction(self) -> float:
        """Return the share of tokens saved: 0 for an empty text, negative if the text became longer."""
        return 1 - self.tokens / self.source_tokens if self.source_tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields under their names, for JSON."""
        return asdict(self)


@runtime_checkable
class Baseline(Protocol):
    """A way of shortening a text."""

    own_length: ClassVar[bool]  # True if results have a length of their own, whatever budget and ratio ask for
    output: ClassVar[Output]

    @property
    def name(self) -> str:
        """Return the baseline's name in reports."""

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The source.
        :param budget: Maximum tokens of the result; None: the baseline's own ratio decides.
        :param query: The question that the text should answer; some baselines ignore it.
        :return: The shortened text.
        """


@runtime_checkable
class LosslessBaseline(Baseline, Protocol):
    """A way of shortening a text that can be undone."""

    def restore(self, text: str) -> str:
        """Return exactly the source of a text that `shorten` wrote."""


@runtime_checkable
class JointBaseline(Baseline, Protocol):
    """A way of shortening several texts under one budget."""

    def shorten_together(
        self, texts: Sequence[str], budget: int | None = None, query: str | None = None, titles: Sequence[str] = ()
    ) -> list[Shortened]:
        """Shorten texts that are read together.

        :param texts: The sources, at least one.
        :param budget: Maximum tokens of all results together; None: the baseline's own ratio decides.
        :param query: As in `shorten`.
        :param titles: The title of each text, which is not shortened; empty for none.
        :return: The shortened texts, in order.
        """


class Tokenizer(Protocol):
    """A tokenizer: the backbone's, or one of `tokenizers`, `transformers` or `tiktoken`."""

    def encode(self, text: str, /) -> list[int]:
        """Cut a text without lone surrogates into token ids."""

    def decode(self, ids: list[int], /) -> str:
        """Return the text of token ids."""


@cache
def default_tokenizer() -> TextTokenizer:
    """Load the default backbone's tokenizer, once per process."""
    from zprompt.llm import TextTokenizer, pull

    return TextTokenizer.from_folder(pull())


def check_budget(budget: int | None) -> None:
    """Raise OptionError if a budget is negative."""
    if budget is not None and budget < 0:
        raise OptionError(f"budget must be at least 0 tokens, got {budget}. Leave it out for the method's own length.")


def check_ratio(ratio: float) -> None:
    """Raise OptionError if a ratio is below 1 or not finite."""
    if not 1 <= ratio < float("inf"):
        raise OptionError(f"ratio must be at least 1, got {ratio}. It says how many source tokens one token replaces.")


def check_text(text: object) -> None:
    """Raise DocumentTypeError if a text is not a str, InvalidTextError if it has lone surrogates."""
    if not isinstance(text, str):
        raise DocumentTypeError(f"text must be a str, got {type(text).__name__}. Shorten documents one by one.")
    require_no_surrogates(text)


def target_tokens(source_tokens: int, budget: int | None, ratio: float) -> int:
    """Return how many tokens a result may have: the budget, or source_tokens / ratio without one."""
    check_budget(budget)
    if budget is None:
        budget = max(round(source_tokens / ratio), 1)
    return min(budget, source_tokens)
