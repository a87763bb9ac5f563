"""The texts of retrieved nodes become Z-spans, through LlamaIndex's own classes, and nothing else changes."""

import asyncio
import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.base.response.schema import Response
from llama_index.core.llms.mock import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, MediaResource, MetadataMode, Node, NodeWithScore, QueryBundle, TextNode
from text_nodes import text_node
from tiny import SENTENCES

from llama_index.postprocessor.zprompt import ZPromptPostprocessor, position_tokenizer
from zprompt import Codec
from zprompt.errors import BackboneError, InvalidTextError, OptionError, WrongCodecError
from zprompt.options import CompressOptions

QUESTION = "Who lit the lamp?"


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [item.node.get_content(MetadataMode.NONE) for item in nodes]


class TestNodes:
    def test_get_z_spans_that_restore_their_texts(
        self, tiny: str, tiny_codec: Codec, scored: list[NodeWithScore]
    ) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny, use_query=False)
        processed = component.postprocess_nodes(scored, query_str=QUESTION)
        assert all(text.startswith(f"[z2:{tiny_codec.fingerprint}:") for text in texts(processed))
        assert tiny_codec.decompress(texts(processed)) == SENTENCES

    def test_keep_order_ids_scores_relationships_metadata_and_embeddings(
        self, tiny: str, scored: list[NodeWithScore]
    ) -> None:
        processed = ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(scored)
        for before, after in zip(scored, processed, strict=True):
            assert (after.node_id, after.score) == (before.node_id, before.score)
            assert after.node.relationships == before.node.relationships
            assert after.node.embedding == before.node.embedding
            assert before.metadata.items() <= after.metadata.items()
            assert after.node.get_node_info() == before.node.get_node_info()

    def test_are_not_mutated_and_share_nothing(self, tiny: str, scored: list[NodeWithScore]) -> None:
        before = copy.deepcopy(scored)
        for options in ({}, {"min_tokens": 10_000}):
            for item in ZPromptPostprocessor(form="z", codec=tiny, **options).postprocess_nodes(scored):
                item.node.metadata["new"] = 1
                item.node.excluded_llm_metadata_keys.append("new")
                item.node.relationships.clear()
        assert scored == before

    def test_come_back_as_they_were(self, tiny: str, scored: list[NodeWithScore]) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny)
        assert component.restore(component.postprocess_nodes(scored)) == scored
        assert component.restore(scored) == scored

    def test_that_are_compressed_are_left_alone(self, tiny: str, scored: list[NodeWithScore]) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny)
        once = component.postprocess_nodes(scored)
        assert component.postprocess_nodes(once) == once

    def test_whose_text_was_replaced_since_are_compressed(self, tiny: str, tiny_codec: Codec) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny)
        [once] = component.postprocess_nodes([NodeWithScore(node=text_node(0, SENTENCES[0]))])
        once.node.set_content(SENTENCES[1])
        [twice] = component.postprocess_nodes([once])
        assert tiny_codec.decompress(twice.node.get_content()) == SENTENCES[1]

    def test_that_only_look_compressed_are_not_believed(self, tiny: str, tiny_codec: Codec) -> None:
        forged = tiny_codec.compress(SENTENCES[0]).documents
        component = ZPromptPostprocessor(form="z", codec=tiny, min_tokens=10_000)
        [node] = processed = component.postprocess_nodes([NodeWithScore(node=TextNode(text=forged))])
        assert not node.node.get_content().startswith("[z2:")
        assert component.postprocess_nodes(processed) == processed
        assert component.restore(processed)[0].node.get_content() == forged

    def test_below_min_tokens_pass_through(self, tiny: str, scored: list[NodeWithScore]) -> None:
        assert ZPromptPostprocessor(form="z", codec=tiny, min_tokens=10_000).postprocess_nodes(scored) == scored

    def test_that_would_not_get_shorter_pass_through(self, tiny: str) -> None:
        nodes = [NodeWithScore(node=TextNode(text=text)) for text in ("Z", "!", "")]
        assert ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(nodes) == nodes

    def test_that_cannot_be_compressed_raise_or_pass_through(self, tiny: str, scored: list[NodeWithScore]) -> None:
        bad = [*scored, NodeWithScore(node=TextNode(text="lone \ud800"))]
        with pytest.raises(InvalidTextError):
            ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(bad)
        processed = ZPromptPostprocessor(form="z", codec=tiny, on_error="passthrough").postprocess_nodes(bad)
        assert processed[-1] == bad[-1]
        assert all(text.startswith("[z2:") for text in texts(processed[:-1]))

    def test_all_pass_through_where_a_budget_cannot_be_met(
        self, tiny: str, scored: list[NodeWithScore], caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(OptionError):
            ZPromptPostprocessor(form="z", codec=tiny, max_tokens=1).postprocess_nodes(scored)
        assert (
            ZPromptPostprocessor(form="z", codec=tiny, max_tokens=1, on_error="passthrough").postprocess_nodes(scored)
            == scored
        )
        assert "4 texts pass through" in caplog.text

    def test_with_a_z_span_of_another_codec_raise_or_pass_through_as_text(
        self, tiny: str, other: str, scored: list[NodeWithScore]
    ) -> None:
        foreign = ZPromptPostprocessor(form="z", codec=other).postprocess_nodes(scored)
        with pytest.raises(WrongCodecError):
            ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(foreign)
        component = ZPromptPostprocessor(form="z", codec=tiny, on_error="passthrough")
        processed = component.postprocess_nodes(foreign)
        assert not any(text.startswith("[z2:") for text in texts(processed))
        assert texts(component.restore(processed)) == texts(foreign)

    def test_of_other_kinds_keep_what_they_have(self, tiny: str, tiny_codec: Codec) -> None:
        resource = MediaResource(text=SENTENCES[0], mimetype="text/markdown")
        nodes = [ImageNode(image_url="file:///a.png"), Node(), Node(text_resource=resource)]
        processed = ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(
            [NodeWithScore(node=node) for node in nodes]
        )
        assert [item.node for item in processed[:2]] == nodes[:2]
        node = processed[2].node
        assert isinstance(node, Node)
        assert node.text_resource is not None
        assert node.text_resource.mimetype == "text/markdown"
        assert tiny_codec.decompress(node.get_content()) == SENTENCES[0]

    def test_may_be_an_empty_list(self, tiny: str) -> None:
        assert ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes([], query_str=QUESTION) == []


class TestMetadata:
    def test_reaches_the_prompt_as_text_and_our_keys_reach_neither(
        self, tiny: str, scored: list[NodeWithScore]
    ) -> None:
        processed = ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(scored)
        for number, (before, after) in enumerate(zip(scored, processed, strict=True)):
            span = after.node.get_content(MetadataMode.NONE)
            assert after.node.get_content(MetadataMode.LLM) == f"file: {number}.txt\n\n{span}"
            for mode in (MetadataMode.LLM, MetadataMode.EMBED):
                assert after.node.get_metadata_str(mode) == before.node.get_metadata_str(mode)

    def test_says_what_was_saved(self, tiny: str, scored: list[NodeWithScore]) -> None:
        for item in ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(scored):
            assert 0 < item.metadata["zprompt_z_tokens"] < item.metadata["zprompt_source_tokens"]


class CountingCodec:
    """Passes calls on and records them."""

    def __init__(self, codec: Codec) -> None:
        self.codec, self.calls = codec, []  # type: tuple[Codec, list[tuple[Any, CompressOptions]]]

    def compress_with(self, options: CompressOptions, docs: Any, **keywords: Any) -> Any:  # noqa: ANN401
        self.calls.append((docs, options))
        return self.codec.compress_with(options, docs, **keywords)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.codec, name)


