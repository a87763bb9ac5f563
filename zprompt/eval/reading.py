"""Let readers read what methods left: the reader of Z-tokens, and the backbone that nobody tuned.

The former reads Z-tokens as they are, and text like any model. The untuned backbone is asked in the same words; it
reads text only: to it, Z-tokens would be anchors with holes, and what these are worth is the method "shorthand". Ids
with meta-tokens are read in meta_tokens.py.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.baselines.protocol import Shortened
from zprompt.errors import UnreadableError, ZPromptError
from zprompt.eval.figures import Share
from zprompt.eval.readers import READER, UNTUNED
from zprompt.eval.tasks.protocol import Left, Scores
from zprompt.reader import Message
from zprompt.zspan import find_spans

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop
    from zprompt.llm import LlamaShape
    from zprompt.reader import Reader

TEXT_READERS = (READER, UNTUNED)
IDS = frozenset({"ltsc", "ltsc-tuned", "delta-ltsc"})  # methods whose text is token ids as numbers
_TIMED = 1  # samples whose first token is waited for, alone
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class Said:
    """What a reader said to prompts."""

    texts: tuple[str, ...]
    seconds: float  # for all together, in batches


def read_by_all(
    left: Sequence[Left], prompts: Sequence[Sequence[Message]], most: int, workshop: Workshop, scores: Scores
) -> dict[str, tuple[str, ...]]:
    """Let every reader reply to prompts, as far as it can read them, and note what reading cost.

    :param left: What a method left of each sample.
    :param prompts: The messages for each, with the shortened texts in them.
    :param most: New tokens of each reply.
    :param workshop: Has the readers.
    :param scores: What costs and times are written to, and what could not be measured.
    :return: The replies of each reader that could read.
    """
    replies = {}
    for name in TEXT_READERS:
        try:
            _require_readable(name, left)
            reader = workshop.reader(name)
            said = _reply(reader, prompts, most)
            replies[name] = said.texts
            _note_costs(scores, name, reader, left, prompts, said)
        except ZPromptError as error:
            scores.missing[name] = str(error)
    return replies


def kv_megabytes(positions: int, shape: LlamaShape) -> float:
    """Say how much of a cache a prompt takes.

    :param positions: Of the prompt.
    :param shape: The model's.
    :return: Megabytes of keys and values.
    """
    return 2 * shape.layers * shape.key_heads * shape.head_size * _FLOAT_BYTES * positions / 1e6


def has_z_tokens(text: str) -> bool:
    """Say whether there is a Z-span in a text.

    :param text: What a method left.
    :return: True if there is one.
    """
    return next(find_spans(text), None) is not None


def require_words(shortened: Shortened) -> None:
    """Refuse what is written in ids.

    :param shortened: What a method left.
    :raises UnreadableError: If it is no text.
    """
    if shortened.baseline in IDS:
        raise UnreadableError(
            f"{shortened.baseline} writes ids with meta-tokens, which only a model that was tuned on them reads: LTSC's "
            "reader answers from those of ltsc-tuned. What any model can read is ltsc-text."
        )


def _require_readable(name: str, left: Sequence[Left]) -> None:
    """Refuse ids, and Z-tokens for a model that knows none."""
    for one in (short for item in left for short in item.shortened):
        require_words(one)
        if name == UNTUNED and has_z_tokens(one.text):
            raise UnreadableError("The untuned backbone reads no Z-tokens; see the method shorthand.")


def _reply(reader: Reader, prompts: Sequence[Sequence[Message]], most: int) -> Said:
    """Let a reader reply."""
    began = time.perf_counter()
    said = reader.generate(list(prompts), max_new_tokens=most)
    return Said(tuple(one.text.strip() for one in said), time.perf_counter() - began)


def _note_costs(
    scores: Scores, name: str, reader: Reader, left: Sequence[Left], prompts: Sequence[Sequence[Message]], said: Said
) -> None:
    """Note cache bytes, and the times of reading."""
    shape = reader.decoder.shape
    scores.shares[f"KV MB, {name}"] = [Share(kv_megabytes(reader.count(one).positions, shape)) for one in prompts]
    scores.times[f"first token s, {name}"] = [Share(_first_token(reader, prompt)) for prompt in prompts[:_TIMED]]
    scores.times[f"reading s, {name}"] = [Share(said.seconds, len(left))]


def _first_token(reader: Reader, prompt: Sequence[Message]) -> float:
    """Wait for one token."""
    began = time.perf_counter()
    reader.generate(prompt, max_new_tokens=1)
    return time.perf_counter() - began
