"""Measure whether LTSC before Z-tokens is shorter than Z-tokens alone, on texts with repeats.

    alone      codec.compress(text)
    together   codec.compress(ltsc.shorten_text(text)): repeats become references first, also those beyond a window

Inputs are of `--tokens`, several windows each, as in `python -m benchmarks.ltsc`: code, JSON and logs of this machine.
Both ways are exact, which is checked on the first input of each kind. Positions and bits are those of the Z-spans;
ratios are per token of the input as it was.

    python -m benchmarks.repeats [--limit N] [--tokens N]
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

import zprompt
from benchmarks.common import RESULTS, draw_inputs, machine_files, machine_ids
from zprompt import Codec
from zprompt.baselines.ltsc import restore_text, shorten_text
from zprompt.eval import Interval, RunRecord, bootstrap, number, table, write_json

WAYS = ("alone", "together")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one input takes in one way."""

    kind: str
    way: str  # one of WAYS
    source: int  # tokens of the input
    positions: int
    bits: float


@dataclass(frozen=True, slots=True)
class Row:
    """What the inputs of a kind take in one way."""

    kind: str
    way: str
    inputs: int
    ratio: float  # tokens of the inputs per position
    ratio_interval: Interval
    worst_ratio: float  # of any input
    bits_per_position: float
    bits_per_source_token: float


def measure(codec: Codec, kind: str, text: str, check: bool) -> list[Cost]:
    """Compress one input in both ways; if asked to check, raise SystemExit unless both come back."""
    source = len(codec.backbone.encode(text))
    costs = []
    for way, given in zip(WAYS, (text, shorten_text(text, codec.backbone)), strict=True):
        result = codec.compress(given)
        if check:
            back = codec.decompress(result.documents)
            if (restore_text(back) if way == "together" else back) != text:
                raise SystemExit(f"An input of the kind {kind} did not come back: that is an error in zprompt.")
        stats = result.stats
        costs.append(Cost(kind, way, source, stats.z_tokens, stats.bits_per_z_token * stats.z_tokens))
    return costs


def summarise(costs: Sequence[Cost], kind: str, way: str) -> Row:
    """Summarise the inputs of a kind, in one way."""
    own = [cost for cost in costs if (cost.kind, cost.way) == (kind, way)]
    source, positions, bits = (
        np.array([getattr(one, name) for one in own]) for name in ("source", "positions", "bits")
    )
    interval = bootstrap(lambda drawn: float(source[drawn].sum() / positions[drawn].sum()), len(own))
    return Row(
        kind=kind,
        way=way,
        inputs=len(own),
        ratio=float(source.sum() / positions.sum()),
        ratio_interval=interval,
        worst_ratio=float((source / positions).min()),
        bits_per_position=float(bits.sum() / positions.sum()),
        bits_per_source_token=float(bits.sum() / source.sum()),
    )


def main() -> None:
    """Run, write `results/repeats.json`, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=6, help="inputs of each kind")
    parser.add_argument("--tokens", type=int, default=2000, help="of each input")
    parser.add_argument("--seed", type=int, default=0)
    given, began = parser.parse_args(), time.time()
    codec = zprompt.load()
    costs: list[Cost] = []
    for kind, paths in machine_files().items():
        for index, ids in enumerate(
            draw_inputs(machine_ids(paths, codec.backbone), given.tokens, given.limit, given.seed)
        ):
            costs += measure(codec, kind, codec.backbone.decode(ids), check=index == 0)
    rows = [summarise(costs, kind, way) for kind in dict.fromkeys(cost.kind for cost in costs) for way in WAYS]
    record = RunRecord.take(given.seed, began)
    write_json(RESULTS / "repeats.json", {"run": record, "rows": rows, "inputs": [asdict(cost) for cost in costs]})
    print(
        "\n".join(table(("", "way", "inputs", "ratio", "worst", "bits per Z-token", "per source token"), _cells(rows)))
    )


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [
        (
            row.kind,
            row.way,
            str(row.inputs),
            f"{number(row.ratio, 2)} [{number(row.ratio_interval.low, 2)}, {number(row.ratio_interval.high, 2)}]",
            number(row.worst_ratio, 2),
            number(row.bits_per_position, 1),
            number(row.bits_per_source_token, 2),
        )
        for row in rows
    ]


if __name__ == "__main__":
    main()
