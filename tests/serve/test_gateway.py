"""Gateways shorten messages through the server: by plain HTTP, and by LiteLLM's own guardrail."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.serve.conftest import Running, error_of
from tests.test_messages import AGENT, QUESTION, TOWN, calls, tool, user
from zprompt.messages import text_hash

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise it is fetched

LATER = [*AGENT, {"role": "assistant", "content": "Hale did."}, user("When was the railway left?")]


def shortened(server: Running, **body: object) -> dict[str, Any]:
    answer = server.http().post("/v1/compress", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


def test_messages_come_back_shorter_with_their_token_counts(server: Running) -> None:
    result = shortened(server, messages=LATER, model="gpt-4o", ratio=4)

    assert [message["role"] for message in result["messages"]] == [message["role"] for message in LATER]
    assert result["messages"][0] == LATER[0] and result["messages"][-1] == LATER[-1]
    assert "Margaret Hale" in result["messages"][3]["content"]
    assert result["tokens_saved"] == result["tokens_before"] - result["tokens_after"] > 0
    assert result["compression_ratio"] == result["tokens_after"] / result["tokens_before"]
    assert result["ccr_hashes"] == []
    assert shortened(server, messages=LATER, model="gpt-4o", ratio=4) == result


def test_an_original_can_be_asked_for(server: Running) -> None:
    result = shortened(server, messages=LATER, model="gpt-4o", config={"mode": "ccr"})

    assert result["ccr_hashes"] == [text_hash(TOWN)]
    assert f"hash={text_hash(TOWN)}" in result["messages"][3]["content"]
    answer = server.http().get(f"/v1/retrieve/{text_hash(TOWN)}", params={"query": "ferry"})
    assert answer.json() == {"hash": text_hash(TOWN), "original_content": TOWN}


def test_an_evicted_original_is_told_apart_from_an_unknown_one(serve: Callable[..., Running]) -> None:
    server = serve(max_request_bytes=4000, originals_bytes=4000)
    for number in range(9):
        text = TOWN.replace("1834", str(1834 + number))
        shortened(server, messages=[user(QUESTION), tool(text), user("So?")], config={"mode": "ccr"})

    first = server.http().get(f"/v1/retrieve/{text_hash(TOWN)}")
    never = server.http().get("/v1/retrieve/000000000000000000000000")
    assert (first.status_code, first.json()["error"]["code"]) == (410, "original_dropped")
    assert (never.status_code, never.json()["error"]["code"]) == (404, "original_not_found")


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"messages": "hello"}, "messages", "list"),
        ({"messages": [user("hi"), {"role": "robot"}]}, None, "messages[1]"),
        ({"messages": [], "config": {"mode": "magic"}}, "config.mode", "'ccr'"),
        ({"messages": [], "ratio": 0.5}, "ratio", "1"),
        ({"messages": [], "colour": "red"}, "colour", "not a known field"),
    ],
)
def test_a_wrong_value_is_named(server: Running, body: object, param: str | None, message: str) -> None:
    error = error_of(server, "/v1/compress", body, 400)

    assert error["param"] == param and message in error["message"]


@pytest.fixture
def guardrail(server: Running) -> Any:  # noqa: ANN401 - LiteLLM's
    return _make_guardrail(api_base=server.url)


def _make_guardrail(**options: object) -> Any:  # noqa: ANN401 - LiteLLM's
    from litellm.proxy.guardrails.guardrail_hooks.headroom import HeadroomGuardrail

    return HeadroomGuardrail(guardrail_name="zprompt", event_hook="pre_call", default_on=True, **options)


@pytest.mark.slow  # LiteLLM takes seconds to import
@pytest.mark.filterwarnings("ignore")  # LiteLLM's own warnings
def test_litellm_shortens_tool_results_and_lets_its_model_retrieve_the_original(guardrail: Any) -> None:  # noqa: ANN401
    async def ask() -> tuple[dict[str, Any], str]:
        data: dict[str, Any] = {"messages": LATER, "model": "gpt-4o"}
        inputs = await guardrail.apply_guardrail({"structured_messages": LATER}, data, "request")
        return inputs, await guardrail._call_retrieve(text_hash(TOWN), None)

    inputs, original = asyncio.run(ask())

    messages = inputs["structured_messages"]
    assert messages[:3] == LATER[:3] and messages[4:] == LATER[4:]
    assert "Margaret Hale" in messages[3]["content"] and f"hash={text_hash(TOWN)}" in messages[3]["content"]
    assert [tool["function"]["name"] for tool in inputs["tools"]] == ["headroom_retrieve"]
    assert original == TOWN


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_litellm_without_retrieval_keeps_what_the_last_question_asked_for(server: Running) -> None:
    turn = [*LATER, calls("search", "c2"), tool(TOWN, "c2"), calls("search", "c3"), tool(TOWN, "c3")]
    later = [*turn, {"role": "assistant", "content": "In 1962."}, user("Thanks."), user("And the school?")]

    async def ask(messages: list[dict[str, Any]]) -> Any:  # noqa: ANN401
        guardrail = _make_guardrail(api_base=server.url, ccr_retrieval=False)
        data = {"messages": messages, "model": "gpt-4o"}
        return (await guardrail.apply_guardrail({"structured_messages": messages}, data, "request"))[
            "structured_messages"
        ]

    assert asyncio.run(ask(turn)) == turn  # it sends the first question and the results for the second
    shorter = asyncio.run(ask(later))
    assert "1962" in shorter[7]["content"] and len(shorter[7]["content"]) < len(TOWN) / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_litellm_fails_open_or_closed_as_its_caller_says() -> None:
    from fastapi import HTTPException

    unreachable = "http://127.0.0.1:9"
    inputs = {"structured_messages": [*LATER[:4], calls("other", "c9"), *LATER[4:]]}

    async def ask(fallback: str) -> Any:  # noqa: ANN401
        guardrail = _make_guardrail(api_base=unreachable, unreachable_fallback=fallback)
        return await guardrail.apply_guardrail(inputs, {"messages": LATER, "model": "gpt-4o"}, "request")

    assert asyncio.run(ask("fail_open")) is inputs
    with pytest.raises(HTTPException):
        asyncio.run(ask("fail_closed"))
