"""Replace the text of documents by Z-spans: order, ids and metadata stay, and no document given is changed.

One key is added to the metadata of what becomes a Z-span: `zprompt_codec`. It, and not the look of a text, says that a
document was compressed before (zprompt/adapting.py says why).
"""

from collections.abc import Sequence
from typing import Any, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import Field, model_validator

from langchain_zprompt.source import CodecFields
from zprompt.documents import read_documents
from zprompt.options import CompressOptions, OnError
from zprompt.rag import CODEC_KEY, Adapted, adapt


class ZPromptCompressor(CodecFields, BaseDocumentCompressor, BaseDocumentTransformer):
    """Compresses documents, where that makes them shorter: with a query as a compressor, without as a transformer."""

    ratio: float | None = None  # source tokens per Z-token over all documents of a call; None: the usual one
    max_tokens: int | None = None  # Z-tokens that all documents of a call may take together
    protect: str | list[str] | None = None  # a regex, or literal strings, whose tokens are all kept as anchors
    min_tokens: int | None = None  # shorter texts pass through
    on_error: OnError = "raise"  # or "passthrough": what cannot be compressed stays text
    use_query: bool = True  # whether the codec is told what will be asked
    stored_key: str = "zprompt"  # metadata key of Z-spans that `store_documents` made
    batch_size: int = Field(default=8, ge=1)  # windows that the LLM reads at a time

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._options(None)
        return self

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Compress retrieved documents, in one call of the codec.

        :param documents: The documents.
        :param query: What will be asked; what it mentions is rather kept as anchors.
        :param callbacks: Not used: nothing that runs here has callbacks.
        :return: Copies, in the same order, with Z-spans for texts.
        """
        return self._compress(documents, query)

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Compress documents, in one call of the codec.

        :param documents: The documents.
        :param kwargs: `query`, if there is one.
        :return: Copies, in the same order, with Z-spans for texts.
        """
        return self._compress(documents, kwargs.get("query"))

    def store_documents(self, documents: Sequence[Document]) -> list[Document]:
        """Put Z-spans into the metadata, beside texts that stay: for a vector store, which embeds the text.

        A compressor with the same codec and `stored_key` puts them in place of the texts later, at no cost.

        :param documents: The documents.
        :return: Copies, in the same order, with a Z-span under `stored_key` where it is shorter than the text.
        """
        batch = read_documents(list(documents))
        adapted = adapt(self.load(), batch.texts, self._options(None), batch_size=self.batch_size)
        copies: Any = batch.with_texts(batch.texts)
        for document, item in zip(copies, adapted, strict=True):
            if item.new:
                document.metadata[self.stored_key] = item.text
        return list(copies)

    def as_runnable(self) -> Runnable[Sequence[Document], Sequence[Document]]:
        """Make a step of a chain.

        :return: A runnable from documents to compressed documents.
        """
        return RunnableLambda(self.transform_documents, afunc=self.atransform_documents)

    def _compress(self, documents: Sequence[Document], query: str | None) -> list[Document]:
        if not documents:
            return []
        batch = read_documents(list(documents))
        marked = [CODEC_KEY in document.metadata for document in documents]
        stored = [document.metadata.get(self.stored_key) for document in documents]
        codec = self.load()
        adapted = adapt(
            codec, batch.texts, self._options(query), marked=marked, stored=stored, batch_size=self.batch_size
        )
        copies: Any = batch.with_texts([item.text for item in adapted])
        for document, item, span in zip(copies, adapted, stored, strict=True):
            self._mark(document, item, span, codec.fingerprint)
        return list(copies)

    def _mark(self, document: Document, item: Adapted, stored: object, fingerprint: str) -> None:
        """Say in the metadata of a copy what its text is now."""
        if stored is not None and item.text == stored:
            del document.metadata[self.stored_key]  # it would be there twice
        document.metadata.pop(CODEC_KEY, None)
        if item.compressed:
            document.metadata[CODEC_KEY] = fingerprint

    def _options(self, query: str | None) -> CompressOptions:
        return CompressOptions(
            ratio=self.ratio,
            max_tokens=self.max_tokens,
            query=(query or None) if self.use_query else None,
            protect=self.protect,
            min_tokens=self.min_tokens,
            on_error=self.on_error,
        )
