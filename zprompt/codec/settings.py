"""What a codec is made of, in numbers: everything that compressor and decompressor must agree on.

The settings are part of the codec's fingerprint, so two codecs that would read a Z-span differently never share one.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from zprompt.errors import CheckpointError, OptionError
from zprompt.zspan import Alphabet, check_table


@dataclass(frozen=True, slots=True)
class CodecSettings:
    """The shape of the heads and of a Z-token."""

    subcodes: int = 4  # M, learned sub-codes of a code
    subcode_size: int = 256  # K, values of each
    max_gap: int = 23  # G, most source tokens that one Z-token swallows beside its anchor
    width: int = 512  # W, hidden units of the span head and of a code vector
    span_width: int = 256  # units that the code head has for each token of the span
    window: int = 512  # source tokens that share left context; the next window starts cold
    margin: float = 5e-4  # logits; a rank counts only if no rival is nearer than this
    rank_table: tuple[int, ...] = ()  # frequency of each bucket of ranks, in 1/4096; (): range_coder.py's

    def __post_init__(self) -> None:
        for name in ("subcodes", "subcode_size", "max_gap", "width", "span_width", "window"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}. See CodecSettings.")
        if self.window < 2 * (self.max_gap + 1):
            raise OptionError(
                f"window must hold two of the longest spans ({2 * (self.max_gap + 1)} tokens), got {self.window}."
            )
        if self.rank_table:
            check_table(self.rank_table)

    def alphabet(self, vocab_size: int) -> Alphabet:
        """Return the alphabet of the Z-tokens over a backbone with `vocab_size` token ids."""
        return Alphabet(vocab_size, self.max_gap, self.subcodes, self.subcode_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-able values."""
        return {**asdict(self), "rank_table": list(self.rank_table)}

    def to_json(self) -> str:
        """Return the settings as canonical JSON, which the fingerprint is made of."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CodecSettings":
        """Read settings that `to_dict` wrote; raise CheckpointError for a setting that this release does not know."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise CheckpointError(
                f"The codec has settings that this release does not know: {sorted(unknown)}. Update zprompt."
            )
        return cls(**{**values, "rank_table": tuple(values.get("rank_table", ()))})
