"""LlamaIndex's OpenAI-like LLM reaches `zprompt serve`, over HTTP, with Z-spans in its messages."""

import asyncio
from collections.abc import Iterator

import pytest
from llama_index.core import MockEmbedding, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM
from llama_index.core.schema import TextNode
from tiny import SENTENCES
from tiny_server import KEY, Served, serving

from llama_index.postprocessor.zprompt import ZPromptPostprocessor

OpenAILike = pytest.importorskip("llama_index.llms.openai_like", reason="pip install '.[dev]'").OpenAILike

TOKENS = 8
PROMPT = PromptTemplate("{context_str}\n{query_str}")  # the tiny model's context is short


@pytest.fixture(scope="module")
def served(tiny: str) -> Iterator[Served]:
    with serving(tiny) as server:
        yield server


@pytest.fixture
def llm(served: Served) -> LLM:
    return OpenAILike(
        model="zprompt",
        api_base=served.url,
        api_key=KEY,
        is_chat_model=True,
        temperature=0,
        max_tokens=TOKENS,
        max_retries=0,
        reuse_client=False,  # the client of an event loop that has ended could not be closed
        context_window=4096,  # more than the model has, so that no prompt is cut
    )


def test_the_llm_answers_as_the_reader_does(served: Served, llm: LLM) -> None:
    span = served.reader.codec.compress(SENTENCES[0]).documents
    content = f"{span}\nWho?"
    expected = served.reader.generate([{"role": "user", "content": content}], max_new_tokens=TOKENS).text
    messages = [ChatMessage(role="user", content=content)]

    assert llm.chat(messages).message.content == expected
    assert asyncio.run(llm.achat(messages)).message.content == expected
    assert "".join(piece.delta or "" for piece in llm.stream_chat(messages)) == expected


def test_a_query_engine_answers_from_z_spans(served: Served, llm: LLM, tiny: str) -> None:
    node = TextNode(text=SENTENCES[1])
    index = VectorStoreIndex([node], embed_model=MockEmbedding(embed_dim=2))
    component = ZPromptPostprocessor(form="z", codec=tiny, use_query=False)
    engine = index.as_query_engine(llm=llm, node_postprocessors=[component], text_qa_template=PROMPT)
    span = served.reader.codec.compress(SENTENCES[1]).documents
    expected = served.reader.generate([{"role": "user", "content": f"{span}\nWho?"}], max_new_tokens=TOKENS).text

    response = engine.query("Who?")

    assert str(response).strip() == expected.strip()
    assert component.restore(response.source_nodes)[0].node.get_content() == SENTENCES[1]


def test_a_server_gets_z_spans_if_it_names_the_codec(llm: LLM, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    assert ZPromptPostprocessor(codec=tiny, reader=llm).form_for() == "z"
    assert ZPromptPostprocessor(codec=tiny).form_for() == "text"
    monkeypatch.setattr(Settings, "_llm", llm)
    assert ZPromptPostprocessor(codec=tiny).form_for() == "z"
    assert ZPromptPostprocessor(codec=tiny, form="text").form_for() == "text"


def test_the_key_of_the_reader_is_not_shown(llm: LLM) -> None:
    component = ZPromptPostprocessor(reader=llm)
    assert KEY not in repr(component) and KEY not in str(component.to_dict())
