"""The retriever around real retrievers, by LangChain's own standard tests and ours."""

import asyncio
from typing import Any

import pytest
from byte_codec import ByteCodec
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_zprompt import ZPromptCompressor, ZPromptDecompressor, ZPromptRetriever


def vector_retriever() -> BaseRetriever:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([Document(page_content=f"Passage {i} is about the lamp.", id=str(i)) for i in range(8)])
    return store.as_retriever()


@pytest.mark.usefixtures("codec")
class TestZPromptRetriever(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[ZPromptRetriever]:
        return ZPromptRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"retriever": vector_retriever()}

    @property
    def retriever_query_example(self) -> str:
        return "Who lit the lamp?"


def test_passages_are_those_of_the_inner_retriever(codec: ByteCodec) -> None:
    inner = vector_retriever()
    retriever = ZPromptRetriever(retriever=inner, compressor=ZPromptCompressor(form="z", ratio=3))
    documents = retriever.invoke("lamp?")
    assert ZPromptDecompressor().transform_documents(documents) == inner.invoke("lamp?")
    assert asyncio.run(retriever.ainvoke("lamp?")) == documents
    assert [(call["query"], call["ratio"]) for call in codec.calls] == [("lamp?", 3)] * 2


def test_k_reaches_the_inner_retriever_and_a_call_overrides_it(codec: ByteCodec) -> None:
    retriever = ZPromptRetriever(retriever=vector_retriever(), k=6)  # the inner retriever returns 4 by default
    assert [len(retriever.invoke("q")), len(retriever.invoke("q", k=2))] == [6, 2]


def test_k_cuts_the_results_of_a_retriever_without_a_k(codec: ByteCodec, documents: list[Document]) -> None:
    class Fixed(BaseRetriever):
        def _get_relevant_documents(self, query: str, *, run_manager: object) -> list[Document]:
            return documents

    assert len(ZPromptRetriever(retriever=Fixed(), k=2).invoke("q")) == 2


class Recorder(BaseCallbackHandler):
    def __init__(self) -> None:
        self.starts: list[tuple[Any, Any, Any]] = []

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:  # noqa: ANN401
        self.starts.append((kwargs["name"], kwargs["parent_run_id"], kwargs["tags"]))


@pytest.mark.parametrize("asynchronous", [False, True])
def test_callbacks_tags_and_config_reach_the_inner_retriever(codec: ByteCodec, asynchronous: bool) -> None:
    seen: list[RunnableConfig] = []
    inner = vector_retriever()

    def find(query: str, config: RunnableConfig) -> list[Document]:
        seen.append(config)
        return inner.invoke(query, config)

    recorder = Recorder()
    config: RunnableConfig = {
        "callbacks": [recorder], "tags": ["mine"], "configurable": {"tenant": 7}, "run_name": "outer"
    }  # fmt: skip
    retriever = ZPromptRetriever(retriever=RunnableLambda(find))
    _ = asyncio.run(retriever.ainvoke("q", config)) if asynchronous else retriever.invoke("q", config)
    (outer, no_parent, _), (name, parent, tags) = recorder.starts
    assert (outer, no_parent, name) == ("outer", None, "VectorStoreRetriever")
    assert parent is not None
    assert "mine" in tags
    assert seen[0]["configurable"]["tenant"] == 7


def test_options_of_the_compressor_are_refused_by_the_retriever() -> None:
    with pytest.raises(ValueError, match="ratio"):
        ZPromptRetriever(retriever=RunnableLambda(lambda query: []), ratio=2)  # type: ignore[call-arg]


def test_nothing_found_is_nothing_compressed(codec: ByteCodec) -> None:
    assert ZPromptRetriever(retriever=RunnableLambda(lambda query: [])).invoke("q") == []
    assert codec.calls == []
