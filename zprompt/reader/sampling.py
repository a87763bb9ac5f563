"""Choose the next token from the model's logits.

    temperature 0    the most likely one
    else             one drawn from softmax(logits / temperature), of the top_k most likely tokens, of the fewest
                     whose probabilities sum to top_p

A row draws its own random numbers, one a token, so what it says depends on its seed and on no other row.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from zprompt.errors import OptionError

_SEEDS = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are chosen."""

    temperature: float = 0.0  # 0: always the most likely token
    top_p: float = 1.0  # probability that the tokens to choose from have together; 1: all
    top_k: int = 0  # tokens to choose from; 0: all
    seed: int | None = None  # the same seed gives the same text; None: another one each time

    def __post_init__(self) -> None:
        """Refuse what nothing can be drawn with."""
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise OptionError(f"temperature must be 0 (the most likely token) or more, got {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top_p must be above 0 and at most 1 (all tokens), got {self.top_p}.")
        if self.top_k < 0:
            raise OptionError(f"top_k must be 0 (all tokens) or more, got {self.top_k}.")
        if self.seed is not None and self.seed not in _SEEDS:
            raise OptionError(f"seed must be a whole number of 64 bits or None, got {self.seed}.")


class Sampler:
    """Draws the tokens of one row."""

    def __init__(self, sampling: Sampling) -> None:
        """Start a row's random numbers.

        :param sampling: How tokens are chosen.
        """
        self.sampling = sampling
        self._random = torch.Generator()
        if sampling.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(sampling.seed)

    @property
    def greedy(self) -> bool:
        """Say whether it is always the most likely token: then `draw` is not needed."""
        return self.sampling.temperature == 0

    def draw(self, logits: Tensor) -> int:
        """Choose a token.

        :param logits: (V,).
        :return: Its id.
        """
        scaled = logits.to("cpu", torch.double) / self.sampling.temperature
        best = scaled.topk(min(self.sampling.top_k or len(scaled), len(scaled)))
        odds = best.values.softmax(0)
        before = odds.cumsum(0) - odds  # of the tokens that are more likely
        odds = odds.where(before < self.sampling.top_p, 0.0)
        drawn = torch.rand((), generator=self._random, dtype=torch.double) * odds.sum()
        place = int(torch.searchsorted(odds.cumsum(0), drawn, right=True))
        return int(best.indices[min(place, int((odds > 0).sum()) - 1)])
