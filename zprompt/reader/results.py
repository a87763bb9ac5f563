"""The results of a reader: answers, generated texts, and their pieces during generation."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length"]
"""Why a text ends: the model ended it or a stop string came ("stop"), or at `max_new_tokens` tokens ("length")."""

NOT_FOUND = "not found"  # a reader's trained reply if the passages hold no answer
FOUND = 0.5  # confidence from which on an answer counts as found

_RAREST = 1e-6  # smallest probability that is told from 0
_SHOWN = 60  # characters of a text that a repr quotes


@dataclass(frozen=True, slots=True)
class Calibration:
    """Turns the odds against "not found" as the first token into a confidence (Platt scaling).

        confidence = 1 / (1 + exp(-(slope · log(odds) + intercept)))

    A reader is trained on far more questions with an answer than without, so it seldom says "not found"; but these odds
    tell how unsure it is. Fitted on as many questions with an answer as without (train/reader.py).
    """

    slope: float = 1.0
    intercept: float = 0.0

    def confidence(self, not_found: float) -> float:
        """Return the confidence that there is an answer, 0 to 1, given the probability of "not found"."""
        odds = log_odds(1.0 - not_found)
        return 0.5 + 0.5 * math.tanh((self.slope * odds + self.intercept) / 2)


def log_odds(probability: float) -> float:
    """Return the logarithm of the odds, kept finite."""
    clipped = min(max(probability, _RAREST), 1.0 - _RAREST)
    return math.log(clipped / (1.0 - clipped))


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that a text took."""

    prompt_positions: int  # of text and Z-tokens
    z_tokens: int  # positions that were Z-tokens
    source_tokens: int  # that these Z-tokens stand for
    generated_tokens: int  # including the one that ended the text

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, repr=False)
class Generation:
    """A text that the reader generated; `str()` of it is the text."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    watched: float | None = None  # probability that it begins with the watched token, if there is one

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Generation({_quote(self.text)}, {self.finish_reason}, {self.usage!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """An answer to a question about passages; `str()` of it is the answer's text."""

    question: str
    text: str  # stripped; "not found" if the reader finds no answer
    finish_reason: FinishReason
    usage: Usage
    confidence: float = 1.0  # probability that the passages hold the answer, 0 to 1; 1 if unknown

    @property
    def found(self) -> bool:
        """Return whether the reader found an answer in the passages."""
        return self.text != NOT_FOUND and self.confidence >= FOUND

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return (
            f"Answer({_quote(self.question)} → {_quote(self.text)}, confidence {self.confidence:.2f}, {self.usage!r})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and "found", as a dict for JSON."""
        return {**asdict(self), "found": self.found}


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of one of several texts generated together."""

    index: int  # of the text
    text: str  # whole characters; may be empty in the last piece
    generation: Generation | None = None  # the whole text, with its last piece


class TextStream(Iterator[str]):
    """The pieces of a text during generation: whole characters, none of which is taken back."""

    def __init__(self, deltas: Generator[Delta]) -> None:
        self._deltas = deltas
        self.generation: Generation | None = None  # the whole text, after the last piece

    def __next__(self) -> str:
        for delta in self._deltas:
            self.generation = delta.generation
            if delta.text:
                return delta.text
        raise StopIteration

    def close(self) -> None:
        """Stop generating."""
        self._deltas.close()


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
