"""Measure what it takes a reader to write in Z-tokens, and what that does to its answers.

    python -m benchmarks.zspace [--reader NAME] [--data PATH ...] [--limit N] [--ratio R] [--max-tokens N]

Answers the same questions, and goes on with the first passage of each, in both spaces (tasks/zspace.py). Writes
zspace.json and zspace.md to benchmarks/results, and prints the tables. The reader needs a writer, which
`zprompt train z-head` gives it.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import zprompt
from benchmarks.plan import READER_FULL
from benchmarks.questions import DATA, default_files, draw_questions
from benchmarks.record import RESULTS, RunRecord, write_json
from benchmarks.tasks.zspace import measure, section


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", default="default", help="a shipped reader, or a reader's folder")
    parser.add_argument("--data", type=Path, nargs="+", default=default_files(), help="JSONL of questions")
    parser.add_argument("--limit", type=int, default=10, help="questions of each file")
    parser.add_argument("--ratio", type=float, default=2.0, help="source tokens per Z-token of what is read")
    parser.add_argument("--max-tokens", type=int, default=32, help="of a continuation")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    given, began = parser.parse_args(), time.time()
    if not given.data:
        parser.error(f"There are no questions in {DATA}. Give files by --data.")
    drawn = draw_questions(given.data, replace(READER_FULL, questions=given.limit))
    questions = [question for own in drawn.values() for question in own]
    reader = zprompt.load_reader(given.reader)
    if reader.z_head is None:
        parser.error(f"The reader {given.reader!r} has no writer. Train one with `zprompt train z-head`.")
    result = measure(reader, questions, given.ratio, given.max_tokens, READER_FULL.seed)
    record = RunRecord.take(READER_FULL.seed, began)
    text = "\n".join(section(result)) + "\n"
    about = f"`{record.command}` at commit {record.commit}, {record.started}. Machine: {record.machine}."
    files = [path.name for path in given.data]
    write_json(given.out / "zspace.json", {"run": record, "reader": reader.name, "data": files, "result": result})
    (given.out / "zspace.md").write_text(f"# Text and Z-tokens as what is written\n\n{about}\n\n{text}", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
