"""Shorten long messages on their way to the model; the agent's state and its checkpoints keep the whole text.

A model whose server says that it reads Z-tokens gets Z-spans; any other gets text, without what the last question does
not need. A text is replaced by the same Z-span in all later requests, or by the same shorter text until the next
question: the server's prefix cache stays valid, and each text is compressed only once.

A message has no mark that says who wrote a Z-span in it, and what a tool returns is untrusted: it is text, whatever it
looks like. A tool that returns Z-spans itself must be named in `leave`. What a tool says when it fails is never
shortened: the model has to read it, and it is not what the question asks about.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage

from langchain_zprompt.documents import ZPromptCompressor
from zprompt.errors import OptionError

Role = Literal["tool", "human", "system"]
ROLES: tuple[Role, ...] = ("tool", "human", "system")
DEFAULT_ROLES: tuple[Role, ...] = ("tool",)
MIN_TOKENS = 100
_REMEMBERED = 1024  # texts

M = TypeVar("M", bound=BaseMessage)


class ZPromptMiddleware(AgentMiddleware[Any, Any, Any]):
    """Shortens an agent's long messages, in the request only."""

    def __init__(
        self,
        compressor: ZPromptCompressor | None = None,
        *,
        roles: Collection[Role] = DEFAULT_ROLES,
        leave: Collection[str] = (),
    ) -> None:
        """Choose what is compressed.

        :param compressor: How; by default texts of 100 tokens and more, and what cannot be compressed passes through.
        :param roles: Whose messages: "tool", "human" (all of them, the question too, if it is long), "system".
        :param leave: Names of tools, and ids of messages, that are left alone; those with Z-spans of yours, too.
        :raises OptionError: If a role is none of these.
        """
        super().__init__()
        if unknown := set(roles) - set(ROLES):
            raise OptionError(f"roles must be among {', '.join(map(repr, ROLES))}, got {sorted(unknown)}.")
        self.compressor = compressor or ZPromptCompressor(min_tokens=MIN_TOKENS, on_error="passthrough")
        self.roles, self.leave = frozenset(roles), frozenset(leave)
        self._known: OrderedDict[tuple[str, str | None, str], str] = OrderedDict()  # by form, question and text
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled and copied: the options, not the cache of replacements."""
        return {name: value for name, value in vars(self).items() if name not in ("_known", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the options."""
        vars(self).update(state, _known=OrderedDict(), _lock=threading.Lock())

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | AIMessage:
        """Call the handler with a compressed copy of the request."""
        return handler(self._compress(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any] | AIMessage:
        """Call the handler with a copy of the request that is compressed in a thread, beside the event loop."""
        return await handler(await asyncio.to_thread(self._compress, request))

    def _compress(self, request: ModelRequest[Any]) -> ModelRequest[Any]:
        """Copy a request, with shorter texts."""
        form, question = self.compressor.form_for(request.model), _question(request.messages)
        kept = question if form == "text" else None  # text is shortened for this question
        tools = _tools(request.messages)
        selected = [
            message for message in request.messages if self._is_selected(message, tools) and message is not kept
        ]
        system = request.system_message
        system = system if system and self._is_selected(system, tools) else None
        texts = [text for message in (*selected, *([system] if system else [])) for text in _texts(message)]
        replacements = self._replacements(texts, str(question.text) if question else None, form)
        if all(text == replacement for text, replacement in replacements.items()):
            return request
        changed = {id(message): _replace(message, replacements) for message in selected}
        messages: list[AnyMessage] = [changed.get(id(message), message) for message in request.messages]
        if system is None:
            return request.override(messages=messages)
        return request.override(messages=messages, system_message=_replace(system, replacements))

    def _is_selected(self, message: BaseMessage, tools: Mapping[str, str]) -> bool:
        if isinstance(message, ToolMessage) and message.status == "error":
            return False
        tool = tools.get(message.tool_call_id) if isinstance(message, ToolMessage) else None
        return message.type in self.roles and self.leave.isdisjoint({message.name, message.id, tool})

    def _replacements(self, texts: Sequence[str], query: str | None, form: Literal["text", "z"]) -> dict[str, str]:
        """Return the replacement of each text, with one call for all new texts."""
        question = query if form == "text" else None  # a Z-span holds the whole text, whatever is asked next
        with self._lock:
            replacements = {
                text: self._known[form, question, text] for text in texts if (form, question, text) in self._known
            }
        new = [text for text in dict.fromkeys(texts) if text not in replacements]
        if new and form == "text":
            replacements |= zip(new, self.compressor.shorten_texts(new, query), strict=True)
        elif new:
            replacements |= zip(new, (item.text for item in self.compressor.compress_texts(new, query)), strict=True)
        with self._lock:
            for text in replacements:  # two threads may have replaced the same text: the first one wins
                replacements[text] = self._known.setdefault((form, question, text), replacements[text])
                self._known.move_to_end((form, question, text))
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return replacements


def _tools(messages: Sequence[BaseMessage]) -> dict[str, str]:
    """Return the names of the tools that were called, by the ids of the calls; a result need not name its tool."""
    calls = (call for message in messages if isinstance(message, AIMessage) for call in message.tool_calls)
    return {call["id"]: call["name"] for call in calls if call["id"]}


def _texts(message: BaseMessage) -> Iterator[str]:
    """Return the texts of a message: its content, or those of its content blocks that are text."""
    if isinstance(message.content, str):
        yield message.content
        return
    for block in message.content:
        if isinstance(block, str):
            yield block
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _replace(message: M, replacements: dict[str, str]) -> M:
    """Copy a message with other texts; blocks that are not text stay as they are."""
    if isinstance(message.content, str):
        return message.model_copy(update={"content": replacements[message.content]})
    blocks: list[Any] = []
    for block in message.content:
        if isinstance(block, str):
            blocks.append(replacements[block])
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            blocks.append({**block, "text": replacements[block["text"]]})
        else:
            blocks.append(block)
    return message.model_copy(update={"content": blocks})


def _question(messages: Sequence[BaseMessage]) -> BaseMessage | None:
    """Return the last message of the user."""
    return next((message for message in reversed(messages) if isinstance(message, HumanMessage)), None)