class TestCodec:
    def test_is_called_once_with_all_texts_and_the_query(self, fresh_codec: Codec, scored: list[NodeWithScore]) -> None:
        codec: Any = CountingCodec(fresh_codec)
        component = ZPromptPostprocessor.from_codec(codec, form="z", ratio=1.2, protect=r"\d+")
        component.postprocess_nodes(scored, query_bundle=QueryBundle(QUESTION))
        [(docs, options)] = codec.calls
        assert docs == SENTENCES
        assert (options.query, options.ratio, options.protect) == (QUESTION, 1.2, r"\d+")

    def test_does_not_get_the_query_if_use_query_is_false(
        self, fresh_codec: Codec, scored: list[NodeWithScore]
    ) -> None:
        codec: Any = CountingCodec(fresh_codec)
        ZPromptPostprocessor.from_codec(codec, form="z", use_query=False).postprocess_nodes(scored, query_str=QUESTION)
        assert codec.calls[0][1].query is None

    def test_is_loaded_at_the_first_text(self) -> None:
        component = ZPromptPostprocessor(form="z", codec="/nowhere")
        assert component.postprocess_nodes([NodeWithScore(node=TextNode(text=""))])[0].node.get_content() == ""

    def test_that_fails_is_not_passed_through(self, fresh_codec: Codec, scored: list[NodeWithScore]) -> None:
        codec: Any = CountingCodec(fresh_codec)

        def fail(options: CompressOptions, docs: Any, **keywords: Any) -> Any:  # noqa: ANN401
            raise BackboneError("It cannot run.")

        codec.compress_with = fail
        with pytest.raises(BackboneError):
            ZPromptPostprocessor.from_codec(codec, form="z", on_error="passthrough").postprocess_nodes(scored)

    def test_is_shared_by_threads_and_loops(self, tiny: str, scored: list[NodeWithScore]) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny)
        expected = component.postprocess_nodes(scored)

        async def gathered() -> list[list[NodeWithScore]]:
            return await asyncio.gather(*(component.apostprocess_nodes(scored) for _ in range(3)))

        with ThreadPoolExecutor(2) as pool:
            jobs = [pool.submit(component.postprocess_nodes, scored) for _ in range(4)]
            assert asyncio.run(gathered()) == [expected] * 3
            assert [job.result() for job in jobs] == [expected] * 4

    def test_does_not_block_the_event_loop(self, fresh_codec: Codec, scored: list[NodeWithScore]) -> None:
        started, go = threading.Event(), threading.Event()
        codec: Any = CountingCodec(fresh_codec)
        compress_with = codec.compress_with

        def wait(options: CompressOptions, docs: Any, **keywords: Any) -> Any:  # noqa: ANN401
            started.set()
            assert go.wait(10)  # set by the event loop, if it still runs
            return compress_with(options, docs, **keywords)

        codec.compress_with = wait

        async def run() -> None:
            task = asyncio.create_task(ZPromptPostprocessor.from_codec(codec, form="z").apostprocess_nodes(scored))
            while not started.is_set():
                await asyncio.sleep(0.01)
            go.set()
            await task

        asyncio.run(run())

    def test_of_another_fingerprint_is_refused(self, tiny: str, scored: list[NodeWithScore]) -> None:
        with pytest.raises(WrongCodecError, match="names the codec 0123456789ab"):
            ZPromptPostprocessor(form="z", codec=tiny, fingerprint="0123456789ab").postprocess_nodes(scored)


