"""What to ask of a text that is to be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, TypedDict, Unpack, get_args

from zprompt.errors import OptionError
from zprompt.reader.sampling import Sampling

MAX_NEW_TOKENS = 256

Space: TypeAlias = Literal["text", "z"]
"""What a text is written in: tokens, or Z-tokens that the codec's decompressor expands."""


class Options(TypedDict, total=False):
    """The options of `Reader.generate`, `complete` and `answer`, as keywords."""

    max_new_tokens: int  # 256, or 64 for an answer
    temperature: float  # 0: always the most likely token
    top_p: float  # 1: all tokens
    top_k: int  # 0: all tokens
    stop: str | Sequence[str]  # the text ends before the first of these
    seed: int | None  # the same seed gives the same text
    space: Space  # "text"; "z" writes Z-tokens, for which the reader needs a writer


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """The same, checked."""

    max_new_tokens: int = MAX_NEW_TOKENS
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    space: Space = "text"

    def __post_init__(self) -> None:
        """Refuse what no text can meet."""
        if self.max_new_tokens < 1:
            raise OptionError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}.")
        if "" in self.stops:
            raise OptionError("A stop string is empty: every text would end before it began. Leave it out.")
        if self.space not in get_args(Space):
            raise OptionError(f"space must be one of {get_args(Space)}, got {self.space!r}.")

    @classmethod
    def of(cls, **options: Unpack[Options]) -> GenerateOptions:
        """Read keywords.

        :param options: The options.
        :return: The same, checked.
        :raises TypeError: If there is no such option.
        """
        unknown = options.keys() - Options.__annotations__.keys()
        if unknown:
            raise TypeError(f"Unknown options {sorted(unknown)}. Known are {list(Options.__annotations__)}.")
        stop = options.get("stop", ())
        return cls(
            options.get("max_new_tokens", MAX_NEW_TOKENS),
            Sampling(
                options.get("temperature", 0.0),
                options.get("top_p", 1.0),
                options.get("top_k", 0),
                options.get("seed"),
            ),
            (stop,) if isinstance(stop, str) else tuple(stop),
            options.get("space", "text"),
        )
