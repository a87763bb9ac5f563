"""LlamaIndex's instrumentation gets an event before and after compressing."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.schema import NodeWithScore, TextNode
from tiny import SENTENCES

from llama_index.postprocessor.zprompt import (
    ZCompressEndEvent,
    ZCompressStartEvent,
    ZPromptPostprocessor,
    ZPromptTransform,
)
from zprompt import Codec


class EventRecorder(BaseEventHandler):
    """Records compression events."""

    events: list[Any] = []  # noqa: RUF012 - pydantic copies it

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:  # noqa: ANN401
        if isinstance(event, ZCompressStartEvent | ZCompressEndEvent):
            self.events.append(event)


@pytest.fixture
def recorder() -> Iterator[EventRecorder]:
    root, handler = get_dispatcher(), EventRecorder()
    root.event_handlers.append(handler)
    yield handler
    root.event_handlers.remove(handler)


def test_a_call_is_a_start_and_an_end_with_token_counts(
    recorder: EventRecorder, tiny: str, tiny_codec: Codec, scored: list[NodeWithScore]
) -> None:
    short = NodeWithScore(node=TextNode(text="Z"))
    ZPromptPostprocessor(form="z", codec=tiny, use_query=False).postprocess_nodes([*scored, short], query_str="Who?")
    stats = tiny_codec.compress([*SENTENCES, "Z"]).stats
    [start, end] = recorder.events
    assert (start.component, start.nodes, start.query) == ("ZPromptPostprocessor", 5, None)
    assert (end.nodes, end.compressed, end.ready, end.passed_through) == (5, 4, 0, 1)
    assert (end.source_tokens, end.z_tokens) == (stats.source_tokens, stats.z_tokens)
    assert end.tokens_saved == end.source_tokens - end.z_tokens > 0
    assert end.ratio > 1
    assert end.codec == tiny_codec.fingerprint


def test_the_start_has_the_query_that_the_codec_sees(
    recorder: EventRecorder, tiny: str, scored: list[NodeWithScore]
) -> None:
    ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(scored, query_str="Who?")
    assert recorder.events[0].query == "Who?"


def test_both_events_belong_to_one_span_in_threads_too(
    recorder: EventRecorder, tiny: str, nodes: list[TextNode]
) -> None:
    asyncio.run(ZPromptTransform(codec=tiny).acall(nodes))
    [start, end] = recorder.events
    assert start.component == "ZPromptTransform"
    assert start.span_id == end.span_id


def test_existing_z_spans_count_with_their_figures(
    recorder: EventRecorder, tiny: str, scored: list[NodeWithScore]
) -> None:
    component = ZPromptPostprocessor(form="z", codec=tiny)
    component.postprocess_nodes(component.postprocess_nodes(scored))
    first, second = recorder.events[1], recorder.events[3]
    assert (second.compressed, second.ready) == (0, 4)
    assert (second.source_tokens, second.z_tokens) == (first.source_tokens, first.z_tokens)


def test_no_event_holds_a_text(recorder: EventRecorder, tiny: str, scored: list[NodeWithScore]) -> None:
    ZPromptPostprocessor(form="z", codec=tiny).postprocess_nodes(scored)
    assert not any(sentence in str(event.model_dump()) for event in recorder.events for sentence in SENTENCES)
    assert [event.class_name() for event in recorder.events] == ["ZCompressStartEvent", "ZCompressEndEvent"]
