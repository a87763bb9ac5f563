"""Shorten documents: order, ids and metadata stay, and the input is never changed.

Documents for an LLM that is not known to read Z-tokens lose what the question does not need, as text. For one that
reads them, each becomes a Z-span, from which it can be restored.

One key is added to the metadata of what becomes a Z-span: `zprompt_codec`. This mark, not the look of a text, says
that a document was compressed before (zprompt/rag.py says why).
"""

from collections.abc import Sequence
from typing import Any, Literal, Self

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableLambda
from pydantic import BaseModel, ConfigDict, Field, model_validator

from zprompt import Codec
from zprompt.counting import counter
from zprompt.documents import read_documents, title_of
from zprompt.errors import OptionError
from zprompt.options import CompressOptions, OnError
from zprompt.probe import AdapterForm, reads_z_tokens
from zprompt.rag import BATCH, CODEC_KEY, NO_QUESTION, CodecSpec, RagText, compress_texts, is_whole, shorten_texts


class CodecFields(BaseModel):
    """Which codec a component uses; it is loaded when first needed, and shared within the process.

    The fields are plain values, so that components can be pickled.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    codec: str = "default"  # a causal LM, a shipped codec, or a folder that `save_pretrained` wrote
    backbone: str | None = None  # if it lies elsewhere than a codec's folder says
    device: str = "auto"
    quantization: str = "auto"

    def load(self) -> Codec:
        """Return the codec, loaded once per process."""
        return CodecSpec(self.codec, self.backbone, self.device, self.quantization).load()

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the codec, 12 hexadecimal digits; this loads it."""
        return self.load().fingerprint


