"""Compare anchors, learned codes and paper A: readers of the same data and steps, in one table.

    FOLDER/NAME        by `zprompt train reader --input codes` or `--input paper-a`. The others are compared with the
                       first NAME, meant to be the control made with --codes 1: anchors alone, all else the same

    positions          source tokens per position that the reader has of a passage
    bits               anchors and gaps as a Z-span codes them, and log2 V for each code that is written
    kept               context benefit kept (zprompt/train/reader_evaluation.py)
    F1                 of answers, the passages compressed without the question, and the paired difference
    BLEU-4, exact      of the first 64 tokens of passages, decoded freely from their codes; exact: without an error
    usage, ...         what the codes mean (zprompt/train/codes_analysis.py)

    python -m benchmarks.codes FOLDER --names anchors codes paper-a [--questions 300] [--passages 48]

Everything is greedy. Intervals are 95 % by bootstrap over passages or questions. Writes codes.json and codes.md.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import DATA, RESULTS, Floats, Range, Row, describe_run, draw_questions, figures
from zprompt import Codec
from zprompt.eval import CorpusBleu, Question, RunRecord, bootstrap, f1, write_json
from zprompt.llm import llama_of
from zprompt.reader import ZEmbedding
from zprompt.train.codes import CodesModel, SpanCodes, load_codes
from zprompt.train.codes_analysis import collect, measure, uses_in
from zprompt.train.config import ReaderTrainConfig
from zprompt.train.packing import PackedSequence, Positions
from zprompt.train.passages import TiledPassage
from zprompt.train.reader_data import AGAIN, ReaderData, Sources, as_input
from zprompt.train.reader_evaluation import BenefitMeter, answer_from_codes
from zprompt.train.reader_model import ReaderModel
from zprompt.zspan.stream import measure as measure_stream

REPEATED = 64  # tokens that are written again


class Evaluation:
    """What readers are measured on, at the ratio that they were trained for."""

    def __init__(
        self, codec: Codec, model: CodesModel, questions: Sequence[Question], options: argparse.Namespace
    ) -> None:
        """Compress passages and questions; the store has them for the next reader."""
        codes = model.codes.config
        config = ReaderTrainConfig(
            input=codes.kind, ratios=(codes.ratio,), dev_ratios=(codes.ratio,), dev_passages=options.passages
        )
        self.codec, self.model, self.config = codec, model, codes
        self.data = ReaderData(codec, config, options.cache, _report)
        _, texts = self.data.split(Sources(text=(), dev_text=[str(options.data / "wikipedia-dev.jsonl")]))
        self.passages = self.data.store.tile(texts, (codes.ratio,))
        [self.contexts] = self.data.development(texts).values()
        [self.questions] = self.data.development_questions(questions).values()

    def measure(self) -> tuple[Row, Floats]:
        """Return the figures of the reader, and the F1 of each answer."""
        codec, model = self.codec, self.model
        untuned = ReaderModel.of(codec.backbone, llama_of(codec.backbone), ZEmbedding(codec.backbone.hidden_size))
        benefit = BenefitMeter(untuned, self.contexts).measure(model)
        answers = answer_from_codes(model, self.data.prompts, self.questions, codec.backbone.decode)
        pairs = zip(answers, self.questions, strict=True)
        scores = np.array([f1(answer, question.answers) for answer, question in pairs])
        return {
            **self._measure_codes(),
            "kept": Range(benefit.kept, *benefit.kept_interval),
            "F1": Range.of_mean(scores),
            **self._measure_repetition(),
        }, scores

    def _measure_codes(self) -> Row:
        """Measure positions, bits, and what the codes mean."""
        values = self.config.codes
        uses = [uses_in(self.model, self.codec.backbone, passage) for passage in self.passages]
        flat = not isinstance(self.model.codes, SpanCodes)
        positions = sum(size + flat for *_, size in uses)  # paper A's end of Z takes one, too
        tokens = sum(len(passage.ids) for passage in self.passages)
        if flat:
            bits = positions * math.log2(values + 1)
        else:
            bits = sum(map(_z_token_bits, self.passages))
            bits += sum(len(codes) for codes, *_ in uses) * math.log2(values)
        analysis = measure(collect(uses), values, len(uses), tokens / positions, 0).to_dict()
        return {
            "passages": len(uses),
            "positions": tokens / positions,
            "bits per position": bits / positions,
            "bits per source token": bits / tokens,
            **{name: value for name, value in analysis.items() if name not in ("passages", "ratio", "values")},
            "V": values,
        }

    def _measure_repetition(self) -> Row:
        """Compare the beginnings of passages with what the reader writes from their codes."""
        decode, prompts = self.codec.backbone.decode, self.data.prompts
        start = Positions.of_ids([prompts.tokenizer.start_id])
        again = Positions.of_ids(prompts.tokenizer.encode(AGAIN))
        texts, written = [], []
        for passage in self.passages:
            beginning = _beginning(passage)
            piece = Positions.of_pieces([as_input(beginning, self.config.kind).piece])
            trunk = Positions.concatenate((start, piece, again))
            ids = self.model.write(PackedSequence("repetition", trunk, ()), prompts.end_id, len(beginning.ids))
            texts.append(decode(beginning.ids.tolist()))
            written.append(decode(ids))
        bleu = CorpusBleu(texts, written)
        interval = bootstrap(lambda drawn: bleu.score(drawn) or 0.0, len(texts))
        return {
            "BLEU-4": Range(bleu.score() or 0.0, interval.low, interval.high),
            "exact": sum(map(str.__eq__, texts, written)) / len(texts),
            "shown": [*zip(texts, written, strict=True)][:4],
        }


def _z_token_bits(passage: TiledPassage) -> float:
    """Return the bits of anchors and gaps in a Z-span."""
    dropped = len(passage.ids) - len(passage.tokens)
    return sum(measure_stream(passage.tokens, [0] * dropped)[0])


def _beginning(passage: TiledPassage) -> TiledPassage:
    last = int(np.searchsorted(passage.edges, REPEATED, side="right")) - 1
    return passage.part(0, max(1, last))


def _report(stage: str, done: int, total: int, figures: dict[str, float]) -> None:
    print(f"{stage} {done}/{total}", file=sys.stderr, flush=True)


TABLES = (
    {"kept": ".1%", "F1": ".1%", "F1, difference": ".1%", "BLEU-4": ".1f", "exact": ".0%"},
    {"positions": ".2f", "bits per position": ".1f", "bits per source token": ".2f", "steps": "", "seconds": ",.0f"},
    {"V": "", "uses": ",", "bits": ".2f", "unused": ".1%", "runs": ".1f", "commonest": ".1%"}
    | {"cosine": ".3f", "control": ".3f"},
)


def report(record: RunRecord, about: str, rows: Sequence[Row]) -> Iterator[str]:
    """Write the tables as Markdown."""
    yield from ("# Codes for reading", "", f"{describe_run(record)} {about}")
    for columns in TABLES:
        yield ""
        yield from figures(rows, {"reader": "", **columns})


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="has a folder for each reader")
    parser.add_argument("--names", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--data", type=Path, default=DATA, help="has xquad-dev, nq-dev and wikipedia-dev.jsonl")
    parser.add_argument("--questions", type=int, default=300, help="half of XQuAD, half of NQ")
    parser.add_argument("--passages", type=int, default=48, help="of Wikipedia")
    parser.add_argument("--cache", type=Path, required=True, help="where Z-tokens are kept, as `train reader --cache`")
    parser.add_argument("--out", type=Path, default=RESULTS)
    return parser.parse_args()


def main() -> None:
    """Measure all readers."""
    options, began = _parse(), time.time()
    codec = Codec.from_pretrained("default", quantization="none")
    files = [options.data / f"{name}-dev.jsonl" for name in ("xquad", "nq")]
    drawn = draw_questions(files, options.questions // 2)
    questions = [question for group in drawn.values() for question in group]
    rows: list[Row] = []
    first: Floats | None = None
    for name in options.names:
        folder = options.folder / name
        training = json.loads((folder / "training.json").read_text("utf-8"))
        row, scores = Evaluation(codec, load_codes(folder, codec.backbone), questions, options).measure()
        trained = {key: training[key] for key in ("steps", "seconds", "seed", "config")}
        difference = None if first is None else Range.of_mean(scores - first)
        rows.append({"reader": name, "questions": len(scores), "F1, difference": difference, **trained, **row})
        first = scores if first is None else first
        record = RunRecord.take(0, began)
        write_json(options.out / "codes.json", {"run": record, "readers": rows})
        about = f"{len(scores)} questions, half of XQuAD and half of NQ, with the passages that answer them."
        text = "\n".join(report(record, about, rows)) + "\n"
        (options.out / "codes.md").write_text(text, "utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main()
