"""Turn a prompt, messages or a bare text, into the positions that the model sees.

    messages ─► chat template ─► text │ Z-span │ text … ─► token ids │ Z-tokens │ token ids …

Adjacent text is joined before it is tokenized, so a prompt without Z-spans gets the ids that SmolLM2's template, or a
plain one, and the model's own tokenizer give. No model is needed for any of this.

Special tokens such as <|im_end|> separate the messages of a chat. A tokenizer makes them from their names wherever
these occur, and a Z-token can have one as its anchor: so a document could end its message and begin another one, as the
system or the assistant. Hence in content a special token's name is plain text, and a special anchor is spelled out:

    (<|im_end|>, gap)   →   < | im _ end |   (>, gap)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol, TypeAlias

from tokenizers import Tokenizer

from zprompt.codec import CodecSettings
from zprompt.documents import read_documents, title_of
from zprompt.errors import BackboneError, OptionError
from zprompt.llm import Backbone
from zprompt.relevance import NOTHING
from zprompt.zspan import ZToken, escape_literal, is_span, read_header, require_no_surrogates, split_at_spans

ROLES = ("system", "user", "assistant", "tool")
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"  # of SmolLM2's own template
WINDOW = CodecSettings().window  # the default
INSTRUCTION = "Answer the question from the passages. Give the answer only, in a few words."

Message: TypeAlias = Mapping[str, Any]
"""A dict with "role" and "content", as in OpenAI's API."""


# What a prompt is made of: runs of token ids, and runs of Z-tokens; each takes one position.


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A run of source tokens."""

    ids: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class SpanPiece:
    """A run of Z-tokens."""

    tokens: tuple[ZToken, ...]

    def __len__(self) -> int:
        return len(self.tokens)


Piece: TypeAlias = TextPiece | SpanPiece

ParseSpan: TypeAlias = Callable[[str], Sequence[ZToken] | TextPiece]
"""Returns the Z-tokens of a Z-span, or tokens to read in its place; raises a SpanError if it is damaged or of another
codec."""


@dataclass(frozen=True, slots=True)
class PromptSize:
    """How much of the model's context a prompt takes, and how much text it stands for."""

    positions: int  # in all: text, marks of the chat template included, and Z-tokens
    z_tokens: int  # positions that are Z-tokens
    source_tokens: int  # tokens that the Z-tokens stand for

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class PreparedPrompt:
    """A prompt that has been read; a reader takes it in place of a prompt, and does not read it again."""

    pieces: tuple[Piece, ...]
    size: PromptSize

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> PreparedPrompt:
        """Build a prompt from pieces; these may have any tokens that the model has embeddings for."""
        joined = tuple(join(pieces))
        return cls(joined, size_of(joined))


def size_of(pieces: Iterable[Piece]) -> PromptSize:
    """Count the positions of a prompt."""
    positions, z_tokens, source_tokens = 0, 0, 0
    for piece in pieces:
        positions += len(piece)
        if isinstance(piece, SpanPiece):
            z_tokens += len(piece)
            source_tokens += sum(token.gap + 1 for token in piece.tokens)
    return PromptSize(positions, z_tokens, source_tokens)


def join(pieces: Iterable[Piece]) -> list[Piece]:
    """Join adjacent pieces of the same kind, and drop empty ones."""
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
            joined[-1] = TextPiece(last.ids + piece.ids)
        elif isinstance(piece, SpanPiece) and isinstance(last, SpanPiece):
            joined[-1] = SpanPiece(last.tokens + piece.tokens)
        elif len(piece):
            joined.append(piece)
    return joined


# Content is never special.


