"""Read a prompt: from messages, or a bare text, to the positions that the model sees.

    messages ─► template ─► segments ─► text │ Z-span │ text … ─► token ids │ Z-tokens │ token ids …

Text is tokenized only after what belongs together has been put together, so a prompt without Z-spans becomes the ids
that the model's own template and tokenizer give (tests/reader/test_prompt.py). No model is needed for any of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from zprompt.codec.vocabulary import ZToken
from zprompt.codec.zspan import escape_literal
from zprompt.documents import read_documents
from zprompt.reader.chat import Content, Mark, Message, Segment, chat_template, check_messages
from zprompt.reader.content import ContentTokenizer, Parse, read_content
from zprompt.reader.pieces import Piece, TextPiece, join

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
