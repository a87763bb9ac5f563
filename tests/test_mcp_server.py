"""An agent shortens, expands and inspects texts over MCP, here with the official client."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.test_messages import QUESTION, TOWN
from zprompt.mcp_server import create_server
from zprompt.messages import text_hash
from zprompt.originals import Originals

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")

Work = Callable[[Client], Awaitable[Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[Work], Any]:
    """Return a function that runs calls of a client against a server with access to a folder."""
    (tmp_path / "town.txt").write_text(TOWN, encoding="utf-8")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))

    def run(work: Work) -> Any:  # noqa: ANN401
        async def talk() -> Any:  # noqa: ANN401
            async with Client(create_server(tmp_path, Originals(None, 1_000_000))) as client:
                return await work(client)

        return asyncio.run(talk())

    return run


@pytest.mark.parametrize("source", [{"text": TOWN}, {"path": "town.txt"}])
def test_a_text_or_a_file_is_shortened_for_a_question_and_comes_back_whole(
    ask: Callable[[Work], Any], source: dict[str, str]
) -> None:
    async def work(client: Client) -> tuple[dict[str, Any], str]:
        short = await client.call_tool("compress", {"query": QUESTION, **source})
        whole = await client.call_tool("expand", {"hash_or_text": short.structured_content["hash"]})
        return short.structured_content, whole.content[0].text

    short, whole = ask(work)

    assert "Margaret Hale" in short["text"] and short["hash"] == text_hash(TOWN)
    assert short["tokens_after"] < short["tokens_before"] / 3
    assert whole == TOWN


def test_inspection_scores_each_sentence(ask: Callable[[Work], Any]) -> None:
    async def work(client: Client) -> dict[str, Any]:
        return (await client.call_tool("inspect", {"text": TOWN, "query": QUESTION})).structured_content

    result = ask(work)

    assert " ".join(sentence["text"] for sentence in result["sentences"]) == TOWN
    assert max(result["sentences"], key=lambda sentence: sentence["score"])["text"].startswith("The lighthouse")


def test_inspection_counts_z_spans(ask: Callable[[Work], Any]) -> None:
    async def work(client: Client) -> dict[str, Any]:
        return (await client.call_tool("inspect", {"text": TOWN})).structured_content

    assert ask(work) == {"z_spans": 0, "z_tokens": 0, "source_tokens": 0, "codecs": []}


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("compress", {"query": "x", "path": "../secret"}, "outside"),
        ("compress", {"query": "x", "path": "/etc/hostname"}, "outside"),
        ("compress", {"query": "x", "path": "none.txt"}, "none.txt"),
        ("compress", {"query": "x", "path": "latin.txt"}, "UTF-8"),
        ("compress", {"query": "x"}, "Pass either text"),
        ("compress", {"query": "x", "text": "a", "path": "b"}, "Pass either text"),
        ("expand", {"hash_or_text": "0" * 24}, "No original"),
        ("expand", {"hash_or_text": "hello"}, "neither a hash"),
    ],
)
def test_an_agent_is_told_what_is_wrong(
    ask: Callable[[Work], Any], tool: str, arguments: dict[str, str], message: str
) -> None:
    async def work(client: Client) -> Any:  # noqa: ANN401
        return await client.call_tool(tool, arguments)

    result = ask(work)

    assert result.is_error and message in result.content[0].text


@pytest.mark.slow
def test_the_command_serves_on_stdin_and_stdout(tmp_path: Path) -> None:
    (tmp_path / "town.txt").write_text(TOWN, encoding="utf-8")
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "zprompt", "mcp", "--root", str(tmp_path), "--originals", str(tmp_path / "originals.sqlite")],
    )

    async def talk() -> tuple[list[str], str]:
        async with Client(stdio_client(command)) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            short = await client.call_tool("inspect", {"path": "town.txt"})
            return tools, short.content[0].text

    tools, text = asyncio.run(talk())
    assert tools == ["compress", "expand", "inspect"]
    assert '"z_spans": 0' in text
