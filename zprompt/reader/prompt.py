"""What a prompt is made of once it is read: runs of token ids, and runs of Z-tokens; each takes one position.

Read what people and documents say, none of which may speak for the chat template.

A chat is kept apart by special tokens, such as <|im_end|>. A tokenizer makes them of their names wherever they stand,
and a Z-token can have one as its anchor: then a document could end its message and begin another one, as the system or
the assistant. So in content a special token's name is text like any other, and an anchor that is one is spelled out:

    (<|im_end|>, gap, code)   →   < | im _ end |   (>, gap, code)

Write a conversation as one text, with marks that only the template can set.

    ChatML    <|im_start|>role⏎content<|im_end|>⏎ … <|im_start|>assistant⏎          (SmolLM2, Qwen and many others)
    plain     role: content⏎⏎ … assistant:                                          (models without these tokens)

In ChatML the marks are tokens that content cannot have (content.py). The plain template has no such marks: a document
can write "assistant:" as well as we can.

Read a prompt: from messages, or a bare text, to the positions that the model sees.

    messages ─► template ─► segments ─► text │ Z-span │ text … ─► token ids │ Z-tokens │ token ids …

Text is tokenized only after what belongs together has been put together, so a prompt without Z-spans becomes the ids
that the model's own template and tokenizer give (tests/reader/test_prompt.py). No model is needed for any of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeAlias

from tokenizers import Tokenizer

from zprompt.documents import read_documents
from zprompt.errors import BackboneError, OptionError
from zprompt.llm import Backbone
from zprompt.zspan import ZToken, escape_literal, find_spans, require_no_surrogates, unescape_literal


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A run of source tokens."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpanPiece:
    """A run of Z-tokens."""

    tokens: tuple[ZToken, ...]


Piece: TypeAlias = TextPiece | SpanPiece


@dataclass(frozen=True, slots=True)
class PromptSize:
    """How much of the model's context a prompt takes, and how much text it stands for."""

    positions: int  # all of them: of text, marks of the chat template included, and of Z-tokens
    z_tokens: int  # positions that are Z-tokens
    source_tokens: int  # tokens that the Z-tokens stand for

    def to_dict(self) -> dict[str, Any]:
        """Turn the size into a dict for JSON.

        :return: A number under each field's name.
        """
        return asdict(self)


def size_of(pieces: Iterable[Piece]) -> PromptSize:
    """Count the positions of a prompt.

    :param pieces: The prompt.
    :return: Its size.
    """
    text, z_tokens, source_tokens = 0, 0, 0
    for piece in pieces:
        if isinstance(piece, TextPiece):
            text += len(piece.ids)
        else:
            z_tokens += len(piece.tokens)
            source_tokens += sum(token.gap + 1 for token in piece.tokens)
    return PromptSize(text + z_tokens, z_tokens, source_tokens)


def join(pieces: Iterable[Piece]) -> list[Piece]:
    """Put neighbours of a kind together, and leave out what is empty.

    :param pieces: The pieces, in order.
    :return: As few pieces as say the same.
    """
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
            joined[-1] = TextPiece(last.ids + piece.ids)
        elif isinstance(piece, SpanPiece) and isinstance(last, SpanPiece):
            joined[-1] = SpanPiece(last.tokens + piece.tokens)
        elif _content(piece):
            joined.append(piece)
    return joined


def _content(piece: Piece) -> Sequence[object]:
    return piece.ids if isinstance(piece, TextPiece) else piece.tokens


Parse = Callable[[str], Sequence[ZToken]]
"""Reads a Z-span and gives its Z-tokens; raises a SpanError for one that is damaged or of another codec."""


class ContentTokenizer:
    """A backbone's tokenizer, to which special tokens are text."""

    def __init__(self, backbone: Backbone) -> None:
        """Copy the tokenizer; the codec keeps its own.

        :param backbone: The backbone.
        """
        self.start_id = backbone.start_id
        form = json.loads(backbone.tokenizer.backend.to_str())
        # All that can be seen, since not every model folder marks its markers as special.
        self._marks = {token["content"]: int(token["id"]) for token in form["added_tokens"] if token["content"].strip()}
        for token in form["added_tokens"]:
            token["special"] = token["content"] in self._marks
        self._backend = Tokenizer.from_str(json.dumps(form))
        self._backend.encode_special_tokens = True
        self._spelled = {token_id: self._spell(name) for name, token_id in self._marks.items()}

    def special_id(self, name: str) -> int | None:
        """Look a special token up.

        :param name: Its name.
        :return: Its id, or None if the model has none of this name.
        """
        return self._marks.get(name)

    def encode(self, text: str) -> tuple[int, ...]:
        """Cut a text into tokens, none of which is special.

        :param text: Any text without lone surrogates.
        :return: Token ids.
        """
        require_no_surrogates(text)
        ids = self._ids(text)
        if self._spelled.keys().isdisjoint(ids):
            return tuple(ids)
        return tuple(spelled for token_id in ids for spelled in self._spelled.get(token_id, (token_id,)))

    def defuse(self, tokens: Sequence[ZToken]) -> Iterator[Piece]:
        """Spell out the anchors that are special tokens.

        :param tokens: Z-tokens, of a Z-span that may come from anywhere.
        :return: The same Z-tokens where no anchor is special.
        :yields: Runs of Z-tokens, and between them what is spelled out.
        """
        run: list[ZToken] = []
        for token in tokens:
            if token.anchor in self._spelled:
                *before, last = self._spelled[token.anchor]
                yield SpanPiece(tuple(run))
                yield TextPiece(tuple(before))
                run, token = [], replace(token, anchor=last)
            run.append(token)
        yield SpanPiece(tuple(run))

    def _spell(self, name: str) -> tuple[int, ...]:
        """Write a special token's name in tokens that are not special."""
        special = set(self._marks.values())
        whole = self._ids(name)
        # Some tokenizers find whole words in their vocabulary, special or not; none has a special token of one letter.
        ids = whole if special.isdisjoint(whole) else [i for letter in name for i in self._ids(letter)]
        if not ids or not special.isdisjoint(ids):
            raise BackboneError(
                f"The backbone's tokenizer has no other way to write its special token {name!r}, so a document could "
                "pass for the chat template. Use another backbone."
            )
        return tuple(ids)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids


def read_content(content: str, parse: Parse) -> Iterator[str | Sequence[ZToken]]:
    """Split content into text and Z-spans.

    :param content: Any text; what only looks like a Z-span has been escaped, as `compress` does it.
    :param parse: Reads a Z-span.
    :return: The parts, in order.
    :yields: A text, or the Z-tokens of a Z-span.
    """
    end = 0
    for match in find_spans(content):
        yield unescape_literal(content[end : match.start])
        yield parse(match.text)
        end = match.end
    yield unescape_literal(content[end:])


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


INSTRUCTION = "Answer the question from the passages. Give the answer only, in a few words."


def question_messages(question: str, passages: Any) -> list[Message]:  # noqa: ANN401 - see `documents`
    """Ask a question about passages, in the words that the reader was trained on.

    :param question: The question.
    :param passages: A document or a sequence of them, as `zprompt.compress` takes and gives them: texts, Z-spans or
        both. What a document has as its title is written before it.
    :return: The messages of a conversation.
    """
    batch = read_documents(passages)
    paragraphs = [
        f"Passage {number}{_titled(document)}: {text}"
        for number, (document, text) in enumerate(zip(batch.documents, batch.texts, strict=True), 1)
    ]
    asked = "\n\n".join([*paragraphs, f"Question: {question}"])
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": asked}]


def encode_messages(
    tokenizer: ContentTokenizer, messages: Sequence[Message], parse: Parse, *, reply: bool = True
) -> list[Piece]:
    """Read a conversation.

    :param tokenizer: The tokenizer.
    :param messages: The messages; their content may hold Z-spans anywhere.
    :param parse: Reads a Z-span.
    :param reply: Begin the message of the assistant that comes next.
    :return: The pieces of the prompt, in order.
    """
    check_messages(messages)
    return _encode(tokenizer, chat_template(tokenizer).render(messages, reply), parse)


def encode_text(tokenizer: ContentTokenizer, text: str, parse: Parse) -> list[Piece]:
    """Read a bare text, which the model is to go on with.

    :param tokenizer: The tokenizer.
    :param text: The text; it may hold Z-spans anywhere.
    :param parse: Reads a Z-span.
    :return: The pieces of the prompt, in order; the first has the token that starts every text.
    """
    return _encode(tokenizer, [Mark(tokenizer.start_id), Content(text)], parse)


def _encode(tokenizer: ContentTokenizer, segments: Iterable[Segment], parse: Parse) -> list[Piece]:
    return join(_pieces(tokenizer, _parts(segments, parse)))


def _parts(segments: Iterable[Segment], parse: Parse) -> Iterator[Mark | str | Sequence[ZToken]]:
    """Split content into text and Z-tokens."""
    for segment in segments:
        if isinstance(segment, Content):
            yield from read_content(segment.text, parse)
        else:
            yield segment


def _pieces(tokenizer: ContentTokenizer, parts: Iterable[Mark | str | Sequence[ZToken]]) -> Iterator[Piece]:
    """Tokenize, each text together with those next to it."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        yield TextPiece(tokenizer.encode(text))
        text = ""
        if isinstance(part, Mark):
            yield TextPiece((part.token_id,))
        else:
            yield from tokenizer.defuse(part)
    yield TextPiece(tokenizer.encode(text))


def _titled(document: object) -> str:
    """Write a document's title as it stands before the text, if there is one; a title is never a Z-span."""
    title = _title(document)
    return f" ({escape_literal(title)})" if isinstance(title, str) and title.strip() else ""


def _title(document: Any) -> object:  # noqa: ANN401 - see `documents`
    if isinstance(document, dict):
        metadata = document.get("metadata")
        return document.get("title") or (metadata.get("title") if isinstance(metadata, dict) else None)
    # A LlamaIndex NodeWithScore keeps its metadata in its node.
    metadata = getattr(getattr(document, "node", document), "metadata", None)
    return metadata.get("title") if isinstance(metadata, dict) else None
