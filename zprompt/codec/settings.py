"""What compressor and decompressor must agree on beside the LLM, in numbers.

The settings are part of the codec's fingerprint, so two codecs that would read a Z-span differently never share one.
"""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from zprompt.errors import CheckpointError, OptionError
from zprompt.zspan import MOST_SUBCODE_VALUES, MOST_SUBCODES


class _Settings:
    """Whole numbers that are at least 1 and others that are at least 0, to and from JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    def to_json(self) -> str:
        """Return the settings as canonical JSON, which a fingerprint is made of."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read settings that `to_dict` wrote; raise CheckpointError for a setting that this release does not know."""
        unknown = set(values) - {item.name for item in fields(cls)}  # type: ignore[arg-type]
        if unknown:
            raise CheckpointError(
                f"The codec has settings that this release does not know: {sorted(unknown)}. Update zprompt."
            )
        return cls(**values)

    def _require_numbers(self) -> None:
        for item in fields(self):  # type: ignore[arg-type]
            value, whole = getattr(self, item.name), isinstance(item.default, int)
            if not isinstance(value, int if whole else (int, float)):
                raise OptionError(f"{item.name} must be a number, got {value!r}. See {type(self).__name__}.")
            if not value >= int(whole):
                raise OptionError(f"{item.name} must be at least {int(whole)}, got {value}. See {type(self).__name__}.")


@dataclass(frozen=True, slots=True)
class CodecSettings(_Settings):
    """How a codec reads a text with its LLM."""

    window: int = 512  # source tokens that share left context; the next window starts cold
    margin: float = 5e-4  # logits; a rank counts only if no rival is nearer than this

    def __post_init__(self) -> None:
        self._require_numbers()

    @classmethod
    def for_positions(cls, most: int | None) -> Self:
        """Return the usual settings for an LLM that reads at most so many positions, None for any number."""
        # A power of two, to which windows are padded anyway (llm/batch_invariance.py).
        return cls() if most is None or most >= cls().window else cls(window=1 << most.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class HeadSettings(_Settings):
    """The shape of the heads that write and read learned codes."""

    subcodes: int = 4  # M, learned sub-codes of a code
    subcode_size: int = 256  # K, values of each
    max_gap: int = 23  # G, dropped tokens of the longest span that has a code
    width: int = 512  # W, hidden units of the span head and of a code vector
    span_width: int = 256  # units that the code head has for each token of the span

    def __post_init__(self) -> None:
        self._require_numbers()
        if self.subcodes > MOST_SUBCODES or self.subcode_size > MOST_SUBCODE_VALUES:
            raise OptionError(
                f"A code has at most {MOST_SUBCODES} sub-codes of {MOST_SUBCODE_VALUES} values, got {self.subcodes} of "
                f"{self.subcode_size}."
            )
