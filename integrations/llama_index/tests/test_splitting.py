"""Whatever packs, cites or splits nodes after compression keeps Z-spans whole, even if it was made before."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from llama_index.core import (
    MockEmbedding,
    PromptHelper,
    PromptTemplate,
    Settings,
    VectorStoreIndex,
    get_response_synthesizer,
)
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import LLM
from llama_index.core.llms.mock import MockLLM
from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter
from llama_index.core.query_engine import CitationQueryEngine, RetrieverQueryEngine
from llama_index.core.schema import Document, NodeWithScore, TextNode
from tiny import SENTENCES
from tiny_server import KEY, Served, serving

from llama_index.postprocessor.zprompt import ZPromptPostprocessor, ZPromptTransform
from llama_index.postprocessor.zprompt.splitting import keep_spans_whole
from zprompt import Codec
from zprompt.errors import TruncatedSpanError
from zprompt.zspan import find_spans

MODES = {  # tokens of the window that LlamaIndex keeps free in each
    "compact": 500,
    "refine": 500,
    "tree_summarize": 5,
    "simple_summarize": 5,
    "accumulate": 5,
    "compact_accumulate": 5,
}
QUESTION = "Who lit the lamp?"
TOKENS = 8


@pytest.fixture(scope="module")
def served(tiny: str) -> Iterator[Served]:
    with serving(tiny) as server:
        yield server


def reader_llm(served: Served, window: int) -> LLM:
    return pytest.importorskip("llama_index.llms.openai_like").OpenAILike(
        model="zprompt",
        api_base=served.url,
        api_key=KEY,
        is_chat_model=True,
        temperature=0,
        max_tokens=TOKENS,
        max_retries=0,
        reuse_client=False,
        context_window=window,
    )


@pytest.fixture
def index(nodes: list[TextNode]) -> VectorStoreIndex:
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=2))


@pytest.fixture
def spans(tiny: str, scored: list[NodeWithScore]) -> list[str]:
    compressed = ZPromptPostprocessor(form="z", codec=tiny, ratio=2).postprocess_nodes(scored)
    return [item.node.get_content() for item in compressed]


def whole_spans(texts: list[str]) -> list[str]:
    """Return the Z-spans in texts; fail if one is cut or leaves a remnant."""
    spans = [match.text for text in texts for match in find_spans(text)]
    assert spans and all(span.endswith("]") for span in spans)
    rest = "".join(texts)
    for span in spans:
        rest = rest.replace(span, "")
    assert "[z2:" not in rest
    assert not any(span[-9:] in rest for span in spans)  # the checksum
    return spans


@pytest.fixture
def passages() -> VectorStoreIndex:
    """Return an index of passages whose Z-spans are longer as text than the windows below, and shorter in positions."""
    nodes = [TextNode(text=" ".join(SENTENCES[i:] + SENTENCES[:i])) for i in range(2)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=2))


class TestSynthesizers:
    @pytest.mark.parametrize("mode", MODES)
    def test_send_whole_z_spans_to_a_reader_of_a_small_window(
        self, served: Served, tiny: str, passages: VectorStoreIndex, mode: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        llm, chats = reader_llm(served, MODES[mode] + 70), []
        chat = type(llm).chat
        monkeypatch.setattr(
            type(llm), "chat", lambda self, messages, **kw: chats.append(messages) or chat(self, messages, **kw)
        )
        template = PromptTemplate("{context_str}\n{query_str}")
        synthesizer = get_response_synthesizer(  # made before the postprocessor, as apps often do
            llm=llm,
            response_mode=mode,
            text_qa_template=template,
            refine_template=PromptTemplate("{context_msg}\n{query_str}{existing_answer}"),
            summary_template=template,
        )
        component = ZPromptPostprocessor(form="z", codec=tiny, use_query=False, ratio=2)
        engine = RetrieverQueryEngine(passages.as_retriever(), synthesizer, [component])
        spans = [item.node.get_content() for item in engine.query(QUESTION).source_nodes]
        assert len(spans) == 2
        sent_spans = set(whole_spans([str(message.content) for messages in chats for message in messages]))
        assert sent_spans == (set(spans[:1]) if mode == "simple_summarize" else set(spans))  # which sends what fits

    def test_need_no_opt_in_to_send_z_spans_of_two_nodes(
        self, served: Served, tiny: str, passages: VectorStoreIndex, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Settings, "_llm", reader_llm(served, 720))
        component = ZPromptPostprocessor(codec=tiny, use_query=False, ratio=1.5)
        template = PromptTemplate("{context_str}\n{query_str}")
        engine = passages.as_query_engine(node_postprocessors=[component], text_qa_template=template)
        response = engine.query(QUESTION)
        assert len(whole_spans([item.node.get_content() for item in response.source_nodes])) == 2


class TestCitationQueryEngine:
    @pytest.mark.parametrize("size", [2, 30, 512])
    def test_cites_whole_z_spans(self, tiny: str, tiny_codec: Codec, index: VectorStoreIndex, size: int) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny, use_query=False, ratio=2)
        engine = CitationQueryEngine.from_args(
            index,
            llm=MockLLM(),
            similarity_top_k=4,
            citation_chunk_size=size,
            citation_chunk_overlap=0,
            node_postprocessors=[component],
        )
        response = engine.query(QUESTION)
        sources = [item.node.get_content() for item in response.source_nodes]
        assert sorted(tiny_codec.decompress(whole_spans(sources))) == sorted(SENTENCES)
        assert len(sources) == 4
        whole_spans([str(response)])

    @pytest.mark.parametrize("size", [8, 512])
    def test_cites_text(self, index: VectorStoreIndex, size: int) -> None:
        engine = CitationQueryEngine.from_args(
            index,
            llm=MockLLM(),
            similarity_top_k=4,
            citation_chunk_size=size,
            citation_chunk_overlap=0,
            node_postprocessors=[ZPromptPostprocessor(max_tokens=40)],
        )
        response = engine.query(QUESTION)
        assert "lit the lamp" in " ".join(item.node.get_content() for item in response.source_nodes)
        assert "Source 1:\n" in str(response)


class TestSplitters:
    @pytest.mark.parametrize("splitter", [SentenceSplitter, TokenTextSplitter])
    def test_after_the_transform_keep_z_spans_whole(
        self, tiny: str, tiny_codec: Codec, documents: list[Document], splitter: type[SentenceSplitter]
    ) -> None:
        component = ZPromptTransform(codec=tiny, store="text", ratio=2)
        pipeline = IngestionPipeline(
            transformations=[component, splitter(chunk_size=12, chunk_overlap=0, include_metadata=True)]
        )
        chunks = pipeline.run(documents=[document.model_copy(update={"metadata": {}}) for document in documents])
        assert tiny_codec.decompress(whole_spans([node.get_content() for node in chunks])) == SENTENCES
        assert [node.get_content() for node in component.restore_nodes(chunks)] == SENTENCES

    @pytest.mark.parametrize("splitter", [SentenceSplitter, TokenTextSplitter])
    def test_count_a_z_token_as_one_token(
        self, spans: list[str], tiny_codec: Codec, splitter: type[SentenceSplitter]
    ) -> None:
        keep_spans_whole()
        lengths = [tiny_codec.parse(span).tokens for span in spans[:2]]
        text = f"{spans[0]} {spans[1]}"
        size = sum(map(len, lengths)) + 1
        assert splitter(chunk_size=size, chunk_overlap=0).split_text(text) == [text]
        assert splitter(chunk_size=size - 1, chunk_overlap=0).split_text(text) == spans[:2]

    def test_of_other_packages_cut_z_spans_which_is_noticed(self, tiny: str, documents: list[Document]) -> None:
        component = ZPromptTransform(codec=tiny, store="text", ratio=1.5)
        nodes = [TextNode(text=document.text) for document in documents]
        for node in component(nodes):
            span = node.get_content()
            for text in (span[:30], span[:-1], span[30:]):
                node.set_content(text)
                scored = [NodeWithScore(node=node)]
                for form in ("text", "z"):
                    with pytest.raises(TruncatedSpanError, match="Split before compressing"):
                        ZPromptPostprocessor(codec=tiny, form=form).postprocess_nodes(scored, query_str=QUESTION)
                with pytest.raises(TruncatedSpanError, match="Split before compressing"):
                    component.restore_nodes([node])
                passing = ZPromptPostprocessor(codec=tiny, form="z", on_error="passthrough")
                [passed] = passing.postprocess_nodes(scored)
                assert passing.restore([passed])[0].node.get_content() == text

    def test_put_z_spans_back_where_they_were(self, spans: list[str]) -> None:
        keep_spans_whole()
        text = f"\U000f0000 as it was {spans[0]} [z2: {spans[1][:-1]} and {spans[1]}"
        chunks = SentenceSplitter(chunk_size=20, chunk_overlap=0).split_text(text)
        assert "".join(chunks).replace(" ", "") == text.replace(" ", "")
        assert [chunk.count(span) for span in spans[:2] for chunk in chunks].count(1) == 2

    def test_in_a_custom_prompt_helper_keep_z_spans_whole(self, spans: list[str]) -> None:
        keep_spans_whole()
        helper = PromptHelper(context_window=60, num_output=5, tokenizer=list)  # a token per character
        assert whole_spans(helper.repack(PromptTemplate("{context_str}"), spans)) == spans

    def test_split_text_without_z_spans_as_before(self) -> None:
        text = " ".join(SENTENCES)
        program = (
            "from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter\n"
            f"print([splitter(chunk_size=9, chunk_overlap=2).split_text({text!r}) "
            "for splitter in (SentenceSplitter, TokenTextSplitter)])"
        )
        expected = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        keep_spans_whole()
        splitters = (SentenceSplitter, TokenTextSplitter)
        split = [splitter(chunk_size=9, chunk_overlap=2).split_text(text) for splitter in splitters]
        assert str(split) == expected.strip()

    def test_are_not_patched_where_only_text_is_sent(self) -> None:
        program = (
            "from llama_index.core.node_parser import SentenceSplitter\n"
            "from llama_index.core.schema import NodeWithScore, TextNode\n"
            "before = SentenceSplitter._split_text\n"
            "from llama_index.postprocessor.zprompt import ZPromptPostprocessor, ZPromptTransform\n"
            "nodes = [NodeWithScore(node=TextNode(text='The lamp was lit.'))]\n"
            "ZPromptPostprocessor(form='text').postprocess_nodes(nodes, query_str=' ')\n"
            "ZPromptTransform()\n"
            "assert SentenceSplitter._split_text is before\n"
            "ZPromptTransform(store='text')\n"  # a pipeline with a cache may never call it
            "assert SentenceSplitter._split_text is not before"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=sys.path[0] or None)
