"""Measure how much of the right answers a reader can see: their tokens that are anchors, and not left to the codes.

    kept    of the tokens of an answer, where it first stands in a gold passage, the share that are anchors; mean over
            questions, with a 95 % bootstrap interval over them
    whole   share of the answers all of whose tokens are anchors

At each ratio without options, and with all names and digits protected. All passages are compressed in one call, so the
ratio is met over all of them; what protection costs is in the bits.

    python -m benchmarks.kept_answers [--data PATH ...] [--limit N] [--ratios R ...]
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import zprompt
from benchmarks.plan import READER_FULL
from benchmarks.questions import DATA, draw_questions
from benchmarks.record import RESULTS, RunRecord, write_json
from zprompt import Codec
from zprompt.bench.tables import number, percent, table
from zprompt.bootstrap import RESAMPLES, Interval, bootstrap
from zprompt.codec.options import Protect
from zprompt.train.reader.questions import Question
from zprompt.train.reader.tiles import make_tile

NAMES_AND_DIGITS = r"(?<![.!?] )(?<!^)\b[A-Z][\w’'-]*|\b\d[\d.,:/-]*"  # no capital where a sentence begins


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of answers in one way of compressing."""

    ratio: float  # wanted
    protected: bool
    reached: float
    bits_per_z_token: float
    bits_per_source_token: float
    questions: int  # whose answer stands in a gold passage
    kept: float
    kept_interval: Interval
    least: float  # of any answer
    whole: float


def measure(codec: Codec, questions: Sequence[Question], ratio: float, protect: Protect | None) -> Kept:
    """Compress the passages of questions, and look at their answers.

    :param codec: The codec.
    :param questions: The questions.
    :param ratio: Source tokens per Z-token.
    :param protect: What is kept as anchors in any case.
    :return: The figures.
    """
    texts = list(dict.fromkeys(passage.text for question in questions for passage in question.passages))
    compressed = codec.compress(texts, ratio=ratio, protect=protect)
    tiles = (make_tile(text, span, codec) for text, span in zip(texts, compressed.documents, strict=True))
    anchors = {tile.text: set(tile.starts.tolist()) for tile in tiles if tile}
    shares = np.array([share for question in questions for share in _share(codec, question, anchors)])
    stats = compressed.stats
    return Kept(
        ratio=ratio,
        protected=protect is not None,
        reached=stats.ratio,
        bits_per_z_token=stats.bits_per_z_token,
        bits_per_source_token=stats.bits_per_source_token,
        questions=len(shares),
        kept=float(shares.mean()),
        kept_interval=bootstrap(lambda drawn: float(shares[drawn].mean()), len(shares), RESAMPLES, 0),
        least=float(shares.min()),
        whole=float((shares == 1).mean()),
    )


def _share(codec: Codec, question: Question, anchors: dict[str, set[int]]) -> Iterator[float]:
    """Give the share of the first answer that is found, if one is."""
    for passage in question.passages:
        for answer in question.answers:
            start = passage.text.find(answer)
            if start >= 0 and passage.text in anchors:
                _, offsets = codec.backbone.encode_with_offsets(passage.text)
                end = start + len(answer)
                tokens = [place for place, (first, last) in enumerate(offsets) if first < end and last > start]
                yield float(np.mean([place in anchors[passage.text] for place in tokens]))
                return


def main() -> None:
    """Measure, and write `results/kept-answers.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[DATA / "xquad-dev.jsonl"], help="JSONL of questions")
    parser.add_argument("--limit", type=int, default=40, help="questions of each file")
    parser.add_argument("--ratios", type=float, nargs="+", default=[2.0, 4.0, 8.0], help="source tokens per Z-token")
    options, began = parser.parse_args(), time.time()
    drawn = draw_questions(options.data, replace(READER_FULL, questions=options.limit))
    questions = [question for own in drawn.values() for question in own]
    codec = zprompt.load()
    ways = [(ratio, protect) for protect in (None, NAMES_AND_DIGITS) for ratio in options.ratios]
    found = [measure(codec, questions, ratio, protect) for ratio, protect in ways]
    record = RunRecord.take(READER_FULL.seed, began)
    write_json(RESULTS / "kept-answers.json", {"run": record, "data": [p.name for p in options.data], "results": found})
    head = ("", "ratio", "bits per Z-token", "per source token", "kept", "95 %", "whole answers", "questions")
    rows = (
        (
            f"ratio {one.ratio:g}{', names and digits protected' if one.protected else ''}",
            number(one.reached, 2),
            number(one.bits_per_z_token, 1),
            number(one.bits_per_source_token, 1),
            percent(one.kept),
            f"{one.kept_interval.low:.1%} to {one.kept_interval.high:.1%}",
            percent(one.whole),
            str(one.questions),
        )
        for one in found
    )
    print("\n".join(table(head, rows)))


if __name__ == "__main__":
    main()
