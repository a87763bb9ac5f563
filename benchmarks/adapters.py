"""Measure what the adapters for LangChain and LlamaIndex cost on top of `Codec.compress`, on 100 passages.

    python -m benchmarks.adapters [--passages N] [--rounds N] [--codec NAME]

    own        seconds of an adapter's call, less those spent in `Codec.compress`: its own code
    overhead   own / seconds of a direct call of `Codec.compress` on the same texts in the same round

All three run in each round, in rotating order. Figures are CPU seconds of the process, so that other work on the
machine hardly counts; wall seconds are in the JSON, too. Passages are single sentences, where an adapter's share is
largest.
Writes adapters.json and adapters.md to benchmarks/results. Ends with exit code 1 if a median is 5 % or more.
"""

import argparse
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

from langchain_core.documents import Document
from langchain_zprompt import ZPromptCompressor
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.zprompt import ZPromptPostprocessor

from benchmarks.common import RESULTS, describe_run
from examples.rag_common import library
from zprompt.codec import Codec, shared_codec
from zprompt.eval import RunRecord, table, write_json
from zprompt.options import CompressOptions

BAR = 0.05
QUERY = "Who lit the lamp?"
DIRECT = "Codec.compress"


@dataclass(frozen=True, slots=True)
class Seconds:
    """A duration, by two clocks."""

    cpu: float  # of all threads of the process
    wall: float

    @classmethod
    def now(cls) -> "Seconds":
        """Read the clocks."""
        return cls(time.process_time(), time.perf_counter())

    def __sub__(self, other: "Seconds") -> "Seconds":
        """Return the time between two readings, or the difference of two durations."""
        return Seconds(self.cpu - other.cpu, self.wall - other.wall)


@dataclass(frozen=True, slots=True)
class Overhead:
    """The cost of an adapter."""

    adapter: str
    own: tuple[Seconds, ...]  # of each round
    direct: tuple[Seconds, ...]  # of Codec.compress in the same round

    @property
    def shares(self) -> list[float]:
        """Return the adapter's own CPU seconds / the direct call's, of each round."""
        return [own.cpu / direct.cpu for own, direct in zip(self.own, self.direct, strict=True)]


def passages(count: int) -> list[str]:
    """Return `count` sentences of the examples' library; repeated ones get a number."""
    sentences = [part for text in library() for part in re.split(r"(?<=\.)\s+", text.text) if part]
    return [
        f"{sentence} ({number})" if number >= len(sentences) else sentence
        for number, sentence in enumerate(islice(cycle(sentences), count))
    ]


def measure(codec: Codec, texts: Sequence[str], rounds: int, name: str = "default") -> list[Overhead]:
    """Time all three, round after round.

    :param codec: The codec that `shared_codec` returns for this name.
    :param texts: The passages.
    :param rounds: Rounds after the first, which warms up.
    :param name: The codec's name.
    :return: The overhead of each adapter.
    """
    documents = [Document(id=str(number), page_content=text) for number, text in enumerate(texts)]
    nodes = [NodeWithScore(node=TextNode(id_=str(number), text=text)) for number, text in enumerate(texts)]
    compressor = ZPromptCompressor(form="z", codec=name)
    postprocessor = ZPromptPostprocessor.from_codec(codec, form="z")
    runs: dict[str, Callable[[], object]] = {
        DIRECT: lambda: codec.compress(list(texts), query=QUERY),
        "langchain-zprompt": lambda: compressor.compress_documents(documents, QUERY),
        "llama-index-postprocessor-zprompt": lambda: postprocessor.postprocess_nodes(nodes, query_str=QUERY),
    }
    spent: dict[str, list[tuple[Seconds, Seconds]]] = {run: [] for run in runs}
    order = list(runs)
    for number in range(rounds + 1):
        for run in order:
            durations = _time(runs[run])
            if number:  # the first round warms up
                spent[run].append(durations)
        order = order[1:] + order[:1]
        print(f"round {number} of {rounds}", file=sys.stderr, flush=True)
    direct = tuple(within for _, within in spent.pop(DIRECT))
    return [Overhead(run, tuple(whole - within for whole, within in times), direct) for run, times in spent.items()]


def _time(run: Callable[[], object]) -> tuple[Seconds, Seconds]:
    """Return the time of a call, and of `Codec.compress` within it."""
    within: list[Seconds] = []
    compress_with = Codec.compress_with

    def timed(self: Codec, options: CompressOptions, docs: Any, **keywords: Any) -> Any:  # noqa: ANN401
        began = Seconds.now()
        result = compress_with(self, options, docs, **keywords)
        within.append(Seconds.now() - began)
        return result

    with patch.object(Codec, "compress_with", timed):
        began = Seconds.now()
        run()
        whole = Seconds.now() - began
    [inner] = within  # one call for all passages
    return whole, inner


def report(record: RunRecord, count: int, results: Sequence[Overhead]) -> str:
    """Write the report as Markdown."""
    head = ("adapter", "own, median", "own, worst", "Codec.compress, median", "overhead, median", "overhead, worst")
    rows = [
        (
            f"`{result.adapter}`",
            f"{statistics.median(seconds.cpu for seconds in result.own) * 1000:.1f} ms",
            f"{max(seconds.cpu for seconds in result.own) * 1000:.1f} ms",
            f"{statistics.median(seconds.cpu for seconds in result.direct):.2f} s",
            f"**{statistics.median(result.shares):.2%}**",
            f"{max(result.shares):.2%}",
        )
        for result in results
    ]
    lines = [
        "# What the adapters cost beside the codec",
        "",
        f"{describe_run(record)} {count} sentences in one call, {len(results[0].own)} rounds, CPU seconds of the "
        f"process; bar: {BAR:.0%}.",
        "",
        *table(head, rows),
    ]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="a shipped codec, or a codec's folder")
    parser.add_argument("--passages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    return parser.parse_args()


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    texts = passages(options.passages)
    codec = shared_codec(options.codec)
    codec.cache = None  # each round asks the LLM anew
    results = measure(codec, texts, options.rounds, options.codec)
    record = RunRecord.take(0, began)
    write_json(options.out / "adapters.json", {"run": record, "passages": len(texts), "results": results})
    text = report(record, len(texts), results)
    (options.out / "adapters.md").write_text(text, "utf-8")
    print(text)
    sys.exit(any(statistics.median(result.shares) >= BAR for result in results))


if __name__ == "__main__":
    main()
