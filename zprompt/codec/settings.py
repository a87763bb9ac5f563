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
    subcode_size: int = 256  # K, choices of each
    max_gap: int = 23  # G, most source tokens that one Z-token swallows beside its anchor
    width: int = 512  # W, hidden units of the span head and of a code vector
    span_width: int = 256  # units that the code head gives a token of the span
    window: int = 512  # source tokens that share left context; the next window starts cold
    margin: float = 5e-4  # logits; a rank counts only if no rival is nearer than this
    rank_table: tuple[int, ...] = ()  # frequency of each bucket of symbols, in 1/4096; (): residual.py's

    def __post_init__(self) -> None:
        """Refuse settings that no codec can have."""
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
        """Give the alphabet of the Z-tokens over a backbone's vocabulary.

        :param vocab_size: Number of token ids of the backbone.
        :return: The alphabet.
        """
        return Alphabet(vocab_size, self.max_gap, self.subcodes, self.subcode_size)

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as JSON-able values.

        :return: One entry for each setting.
        """
        return {**asdict(self), "rank_table": list(self.rank_table)}

    def to_json(self) -> str:
        """Give the settings as canonical JSON, the form that the fingerprint is made of.

        :return: JSON with sorted keys.
        """
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CodecSettings":
        """Read settings that `to_dict` wrote.

        :param values: One entry for each setting.
        :return: The settings.
        :raises CheckpointError: If an entry is not known to this release.
        """
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise CheckpointError(
                f"The codec has settings that this release does not know: {sorted(unknown)}. Update zprompt."
            )
        return cls(**{**values, "rank_table": tuple(values.get("rank_table", ()))})
