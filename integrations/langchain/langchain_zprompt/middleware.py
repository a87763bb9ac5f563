"""Compress long messages on their way to the model, and nowhere else: the agent's state keeps the text.

So the model can be changed for one that is not Z-aware, and checkpoints stay readable. What became a Z-span once is the
same Z-span in all later requests: the server's prefix cache holds, and each text is compressed only once.

A message has no mark that says who wrote a Z-span in it, and what a tool returns is untrusted: it is text, whatever it
looks like. A tool that hands out Z-spans itself has to be named.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Literal, TypeVar

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage

from langchain_zprompt.compressor import ZPromptCompressor
from zprompt.errors import OptionError
from zprompt.rag import adapt

Role = Literal["tool", "human", "system"]
ROLES: tuple[Role, ...] = ("tool", "human", "system")
DEFAULT_ROLES: tuple[Role, ...] = ("tool",)
MIN_TOKENS = 100
_REMEMBERED = 1024  # texts

M = TypeVar("M", bound=BaseMessage)


class ZPromptMiddleware(AgentMiddleware[Any, Any, Any]):
    """Replaces the texts of an agent's long messages by Z-spans, in the request only."""

    def __init__(
        self,
        compressor: ZPromptCompressor | None = None,
        *,
        roles: Collection[Role] = DEFAULT_ROLES,
        leave: Collection[str] = (),
    ) -> None:
        """Say what is compressed.

        :param compressor: How; by default texts of 100 tokens and more, and what cannot be compressed passes through.
        :param roles: Whose messages: "tool", "human" (all of them, the question too, if it is long), "system".
        :param leave: Names of tools, and ids of messages, that are left alone; those with Z-spans of yours, too.
        :raises OptionError: If a role is none of these.
        """
        super().__init__()
        if unknown := set(roles) - set(ROLES):
            raise OptionError(f"roles must be of {', '.join(map(repr, ROLES))}, got {sorted(unknown)}.")
        self.compressor = compressor or ZPromptCompressor(min_tokens=MIN_TOKENS, on_error="passthrough")
        self.roles, self.leave = frozenset(roles), frozenset(leave)
        self._known: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Compress a request.

        :param request: The request; it stays as it is.
        :param handler: What gets the compressed one.
        :return: What the handler gives.
        """
        return handler(self._shorten(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Compress a request in a thread, so that the event loop goes on.

        :param request: The request; it stays as it is.
        :param handler: What gets the compressed one.
        :return: What the handler gives.
        """
        return await handler(await asyncio.to_thread(self._shorten, request))

    def _shorten(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Copy a request with Z-spans in it."""
        system = request.system_message
        chosen: list[BaseMessage] = [message for message in request.messages if self._is_meant(message)]
        if system is not None and self._is_meant(system):
            chosen.append(system)
        spans = self._spans([text for message in chosen for text in _texts(message)], _question(request.messages))
        if all(text == span for text, span in spans.items()):
            return request
        messages: list[AnyMessage] = [
            _replace(message, spans) if self._is_meant(message) else message for message in request.messages
        ]
        if system is None or not self._is_meant(system):
            return request.override(messages=messages)
        return request.override(messages=messages, system_message=_replace(system, spans))

    def _is_meant(self, message: BaseMessage) -> bool:
        return message.type in self.roles and self.leave.isdisjoint({message.name, message.id})

    def _spans(self, texts: Sequence[str], query: str | None) -> dict[str, str]:
        """Give what takes the place of each text; one call of the codec for all that are new."""
        with self._lock:
            spans = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in spans]
        if new:
            options = self.compressor._options(query)
            adapted = adapt(self.compressor.load(), new, options, batch_size=self.compressor.batch_size)
            spans |= {text: item.text for text, item in zip(new, adapted, strict=True)}
        with self._lock:
            for text in spans:  # two threads may have compressed the same text: the first Z-span stays
                spans[text] = self._known.setdefault(text, spans[text])
                self._known.move_to_end(text)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return spans


def _texts(message: BaseMessage) -> Iterator[str]:
    """Give the texts of a message: its content, or those of its content blocks that are text."""
    if isinstance(message.content, str):
        yield message.content
        return
    for block in message.content:
        if isinstance(block, str):
            yield block
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _replace(message: M, spans: dict[str, str]) -> M:
    """Copy a message with other texts; blocks that are no text stay as they are."""
    if isinstance(message.content, str):
        return message.model_copy(update={"content": spans[message.content]})
    blocks: list[Any] = []
    for block in message.content:
        if isinstance(block, str):
            blocks.append(spans[block])
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            blocks.append({**block, "text": spans[block["text"]]})
        else:
            blocks.append(block)
    return message.model_copy(update={"content": blocks})


def _question(messages: Sequence[BaseMessage]) -> str | None:
    """Give what was asked last."""
    return next((str(message.text) for message in reversed(messages) if isinstance(message, HumanMessage)), None)
