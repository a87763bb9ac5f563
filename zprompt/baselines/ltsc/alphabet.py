"""Which ids are meta-tokens: all from `first` on, the control tokens before those that stand for entries.

    first + 0 … + 4     RAW, DICTIONARY, END, LZW, ESCAPE
    first + 5 + i       entry i

`first` is the size of the reader's vocabulary, so that a tuned model has meta-tokens as new ids. An id of the input
that lies there too is written after ESCAPE.
"""

from __future__ import annotations

from dataclasses import dataclass

from zprompt.errors import OptionError

_CONTROLS = 5
_LAST_ID = 2**62  # ids are held in int64


@dataclass(frozen=True, slots=True)
class MetaAlphabet:
    """The ids that are meta-tokens."""

    first: int = 1 << 20  # above the vocabulary of every model that we know
    entries: int | None = None  # how many entries have a token; None: as many as are useful

    def __post_init__(self) -> None:
        """Refuse what has no ids."""
        if not 0 <= self.first < _LAST_ID:
            raise OptionError(f"first must be the id of the first meta-token, from 0 on, got {self.first}.")
        if self.entries is not None and self.entries < 0:
            raise OptionError(f"entries must be at least 0, got {self.entries}. Leave it out for no limit.")

    @property
    def raw(self) -> int:
        """Give the flag of a sequence that was left as it is.

        :return: The id.
        """
        return self.first

    @property
    def dictionary(self) -> int:
        """Give the token that begins a dictionary, `<Dict>` of the paper.

        :return: The id.
        """
        return self.first + 1

    @property
    def end(self) -> int:
        """Give the token that ends a dictionary, `</Dict>` of the paper.

        :return: The id.
        """
        return self.first + 2

    @property
    def lzw(self) -> int:
        """Give the flag of a sequence whose dictionary is implicit.

        :return: The id.
        """
        return self.first + 3

    @property
    def escape(self) -> int:
        """Give the token after which an id is literal.

        :return: The id.
        """
        return self.first + 4

    @property
    def first_entry(self) -> int:
        """Give the token of the first entry.

        :return: The id.
        """
        return self.first + _CONTROLS

    @property
    def vocabulary_size(self) -> int | None:
        """Count the ids of a model that has these meta-tokens.

        :return: All ids below are the model's; None if the number of entries is not fixed.
        """
        return None if self.entries is None else self.first_entry + self.entries

    def literal(self, token: int) -> list[int]:
        """Write an id of the input.

        :param token: The id.
        :return: The id, after an escape if it is a meta-token's.
        """
        return [self.escape, token] if token >= self.first else [token]


DEFAULT_ALPHABET = MetaAlphabet()
