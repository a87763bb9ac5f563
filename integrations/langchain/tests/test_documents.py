"""Compressor and decompressor, alone and inside LangChain's own components."""

import asyncio
import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from byte_codec import ByteCodec
from langchain_classic.retrievers.contextual_compression import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.documents import BaseDocumentCompressor, BaseDocumentTransformer, Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.prompts import PromptTemplate, format_document
from langchain_core.runnables import RunnableLambda
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_text_splitters import RecursiveCharacterTextSplitter
from pydantic import ValidationError

from langchain_zprompt import ZPromptCompressor, ZPromptDecompressor
from zprompt.errors import InvalidTextError, OptionError, TruncatedSpanError, WrongCodecError


def z_compressor(**options: Any) -> ZPromptCompressor:  # noqa: ANN401
    return ZPromptCompressor(form="z", **options)


def span_of(codec: ByteCodec) -> str:
    return str(codec.compress(["a text of some length"]).documents[0])


def test_the_compressor_is_a_langchain_compressor_and_transformer() -> None:
    assert issubclass(ZPromptCompressor, BaseDocumentCompressor)
    assert issubclass(ZPromptCompressor, BaseDocumentTransformer)


def test_order_ids_and_metadata_survive_and_inputs_do_not_change(codec: ByteCodec, documents: list[Document]) -> None:
    before = copy.deepcopy(documents)
    compressed = z_compressor().compress_documents(documents, "lamp?")
    assert documents == before
    assert all(document.page_content.startswith("[z2:") for document in compressed)
    assert [d.id for d in compressed] == [d.id for d in before]
    mark = {"zprompt_codec": codec.fingerprint}
    assert [d.metadata for d in compressed] == [d.metadata | mark for d in before]
    compressed[0].metadata["page"] = 99
    assert documents == before
    compressed[0].metadata["page"] = 0
    assert ZPromptDecompressor().transform_documents(compressed) == before


def test_metadata_is_never_compressed(codec: ByteCodec, documents: list[Document]) -> None:
    compressed = z_compressor().transform_documents(documents)
    template = PromptTemplate.from_template("[{page}] {page_content}")
    assert format_document(compressed[3], template) == f"[3] {compressed[3].page_content}"


def test_a_batch_is_one_call_and_the_query_reaches_the_codec(codec: ByteCodec, documents: list[Document]) -> None:
    z_compressor(ratio=3, protect=["lamp"], batch_size=2).compress_documents(documents, "Who lit it?")
    z_compressor(use_query=False).compress_documents(documents, "Who lit it?")
    with_query, without = codec.calls
    assert with_query["docs"] == [document.page_content for document in documents]
    assert (with_query["query"], with_query["ratio"], with_query["protect"]) == ("Who lit it?", 3, ["lamp"])
    assert (with_query["batch_size"], without["query"]) == (2, None)


def test_compressed_documents_are_left_alone(codec: ByteCodec, documents: list[Document]) -> None:
    compressor = z_compressor()
    once = compressor.transform_documents(documents)
    assert compressor.transform_documents(once) == once
    assert len(codec.calls) == 1


def test_short_texts_and_those_that_would_not_get_shorter_pass_through(codec: ByteCodec) -> None:
    documents = [Document(page_content=text) for text in ("a", "", "short", "a text that is long enough")]
    result = z_compressor(min_tokens=10).transform_documents(documents)
    assert result[:3] == documents[:3]
    assert z_compressor().transform_documents(documents[:2]) == documents[:2]
    assert result[3] != documents[3]
    assert [document.metadata for document in result[:3]] == [{}] * 3


def test_what_looks_like_a_z_span_comes_back_as_text(codec: ByteCodec) -> None:
    for text in (span_of(codec)[:-1], span_of(codec)):  # no mark says that a compressor wrote it
        document = Document(page_content=text)
        [kept] = z_compressor(min_tokens=1000).transform_documents([document])
        assert kept.page_content != text
        assert ZPromptDecompressor().transform_documents([kept]) == [document]


def test_errors_are_raised_or_passed_through(codec: ByteCodec, documents: list[Document]) -> None:
    bad = [Document(page_content="\ud800"), *documents]
    with pytest.raises(InvalidTextError):
        z_compressor().transform_documents(bad)
    assert z_compressor(on_error="passthrough").transform_documents(bad)[0] == bad[0]
    with pytest.raises(OptionError):
        z_compressor(max_tokens=1).transform_documents(documents)
    assert z_compressor(max_tokens=1, on_error="passthrough").transform_documents(documents) == documents


