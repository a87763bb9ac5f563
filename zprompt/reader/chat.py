"""Write a conversation as one text, with marks that only the template can set.

    ChatML    <|im_start|>role⏎content<|im_end|>⏎ … <|im_start|>assistant⏎          (SmolLM2, Qwen and many others)
    plain     role: content⏎⏎ … assistant:                                          (models without these tokens)

In ChatML the marks are tokens that content cannot have (content.py). The plain template has no such marks: a document
can write "assistant:" as well as we can.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from zprompt.errors import OptionError
from zprompt.reader.content import ContentTokenizer

Message: TypeAlias = Mapping[str, Any]
"""A dict with "role" and "content", as OpenAI's API has them."""

ROLES = ("system", "user", "assistant", "tool")
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # what SmolLM2's own template says


@dataclass(frozen=True, slots=True)
class Mark:
    """A special token that the template sets."""

    token_id: int


@dataclass(frozen=True, slots=True)
class Content:
    """What a message says."""

    text: str


Segment: TypeAlias = Mark | Content | str
"""Part of a conversation; a str is the template's own text, in which nothing is special and there are no Z-spans."""


class ChatTemplate(Protocol):
    """How a model was taught to read conversations."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Say which tokens end a message, for the model as for the template."""

    @property
    def jinja(self) -> str:
        """Give the template in the form that transformers and vLLM read."""

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation.

        :param messages: The messages.
        :param reply: Begin the message of the assistant that comes next.
        :return: The segments, in order.
        """


@dataclass(frozen=True, slots=True)
class ChatML:
    """The template of models that have <|im_start|> and <|im_end|>."""

    start_id: int
    end_id: int

    @property
    def end_ids(self) -> frozenset[int]:
        """Say which tokens end a message."""
        return frozenset({self.end_id})

    @property
    def jinja(self) -> str:
        """Give the template in the form that transformers and vLLM read."""
        return (
            "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
            "{{ '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}{% endif %}"
            "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        )

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation; one without a system message gets the model's own.

        :param messages: The messages.
        :param reply: Begin the message of the assistant that comes next.
        :return: The segments, in order.
        :yields: A segment.
        """
        system = [] if messages[0]["role"] == "system" else [{"role": "system", "content": SYSTEM}]
        for message in (*system, *messages):
            yield from (Mark(self.start_id), f"{message['role']}\n", Content(message["content"]))
            yield from (Mark(self.end_id), "\n")
        if reply:
            yield from (Mark(self.start_id), "assistant\n")


@dataclass(frozen=True, slots=True)
class PlainChat:
    """The template of models that were never taught one."""

    start_id: int  # starts every text

    @property
    def end_ids(self) -> frozenset[int]:
        """Say which tokens end a message: the model has none for that alone."""
        return frozenset()

    @property
    def jinja(self) -> str:
        """Give the template in the form that transformers and vLLM read."""
        return (
            "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
        )

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation.

        :param messages: The messages.
        :param reply: Begin the message of the assistant that comes next.
        :return: The segments, in order.
        :yields: A segment.
        """
        yield Mark(self.start_id)
        for message in messages:
            yield from (f"{message['role']}: ", Content(message["content"]), "\n\n")
        if reply:
            yield "assistant:"


def chat_template(tokenizer: ContentTokenizer) -> ChatTemplate:
    """Choose the template that a model can read.

    :param tokenizer: Its tokenizer.
    :return: ChatML if the model has the tokens for it.
    """
    start, end = tokenizer.special_id("<|im_start|>"), tokenizer.special_id("<|im_end|>")
    return PlainChat(tokenizer.start_id) if start is None or end is None else ChatML(start, end)


def check_messages(messages: Sequence[Message]) -> None:
    """Refuse what is no conversation.

    :param messages: The messages.
    :raises OptionError: If there is none, or one has an unknown role or no text.
    """
    if isinstance(messages, str | Mapping) or not messages:
        raise OptionError('Messages must be a list of dicts such as {"role": "user", "content": "…"}, one at least.')
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise OptionError(f'Message {index} must be a dict with a str under "content".')
        if message.get("role") not in ROLES:
            raise OptionError(f"Message {index} has the role {message.get('role')!r}. Must be one of {ROLES}.")
