"""Measure LTSC: how short, how fast, and how it compares with `delta-ltsc` (PyPI) on the same ids.

Inputs are code (the standard library), JSON and logs (made from a seed), cut into pieces of `--tokens` pieces of text.
An input's ids number its words, spaces and signs: a tokenizer's ids would be others, the repeats about the same.
`delta-ltsc` is optional; without it, its columns are empty and the reason is in the results. Times are CPU seconds of
one core, so that other work on the machine disturbs them little; they are an upper bound where it does.

    python -m benchmarks.ltsc [--limit N] [--tokens N]
"""

import argparse
import importlib
import json
import random
import re
import sysconfig
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, RunRecord, write_json
from zprompt.methods import ltsc
from zprompt.methods.ltsc import ALL_MODES, Mode

PAPER = "27 % and 18 % (the paper's two tasks, other data and tokenizer)"
_PIECES = re.compile(r" ?\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One input."""

    kind: str
    tokens: int
    flat: int  # tokens in the paper's mode
    hierarchical: int
    lzw: int
    ours: int  # of the shortest
    seconds: float  # of CPU, for all modes together
    delta: int | None  # the shortest of delta-ltsc's modes that came back exactly
    delta_seconds: float | None  # of its fastest mode
    delta_best_seconds: float | None  # of its shortest mode


def main() -> None:
    """Run, and write `results/ltsc.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=12, help="inputs of each kind")
    parser.add_argument("--tokens", type=int, default=1000, help="of each input")
    parser.add_argument("--seed", type=int, default=0)
    given, began = parser.parse_args(), time.time()
    delta, reason = _delta()
    rows = [
        _measure(kind, ids, delta)
        for kind, text in _texts(given.seed).items()
        for ids in _cut(text, given.tokens, given.limit)
    ]
    big = _ids("".join(_texts(given.seed).values()) * 8)[:100_000]
    seconds = {"all modes": _timed(lambda: ltsc.compress(big))[1]}
    seconds |= {mode.value: _timed(lambda mode=mode: ltsc.compress(big, modes=[mode]))[1] for mode in ALL_MODES}
    record = RunRecord.take(given.seed, began)
    values = {"run": record, "delta_skipped": reason, "seconds_of_100000": seconds, "inputs": rows, "paper": PAPER}
    write_json(RESULTS / "ltsc.json", values)
    report = _report(rows, seconds, reason, record)
    (RESULTS / "ltsc.md").write_text(report, encoding="utf-8")
    print(report)


def _texts(seed: int) -> dict[str, str]:
    """Give a text of each kind."""
    rng = random.Random(seed)
    library = Path(sysconfig.get_paths()["stdlib"])
    names = ("argparse.py", "textwrap.py", "heapq.py", "shutil.py", "csv.py", "queue.py")
    users = [
        {"id": i, "name": rng.choice(["Ada", "Bo", "Cy"]), "active": rng.random() < 0.5, "score": rng.randrange(1000)}
        for i in range(2000)
    ]
    lines = [
        f"2026-11-24T12:{i // 60 % 60:02}:{i % 60:02}Z {rng.choice(['INFO', 'WARN'])} worker-{rng.randrange(8)} "
        f"{rng.choice(['fetched page', 'stored record', 'retrying after timeout'])} {rng.randrange(10_000)}\n"
        for i in range(3000)
    ]
    code = "".join((library / name).read_text("utf-8") for name in names)
    return {"code": code, "JSON": json.dumps(users, indent=1), "logs": "".join(lines)}


def _ids(text: str) -> list[int]:
    """Give each piece of a text the number of its first occurrence."""
    numbers: dict[str, int] = {}
    return [numbers.setdefault(piece, len(numbers)) for piece in _PIECES.findall(text)]


def _cut(text: str, tokens: int, limit: int) -> list[list[int]]:
    """Cut a text's ids into inputs."""
    ids = _ids(text)
    return [ids[start : start + tokens] for start in range(0, len(ids) - tokens + 1, tokens)][:limit]


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Do work, and give its CPU seconds."""
    began = time.process_time()
    done = work()
    return done, time.process_time() - began


def _delta() -> tuple[Any, str | None]:
    """Import delta-ltsc, or say why not."""
    try:
        return importlib.import_module("delta"), None
    except ImportError as error:
        return None, f"delta-ltsc is not there ({error}); pip install delta-ltsc"


def _measure(kind: str, ids: list[int], delta: Any) -> Measurement:  # noqa: ANN401 - an optional module
    """Measure one input."""
    short, seconds = _timed(lambda: ltsc.compress(ids))
    if ltsc.decompress(short) != ids:
        raise SystemExit(f"An input of the kind {kind} did not come back: that is an error in zprompt, report it.")
    lengths = {mode: len(ltsc.compress(ids, modes=[mode])) for mode in ALL_MODES}
    peer = _measure_delta(ids, delta) if delta else []
    best = min(peer, default=(None, None))
    return Measurement(
        kind=kind,
        tokens=len(ids),
        flat=lengths[Mode.FLAT],
        hierarchical=lengths[Mode.HIERARCHICAL],
        lzw=lengths[Mode.LZW],
        ours=len(short),
        seconds=seconds,
        delta=best[0],
        delta_seconds=min((took for _, took in peer), default=None),
        delta_best_seconds=best[1],
    )


def _measure_delta(ids: list[int], delta: Any) -> list[tuple[int, float]]:  # noqa: ANN401 - an optional module
    """Give length and CPU seconds of those of delta-ltsc's modes that run and come back exactly."""
    found = []
    for selection, longest, nested in product(("greedy", "optimal", "beam", "ilp"), (8, 32), (True, False)):
        config = delta.CompressionConfig(
            selection_mode=selection,
            max_subsequence_length=longest,
            hierarchical_enabled=nested,
            dict_length_enabled=nested,  # without lengths, its nested dictionaries are ambiguous and do not come back
            metrics_enabled=False,
            static_dictionary_auto=False,
        )
        try:
            result, seconds = _timed(lambda config=config: delta.compress(ids, config))
            if list(delta.decompress(result.serialized_tokens, config)) == ids:
                found.append((len(result.serialized_tokens), seconds))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is a finding
            print(f"delta-ltsc, {selection}, up to {longest}, nested {nested}: {type(error).__name__}: {error}")
    return found


def _report(rows: Sequence[Measurement], seconds: dict[str, float], reason: str | None, record: RunRecord) -> str:
    """Write the tables."""
    text = "# LTSC\n\nReduction: share of tokens saved, over all inputs of a kind; the paper reports " + PAPER + ".\n\n"
    text += "| kind | inputs | flat (the paper's) | hierarchical | LZW | shortest | delta-ltsc, best mode |\n"
    text += "|---|---|---|---|---|---|---|\n"
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = [row for row in rows if row.kind == kind]
        tokens = sum(row.tokens for row in mine)
        names = ("flat", "hierarchical", "lzw", "ours", "delta")
        cells = [_share([getattr(row, name) for row in mine], tokens) for name in names]
        text += f"| {kind} | {len(mine)} × {mine[0].tokens} | " + " | ".join(cells) + " |\n"
    judged = [row for row in rows if row.delta is not None]
    if judged:
        explicit = sum(min(row.flat, row.hierarchical) <= (row.delta or 0) for row in judged)
        ours = sum(row.ours <= (row.delta or 0) for row in judged)
        fastest = sum(row.delta_seconds or 0 for row in judged) / sum(row.seconds for row in judged)
        best = sum(row.delta_best_seconds or 0 for row in judged) / sum(row.seconds for row in judged)
        text += (
            f"\nAt least as short as delta-ltsc's best mode on {ours} of {len(judged)} inputs (without LZW, so with a "
            f"written dictionary as delta-ltsc has it: {explicit}); {best:.1f} times as fast as that mode, and "
            f"{fastest:.1f} times as fast as its fastest mode on each input.\n"
        )
    text += f"\n{reason}\n" if reason else ""
    text += "\n100,000 tokens, CPU seconds: " + ", ".join(f"{k} {v:.2f}" for k, v in seconds.items()) + ".\n"
    return text + f"\n{record.machine}, load {record.load_average:.1f} at the end, commit {record.commit}.\n"


def _share(lengths: Sequence[int | None], tokens: int) -> str:
    """Write the share of tokens saved."""
    known = [length for length in lengths if length is not None]
    return f"{1 - sum(known) / tokens:.1%}" if len(known) == len(lengths) else "–"


if __name__ == "__main__":
    main()
