"""Put texts back in place of Z-spans."""

from collections.abc import Sequence
from typing import Any

from langchain_core.documents import BaseDocumentTransformer, Document
from langchain_core.runnables import Runnable, RunnableLambda

from langchain_zprompt.source import CodecFields
from zprompt.rag import CODEC_KEY


class ZPromptDecompressor(CodecFields, BaseDocumentTransformer):
    """Restores documents, byte for byte; it must name the codec that compressed them."""

    def transform_documents(self, documents: Sequence[Document], **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Restore documents.

        :param documents: Documents that went through a compressor, compressed or not.
        :param kwargs: Not used.
        :return: Copies, in the same order, with texts and metadata as they were.
        """
        restored: list[Document] = list(self.load().decompress(list(documents))) if documents else []
        for document in restored:
            document.metadata.pop(CODEC_KEY, None)
        return restored

    def as_runnable(self) -> Runnable[Sequence[Document], Sequence[Document]]:
        """Make a step of a chain.

        :return: A runnable from compressed documents to documents.
        """
        return RunnableLambda(self.transform_documents, afunc=self.atransform_documents)
