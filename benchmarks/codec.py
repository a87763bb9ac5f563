"""Measure a codec: exactness, what a ratio costs in bits, speed and memory, and what each part contributes.

    python -m benchmarks.codec [--codec NAME] [--wikipedia PATH] [--documents N] [--short | --quick] [--only TASK ...]

Writes codec.json (all figures, also of single documents), codec.md and codec-rate-distortion.png to
benchmarks/results, and prints the tables. Most of an hour on 2 idle cores; with --short a quarter of it, with
--quick a few minutes, for trying things out. Timings need an idle machine.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import zprompt
from benchmarks.documents import (
    WIKIPEDIA,
    Document,
    hard_documents,
    huge_document,
    long_documents,
    natural_documents,
)
from benchmarks.plan import FULL, QUICK, SHORT, Plan
from benchmarks.plots import plot_rate_distortion
from benchmarks.record import RESULTS, RunRecord, write_json
from benchmarks.report import Result, report
from benchmarks.tasks import ablation, exactness, rate_distortion, speed
from zprompt import Codec
from zprompt.eval import draw

TASKS = ("exactness", "rate_distortion", "speed", "ablation")
PROSE = "The first sentence of this note was compressed before the rest of it was written."


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents of a run."""

    passages: list[Document]
    others: list[Document]  # long, hard and huge ones
    note: str  # what they are

    @property
    def prose(self) -> str:
        """Join the passages.

        :return: A long text to cut pieces of.
        """
        return "\n\n".join(document.text for document in self.passages)


def gather(codec: Codec, wikipedia: Path | None, plan: Plan) -> Corpus:
    """Collect the documents.

    :param codec: The codec.
    :param wikipedia: The Wikipedia file; None: there is none.
    :param plan: How many, and how long.
    :return: The documents.
    """

    def count(text: str) -> int:
        return len(codec.backbone.encode(text))

    passages = natural_documents(wikipedia, plan, count)
    long, huge = long_documents(wikipedia, plan, count), huge_document(plan, count)
    hard = hard_documents(codec.compress(PROSE).documents, plan)
    note = f"{len(hard)} hard texts" + (f" and one of {count(huge.text):,} tokens" if huge else "") + " of the project."
    if wikipedia is None:
        return Corpus(
            passages, [*long, *hard, *([huge] if huge else [])], f"no Wikipedia file; the examples' prose, and {note}"
        )
    note = (
        f"{wikipedia.name}: {len(passages)} articles (drawn with seed {plan.seed}; whole paragraphs from the beginning,"
        f" up to {plan.passage_tokens} tokens), {len(long)} of them also as long documents; {note}"
    )
    return Corpus(passages, [*long, *hard, *([huge] if huge else [])], note)


def run(codec: Codec, corpus: Corpus, plan: Plan, tasks: Sequence[str]) -> Iterator[Result]:
    """Run tasks, and say on stderr how long each took.

    :param codec: The codec.
    :param corpus: The documents.
    :param plan: Sample sizes.
    :param tasks: Which of `TASKS`.
    :yields: The result of each.
    """
    curve = draw(corpus.passages, plan.curve_documents, plan.seed)
    ablated = draw(corpus.passages, plan.ablated_documents, plan.seed)
    measures: dict[str, Callable[[], Result]] = {
        "exactness": lambda: exactness.measure(codec, [*corpus.passages, *corpus.others], plan),
        "rate_distortion": lambda: rate_distortion.measure(codec, curve, plan),
        "speed": lambda: speed.measure(codec, corpus.prose, plan),
        "ablation": lambda: ablation.measure(codec, ablated, plan),
    }
    for task in tasks:
        began = time.perf_counter()
        yield measures[task]()
        print(f"{task}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def save(folder: Path, record: RunRecord, codec: Codec, corpus: Corpus, plan: Plan, results: Sequence[Result]) -> str:
    """Write JSON, Markdown and plot.

    :param folder: Where to.
    :param record: How the benchmark ran.
    :param codec: The codec.
    :param corpus: The documents.
    :param plan: Sample sizes.
    :param results: The tasks' results.
    :return: The Markdown.
    """
    about = {"name": codec.name, "fingerprint": codec.fingerprint, "settings": codec.settings.to_dict()}
    findings = {type(result).__name__: asdict(result) for result in results}
    write_json(
        folder / "codec.json", {"run": record, "codec": about, "data": corpus.note, "plan": plan, "results": findings}
    )
    text = report(record, repr(codec), corpus.note, results)
    (folder / "codec.md").write_text(text, encoding="utf-8")
    for result in results:
        if isinstance(result, rate_distortion.RateDistortion):
            plot_rate_distortion(result, folder / "codec-rate-distortion.png")
    return text


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="a shipped codec, or a codec's folder")
    parser.add_argument(
        "--wikipedia", type=Path, help=f"JSON lines with paragraphs; default: {WIKIPEDIA}, if it is there"
    )
    parser.add_argument("--documents", type=int, help=f"Wikipedia articles; default: {FULL.articles}")
    parser.add_argument("--short", action="store_true", help="smaller samples")
    parser.add_argument("--quick", action="store_true", help="small samples, to see that everything runs")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if options.wikipedia and not options.wikipedia.is_file():
        parser.error(f"There is no file {options.wikipedia}. Leave --wikipedia out to use the project's own texts.")
    return options


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    plan = QUICK if options.quick else SHORT if options.short else FULL
    if options.documents:
        plan = replace(plan, articles=options.documents)
    wikipedia = options.wikipedia or (WIKIPEDIA if WIKIPEDIA.is_file() else None)
    codec = zprompt.load(options.codec, device="cpu")
    corpus = gather(codec, wikipedia, plan)
    print(f"{codec}\n{corpus.note}", file=sys.stderr, flush=True)
    results: list[Result] = []
    for result in run(codec, corpus, plan, options.only):
        results.append(result)  # saved one by one: what comes after may fail, or be stopped
        text = save(options.out, RunRecord.take(plan.seed, began), codec, corpus, plan, results)
    print(text)


if __name__ == "__main__":
    main()
