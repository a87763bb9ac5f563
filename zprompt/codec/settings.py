"""The numbers that compressor and decompressor must agree on, besides the LLM.

The settings are part of the codec's fingerprint, so two codecs that would read a Z-span differently never share one.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from zprompt.errors import CheckpointError, OptionError
from zprompt.zspan import MOST_SUBCODE_VALUES, MOST_SUBCODES


class _Settings:
    """Settings that are read from and written to JSON: integers of at least 1, and floats of at least 0."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def to_json(self) -> str:
        """Return the settings as canonical JSON, from which a fingerprint is made."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read settings that `to_dict` wrote; raise CheckpointError for a setting that this release does not know."""
        unknown = set(values) - {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown:
            raise CheckpointError(
                f"The codec has settings that this release does not know: {sorted(unknown)}. Update zprompt."
            )
        return cls(**values)

    def _require_numbers(self) -> None:
        for field in fields(self):  # type: ignore[arg-type]
            name, value, whole = field.name, getattr(self, field.name), isinstance(field.default, int)
            if not isinstance(value, int if whole else (int, float)):
                raise OptionError(f"{name} must be a number, got {value!r}. See {type(self).__name__}.")
            if not value >= int(whole):
                raise OptionError(f"{name} must be at least {int(whole)}, got {value}. See {type(self).__name__}.")


@dataclass(frozen=True, slots=True)
class CodecSettings(_Settings):
    """How a codec reads a text with its LLM."""

    window: int = 512  # source tokens that share left context; the next window starts cold
    margin: float = 5e-4  # logits; a rank is written only if no rival's logit is nearer than this

    def __post_init__(self) -> None:
        self._require_numbers()

    @classmethod
    def for_positions(cls, most: int | None) -> Self:
        """Return the default settings for an LLM with a context of `most` positions; None: no limit."""
        # A power of two, to which windows are padded anyway (llm/batch_invariance.py).
        return cls() if most is None or most >= cls().window else cls(window=1 << most.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class HeadSettings(_Settings):
    """The shape of the heads that write and read learned codes."""

    subcodes: int = 4  # M, learned sub-codes per code
    subcode_size: int = 256  # K, values of a sub-code
    max_gap: int = 23  # G, dropped tokens of the longest span that has a code
    width: int = 512  # W, hidden units of the span head and of a code vector
    span_width: int = 256  # units of the code head per token of the span

    def __post_init__(self) -> None:
        self._require_numbers()
        if self.subcodes > MOST_SUBCODES or self.subcode_size > MOST_SUBCODE_VALUES:
            raise OptionError(
                f"A code has at most {MOST_SUBCODES} sub-codes of {MOST_SUBCODE_VALUES} values, got {self.subcodes} of "
                f"{self.subcode_size}."
            )
