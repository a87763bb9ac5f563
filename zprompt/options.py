"""The options of `compress`, checked before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Literal, Self

from zprompt.errors import OptionError

OnError = Literal["raise", "passthrough"]
Protect = str | re.Pattern[str] | Sequence[str | re.Pattern[str]]


TOLERANCE = 0.1  # relative error of a ratio above which the caller is warned


@dataclass(frozen=True, slots=True)
class Protection:
    """The strings and patterns whose matches are kept as anchors."""

    literals: tuple[str, ...] = ()
    # Not joined into one alternation, which would find only the first of two overlapping matches.
    patterns: tuple[re.Pattern[str], ...] = ()

    @classmethod
    def of(cls, protect: Protect | None) -> Protection:
        """Parse the option `protect`: a regular expression, a compiled one, or a sequence of strings and patterns.

        :param protect: None protects nothing; the strings of a sequence are literals, its patterns are compiled.
        :return: The protection.
        :raises OptionError: If the regular expression is not valid, or a literal is no string or empty.
        """
        match protect:
            case None:
                return cls()
            case str():
                return cls(patterns=(_compile(protect),))
            case re.Pattern(pattern=str()):
                return cls(patterns=(protect,))
            case Sequence() if not isinstance(protect, bytes) and all(map(_is_protectable, protect)):
                return cls(
                    literals=tuple(item for item in protect if isinstance(item, str)),
                    patterns=tuple(item for item in protect if isinstance(item, re.Pattern)),
                )
        raise OptionError(
            "protect must be a regular expression as a str, a compiled pattern of str, or a list of such patterns and "
            f"non-empty strings, got {protect!r}."
        )

    def ranges(self, text: str) -> list[tuple[int, int]]:
        """Return the character ranges (start, end) protected in a text, left to right, disjoint and not empty."""
        ranges = [match.span() for pattern in self.patterns for match in pattern.finditer(text)]
        for literal in self.literals:
            ranges += _occurrences(literal, text)
        return merge_ranges(ranges)


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """The options of one call of `compress`."""

    ratio: float | None = None  # source tokens per Z-token, over all documents; None: the usual one
    max_tokens: int | None = None  # Z-tokens that all documents may take together
    query: str | None = None  # what will be asked: the sentences most relevant to it stay word for word
    protect: Protect | None = None  # a regex, or literals and compiled ones: all tokens of their matches stay anchors
    min_tokens: int | None = None  # shorter texts pass through unchanged
    on_error: OnError = "raise"  # or "passthrough": texts that cannot be compressed stay as they are

    def __post_init__(self) -> None:
        for name in ("max_tokens", "min_tokens"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if self.ratio is not None:
            object.__setattr__(self, "ratio", real_number("ratio", self.ratio))
        if self.ratio is not None and self.max_tokens is not None:
            raise OptionError("ratio and max_tokens exclude each other: both set the length of the result. Pass one.")
        if self.ratio is not None and not self.ratio >= 1:
            raise OptionError(f"ratio must be at least 1, got {self.ratio}. Leave it out for the default.")
        for name in ("max_tokens", "min_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} must be at least 1, got {value}.")
        check_on_error(self.on_error)
        if self.query is not None and not isinstance(self.query, str):
            raise OptionError(f"query must be a str, got {type(self.query).__name__}.")
        if self.query is not None and not self.query.strip():
            object.__setattr__(self, "query", None)  # no question at all
        _ = self.protection  # raises for a bad regex now, not after the first document

    @property
    def has_length(self) -> bool:
        """Return whether a ratio or max_tokens is set."""
        return self.ratio is not None or self.max_tokens is not None

    def beside(self, tokens: int, *, alone: bool) -> Self:
        """Return the options for all other documents, given how many tokens those take that pass through.

        :param tokens: Their tokens.
        :param alone: Whether all documents pass through.
        :return: The options, with what is left of max_tokens.
        :raises OptionError: If max_tokens has no room for them, or none for the others.
        """
        if self.max_tokens is None or not tokens:
            return self
        left = self.max_tokens - tokens
        if left < (not alone):
            raise OptionError(
                f"max_tokens={self.max_tokens} is too small: the documents that pass through take {tokens} tokens. "
                "Allow more, or give fewer documents."
            )
        return self if alone else replace(self, max_tokens=left)

    def misses(self, ratio: float) -> bool:
        """Return whether a ratio is off the requested one, if there is one, by more than a tenth."""
        return self.ratio is not None and abs(ratio / self.ratio - 1) > TOLERANCE

    @property
    def protection(self) -> Protection:
        """Return what is protected."""
        return Protection.of(self.protect)


def check_batch_size(batch_size: int) -> int:
    """Return a batch size; raise OptionError if it is no positive whole number."""
    size = whole_number("batch_size", batch_size)
    if size < 1:
        raise OptionError(f"batch_size must be at least 1, got {batch_size}. Leave it out for the default.")
    return size


def check_on_error(on_error: str) -> None:
    """Raise OptionError unless on_error is "raise" or "passthrough"."""
    if on_error not in ("raise", "passthrough"):
        raise OptionError(f"on_error must be one of 'raise', 'passthrough', got {on_error!r}.")


def real_number(name: str, value: object) -> float:
    """Return a real number, numpy's too, as an int or float; raise OptionError for anything else."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise OptionError(f"{name} must be a number, got {value!r} of type {type(value).__name__}.")
    return value if isinstance(value, int) else float(value)


def whole_number(name: str, value: object) -> int:
    """Return a whole number, numpy's too, as an int; raise OptionError for anything else."""
    number = real_number(name, value)
    if isinstance(number, float) and not number.is_integer():
        raise OptionError(f"{name} must be a whole number, got {value!r}.")
    return int(number)


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise OptionError(
            f"protect={expression!r} is not a valid regular expression: {error}. "
            "To protect a literal string, put it in a list."
        ) from error


def _is_protectable(item: object) -> bool:
    """Return whether an item of `protect` is a non-empty literal, or a pattern of str."""
    return isinstance(item.pattern, str) if isinstance(item, re.Pattern) else isinstance(item, str) and item != ""


def _occurrences(literal: str, text: str) -> Iterator[tuple[int, int]]:
    """Find all occurrences of a literal, overlapping ones too."""
    start = text.find(literal)
    while start >= 0:
        yield start, start + len(literal)
        start = text.find(literal, start + 1)


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges (start, end), join those that overlap or touch, and drop empty ones."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        elif end > start:
            merged.append((start, end))
    return merged
