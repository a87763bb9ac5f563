"""Write answers in OpenAI's form.

`usage` counts a Z-token as the one position that it takes; `z_tokens` says how many positions were Z-tokens, and
`source_tokens` for how many tokens of text they stand:

    {"prompt_tokens": 120, "completion_tokens": 9, "total_tokens": 129, "z_tokens": 100, "source_tokens": 690}
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from starlette.responses import Response

from zprompt.reader import Delta, Generation, Usage


class JsonResponse(Response):
    """JSON in ASCII alone: documents may hold half a surrogate pair, which UTF-8 does not have."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        """Write JSON.

        :param content: What JSON has.
        :return: The text.
        """
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class Reply(Protocol):
    """How the texts of one request go back."""

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """Write the answer.

        :param generations: The texts.
        :return: JSON.
        """

    def opening(self, index: int) -> dict[str, Any] | None:
        """Write what a stream says before a text.

        :param index: Which text.
        :return: JSON, or None for nothing.
        """

    def pieces(self, delta: Delta) -> Iterable[dict[str, Any]]:
        """Write a piece of a text, and its end.

        :param delta: The piece.
        :return: JSON of each event.
        """

    def closing(self, usages: Sequence[Usage]) -> dict[str, Any]:
        """Write what a stream took.

        :param usages: Of each text.
        :return: JSON.
        """


class _Reply:
    """What both kinds of answers have."""

    prefix = ""

    def __init__(self, model: str, fingerprint: str) -> None:
        """Begin an answer.

        :param model: The model's name.
        :param fingerprint: The codec's.
        """
        self._head = {"id": f"{self.prefix}-{uuid.uuid4().hex}", "created": int(time.time()), "model": model}
        self._head["system_fingerprint"] = f"fp_{fingerprint}"

    def closing(self, usages: Sequence[Usage]) -> dict[str, Any]:
        """Write what a stream took.

        :param usages: Of each text.
        :return: JSON.
        """
        return {**self._event([]), "usage": _usage(usages)}

    def _event(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError


class ChatReply(_Reply):
    """The answer to a conversation."""

    prefix = "chatcmpl"

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """Write the answer.

        :param generations: The texts.
        :return: JSON.
        """
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": generation.text, "refusal": None},
                "logprobs": None,
                "finish_reason": generation.finish_reason,
            }
            for index, generation in enumerate(generations)
        ]
        usage = _usage([generation.usage for generation in generations])
        return {**self._head, "object": "chat.completion", "choices": choices, "usage": usage}

    def opening(self, index: int) -> dict[str, Any] | None:
        """Write what a stream says before a text.

        :param index: Which text.
        :return: JSON.
        """
        return self._event([self._choice(index, {"role": "assistant", "content": ""})])

    def pieces(self, delta: Delta) -> Iterable[dict[str, Any]]:
        """Write a piece of a text, and its end.

        :param delta: The piece.
        :yields: JSON of each event.
        """
        if delta.text:
            yield self._event([self._choice(delta.index, {"content": delta.text})])
        if delta.generation:
            yield self._event([self._choice(delta.index, {}, delta.generation.finish_reason)])

    def _choice(self, index: int, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "chat.completion.chunk", "choices": choices}


class CompletionReply(_Reply):
    """What comes after texts."""

    prefix = "cmpl"

    def whole(self, generations: Sequence[Generation]) -> dict[str, Any]:
        """Write the answer.

        :param generations: The texts.
        :return: JSON.
        """
        choices = [self._choice(index, one.text, one.finish_reason) for index, one in enumerate(generations)]
        return {**self._event(choices), "usage": _usage([generation.usage for generation in generations])}

    def opening(self, index: int) -> dict[str, Any] | None:
        """Write what a stream says before a text.

        :param index: Which text.
        :return: Nothing.
        """
        return None

    def pieces(self, delta: Delta) -> Iterable[dict[str, Any]]:
        """Write a piece of a text, and its end.

        :param delta: The piece.
        :yields: JSON of each event.
        """
        if delta.text or delta.generation:
            reason = delta.generation.finish_reason if delta.generation else None
            yield self._event([self._choice(delta.index, delta.text, reason)])

    def _choice(self, index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}

    def _event(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head, "object": "text_completion", "choices": choices}


def _usage(usages: Sequence[Usage]) -> dict[str, int]:
    """Sum up what texts took."""
    prompt, generated = sum(one.prompt_positions for one in usages), sum(one.generated_tokens for one in usages)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": generated,
        "total_tokens": prompt + generated,
        "z_tokens": sum(one.z_tokens for one in usages),
        "source_tokens": sum(one.source_tokens for one in usages),
    }
