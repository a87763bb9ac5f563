"""How to prune, checked before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.baselines.lengths import DEFAULT_RATIO, check_ratio
from zprompt.codec import Protection
from zprompt.errors import OptionError

if TYPE_CHECKING:
    from zprompt.options import Protect

_SMALLEST_CONTEXT = 64


@dataclass(frozen=True, slots=True)
class PruningOptions:
    """The options of a `Pruning`."""

    ratio: float = DEFAULT_RATIO  # source tokens per token of the result where no budget is given
    slack: float = 2.0  # the coarse step keeps passages of up to slack × budget tokens
    spread: float = 0.3  # how much more of the best passage is kept than the mean, if there is a query
    segment: int = 128  # tokens that are judged at a time
    context: int = 1024  # tokens that the model sees at a time
    protect: Protect | None = None  # a regex, or literal strings, whose words all stay
    digits: bool = False  # words with digits come before all others

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        check_ratio(self.ratio)
        if not self.slack >= 1:
            raise OptionError(f"slack must be at least 1, got {self.slack}. 1 leaves the fine step nothing to drop.")
        if not 0 <= self.spread <= 1:
            raise OptionError(f"spread must be from 0 to 1, got {self.spread}.")
        if self.context < _SMALLEST_CONTEXT:
            raise OptionError(f"context must be at least {_SMALLEST_CONTEXT} tokens, got {self.context}.")
        if not 1 <= self.segment <= self.context // 4:
            raise OptionError(
                f"segment must be from 1 to {self.context // 4}, a quarter of the context, got {self.segment}."
            )
        _ = self.protection  # a bad regex is an error now, not with the first text

    @property
    def protection(self) -> Protection:
        """Give what is protected.

        :return: The protection.
        """
        return Protection.of(self.protect)