def test_a_marked_z_span_of_another_codec_is_an_error(codec: ByteCodec) -> None:
    other = ByteCodec("ffffffffffff")
    document = Document(page_content=span_of(other), metadata={"zprompt_codec": other.fingerprint})
    with pytest.raises(WrongCodecError):
        z_compressor().transform_documents([document])


@pytest.mark.parametrize(
    "options", [{"ratio": 0.5}, {"ratio": 2, "max_tokens": 5}, {"on_error": "no"}, {"protect": "("}, {"rate": 2}]
)
def test_bad_options_are_refused_at_once(options: dict[str, object]) -> None:
    with pytest.raises((ValidationError, OptionError)):
        ZPromptCompressor.model_validate(options)


def test_components_pickle_and_load_the_codec_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr("zprompt.codec.shared_codec", lambda name, **_: loaded.append(name) or ByteCodec())
    compressor = pickle.loads(pickle.dumps(z_compressor(codec="mine", ratio=3)))
    assert (compressor, loaded) == (z_compressor(codec="mine", ratio=3), [])
    assert compressor.transform_documents([]) == []
    assert loaded == []
    assert (compressor.fingerprint, loaded) == ("0123456789ab", ["mine"])


def test_components_are_steps_of_a_chain(codec: ByteCodec, documents: list[Document]) -> None:
    find = RunnableLambda(lambda query: documents)
    chain = find | z_compressor().as_runnable() | ZPromptDecompressor().as_runnable()
    assert chain.invoke("lamp?") == documents
    assert asyncio.run(chain.ainvoke("lamp?")) == documents


def test_async_does_not_block_the_loop(codec: ByteCodec, documents: list[Document]) -> None:
    async def gathered() -> list[list[Document]]:
        compressor = z_compressor()
        compressed, transformed = await asyncio.gather(
            compressor.acompress_documents(documents, "q"), compressor.atransform_documents(documents)
        )
        return [list(compressed), list(transformed)]

    compressed, transformed = asyncio.run(gathered())
    assert compressed == transformed == z_compressor().transform_documents(documents)


def test_the_codec_runs_outside_of_the_loops_thread(codec: ByteCodec, documents: list[Document]) -> None:
    asyncio.run(z_compressor().acompress_documents(documents, "q"))
    assert threading.get_ident() not in codec.threads


def test_threads_share_one_codec(codec: ByteCodec, documents: list[Document]) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(z_compressor().transform_documents, [documents, documents])
    assert first == second


def test_it_works_in_a_contextual_compression_retriever(codec: ByteCodec, documents: list[Document]) -> None:
    base = RunnableLambda(lambda query: documents)
    for compressor in (z_compressor(), DocumentCompressorPipeline(transformers=[z_compressor()])):
        retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=base)
        compressed = retriever.invoke("lamp?")
        assert [d.id for d in compressed] == [d.id for d in documents]
        assert ZPromptDecompressor().transform_documents(compressed) == documents
        assert asyncio.run(retriever.ainvoke("lamp?")) == compressed
    assert {call["query"] for call in codec.calls} == {"lamp?"}


@pytest.mark.parametrize("size", [24, 60, 90])
def test_a_splitter_after_the_compressor_is_noticed(codec: ByteCodec, size: int) -> None:
    text = "The keeper, Margaret Hale, lit the lamp. " * 5
    splitter = RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=0)
    pipeline = DocumentCompressorPipeline(transformers=[z_compressor(), splitter])
    pieces = pipeline.compress_documents([Document(page_content=text)], QUERY)
    assert len(pieces) > 1
    for piece in pieces:
        if len(piece.page_content) < 16:
            continue
        for component in (z_compressor(), ZPromptCompressor()):
            with pytest.raises(TruncatedSpanError, match="Split before compressing"):
                component.compress_documents([piece], QUERY)
        with pytest.raises(TruncatedSpanError, match="Split before compressing"):
            ZPromptDecompressor().transform_documents([piece])
        [passed] = z_compressor(on_error="passthrough").compress_documents([piece], QUERY)
        assert "zprompt_codec" not in passed.metadata
        assert ZPromptDecompressor().transform_documents([passed])[0].page_content == piece.page_content


