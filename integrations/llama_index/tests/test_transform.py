"""Nodes are compressed at ingestion, through LlamaIndex's pipeline, cache and stores."""

import asyncio
import copy
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from llama_index.core import MockEmbedding, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms.mock import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, MetadataMode, NodeWithScore, TextNode
from llama_index.core.vector_stores.simple import SimpleVectorStore
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict
from tiny import SENTENCES, save_codec

from llama_index.postprocessor.zprompt import ZPromptPostprocessor, ZPromptTransform
from zprompt import Codec
from zprompt.codec import shared_codec
from zprompt.zspan import ZToken, format_span, parse_span

MARKS = {"zprompt_span", "zprompt_codec"}


def bodies(nodes: list[BaseNode]) -> list[str]:
    return [node.get_content(MetadataMode.NONE) for node in nodes]


class TestTransform:
    def test_puts_z_spans_beside_texts(self, tiny: str, tiny_codec: Codec, nodes: list[TextNode]) -> None:
        transformed = list(ZPromptTransform(codec=tiny)(nodes))
        assert bodies(transformed) == SENTENCES
        assert tiny_codec.decompress([node.metadata["zprompt_span"] for node in transformed]) == SENTENCES

    def test_puts_z_spans_in_place_of_texts(self, tiny: str, tiny_codec: Codec, nodes: list[TextNode]) -> None:
        transformed = list(ZPromptTransform(codec=tiny, store="text")(nodes))
        assert tiny_codec.decompress(bodies(transformed)) == SENTENCES

    @pytest.mark.parametrize("store", ["metadata", "text"])
    def test_keeps_the_rest_and_mutates_nothing(self, tiny: str, nodes: list[TextNode], store: str) -> None:
        before = copy.deepcopy(nodes)
        component = ZPromptTransform(codec=tiny, store=store)
        transformed = list(component(nodes))
        assert nodes == before
        assert [(n.node_id, n.relationships, n.embedding) for n in transformed] == [
            (n.node_id, n.relationships, n.embedding) for n in nodes
        ]
        for node, original in zip(transformed, nodes, strict=True):
            assert node.get_metadata_str(MetadataMode.LLM) == original.get_metadata_str(MetadataMode.LLM)
            assert node.get_metadata_str(MetadataMode.EMBED) == original.get_metadata_str(MetadataMode.EMBED)
        assert list(component(transformed)) == transformed

    def test_is_undone_by_restore_nodes(self, tiny: str, nodes: list[TextNode]) -> None:
        for store in ("metadata", "text"):
            component = ZPromptTransform(codec=tiny, store=store)
            assert component.restore_nodes(component(nodes)) == nodes

    def test_leaves_short_nodes(self, tiny: str, nodes: list[TextNode]) -> None:
        assert list(ZPromptTransform(codec=tiny, min_tokens=10_000)(nodes)) == nodes

    def test_does_not_block_the_event_loop(self, tiny: str, nodes: list[TextNode]) -> None:
        component = ZPromptTransform(codec=tiny)

        async def run() -> int:
            task, ticks = asyncio.create_task(component.acall(nodes * 10)), 0
            while not task.done():
                ticks += 1
                await asyncio.sleep(0)
            assert len(task.result()) == 40
            return ticks

        assert asyncio.run(run()) > 2  # a blocking call would be done before the second tick

    def test_writes_metadata_that_flat_stores_take(self, tiny: str, nodes: list[TextNode]) -> None:
        for store in ("metadata", "text"):
            for node in ZPromptTransform(codec=tiny, store=store)(nodes):
                flat = node_to_metadata_dict(node, flat_metadata=True)
                back = metadata_dict_to_node(flat)
                assert back.metadata == node.metadata
                assert back.get_content(MetadataMode.LLM) == node.get_content(MetadataMode.LLM)


