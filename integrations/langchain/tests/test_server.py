"""LangChain's own OpenAI chat model reaches `zprompt serve`, over HTTP, with Z-spans in its messages."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents.middleware import ModelRequest
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from tiny import SENTENCES, save_backbone, save_codec
from tiny_server import KEY, Served, serving

from langchain_zprompt import ZPromptCompressor, ZPromptMiddleware, ZPromptRetriever
from zprompt.probe import forget_servers

TOKENS = 8
PASSAGES = [Document(id=str(number), page_content=text) for number, text in enumerate(SENTENCES[:2])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("tiny")
    return str(save_codec(root / "codec", save_backbone(root / "backbone")))


@pytest.fixture(scope="module")
def served(folder: str) -> Iterator[Served]:
    with serving(folder) as server:
        yield server


@pytest.fixture
def llm(served: Served) -> BaseChatModel:
    return ChatOpenAI(
        base_url=served.url, api_key=SecretStr(KEY), model="zprompt", max_completion_tokens=TOKENS, max_retries=0
    )


@pytest.fixture
def chain(folder: str, llm: BaseChatModel) -> Runnable[str, object]:
    inner = RunnableLambda(lambda query: PASSAGES)
    retriever = ZPromptRetriever(
        retriever=inner, compressor=ZPromptCompressor(codec=folder, reader=llm, use_query=False)
    )
    joined = retriever | (lambda documents: "\n".join(document.page_content for document in documents))
    prompt = ChatPromptTemplate.from_messages([("human", "{passages}\n{question}")])
    return {"passages": joined, "question": RunnablePassthrough()} | prompt | llm


def test_a_chain_answers_as_the_reader_does(served: Served, folder: str, chain: Runnable[str, object]) -> None:
    spans = served.reader.codec.compress([document.page_content for document in PASSAGES]).documents
    messages = [{"role": "user", "content": "\n".join([*spans, "Who?"])}]
    expected = served.reader.generate(messages, max_new_tokens=TOKENS)
    assert expected.usage.z_tokens > 0

    for reply in (chain.invoke("Who?"), asyncio.run(chain.ainvoke("Who?"))):
        assert reply.content == expected.text  # type: ignore[attr-defined]
        assert reply.usage_metadata["input_tokens"] == expected.usage.prompt_positions  # type: ignore[attr-defined]
    assert "".join(piece.content for piece in chain.stream("Who?")) == expected.text  # type: ignore[attr-defined]


def test_a_damaged_z_span_is_refused(served: Served, llm: BaseChatModel) -> None:
    span = served.reader.codec.compress(SENTENCES[0]).documents
    with pytest.raises(Exception, match="cut off"):
        llm.invoke(span[:-1])


def test_a_server_gets_z_spans_if_it_names_the_codec(
    served: Served, llm: BaseChatModel, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert ZPromptCompressor(codec=folder, reader=llm).form_for() == "z"
    assert ZPromptCompressor(codec=folder).form_for(llm) == "z"
    assert ZPromptCompressor(codec=folder, form="text").form_for(llm) == "text"
    assert ZPromptCompressor(codec=folder).form_for() == "text"
    forget_servers()
    assert ZPromptCompressor(codec=folder, reader=served.url).form_for() == "text"  # it needs a key


def test_an_agent_sends_what_its_model_reads(llm: BaseChatModel, folder: str) -> None:
    middleware = ZPromptMiddleware(ZPromptCompressor(codec=folder, use_query=False))
    messages: list[AnyMessage] = [HumanMessage("Who lit the lamp?"), ToolMessage(SENTENCES[0] * 2, tool_call_id="1")]
    requests: list[ModelRequest[Any]] = []
    middleware.wrap_model_call(
        ModelRequest(model=llm, messages=messages),
        lambda request: requests.append(request) or AIMessage("done"),  # type: ignore[func-returns-value, arg-type, return-value]
    )
    assert str(requests[0].messages[1].content).startswith("[z2:")
