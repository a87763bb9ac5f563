r"""Fuzz the library: whatever the input, it may raise nothing but its own errors.

    python -m benchmarks.fuzz [--inputs N] [--seed N] [--kinds KIND ...]

    Z-spans     mutated Z-spans, in text or alone: each is refused, or read as text or as the original Z-span
    resealed    Z-spans with changed bytes and a checksum that fits: refused, or written back byte for byte
    look-alikes texts with pieces of Z-spans, their escapes and HTML: escaped, found to have no Z-span, and read back
    focused     Z-spans with random sentences put back: the tokens are those of the text, at every position
    restored    mutated Z-spans of a tiny codec, restored by its LLM: refused, or the text that the digest is of
    Unicode     characters of all planes: units cover the text, what is elided is no longer than the text
    JSON lines  records as several programs write them, whole and damaged: the same bytes come back
    documents   texts shortened for a question, by words alone: no longer, and nothing but their own words
    messages    conversations with nested JSON in all places: as many messages, no longer, all else untouched
    long        short pieces repeated to 50,000 characters: in linear time, like all else

Allowed are the errors of zprompt/errors.py. Everything else is a fault: another exception, a wrong result, and more
than a second of processor time for one input. Each input is made from only the seed, its kind and its number, so the
report names what reproduces it; faults that were found have become tests of the modules concerned.

Writes fuzz.json to benchmarks/results, prints the table, and exits with 1 if there are faults. A million inputs take
about ten minutes on an idle machine.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from benchmarks import fuzz_spans, fuzz_texts
from benchmarks.common import RESULTS, Row, figures
from benchmarks.fuzz_spans import Restorer, WrongError
from zprompt.errors import RatioWarning, ZPromptError
from zprompt.eval import RunRecord, write_json

SECONDS = 1.0  # of processor time that one input may take
HANG = 60  # seconds after which an input is abandoned
SHOWN = 2000  # characters of an input that is reported


class HangError(BaseException):
    """An input that takes too long; a BaseException, so that the code under test does not catch it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of inputs."""

    share: int  # of a thousand inputs
    make: Callable[[Random], Any]
    check: Callable[[Any], None]


def kinds() -> dict[str, Kind]:
    """Return all kinds of inputs; slow ones have small shares."""
    restorer = Restorer()
    fuzz_texts.COUNT("A tokenizer is loaded when it is first used.")
    return {
        "Z-spans": Kind(640, fuzz_spans.mutated_span, fuzz_spans.check_span_text),
        "resealed": Kind(50, fuzz_spans.resealed_span, fuzz_spans.check_resealed),
        "look-alikes": Kind(60, fuzz_spans.look_alike, fuzz_spans.check_look_alike),
        "focused": Kind(12, fuzz_spans.focused_span, fuzz_spans.check_focused),
        "restored": Kind(1, restorer.make, restorer.check),
        "Unicode": Kind(140, fuzz_texts.unicode_text, fuzz_texts.check_unicode),
        "JSON lines": Kind(75, fuzz_texts.json_lines, fuzz_texts.check_json_lines),
        "documents": Kind(11, fuzz_texts.documents, fuzz_texts.check_documents),
        "messages": Kind(10, fuzz_texts.messages, fuzz_texts.check_messages),
        "long": Kind(1, fuzz_texts.long_input, fuzz_texts.check_long),
    }


# The run.


@dataclass(slots=True)
class Tally:
    """The results of the inputs of one kind."""

    inputs: int = 0
    refused: Counter[str] = field(default_factory=Counter)  # by class of error
    seconds: float = 0.0
    slowest: float = 0.0
    slowest_number: int = 0
    faults: list[Row] = field(default_factory=list)

    def row(self, kind: str) -> Row:
        """Return the figures."""
        return {
            "kind": kind,
            "inputs": self.inputs,
            "refused": dict(sorted(self.refused.items())),
            "faults": [fault | {"input": fault["input"][:SHOWN]} for fault in self.faults],
            "seconds": self.seconds,
            "slowest": {"seconds": self.slowest, "number": self.slowest_number},
        }


def try_kind(name: str, kind: Kind, inputs: int, seed: int) -> Tally:
    """Try some inputs of a kind."""
    tally = Tally(inputs)
    for number in range(inputs):
        case = kind.make(Random(f"{seed} {name} {number}"))
        began = time.process_time()
        try:
            signal.setitimer(signal.ITIMER_REAL, HANG)
            kind.check(case)
        except ZPromptError as error:
            tally.refused[type(error).__name__] += 1
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - there must be none, Rust panics and hangs included
            _report(tally, number, error, case)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        took = time.process_time() - began
        tally.seconds += took
        if took > tally.slowest:
            tally.slowest, tally.slowest_number = took, number
        if took > SECONDS:
            _report(tally, number, HangError(f"{took:.1f} s"), case)
    return tally


def _report(tally: Tally, number: int, error: BaseException, case: object) -> None:
    """Keep the shortest input of each fault."""
    frames = traceback.extract_tb(error.__traceback__)
    where = next((f"{frame.name}, line {frame.lineno}" for frame in reversed(frames) if frame.name != "require"), "")
    what = str(error) if isinstance(error, WrongError) else type(error).__name__
    fault = {"what": what, "where": where, "times": 1, "number": number, "error": str(error), "input": repr(case)}
    known = next((row for row in tally.faults if (row["what"], row["where"]) == (what, where)), None)
    if known is None:
        tally.faults.append(fault)
    elif len(fault["input"]) < len(known["input"]):
        known.update(fault, times=known["times"] + 1)
    else:
        known["times"] += 1


def _give_up(_: int, frame: FrameType | None) -> None:
    raise HangError(f"more than {HANG} s, in {frame.f_code.co_qualname if frame else 'unknown'}")


def lines(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Write the figures as a Markdown table."""
    flat = [
        {**row, "refused": sum(row["refused"].values()), "faults": len(row["faults"])}
        | {"slowest": row["slowest"]["seconds"]}
        for row in rows
    ]
    yield from figures(
        flat, {"kind": "", "inputs": ",", "refused": ",", "faults": "", "seconds": ".0f", "slowest": ".3f"}
    )


def main() -> None:
    """Try all kinds, write `results/fuzz.json`, and print the table; exit with 1 if there are faults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", help="some kinds only")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, began = parser.parse_args(), time.time()
    signal.signal(signal.SIGALRM, _give_up)
    warnings.simplefilter("ignore", RatioWarning)
    all_kinds = kinds()
    total = sum(kind.share for kind in all_kinds.values())
    ends = list(accumulate((kind.share for kind in all_kinds.values()), initial=0))
    counts = [options.inputs * end // total - options.inputs * start // total for start, end in pairwise(ends)]
    rows = []
    for (name, kind), count in zip(all_kinds.items(), counts, strict=True):
        if options.kinds and name not in options.kinds:
            continue
        rows.append(try_kind(name, kind, count, options.seed).row(name))
        print(f"{name}: {count:,} inputs, {len(rows[-1]['faults'])} faults", file=sys.stderr, flush=True)
        write_json(
            options.out / "fuzz.json",
            {"run": RunRecord.take(options.seed, began), "inputs": options.inputs, "rows": rows},
        )
    print("\n".join(lines(rows)))
    if any(row["faults"] for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
