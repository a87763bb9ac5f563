"""Measure a reader: its answers, compared with those from other inputs, and its time to first token.

    python -m benchmarks.reader --readers FOLDER [--data PATH ...] [--limit N] [--quick] [--only TASK ...]

FOLDER has a reader for each kind of input (z, text, pruned, truncated, ltsc), as `zprompt train reader --input
…` writes them; without z or ltsc, the shipped reader is measured. The tasks are the modules answers and prefill. Writes
reader.json and reader.md to benchmarks/results after each condition, so that an interrupted run leaves its results so
far, and prints the tables. Z-spans of the questions' passages are kept (--cache). Timings (prefill) need an idle
machine.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import zprompt
from benchmarks import answers, prefill
from benchmarks.common import (
    DATA,
    QUESTION_SETS,
    RESULTS,
    Tables,
    describe_run,
    draw_questions,
    joined_prose,
    question_files,
    wikipedia_file,
)
from benchmarks.prefill import PrefillPlan
from benchmarks.readers import INPUTS, FoundReader, find_readers
from zprompt import Codec
from zprompt.eval import RunRecord, write_json
from zprompt.paths import cache_dir

SECTIONS = {"answers": answers.section, "prefill": prefill.section}
TASKS = tuple(SECTIONS)


@dataclass(frozen=True, slots=True)
class Plan:
    """Sample sizes of a run."""

    seed: int = 0  # of the choice of questions, and of the bootstrap
    questions: int = 100  # of each data set
    prefill: PrefillPlan = field(default_factory=PrefillPlan)


FULL = Plan()
QUICK = Plan(questions=8, prefill=PrefillPlan((250, 500), passage=125, rounds=1))


def run(
    codec: Codec,
    readers: Mapping[str, FoundReader],
    files: Sequence[Path],
    cache: Path,
    plan: Plan,
    tasks: Sequence[str],
) -> Iterator[dict[str, Tables]]:
    """Run tasks, and print to stderr how long each took.

    :param codec: The codec.
    :param readers: The readers by kind of input.
    :param files: Files of questions.
    :param cache: Folder where Z-spans are kept for the next run.
    :param plan: Sample sizes.
    :param tasks: Which of `TASKS`.
    :yields: All results so far, by task; several times for each task.
    """
    questions = draw_questions(files, plan.questions, plan.seed)
    measures: dict[str, Callable[[], Iterator[Tables]]] = {
        "answers": lambda: answers.measure(codec, readers, questions, cache, plan.seed),
        "prefill": lambda: prefill.measure(codec, readers["z"], joined_prose(wikipedia_file()), plan.prefill),
    }
    results: dict[str, Tables] = {}
    for task in tasks:
        began = time.perf_counter()
        for result in measures[task]():
            results[task] = result
            yield results
        print(f"{task}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def save(folder: Path, record: RunRecord, codec: Codec, data: str, plan: Plan, results: Mapping[str, Tables]) -> str:
    """Write JSON and Markdown, and return the Markdown."""
    about = {"name": codec.name, "fingerprint": codec.fingerprint, "settings": codec.settings.to_dict()}
    values = {"run": record, "codec": about, "data": data, "plan": plan, "results": dict(results)}
    write_json(folder / "reader.json", values)
    text = report(record, repr(codec), data, results)
    (folder / "reader.md").write_text(text, encoding="utf-8")
    return text


def report(record: RunRecord, codec: str, data: str, results: Mapping[str, Tables]) -> str:
    """Write the report as Markdown: what was measured on what, then one section per task."""
    lines = [
        "# What the reader makes of Z-tokens",
        "",
        f"{describe_run(record)} Raw figures, also of single questions: `reader.json`.",
        "",
        f"Codec: {codec}.",
        f"Data: {data}.",
    ]
    for task, tables in results.items():
        lines += ["", *SECTIONS[task](tables)]
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="a shipped codec, or a codec's folder")
    parser.add_argument("--readers", type=Path, help="folder with a reader's folder for each kind of input")
    parser.add_argument(
        "--data", type=Path, nargs="+", help=f"JSONL files of questions; default: {', '.join(QUESTION_SETS)} in {DATA}"
    )
    parser.add_argument("--cache", type=Path, help="folder where Z-spans are kept")
    parser.add_argument("--inputs", nargs="+", choices=INPUTS, default=INPUTS, help="readers to measure; all")
    parser.add_argument("--limit", type=int, help=f"questions of each data set; default: {FULL.questions}")
    parser.add_argument("--quick", action="store_true", help="small samples, to see that everything runs")
    parser.add_argument("--only", nargs="+", choices=TASKS, default=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    options.data = options.data or question_files()
    for path in (*options.data, *([options.readers] if options.readers else [])):
        if not path.exists():
            parser.error(f"There is no {path}.")
    if "answers" in options.only and not options.data:
        parser.error(f"There are no questions in {DATA}. Give files by --data, or leave them out by --only prefill.")
    if options.limit is not None and options.limit < 1:
        parser.error(f"--limit must be at least 1, got {options.limit}.")
    return options


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    plan = QUICK if options.quick else FULL
    if options.limit:
        plan = replace(plan, questions=options.limit)
    cache = options.cache or cache_dir() / "benchmarks" / "reader"
    codec = zprompt.load(options.codec, device="cpu", quantization="none")  # a LoRA merges into plain weights
    readers = find_readers(options.readers, codec, options.inputs)
    names = ", ".join(path.name for path in options.data)
    data = f"up to {plan.questions} questions each of {names} (drawn with seed {plan.seed}), gold passages only"
    print(f"{codec}\n{data}", file=sys.stderr, flush=True)
    text = ""
    for results in run(codec, readers, options.data, cache, plan, options.only):
        text = save(options.out, RunRecord.take(plan.seed, began), codec, data, plan, results)
    print(text)


if __name__ == "__main__":
    main()