class ZPromptCompressor(CodecFields, BaseDocumentCompressor, BaseDocumentTransformer):
    """Compresses documents, where that makes them shorter: with a query as a compressor, without as a transformer."""

    form: AdapterForm = "auto"  # "text", "z", or "auto": Z-spans if the reader says that it reads them, else text
    reader: str | BaseChatModel | None = None  # what gets the documents: a server's base URL, or the chat model
    ratio: float | None = None  # tokens before per token after, over all documents of a call; None: the usual one
    max_tokens: int | None = None  # tokens, or Z-tokens, that all documents of a call may take together
    count: str = "reader"  # whose tokens those of text are: "tiktoken:o200k_base" or another encoding
    protect: str | list[str] | None = None  # a regex, or literal strings, which stay word for word
    min_tokens: int | None = None  # shorter texts pass through
    on_error: OnError = "raise"  # or "passthrough": what cannot be compressed stays as it is
    use_query: bool = True  # whether Z-spans depend on the query; text always does
    stored_key: str = "zprompt"  # metadata key of Z-spans that `store_documents` made
    batch_size: int = Field(default=BATCH, ge=1)  # windows that the LLM reads at a time

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._options(None)
        counter(self.count)
        return self

    def form_for(self, model: object = None) -> Literal["text", "z"]:
        """Return the form that is written.

        :param model: The chat model that gets it, if it is known and no reader is given.
        :return: The form; "auto" asks the server, once.
        """
        if self.form != "auto":
            return self.form
        server = self.reader or model
        return "z" if server is not None and reads_z_tokens(server, lambda: self.fingerprint) else "text"

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Compress retrieved documents, in one call of the codec.

        :param documents: The documents.
        :param query: What will be asked: the sentences that it needs stay word for word.
        :param callbacks: Not used: nothing that runs here has callbacks.
        :return: Copies, in the same order, with shorter texts, or Z-spans. For a blank query, text stays as it is.
        """
        return self._compress(documents, query)

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Compress documents, in one call of the codec.

        :param documents: The documents.
        :param kwargs: `query`, if there is one; for text there must be.
        :return: Copies, in the same order, with shorter texts, or Z-spans.
        """
        return self._compress(documents, kwargs.get("query"))

    def store_documents(self, documents: Sequence[Document]) -> list[Document]:
        """Put Z-spans into the metadata, beside texts that stay: for a vector store, which embeds the text.

        A compressor with the same codec and `stored_key` puts them in place of the texts later, at no cost.

        :param documents: The documents.
        :return: Copies, in the same order, with a Z-span under `stored_key` where it is shorter than the text.
        """
        batch = read_documents(list(documents))
        copies: Any = batch.with_texts(batch.texts)
        for document, item in zip(copies, self.compress_texts(batch.texts), strict=True):
            if item.new:
                document.metadata[self.stored_key] = item.text
        return list(copies)

    def compress_texts(self, texts: Sequence[str], query: str | None = None) -> list[RagText]:
        """Write texts, none of which was compressed before, as Z-spans, in one call of the codec."""
        options = self._options(query if self.use_query else None)
        return compress_texts(self.load(), texts, options, batch_size=self.batch_size)

    def shorten_texts(self, texts: Sequence[str], query: str | None) -> list[str]:
        """Leave out what a question does not need of texts, none of which was compressed before."""
        return shorten_texts(texts, self._options(query), count=self.count)

    def as_runnable(self) -> Runnable[Sequence[Document], Sequence[Document]]:
        """Return a step of a chain, from documents to compressed documents."""
        return RunnableLambda(self.transform_documents, afunc=self.atransform_documents)

    def _compress(self, documents: Sequence[Document], query: str | None) -> list[Document]:
        if not documents:
            return []
        if self.form_for() == "text":
            return self._shorten(documents, query)
        batch, codec = read_documents(list(documents)), self.load()
        stored = [document.metadata.get(self.stored_key) for document in documents]
        items = compress_texts(
            codec,
            batch.texts,
            self._options(query if self.use_query else None),
            marked=[CODEC_KEY in document.metadata for document in documents],
            stored=stored,
            batch_size=self.batch_size,
        )
        copies: Any = batch.with_texts([item.text for item in items])
        for document, item, span in zip(copies, items, stored, strict=True):
            if item.text == span:
                del document.metadata[self.stored_key]  # its Z-span is the text now
            document.metadata.pop(CODEC_KEY, None)
            if item.compressed:
                document.metadata[CODEC_KEY] = codec.fingerprint
        return list(copies)

    def _shorten(self, documents: Sequence[Document], query: str | None) -> list[Document]:
        """Shorten documents as text; what was stored for other readers is left out of the copies."""
        if query is None:
            raise OptionError(NO_QUESTION)
        batch = read_documents(list(documents))
        texts = shorten_texts(
            batch.texts,
            self._options(query),
            titles=[title_of(document) for document in documents],
            count=self.count,
            marked=[CODEC_KEY in document.metadata for document in documents],
            restore=lambda spans: self.load().decompress(spans),
        )
        copies: Any = batch.with_texts(texts)
        for document in copies:
            document.metadata.pop(CODEC_KEY, None)
            document.metadata.pop(self.stored_key, None)
        return list(copies)

    def _options(self, query: str | None) -> CompressOptions:
        return CompressOptions(
            ratio=self.ratio,
            max_tokens=self.max_tokens,
            query=query,
            protect=self.protect,
            min_tokens=self.min_tokens,
            on_error=self.on_error,
        )


class ZPromptDecompressor(CodecFields, BaseDocumentTransformer):
    """Restores documents, byte for byte; it must name the codec that compressed them."""

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Restore documents.

        :param documents: Documents that went through a compressor, compressed or not.
        :param kwargs: Not used.
        :return: Copies, in the same order, with texts and metadata as they were.
        :raises TruncatedSpanError: If a splitter has cut a Z-span.
        """
        for document in documents:
            if CODEC_KEY in document.metadata:
                is_whole(document.page_content)
        restored: list[Document] = list(self.load().decompress(list(documents))) if documents else []
        for document in restored:
            document.metadata.pop(CODEC_KEY, None)
        return restored

    def as_runnable(self) -> Runnable[Sequence[Document], Sequence[Document]]:
        """Return a step of a chain, from compressed documents to documents."""
        return RunnableLambda(self.transform_documents, afunc=self.atransform_documents)
