"""The protocol of all methods: a text goes in, a shorter one comes out, and some can give the first one back.

shortened = method.shorten(text, budget=200, query="Who …?")
method.restore(shortened.text) == text          # where the method is lossless
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from zprompt.errors import OptionError

Output: TypeAlias = Literal["text", "z", "ids"]
"""What a baseline writes: readable text, Z-spans, or token ids in decimal."""

TokenCounter: TypeAlias = Callable[[str], int]  # how many tokens the reader takes for a text


@dataclass(frozen=True, slots=True)
class Shortened:
    """A shortened text, and what it cost and saved."""

    text: str
    source_tokens: int
    tokens: int  # of the shortened text, with all that it needs to be read
    baseline: str  # its name

    @property
    def reduction(self) -> float:
        """Give the share of tokens that was saved.

        :return: Below 1; 0 for an empty text, negative where the text became longer.
        """
        return 1 - self.tokens / self.source_tokens if self.source_tokens else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Turn the result into a dict for JSON.

        :return: The fields under their names.
        """
        return asdict(self)


@runtime_checkable
class Baseline(Protocol):
    """A way of shortening a text."""

    own_length: ClassVar[bool]
    """True if it ignores budget and ratio."""
    output: ClassVar[Output]

    @property
    def name(self) -> str:
        """Name the method.

        :return: Its name, as reports print it.
        """

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The text.
        :param budget: Tokens that the result may have; None: as the method likes. Lossless methods cannot promise it.
        :param query: What will be asked about the text; methods that know no queries ignore it.
        :return: The shortened text.
        """


@runtime_checkable
class LosslessBaseline(Baseline, Protocol):
    """A way of shortening a text that can be undone."""

    def restore(self, text: str) -> str:
        """Give the source back.

        :param text: What `shorten` made of it.
        :return: The source, exactly.
        """


def check_budget(budget: int | None) -> None:
    """Refuse a budget that nothing can keep.

    :param budget: Tokens, or None.
    :raises OptionError: If it is negative.
    """
    if budget is not None and budget < 0:
        raise OptionError(f"budget must be at least 0 tokens, got {budget}. Leave it out for the method's own length.")
