"""Tools for agents over the Model Context Protocol: shorten a text for a question, get all of it back, inspect it.

    compress    a text or file and a question  →  the sentences that matter, for any LLM, and a hash
    expand      that hash  →  the whole text; or a text with Z-spans  →  the text with each of them restored
    inspect     a text and a question  →  the relevance of each sentence; or a text  →  the figures of its Z-spans

A file never goes through the agent's context: it is read here, and only from the folder that the server was given. An
LLM is loaded only to restore Z-spans.
"""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from zprompt import __version__
from zprompt.api import compress, decompress
from zprompt.errors import MissingDependencyError, OptionError, ZPromptError
from zprompt.messages import HASH, text_hash
from zprompt.originals import Originals
from zprompt.relevance import Passage, shared_relevance
from zprompt.zspan import find_spans, parse_span, require_no_surrogates

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
    from pydantic import Field
except ImportError as error:
    raise MissingDependencyError(f"The MCP server needs {error.name}: pip install 'zprompt[mcp]'.") from error

P = ParamSpec("P")
T = TypeVar("T")

RATIO = 4.0
INSTRUCTIONS = (
    "Use compress to read a long file or text when you have one question about it: it returns the sentences that "
    "matter, word for word. expand returns the whole text of its hash."
)


Text = Annotated[str, Field(description="The text itself; leave it out if path is given.")]
File = Annotated[str, Field(description="Path of a UTF-8 text file in the server's folder.")]
Ratio = Annotated[float, Field(ge=1, description="Compression ratio: tokens before per token after.")]


class Tools:
    """The tools; an agent reads their docstrings and the descriptions of their parameters."""

    def __init__(self, root: Path, originals: Originals) -> None:
        """Prepare the tools.

        :param root: The folder whose files may be read.
        :param originals: Keeps the texts that were shortened.
        """
        self._root, self._originals = root.resolve(), originals

    def compress(
        self,
        query: Annotated[str, Field(min_length=1, description="The question to answer from the text.")],
        text: Text = "",
        path: File = "",
        ratio: Ratio = RATIO,
    ) -> dict[str, Any]:
        """Shorten a text or a file to the sentences that a question needs; […] marks what is left out."""
        whole = self._read(text, path)
        result = compress(whole, query=query, form="text", ratio=ratio)
        [original] = result.sources
        self._originals.keep({text_hash(original): original})
        return {
            "text": result.documents,
            "hash": text_hash(original),
            "tokens_before": result.stats.source_tokens,
            "tokens_after": result.stats.positions,
            "note": result.stats.missed,
        }

    def expand(
        self,
        hash_or_text: Annotated[
            str, Field(description="A hash of 24 hexadecimal digits, or a text with Z-spans: [z2:…].")
        ],
    ) -> str:
        """Return the whole text for a hash that compress returned, or a text with its Z-spans restored."""
        if HASH.fullmatch(key := hash_or_text.strip().lower()):
            return self._originals.get(key)
        if next(find_spans(hash_or_text), None) is None:
            raise OptionError("This is neither a hash of 24 hexadecimal digits nor a text with Z-spans.")
        return str(decompress(hash_or_text))

    def inspect(
        self,
        text: Text = "",
        path: File = "",
        query: Annotated[str, Field(description="The question; leave it out to count Z-spans and their tokens.")] = "",
    ) -> dict[str, Any]:
        """Score the relevance of each sentence to a question; without one, count the Z-spans and their tokens."""
        whole = self._read(text, path)
        if query.strip():
            [scored] = shared_relevance().score(query, [Passage(whole)])
            return {
                "relevance": scored.relevance,
                "sentences": [
                    {"text": whole[start:end].strip(), "score": float(score)}
                    for (start, end), score in zip(scored.units, scored.scores, strict=True)
                ],
            }
        spans = [parse_span(match.text) for match in find_spans(whole)]
        return {
            "z_spans": len(spans),
            "z_tokens": sum(len(span.tokens) for span in spans),
            "source_tokens": sum(span.source_tokens for span in spans),
            "codecs": sorted({span.fingerprint for span in spans}),
        }

    def _read(self, text: str, path: str) -> str:
        """Return the text, or that of the file."""
        if bool(text) == bool(path):
            raise OptionError("Pass either text, which is the text itself, or path, which names a file.")
        if text:
            require_no_surrogates(text)
            return text
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root):
            raise OptionError(f"{path!r} is outside {self._root}, the only folder whose files this server reads.")
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise OptionError(f"{path!r} is not UTF-8 text: byte {error.start} is invalid.") from error
        except OSError as error:
            raise OptionError(f"{path!r} cannot be read: {error.strerror}.") from error


def create_server(root: Path, originals: Originals) -> MCPServer[Any]:
    """Create an MCP server with the tools; `run()` serves it over stdin and stdout.

    :param root: The folder whose files may be read.
    :param originals: Keeps the texts that were shortened.
    :return: The server.
    """
    server = MCPServer("zprompt", version=__version__, instructions=INSTRUCTIONS)
    tools = Tools(root, originals)
    for tool in (tools.compress, tools.expand, tools.inspect):
        server.tool()(_with_tool_errors(tool))
    return server


def _with_tool_errors(tool: Callable[P, T]) -> Callable[P, T]:
    """Wrap a tool so that the agent sees the message of a ZPromptError; MCP hides all other errors."""

    @wraps(tool)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return tool(*args, **kwargs)
        except ZPromptError as error:
            raise ToolError(str(error)) from error

    return call
