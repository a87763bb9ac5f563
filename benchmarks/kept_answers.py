"""Measure how much of the right answers a reader can see: their tokens that are anchors, and not dropped.

    kept    of the tokens of an answer, where it first stands in a gold passage, the share that are anchors; mean over
            questions, with a 95 % bootstrap interval over them
    whole   share of the answers all of whose tokens are anchors

At each ratio without options, with all names and digits protected, and with the question. Without questions all
passages are compressed in one call, so the ratio is met over all of them, else those of each question; what a way costs
is in the bits.

    python -m benchmarks.kept_answers [--data PATH ...] [--limit N] [--ratios R ...]
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import zprompt
from benchmarks.common import RESULTS, Row, TiledText, compress, draw_questions, figures, question_files, tile_text
from zprompt import Codec
from zprompt.eval import Question, Ratio, RunRecord, estimate, write_json
from zprompt.options import Protect
from zprompt.results import CompressionStats

COLUMNS = {
    "way": "",
    "ratio": ".2f",
    "bits per Z-token": ".1f",
    "bits per token": ".2f",
    "kept": ".1%",
    "whole": ".1%",
    "questions": "",
}
NAMES_AND_DIGITS = r"(?<![.!?] )(?<!^)\b[A-Z][\w’'-]*|\b\d[\d.,:/-]*"  # no capital where a sentence begins


@dataclass(frozen=True, slots=True)
class Way:
    """A way of compressing."""

    ratio: float  # wanted
    protect: Protect | None = None
    query: bool = False  # whether the codec is told the question

    def __str__(self) -> str:
        ending = ", names and digits protected" if self.protect else ", with the question" if self.query else ""
        return f"ratio {self.ratio:g}{ending}"


def measure(codec: Codec, questions: Sequence[Question], way: Way) -> Row:
    """Compress the passages of questions in one way, and count the anchors of their answers."""
    kept: list[float] = []
    stats: list[CompressionStats] = []
    for group in [[question] for question in questions] if way.query else [questions]:
        texts = list(dict.fromkeys(passage.text for question in group for passage in question.passages))
        query = group[0].question if way.query else None
        compressed = compress(codec, texts, ratio=way.ratio, protect=way.protect, query=query)
        tiled = (tile_text(codec, text, span) for text, span in zip(texts, compressed.documents, strict=True))
        by_text = {one.text: one for one in tiled if one}
        kept += [share for question in group for share in _share(question, by_text)]
        stats.append(compressed.stats)
    source, z_tokens = sum(one.source_tokens for one in stats), sum(one.z_tokens for one in stats)
    bits = sum(one.bits_per_z_token * one.z_tokens for one in stats)  # without min_tokens none passes through
    return {
        "way": str(way),
        "ratio": source / z_tokens,
        "bits per Z-token": bits / z_tokens,
        "bits per token": bits / source,
        "kept": estimate([Ratio(share) for share in kept], seed=0),
        "whole": estimate([Ratio(share == 1) for share in kept], seed=0),
        "questions": len(kept),  # whose answer stands in a gold passage
    }


def _share(question: Question, tiled: dict[str, TiledText]) -> Iterator[float]:
    """Yield the share of anchors in the first answer that is found, if one is."""
    for passage in question.passages:
        for answer in question.answers:
            start = passage.text.find(answer)
            if start >= 0 and passage.text in tiled:
                one, end = tiled[passage.text], start + len(answer)
                tokens = [place for place, (first, last) in enumerate(one.offsets) if first < end and last > start]
                yield float(np.isin(tokens, one.starts).mean())
                return


def main() -> None:
    """Measure, and write `results/kept-answers.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=question_files(), help="JSONL of questions")
    parser.add_argument("--limit", type=int, default=25, help="questions of each file")
    parser.add_argument("--ratios", type=float, nargs="+", default=[2.0, 4.0, 8.0], help="source tokens per Z-token")
    options, began = parser.parse_args(), time.time()
    drawn = draw_questions(options.data, options.limit)
    questions = [question for own in drawn.values() for question in own]
    codec = zprompt.load()
    kinds = (Way(1.0), Way(1.0, protect=NAMES_AND_DIGITS), Way(1.0, query=True))
    ways = [replace(kind, ratio=ratio) for kind in kinds for ratio in options.ratios]
    found = [measure(codec, questions, way) for way in ways]
    record = RunRecord.take(0, began)
    write_json(RESULTS / "kept-answers.json", {"run": record, "data": [p.name for p in options.data], "results": found})
    print("\n".join(figures(found, COLUMNS)))


if __name__ == "__main__":
    main()