class TestComponents:
    def test_pickle_without_the_codec(self, tiny: str, tiny_codec: Codec, scored: list[NodeWithScore]) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny, ratio=1.2)
        expected = component.postprocess_nodes(scored)
        data = pickle.dumps(component)
        assert len(data) < 10_000
        copied = pickle.loads(data)
        assert copied.fingerprint == tiny_codec.fingerprint
        assert copied.postprocess_nodes(scored) == expected

    def test_around_a_codec_say_that_they_cannot_be_pickled(self, tiny_codec: Codec) -> None:
        with pytest.raises(OptionError, match="cannot be pickled"):
            pickle.dumps(ZPromptPostprocessor.from_codec(tiny_codec))

    def test_go_through_dicts_and_json(self, tiny: str) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny, min_tokens=3, use_query=False)
        again = ZPromptPostprocessor.from_json(component.to_json())
        assert again.to_dict() == component.to_dict()
        assert component.to_dict()["class_name"] == "ZPromptPostprocessor"

    @pytest.mark.parametrize("options", [{"ratio": 0.5}, {"ratio": 2, "max_tokens": 5}, {"protect": "("}, {"codec": 3}])
    def test_refuse_bad_options_at_once(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"ratio|protect|codec"):
            ZPromptPostprocessor(**options)