class TestStoredSpans:
    def test_are_swapped_in_without_a_codec(self, tiny: str, tiny_codec: Codec, nodes: list[TextNode]) -> None:
        stored = [NodeWithScore(node=node, score=0.5) for node in ZPromptTransform(codec=tiny)(nodes)]
        swap = ZPromptPostprocessor(form="z", codec="/nowhere", fingerprint=tiny_codec.fingerprint)
        processed = swap.postprocess_nodes(stored, query_str="Who?")
        assert tiny_codec.decompress([item.node.get_content() for item in processed]) == SENTENCES
        assert all("zprompt_span" not in item.metadata for item in processed)

    def test_of_a_text_that_changed_are_not_used(self, tiny: str, tiny_codec: Codec, nodes: list[TextNode]) -> None:
        [node, *_] = ZPromptTransform(codec=tiny)(nodes)
        node.set_content("The bell of the church was struck by hand until the war.")
        [processed] = ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes([NodeWithScore(node=node)])
        assert tiny_codec.decompress(processed.node.get_content()) == node.get_content()

    def test_of_another_codec_are_not_used(self, tiny: str, other: str, nodes: list[TextNode]) -> None:
        stored = [NodeWithScore(node=node) for node in ZPromptTransform(codec=other)(nodes)]
        component = ZPromptPostprocessor(form="z", codec=tiny)
        processed = component.postprocess_nodes(stored)
        assert [item.metadata["zprompt_codec"] for item in processed] == [component.fingerprint] * 4
        assert [item.node.get_content() for item in component.restore(processed)] == SENTENCES

    def test_that_this_codec_cannot_have_written_are_not_used(
        self, tiny: str, tiny_codec: Codec, nodes: list[TextNode]
    ) -> None:
        [node, *_] = ZPromptTransform(codec=tiny)(nodes)
        span = parse_span(node.metadata["zprompt_span"])
        unknown = ZToken(tiny_codec.backbone.vocab_size, span.tokens[0].gap)
        node.metadata["zprompt_span"] = format_span(replace(span, tokens=(unknown, *span.tokens[1:])))
        [processed] = ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes([NodeWithScore(node=node)])
        assert processed.node.get_content() != node.metadata["zprompt_span"]
        assert tiny_codec.decompress(processed.node.get_content()) == SENTENCES[0]


class TestPipelines:
    def test_embed_the_text_and_send_the_z_span(
        self, tiny: str, tiny_codec: Codec, documents: list[Document], tmp_path: Path
    ) -> None:
        store = SimpleVectorStore()
        embed = MockEmbedding(embed_dim=2)
        pipeline = IngestionPipeline(
            transformations=[SentenceSplitter(), embed, ZPromptTransform(codec=tiny)], vector_store=store
        )
        nodes = pipeline.run(documents=documents)
        assert all(node.embedding for node in nodes)
        VectorStoreIndex(list(nodes), embed_model=embed).storage_context.persist(str(tmp_path))
        index = load_index_from_storage(StorageContext.from_defaults(persist_dir=str(tmp_path)), embed_model=embed)
        swap = ZPromptPostprocessor(form="z", codec="/nowhere", fingerprint=tiny_codec.fingerprint)
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=4, node_postprocessors=[swap])
        prompt = str(engine.query("Who lit the lamp?"))
        assert prompt.count("[z2:") == 4
        assert "zprompt_" not in prompt
        assert all(sentence in tiny_codec.decompress(prompt) for sentence in SENTENCES)

    def test_run_asynchronously(self, tiny: str, documents: list[Document]) -> None:
        pipeline = IngestionPipeline(transformations=[ZPromptTransform(codec=tiny)])
        nodes = asyncio.run(pipeline.arun(documents=documents))
        assert all("zprompt_span" in node.metadata for node in nodes)

    def test_take_from_the_cache_what_this_codec_wrote(
        self, tiny: str, documents: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pipeline = IngestionPipeline(transformations=[ZPromptTransform(codec=tiny)])
        first = pipeline.run(documents=documents)
        monkeypatch.setattr(ZPromptTransform, "__call__", None)  # it is not called again
        assert [n.metadata for n in pipeline.run(documents=documents)] == [n.metadata for n in first]

    def test_never_take_from_the_cache_what_another_codec_of_that_name_wrote(
        self, tmp_path: Path, backbone_folder: Path, documents: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "codec"
        spans = []
        pipeline = IngestionPipeline(transformations=[])
        for margin in (1e-4, 2e-4):  # another codec replaces the one in the folder
            save_codec(folder, backbone_folder, margin)
            monkeypatch.setattr(sys.modules[shared_codec.__module__], "_codecs", {})  # another process
            pipeline.transformations = [ZPromptTransform(codec=str(folder))]
            spans.append([node.metadata["zprompt_span"] for node in pipeline.run(documents=documents)])
        assert not set(spans[0]) & set(spans[1])

    @pytest.mark.parametrize("options", [{"ratio": 1.2}, {"store": "text"}, {"min_tokens": 3}, {"protect": "a"}])
    def test_have_other_cache_keys_for_other_options(self, tiny: str, options: dict[str, object]) -> None:
        plain = ZPromptTransform(codec=tiny).to_dict()
        assert ZPromptTransform.from_dict(plain | options).to_dict() != plain
        assert plain["class_name"] == "ZPromptTransform"

    @pytest.mark.slow
    def test_run_in_processes(self, tiny: str, documents: list[Document]) -> None:
        pipeline = IngestionPipeline(transformations=[ZPromptTransform(codec=tiny)], disable_cache=True)
        nodes = pipeline.run(documents=documents[:2], num_workers=2)
        expected = pipeline.run(documents=documents[:2])
        assert [node.metadata for node in nodes] == [node.metadata for node in expected]