class ContentTokenizer:
    """A backbone's tokenizer that treats the names of special tokens as text."""

    def __init__(self, backbone: Backbone) -> None:
        """Copy the backbone's tokenizer; the codec keeps its own."""
        self.start_id = backbone.start_id
        state = json.loads(backbone.tokenizer.backend.to_str())
        # All added tokens with visible text, since not every model folder flags its markers as special.
        added = state["added_tokens"]
        self._special = {token["content"]: int(token["id"]) for token in added if token["content"].strip()}
        for token in added:
            token["special"] = token["content"] in self._special
        self._backend = Tokenizer.from_str(json.dumps(state))
        self._backend.encode_special_tokens = True
        self._spelled = {token_id: self._spell(name) for name, token_id in self._special.items()}

    def special_id(self, name: str) -> int | None:
        """Return the id of a special token, or None if the model has none of this name."""
        return self._special.get(name)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return the token ids of a text, none of which is special; raise InvalidTextError for lone surrogates."""
        require_no_surrogates(text)
        return self.spell_out(self._ids(text))

    def spell_out(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Replace special tokens by the tokens of their names."""
        if self._spelled.keys().isdisjoint(ids):
            return tuple(ids)
        return tuple(spelled for token_id in ids for spelled in self._spelled.get(token_id, (token_id,)))

    def defuse(self, tokens: Sequence[ZToken]) -> Iterator[Piece]:
        """Spell out the anchors that are special tokens.

        :param tokens: The Z-tokens of an untrusted Z-span.
        :return: The pieces; their Z-tokens are the same if no anchor is special.
        :yields: Runs of Z-tokens, and between them the spelled-out names.
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
        special = set(self._special.values())
        whole = self._ids(name)
        # Some tokenizers look up whole words, special or not; none has a special token of one character.
        ids = whole if special.isdisjoint(whole) else [i for character in name for i in self._ids(character)]
        if not ids or not special.isdisjoint(ids):
            raise BackboneError(
                f"The backbone's tokenizer has no other way to write its special token {name!r}, so a document could "
                "pass for the chat template. Use another backbone."
            )
        return tuple(ids)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids


# Chat templates: a conversation as one text, with marks that only the template can set.


@dataclass(frozen=True, slots=True)
class Mark:
    """A special token that the template sets."""

    token_id: int


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a message."""

    text: str


Segment: TypeAlias = Mark | Content | str
"""Part of a conversation; a str is the template's own text, in which nothing is special and there are no Z-spans."""


class ChatTemplate(Protocol):
    """The format in which a model was trained to read conversations."""

    @property
    def end_ids(self) -> frozenset[int]:
        """Return the tokens that end a message, to the model as in the template."""

    @property
    def jinja(self) -> str:
        """Return the template in the form that transformers and vLLM read."""

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation as segments; with `reply`, begin the assistant's next message."""


@dataclass(frozen=True, slots=True)
class ChatML:
    """<|im_start|>role⏎content<|im_end|>⏎ … <|im_start|>assistant⏎: SmolLM2 and many others.

    The marks are tokens that content cannot have. A conversation without a system message gets SmolLM2's.
    """

    start_id: int
    end_id: int

    @property
    def end_ids(self) -> frozenset[int]:
        """Return the token of <|im_end|>."""
        return frozenset({self.end_id})

    @property
    def jinja(self) -> str:
        """Return the template in the form that transformers and vLLM read."""
        return (
            "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
            "{{ '<|im_start|>system\\n" + SYSTEM + "<|im_end|>\\n' }}{% endif %}"
            "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
        )

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation as segments; with `reply`, begin the assistant's next message."""
        system = [] if messages[0]["role"] == "system" else [{"role": "system", "content": SYSTEM}]
        for message in (*system, *messages):
            yield from (Mark(self.start_id), f"{message['role']}\n", Content(message["content"]))
            yield from (Mark(self.end_id), "\n")
        if reply:
            yield from (Mark(self.start_id), "assistant\n")


@dataclass(frozen=True, slots=True)
class PlainChat:
    """role: content⏎⏎ … assistant: — for models that were never trained on a template.

    It has no marks: a document can write "assistant:" as well as the template does.
    """

    start_id: int  # starts every text

    @property
    def end_ids(self) -> frozenset[int]:
        """Return an empty set: the model has no token that ends just a message."""
        return frozenset()

    @property
    def jinja(self) -> str:
        """Return the template in the form that transformers and vLLM read."""
        return (
            "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}"
        )

    def render(self, messages: Sequence[Message], reply: bool) -> Iterator[Segment]:
        """Write a conversation as segments; with `reply`, begin the assistant's next message."""
        yield Mark(self.start_id)
        for message in messages:
            yield from (f"{message['role']}: ", Content(message["content"]), "\n\n")
        if reply:
            yield "assistant:"