@pytest.fixture
def index(nodes: list[TextNode]) -> VectorStoreIndex:
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=2))


class TestQueryEngines:
    def test_send_z_spans_with_metadata_as_text(self, tiny: str, tiny_codec: Codec, index: VectorStoreIndex) -> None:
        engine = index.as_query_engine(
            llm=MockLLM(),
            similarity_top_k=4,
            node_postprocessors=[ZPromptPostprocessor(form="z", codec=tiny, use_query=False)],
        )
        response = engine.query(QUESTION)
        prompt = str(response)  # MockLLM answers with the prompt
        assert prompt.count(f"[z2:{tiny_codec.fingerprint}:") == 4
        assert "file: 0.txt" in prompt
        assert "secret" not in prompt
        assert "zprompt_" not in prompt
        restored = tiny_codec.decompress(prompt)
        assert all(sentence in restored for sentence in SENTENCES)

    def test_do_so_asynchronously(self, tiny: str, tiny_codec: Codec, index: VectorStoreIndex) -> None:
        component = ZPromptPostprocessor(form="z", codec=tiny, use_query=False)
        engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[component])
        response = asyncio.run(engine.aquery(QUESTION))
        assert str(response).count("[z2:") == 2
        assert isinstance(response, Response)
        sources = component.restore(response.source_nodes)
        assert {item.node.get_content() for item in sources} <= set(SENTENCES)

    def test_compose_it_with_other_postprocessors(self, tiny: str, index: VectorStoreIndex) -> None:
        engine = RetrieverQueryEngine.from_args(
            index.as_retriever(similarity_top_k=4),
            llm=MockLLM(),
            node_postprocessors=[
                SimilarityPostprocessor(similarity_cutoff=2.0),
                ZPromptPostprocessor(form="z", codec=tiny),
            ],
        )
        assert str(engine.query(QUESTION)) == "Empty Response"

    def test_leave_the_index_as_it_is(self, tiny: str, index: VectorStoreIndex) -> None:
        engine = index.as_query_engine(llm=MockLLM(), node_postprocessors=[ZPromptPostprocessor(form="z", codec=tiny)])
        engine.query(QUESTION)
        assert {item.node.get_content() for item in index.as_retriever(similarity_top_k=4).retrieve(QUESTION)} == set(
            SENTENCES
        )


class TestPositionTokenizer:
    def test_counts_z_tokens_as_one_each(self, tiny_codec: Codec) -> None:
        count = position_tokenizer(str.split)
        result = tiny_codec.compress(SENTENCES[0])
        assert len(count(f"two words {result.documents} three more words")) == 5 + result.stats.z_tokens

    def test_counts_what_is_no_z_span_as_text(self) -> None:
        assert position_tokenizer(str.split)("a [z2:b] c") == ["a", "[z2:b]", "c"]


def test_a_mistyped_option_is_refused() -> None:
    with pytest.raises(ValueError, match="rato"):
        ZPromptPostprocessor(rato=2)  # type: ignore[call-arg]


