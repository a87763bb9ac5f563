"""An agent with an ordinary LLM, behind a server that is not ours: llama.cpp's, over HTTP.

The LLM is the default codec's own, as a chat model. It is too small to call a tool by itself, so the first turn is
scripted; the request that follows, with the tool's result and the list of tools, is answered by the server.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelRequest, ModelResponse, wrap_model_call
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from langchain_zprompt import ZPromptCompressor, ZPromptMiddleware
from zprompt.llm import pull

xllamacpp = pytest.importorskip("xllamacpp", reason="pip install '.[dev]'")
pytestmark = pytest.mark.default_model

QUESTION = "Who is the keeper of the lighthouse? Use the tool look_up."
HANDBOOK = 2 * (
    "The harbour was rebuilt in 1911 after the great storm, and the pier is closed at night. "
    "Ships carry grain and timber to the north, and they come back with iron and glass. "
    "The lighthouse stands on the eastern cliff. The keeper of the lighthouse is Margaret Hale. "
    "The path to it follows the shore, and it is under water when the tide is high. "
    "Storms are rare in summer, but in winter the ferry does not run for weeks. "
    "The school has two rooms and one teacher. The market is held on Saturdays in the square. "
)


@pytest.fixture(scope="module")
def llm() -> Iterator[BaseChatModel]:
    """Serve the LLM by llama.cpp."""
    params = xllamacpp.CommonParams()
    params.model.path = str(pull("default") / "model.gguf")
    params.n_ctx, params.n_parallel, params.port, params.hostnames = 2048, 1, 0, ["127.0.0.1"]
    server = xllamacpp.Server(params)
    yield ChatOpenAI(
        base_url=f"{server.listening_address.rstrip('/')}/v1",
        api_key=SecretStr("none"),
        model="smollm2",
        temperature=0,
        max_completion_tokens=24,
        max_retries=0,
    )
    del server


@tool
def look_up(topic: str) -> str:
    """Look up what the island's handbook says about a topic."""
    return HANDBOOK


@wrap_model_call
def call_the_tool_first(
    request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
) -> ModelResponse[Any] | AIMessage:
    """Call the tool in the model's place, once."""
    if any(isinstance(message, ToolMessage) for message in request.messages):
        return handler(request)
    call = {"name": "look_up", "args": {"topic": "lighthouse"}, "id": "1", "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


def test_an_agent_answers_from_the_tools_result_in_fewer_tokens(llm: BaseChatModel) -> None:
    replies: list[AIMessage] = []
    for middleware in ([], [ZPromptMiddleware()]):
        agent = create_agent(llm, [look_up], middleware=[*middleware, call_the_tool_first])
        state = agent.invoke({"messages": [HumanMessage(QUESTION)]})
        assert any(message.content == HANDBOOK for message in state["messages"])  # the state keeps the text
        replies.append(state["messages"][-1])
    whole, shorter = replies
    assert "Margaret Hale" in shorter.text
    assert whole.usage_metadata and shorter.usage_metadata
    assert shorter.usage_metadata["input_tokens"] < whole.usage_metadata["input_tokens"] / 2


def test_a_llama_cpp_server_gets_no_z_spans(llm: BaseChatModel) -> None:
    assert ZPromptCompressor(reader=llm).form_for() == "text"
