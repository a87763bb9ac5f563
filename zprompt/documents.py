"""Read and replace the text of documents of any known type.

Strings, dicts, LangChain documents and LlamaIndex nodes are told apart by the attributes they have: neither library
is imported. A document is never changed. Its copy differs in the text alone, and shares none of its own containers
(metadata, relationships) with the original, so that writing into one leaves the other as it was.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, Self, TypeAlias, TypeGuard, TypeVar, runtime_checkable

from zprompt.errors import DocumentTypeError, InvalidTextError, SpanError, located

_ALLOWED = (
    "Allowed are str, dict with a str under 'text', LangChain Document, LlamaIndex nodes and NodeWithScore, "
    "and lists, tuples and other sequences of these."
)
_KEYS_SHOWN = 8


class _Model(Protocol):
    """What all pydantic models have."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self: ...


@runtime_checkable
class LangChainDocument(_Model, Protocol):
    """What a LangChain `Document` is recognised by."""

    page_content: str
    metadata: dict[str, Any]


@runtime_checkable
class LlamaIndexNode(_Model, Protocol):
    """What a LlamaIndex node with text is recognised by."""

    metadata: dict[str, Any]

    def get_content(self, metadata_mode: str) -> str:
        """Return the text, after the metadata of this mode; "none" for the body alone."""

    def set_content(self, value: str) -> None:
        """Replace the text."""


@runtime_checkable
class LlamaIndexScored(_Model, Protocol):
    """What a LlamaIndex `NodeWithScore` is recognised by."""

    node: LlamaIndexNode
    score: float | None


Document: TypeAlias = str | dict[str, Any] | LangChainDocument | LlamaIndexNode | LlamaIndexScored

_M = TypeVar("_M", bound=_Model)


@dataclass(frozen=True, slots=True)
class DocumentBatch:
    """Documents as passed, and their texts."""

    documents: tuple[Document, ...]
    texts: tuple[str, ...]
    single: bool  # one document was passed, not a sequence

    def with_texts(self, texts: Sequence[str]) -> Document | list[Document]:
        """Copy the documents, with other texts.

        :param texts: One text for each document.
        :return: One document if one was passed, else a list; each of its original's type, with its id and metadata.
        """
        replaced = [_replace(document, text) for document, text in zip(self.documents, texts, strict=True)]
        return replaced[0] if self.single else replaced

    @contextmanager
    def naming(self, index: int) -> Iterator[None]:
        """Prefix errors about a document's text with its position, if there are several documents.

        :param index: The document's position.
        :yields: Nothing.
        :raises ZPromptError: The same error, with the position before its message.
        """
        try:
            yield
        except (InvalidTextError, SpanError) as error:
            if self.single:
                raise
            raise located(error, f"The document at position {index}") from error


def read_documents(documents: object) -> DocumentBatch:
    """Read the texts of one document or of a sequence of documents.

    :param documents: A document of a known type, or a sequence or iterator of such, of mixed types if need be.
    :return: The documents and their texts.
    :raises DocumentTypeError: If a document is of no known type.
    """
    if _is_sequence(documents):
        batch = tuple(documents)
        texts = tuple(_read(document, f"The document at position {i}") for i, document in enumerate(batch))
        return DocumentBatch(batch, texts, single=False)
    text = _read(documents, "The document")
    return DocumentBatch((documents,), (text,), single=True)  # type: ignore[arg-type]  # _read knows its type


def title_of(document: object) -> str:
    """Return the title of a document, from it or its metadata; "" if it has none."""
    title = _look_up(document, "title")
    return title if isinstance(title, str) and title.strip() else ""


def id_of(document: object) -> str:
    """Return the id of a document, from it or its metadata; "" if it has none."""
    document_id = _look_up(document, "node_id") or _look_up(document, "id")
    return "" if document_id is None else str(document_id)


def score_of(document: object) -> float | None:
    """Return the score that a retriever gave a document, in it or its metadata; None if it has none."""
    score = _look_up(document, "score")
    return float(score) if isinstance(score, Real) and not isinstance(score, bool) else None


def _look_up(document: object, name: str) -> object:
    """Return what a document has under a name, itself or in its metadata."""
    if isinstance(document, dict):
        value, metadata = document.get(name), document.get("metadata")
    else:
        # A LlamaIndex NodeWithScore keeps its metadata in its node.
        value, metadata = getattr(document, name, None), getattr(getattr(document, "node", document), "metadata", None)
    return metadata.get(name) if value in (None, "") and isinstance(metadata, dict) else value


def _is_sequence(documents: object) -> TypeGuard[Sequence[Any] | Iterator[Any]]:
    return isinstance(documents, Sequence | Iterator) and not isinstance(
        documents, str | bytes | bytearray | memoryview
    )


def _read(document: object, label: str) -> str:
    """Return the text of a document; raise DocumentTypeError, which names the label, if it has none."""
    match document:
        case str():
            text: object = document
        case dict() if "text" in document:
            text = document["text"]
        case dict():
            keys = ", ".join(map(repr, list(document)[:_KEYS_SHOWN])) or "none"
            raise DocumentTypeError(f"{label} is a dict without 'text' (its keys: {keys}). {_ALLOWED}")
        case LangChainDocument():
            text = document.page_content
        case LlamaIndexNode() | LlamaIndexScored(node=LlamaIndexNode()):
            node = document.node if isinstance(document, LlamaIndexScored) else document
            # "none" is MetadataMode.NONE: the body alone, without the metadata that LlamaIndex would put before it.
            text = node.get_content(metadata_mode="none")
        case _:
            raise DocumentTypeError(f"{label} is of type {_type_name(document)}. {_ALLOWED}")
    if not isinstance(text, str):
        raise DocumentTypeError(f"{label}, a {_type_name(document)}, has a text of type {_type_name(text)}. {_ALLOWED}")
    return text


def _replace(document: Document, text: str) -> Document:
    """Copy a document that `_read` accepted, with another text."""
    match document:
        case str():
            return text
        case dict():
            replaced = copy.copy(document)
            replaced.update(_own_containers(document), text=text)
            return replaced
        case LangChainDocument():
            return _copy_model(document, {"page_content": text})
        case LlamaIndexNode():
            return _replace_in_node(document, text)
        case LlamaIndexScored():
            return document.model_copy(update={"node": _replace_in_node(document.node, text)})


def _replace_in_node(node: LlamaIndexNode, text: str) -> LlamaIndexNode:
    replaced = _copy_model(node, {})
    replaced.set_content(text)
    return replaced


def _copy_model(model: _M, update: dict[str, Any]) -> _M:
    """Copy a pydantic model one level deeper than `model_copy` does, which shares dicts and lists."""
    return model.model_copy(update=_own_containers(vars(model)) | update)


def _own_containers(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return copies of the dicts and lists among fields."""
    return {name: copy.copy(value) for name, value in fields.items() if isinstance(value, dict | list)}


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