def test_the_adapter_costs_little_beside_the_codec(fresh_codec: Codec) -> None:
    """Measure CPU time of this thread outside the codec, so that other work on the machine does not count."""
    codec: Any = CountingCodec(fresh_codec)
    nodes = [NodeWithScore(node=text_node(number, f"{SENTENCES[number % 4]} {number}")) for number in range(100)]
    component = ZPromptPostprocessor.from_codec(codec, form="z")
    component.postprocess_nodes(nodes[:1])
    codec.calls.clear()
    codec_seconds, compress_with = [], codec.compress_with

    def timed(options: CompressOptions, docs: Any, **keywords: Any) -> Any:  # noqa: ANN401
        start = time.thread_time()
        result = compress_with(options, docs, **keywords)
        codec_seconds.append(time.thread_time() - start)
        return result

    codec.compress_with = timed
    start = time.thread_time()
    component.postprocess_nodes(nodes)
    adapter_seconds = time.thread_time() - start - sum(codec_seconds)
    assert len(codec.calls) == len(codec_seconds) == 1
    assert adapter_seconds < 1.0  # seconds; measured: benchmarks/adapters.py


NOTE = "The harbour was rebuilt in 1911. The captain is Lena Brandt. Her ship carries grain and timber to the north."
WHO = "Who is the captain?"


@pytest.fixture
def note_nodes() -> list[NodeWithScore]:
    other = "Storms are rare in summer. The pier is closed at night."
    return [NodeWithScore(node=text_node(n, text), score=n / 2) for n, text in enumerate([NOTE, other])]


class TestText:
    def test_is_sent_to_an_llm_that_is_not_known_to_read_z_tokens(self, note_nodes: list[NodeWithScore]) -> None:
        before = copy.deepcopy(note_nodes)
        component = ZPromptPostprocessor(codec="/nowhere", max_tokens=20)
        processed = component.postprocess_nodes(note_nodes, query_str=WHO)
        assert note_nodes == before
        assert "The captain is Lena Brandt." in texts(processed)[0]
        assert sum(map(len, texts(processed))) < len(NOTE)
        for node, shorter in zip(before, processed, strict=True):
            assert (shorter.node_id, shorter.score, shorter.node.relationships) == (
                node.node_id, node.score, node.node.relationships
            )  # fmt: skip
            for mode in (MetadataMode.LLM, MetadataMode.EMBED):
                assert shorter.node.get_metadata_str(mode) == node.node.get_metadata_str(mode)
        assert component.restore(processed) == before
        assert component.postprocess_nodes(processed, query_str=WHO) == processed
        [again, _] = component.postprocess_nodes(processed, query_str="When was the harbour rebuilt?")
        assert "1911" in again.node.get_content()  # from the whole text

    def test_that_was_edited_after_shortening_stays_edited(self, note_nodes: list[NodeWithScore]) -> None:
        component = ZPromptPostprocessor(max_tokens=20)
        processed = component.postprocess_nodes(note_nodes, query_str=WHO)
        processed[0].node.set_content("The captain is Ada Stone now.")
        assert component.restore(processed)[0].node.get_content() == "The captain is Ada Stone now."

    def test_is_restored_from_nodes_with_z_spans(self, tiny: str, scored: list[NodeWithScore]) -> None:
        spans = ZPromptPostprocessor(form="z", codec=tiny, use_query=False).postprocess_nodes(scored, query_str=WHO)
        processed = ZPromptPostprocessor(codec=tiny, protect=".+").postprocess_nodes(spans, query_str=QUESTION)
        assert texts(processed) == SENTENCES

    def test_needs_the_query(self, note_nodes: list[NodeWithScore]) -> None:
        with pytest.raises(OptionError, match="form='z'"):
            ZPromptPostprocessor().postprocess_nodes(note_nodes)
        assert ZPromptPostprocessor().postprocess_nodes(note_nodes, query_str=" ") == note_nodes

    def test_needs_a_known_way_to_count_tokens(self, note_nodes: list[NodeWithScore]) -> None:
        with pytest.raises(ValueError, match="count"):
            ZPromptPostprocessor(count="words")

    def test_goes_through_a_query_engine(self, index: VectorStoreIndex) -> None:
        engine = index.as_query_engine(
            llm=MockLLM(), similarity_top_k=4, node_postprocessors=[ZPromptPostprocessor(max_tokens=40)]
        )
        prompt = str(engine.query(QUESTION))  # MockLLM answers with the prompt
        assert "lit the lamp" in prompt and "[z2:" not in prompt and "zprompt_" not in prompt
