"""In real agents the request has Z-spans, and the state keeps the text."""

import asyncio
import copy
import pickle
from typing import Any

import pytest
from byte_codec import ByteCodec
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import Field

from langchain_zprompt import ZPromptCompressor, ZPromptMiddleware
from zprompt.errors import OptionError

RESULT = "The lamp was lit by Margaret Hale on 3 May 1834. " * 4
NOTE = "The harbour was rebuilt in 1911. Storms are rare. The lamp was lit by Margaret Hale. Ships carry grain. " * 2
SPANS = ZPromptCompressor(form="z", min_tokens=100, on_error="passthrough")


class FakeModel(GenericFakeChatModel):
    seen: list[list[BaseMessage]] = Field(default_factory=list)

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        self.seen.append(messages)
        return super()._generate(messages, *args, **kwargs)


@tool
def look_up(what: str) -> str:
    """Look something up."""
    return RESULT


def model() -> FakeModel:
    calls = [
        AIMessage("", tool_calls=[{"name": "look_up", "args": {"what": "lamp"}, "id": str(i), "type": "tool_call"}])
        for i in range(2)
    ]
    return FakeModel(messages=iter([*calls, AIMessage("Margaret Hale")]))


def results(messages: list[BaseMessage]) -> list[Any]:
    return [message.content for message in messages if isinstance(message, ToolMessage)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_request_has_z_spans_and_the_state_the_text(codec: ByteCodec, asynchronous: bool) -> None:
    llm = model()
    agent = create_agent(llm, [look_up], middleware=[ZPromptMiddleware(SPANS)])
    inputs: Any = {"messages": [HumanMessage("Who lit the lamp?")]}
    state = asyncio.run(agent.ainvoke(inputs)) if asynchronous else agent.invoke(inputs)
    assert state["messages"][-1].content == "Margaret Hale"
    assert results(state["messages"]) == [RESULT, RESULT]
    [span] = results(llm.seen[1])
    assert codec.decompress(span) == RESULT
    assert results(llm.seen[2]) == [span, span]  # the same Z-span: the prefix stays
    [call] = codec.calls
    assert (call["docs"], call["query"]) == ([RESULT], "Who lit the lamp?")


def test_tools_on_the_list_are_left_alone(codec: ByteCodec) -> None:
    llm = model()
    create_agent(llm, [look_up], middleware=[ZPromptMiddleware(leave=["look_up"])]).invoke(
        {"messages": [HumanMessage("Who?")]}
    )
    assert results(llm.seen[2]) == [RESULT, RESULT]
    assert codec.calls == []


def shortened(middleware: ZPromptMiddleware, *messages: Any, system: str | None = None) -> ModelRequest[Any]:  # noqa: ANN401
    requests: list[ModelRequest[Any]] = []
    system_message = SystemMessage(system) if system else None
    middleware.wrap_model_call(
        ModelRequest(model=model(), messages=list(messages), system_message=system_message),
        lambda request: requests.append(request) or AIMessage("done"),  # type: ignore[func-returns-value, arg-type, return-value]
    )
    return requests[0]


def test_human_and_system_messages_are_compressed_on_request(codec: ByteCodec) -> None:
    kept, compressed = HumanMessage(RESULT, id="keep"), HumanMessage(RESULT, id="other")
    request = shortened(
        ZPromptMiddleware(SPANS, roles=["human", "system"], leave=["keep"]), kept, compressed, system=RESULT
    )
    assert request.messages[0] is kept
    assert codec.decompress(str(request.messages[1].content)) == RESULT != request.messages[1].content
    assert request.system_message is not None
    assert str(request.system_message.content).startswith("[z2:")
    assert compressed.content == RESULT
    assert len(codec.calls) == 1


def test_blocks_that_are_no_text_stay(codec: ByteCodec) -> None:
    image = {"type": "image", "url": "https://example.org/lamp.png"}
    message = ToolMessage([{"type": "text", "text": RESULT, "extras": {"a": 1}}, image], tool_call_id="1")
    request = shortened(ZPromptMiddleware(SPANS), message)
    text, other = request.messages[0].content
    assert isinstance(text, dict)
    assert (codec.decompress(text["text"]), text["extras"], other) == (RESULT, {"a": 1}, image)
    assert message.content[0]["text"] == RESULT  # type: ignore[index]


def test_short_results_are_left_alone(codec: ByteCodec) -> None:
    messages = [ToolMessage("42", tool_call_id="1")]
    assert shortened(ZPromptMiddleware(), *messages).messages == messages


def test_z_spans_in_results_are_text_unless_the_tool_is_named(codec: ByteCodec) -> None:
    span = ZPromptCompressor().load().compress([RESULT]).documents[0]
    message = ToolMessage(f"Source 1:\n{span}", tool_call_id="1", name="search")
    [text] = shortened(ZPromptMiddleware(SPANS), message).messages
    assert codec.decompress(text.content) == message.content
    assert shortened(ZPromptMiddleware(leave=["search"]), message).messages == [message]


def test_a_result_without_a_name_belongs_to_the_tool_that_was_called() -> None:
    call = AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "7"}])
    messages = [HumanMessage("When was the harbour rebuilt?"), call, ToolMessage(NOTE, tool_call_id="7")]
    compressor = ZPromptCompressor(max_tokens=20)
    assert shortened(ZPromptMiddleware(compressor, leave=["look_up"]), *messages).messages == messages
    assert shortened(ZPromptMiddleware(compressor, leave=["other"]), *messages).messages != messages