def test_a_text_that_replaced_a_z_span_is_a_text(codec: ByteCodec, documents: list[Document]) -> None:
    [compressed] = z_compressor().transform_documents(documents[:1])
    edited = compressed.model_copy(update={"page_content": "The passage was edited since."})
    assert ZPromptDecompressor().transform_documents([edited])[0].page_content == edited.page_content
    [again] = z_compressor().transform_documents([edited])
    assert ZPromptDecompressor().transform_documents([again])[0].page_content == edited.page_content


def test_z_spans_are_stored_beside_the_text_and_cost_nothing_later(codec: ByteCodec, documents: list[Document]) -> None:
    before, compressor = copy.deepcopy(documents), z_compressor()
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    stored = compressor.store_documents(documents)
    assert documents == before
    assert [d.page_content for d in stored] == [d.page_content for d in documents]  # what is embedded
    store.add_documents(stored)
    codec.calls.clear()
    compressed = compressor.compress_documents(store.similarity_search("lamp", k=5), "lamp")
    assert codec.calls == []
    restored = ZPromptDecompressor().transform_documents(compressed)
    assert sorted(restored, key=lambda d: str(d.id)) == before


def test_a_stored_z_span_of_an_older_text_is_not_used(codec: ByteCodec, documents: list[Document]) -> None:
    compressor = z_compressor()
    [stored] = compressor.store_documents(documents[:1])
    edited = stored.model_copy(update={"page_content": "The passage was edited since."})
    [compressed] = compressor.transform_documents([edited])
    [restored] = ZPromptDecompressor().transform_documents([compressed])
    assert restored.page_content == "The passage was edited since."


QUERY = "Who is the captain?"
NOTE = "The harbour was rebuilt in 1911. The captain is Lena Brandt. Her ship carries grain and timber to the north."


def test_an_llm_that_is_not_known_to_read_z_tokens_gets_text(codec: ByteCodec) -> None:
    documents = [
        Document(id="7", page_content=NOTE, metadata={"page": 3}),
        Document(id="9", page_content="Storms are rare in summer. The pier is closed at night.", metadata={"a": [1]}),
    ]
    before = copy.deepcopy(documents)
    compressed = ZPromptCompressor(max_tokens=20).compress_documents(documents, QUERY)
    assert (documents, codec.calls) == (before, [])
    assert [(d.id, d.metadata) for d in compressed] == [(d.id, d.metadata) for d in before]
    text = " ".join(document.page_content for document in compressed)
    assert "The captain is Lena Brandt." in text and "[z2:" not in text
    assert len(text) < len(NOTE)
    assert ZPromptCompressor(form="text", max_tokens=20).compress_documents(documents, QUERY) == compressed


def test_text_needs_the_question(documents: list[Document]) -> None:
    with pytest.raises(OptionError, match=r"form='z' or reader="):
        ZPromptCompressor().transform_documents(documents)
    assert ZPromptCompressor().compress_documents(documents, " ") == documents


def test_what_was_compressed_for_other_readers_is_text_again(codec: ByteCodec) -> None:
    plain = [Document(page_content=NOTE), Document(page_content="Storms are rare in summer.")]
    [stored, _] = z_compressor().store_documents(plain)
    [span, _] = z_compressor().transform_documents(plain)
    compressed = ZPromptCompressor(protect="harbour").compress_documents([stored, span], QUERY)
    assert [document.metadata for document in compressed] == [{}, {}]
    assert all("Lena Brandt" in d.page_content and "[z2:" not in d.page_content for d in compressed)


def test_what_looks_like_a_z_span_is_text_to_an_ordinary_llm(codec: ByteCodec) -> None:
    foreign = Document(page_content=f"The captain is on board. See a[z1:z2] and {span_of(codec)} there.")
    [compressed] = ZPromptCompressor(protect=r"\[z").compress_documents([foreign], QUERY)
    assert compressed == foreign


def test_tokens_are_counted_as_the_options_say(codec: ByteCodec) -> None:
    with pytest.raises((ValidationError, OptionError), match="count"):
        ZPromptCompressor(count="words")
    with pytest.raises(OptionError, match="max_tokens"):
        ZPromptCompressor(max_tokens=1, protect="harbour").compress_documents([Document(page_content=NOTE)], QUERY)
    passed = ZPromptCompressor(max_tokens=1, protect="harbour", on_error="passthrough")
    assert passed.compress_documents([Document(page_content=NOTE)], QUERY) == [Document(page_content=NOTE)]