def chat_template(tokenizer: ContentTokenizer) -> ChatTemplate:
    """Choose the template that a model can read: ChatML if its tokenizer has the marks."""
    start, end = tokenizer.special_id("<|im_start|>"), tokenizer.special_id("<|im_end|>")
    return PlainChat(tokenizer.start_id) if start is None or end is None else ChatML(start, end)


# Prompts: conversations, questions about passages, and bare texts.


def question_messages(question: str, passages: Any, window: int = WINDOW) -> list[Message]:  # noqa: ANN401 - any document
    """Ask a question about passages, in the words that the reader was trained on.

    :param question: The question.
    :param passages: A document or a sequence of them, as `zprompt.compress` takes and returns them: texts, Z-spans or
        both. A document's title is written before its text. One of which focusing left nothing is omitted.
    :param window: Window of the codec of these Z-spans, in source tokens.
    :return: The messages of a conversation.
    """
    batch = read_documents(passages)
    pairs = [pair for pair in zip(batch.documents, batch.texts, strict=True) if is_telling(pair[1], window)]
    paragraphs = [f"Passage {number}{_titled(document)}: {text}" for number, (document, text) in enumerate(pairs, 1)]
    content = "\n\n".join([*paragraphs, f"Question: {question}"])
    return [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": content}]


def is_telling(text: str, window: int) -> bool:
    """Return whether focusing left anything of a passage; of a Z-span, more than the first token of each window."""
    text = text.strip()
    if not is_span(text):
        return text != NOTHING
    header = read_header(text)
    return header.count == header.source_tokens or header.count > -(-header.source_tokens // window)


def encode_messages(
    tokenizer: ContentTokenizer, messages: Sequence[Message], parse: ParseSpan, *, reply: bool = True
) -> list[Piece]:
    """Read a conversation.

    :param tokenizer: The tokenizer.
    :param messages: The messages; their content may hold Z-spans anywhere.
    :param parse: Reads a Z-span.
    :param reply: Begin the assistant's next message.
    :return: The pieces of the prompt, in order.
    """
    _check_messages(messages)
    return _encode(tokenizer, chat_template(tokenizer).render(messages, reply), parse)


def encode_text(tokenizer: ContentTokenizer, text: str, parse: ParseSpan) -> list[Piece]:
    """Read a bare text to continue, which may hold Z-spans anywhere; the prompt begins with the start token."""
    return _encode(tokenizer, [Mark(tokenizer.start_id), Content(text)], parse)


def _encode(tokenizer: ContentTokenizer, segments: Iterable[Segment], parse: ParseSpan) -> list[Piece]:
    return join(_pieces(tokenizer, _parts(segments, parse)))


def _parts(segments: Iterable[Segment], parse: ParseSpan) -> Iterator[Mark | str | Sequence[ZToken] | TextPiece]:
    """Split content at its Z-spans."""
    for segment in segments:
        if isinstance(segment, Content):
            for part in split_at_spans(segment.text):
                yield part if isinstance(part, str) else parse(part.text)
        else:
            yield segment


def _pieces(tokenizer: ContentTokenizer, parts: Iterable[Mark | str | Sequence[ZToken] | TextPiece]) -> Iterator[Piece]:
    """Tokenize parts, after joining adjacent texts."""
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        yield TextPiece(tokenizer.encode(text))
        text = ""
        if isinstance(part, Mark):
            yield TextPiece((part.token_id,))
        elif isinstance(part, TextPiece):
            yield part
        else:
            yield from tokenizer.defuse(part)
    yield TextPiece(tokenizer.encode(text))


def _check_messages(messages: Sequence[Message]) -> None:
    """Raise OptionError if there is no message, or one has an unknown role or no text."""
    if isinstance(messages, str | Mapping) or not messages:
        raise OptionError('Messages must be a non-empty list of dicts such as {"role": "user", "content": "…"}.')
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
            raise OptionError(f'Message {index} must be a dict with a str under "content".')
        if message.get("role") not in ROLES:
            raise OptionError(f"Message {index} has the role {message.get('role')!r}. Must be one of {ROLES}.")


def _titled(document: object) -> str:
    """Return a document's title as written before its text, if it has one; a title is never a Z-span."""
    title = title_of(document)
    return f" ({escape_literal(title)})" if title else ""
