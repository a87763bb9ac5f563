"""Wrap a retriever: the same passages in the same order, shorter."""

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, set_config_context
from langchain_core.runnables.utils import coro_with_context
from pydantic import ConfigDict, Field

from langchain_zprompt.documents import ZPromptCompressor


class ZPromptRetriever(BaseRetriever):
    """Compresses what another retriever returns."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")  # a mistyped option must not be lost

    retriever: RetrieverLike  # anything from a query to documents
    compressor: ZPromptCompressor = Field(default_factory=ZPromptCompressor)
    k: int | None = Field(default=None, ge=1)  # passages at most; None: all that the other retriever returns

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Retrieve passages.

        :param input: The query.
        :param config: Reaches the other retriever, too.
        :param kwargs: Passed to the other retriever, `k` for example.
        :return: The passages, shorter: as text, or as Z-spans (`ZPromptCompressor.form`).
        """
        with set_config_context(_inherited(config)) as context:
            return context.run(super().invoke, input, config, **kwargs)

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:  # noqa: ANN401
        """Retrieve passages, without blocking the event loop; takes the same as `invoke`."""
        with set_config_context(_inherited(config)) as context:
            return await coro_with_context(super().ainvoke(input, config, **kwargs), context)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        kwargs = self._with_k(kwargs)
        documents = self.retriever.invoke(query, config={"callbacks": run_manager.get_child()}, **kwargs)
        return self.compressor.compress_documents(documents[: kwargs.get("k")], query)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        **kwargs: Any,  # noqa: ANN401
    ) -> list[Document]:
        kwargs = self._with_k(kwargs)
        documents = await self.retriever.ainvoke(query, config={"callbacks": run_manager.get_child()}, **kwargs)
        return list(await self.compressor.acompress_documents(documents[: kwargs.get("k")], query))

    def _with_k(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Add k; retrievers without a k ignore it, so the callers cut the results as well."""
        return kwargs if self.k is None else {"k": self.k, **kwargs}


def _inherited(config: RunnableConfig | None) -> RunnableConfig:
    """Return the part of a config that inner runs inherit; the run manager passes callbacks, tags and metadata on."""
    full = ensure_config(config)
    return RunnableConfig(configurable=full.get("configurable", {}))  # a run's name and id are its own
