"""What the server needs of a reader and its codec; `zprompt.reader.Reader` has it, and so have the tests' fakes."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from zprompt.reader import Delta, GenerateOptions, PromptSize
from zprompt.results import CompressionResult

Prompt: TypeAlias = str | Sequence[Mapping[str, Any]]
"""A text to go on with, or the messages of a conversation to reply to."""


class ServedCodec(Protocol):
    """Turns texts to Z-spans and back."""

    @property
    def fingerprint(self) -> str:
        """Name the codec."""

    @property
    def compress(self) -> Callable[..., CompressionResult]:
        """Replace the texts of documents by Z-spans, as `Codec.compress`; what `progress` raises ends it."""

    @property
    def decompress(self) -> Callable[..., Any]:
        """Put the texts of Z-spans back, as `Codec.decompress`; what `progress` raises ends it."""


class ServedReader(Protocol):
    """Writes texts from prompts with Z-spans."""

    @property
    def codec(self) -> ServedCodec:
        """Give the codec whose Z-spans it reads."""

    @property
    def max_positions(self) -> int:
        """Count the positions of its context."""

    def count(self, prompt: Prompt) -> PromptSize:
        """Count the positions that a prompt takes.

        :param prompt: The prompt.
        :return: Its size.
        """

    def run(
        self,
        prompts: Sequence[Prompt],
        options: Sequence[GenerateOptions],
        batch_size: int,
        wanted: Callable[[int], bool],
    ) -> Generator[Delta]:
        """Write several texts together.

        What is wrong with a prompt is raised by the call itself, before the model runs.

        :param prompts: The prompts.
        :param options: What is asked for, of each.
        :param batch_size: Texts at a time.
        :param wanted: Says, after each token, whether the text at an index is to go on.
        :return: Their pieces, as they come.
        """