@pytest.mark.parametrize("form", ["text", "z"])
def test_what_a_failing_tool_says_is_left_alone(codec: ByteCodec, form: Any) -> None:  # noqa: ANN401
    failed = f"Error: the request was refused. {NOTE * 5} Retry with a token of the scope admin."
    messages = [HumanMessage("Who lit the lamp?"), ToolMessage(failed, tool_call_id="7", status="error")]
    middleware = ZPromptMiddleware(ZPromptCompressor(form=form, ratio=4))
    assert shortened(middleware, *messages).messages == messages


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda middleware: pickle.loads(pickle.dumps(middleware))])
def test_it_can_be_pickled_and_copied(codec: ByteCodec, copied: Any) -> None:  # noqa: ANN401
    middleware = ZPromptMiddleware(SPANS, roles=["human"], leave=["keep"])
    request = shortened(middleware, HumanMessage(RESULT))
    again = copied(middleware)
    assert (again.compressor, again.roles, again.leave) == (SPANS, {"human"}, {"keep"})
    assert shortened(again, HumanMessage(RESULT)).messages == request.messages
    assert len(codec.calls) == 2  # the cache is not copied


def test_unknown_roles_are_refused() -> None:
    with pytest.raises(OptionError, match="roles"):
        ZPromptMiddleware(roles=["ai"])  # type: ignore[list-item]


def test_an_ordinary_llm_gets_text_without_what_the_question_does_not_need(codec: ByteCodec) -> None:
    middleware = ZPromptMiddleware(ZPromptCompressor(max_tokens=20), roles=["tool", "human"])
    result, question = ToolMessage(NOTE, tool_call_id="1"), HumanMessage("Who lit the lamp? " * 3)
    first, short = shortened(middleware, question, result).messages
    assert first is question
    assert "lit by Margaret Hale" in str(short.content) and len(str(short.content)) < len(NOTE) / 2
    assert shortened(middleware, question, result, AIMessage("She did.")).messages[1] == short  # the prefix stays
    next_question = HumanMessage("When was the harbour rebuilt?")
    kept, next_short, last = shortened(middleware, question, result, next_question).messages
    assert "1911" in str(next_short.content) and last is next_question
    assert codec.calls == [] and "[z2:" not in str(kept.content)


def test_without_a_question_an_ordinary_llm_gets_all(codec: ByteCodec) -> None:
    message = ToolMessage(NOTE, tool_call_id="1")
    assert shortened(ZPromptMiddleware(ZPromptCompressor(max_tokens=20)), message).messages == [message]
