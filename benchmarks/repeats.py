"""Measure whether LTSC before Z-tokens is shorter than Z-tokens alone, on texts with repeats.

    alone      codec.compress(text)
    together   codec.compress(ltsc.shorten_text(text)): repeats become references first, even across windows

Inputs are of `--tokens`, several windows each, as in `python -m benchmarks.ltsc`: code, JSON and logs of this machine.
Both ways are exact, which is checked on the first input of each kind. Ratios and bits are per token of the input as it
was; in brackets the 95 % interval of a bootstrap over inputs, then the worst input.

    python -m benchmarks.repeats [--limit N] [--tokens N]
"""

import argparse
import time
from collections.abc import Sequence

import zprompt
from benchmarks.common import RESULTS, Row, draw_inputs, figures, machine_files, machine_ids
from zprompt import Codec
from zprompt.baselines.ltsc import restore_text, shorten_text
from zprompt.eval import Ratio, RunRecord, estimate, write_json

WAYS = ("alone", "together")
COLUMNS = {"kind": "", "way": "", "inputs": "", "ratio": ".2f", "bits per Z-token": ".1f", "bits per token": ".2f"}


def measure(codec: Codec, kind: str, text: str, check: bool) -> list[Row]:
    """Compress one input in both ways; if asked to check, raise SystemExit unless both come back."""
    source = len(codec.backbone.encode(text))
    costs = []
    for way, input_text in zip(WAYS, (text, shorten_text(text, codec.backbone)), strict=True):
        result = codec.compress(input_text)
        if check:
            back = codec.decompress(result.documents)
            if (restore_text(back) if way == "together" else back) != text:
                raise SystemExit(f"An input of the kind {kind} did not come back: that is an error in zprompt.")
        z_tokens = result.stats.z_tokens
        bits = result.stats.bits_per_z_token * z_tokens
        costs.append({"kind": kind, "way": way, "source": source, "positions": z_tokens, "bits": bits})
    return costs


def summarise(costs: Sequence[Row], kind: str, way: str, seed: int) -> Row:
    """Summarise the inputs of a kind, in one way."""
    chosen = [cost for cost in costs if (cost["kind"], cost["way"]) == (kind, way)]

    def figure(above: str, below: str, less_is_better: bool = True) -> object:
        return estimate([Ratio(cost[above], cost[below]) for cost in chosen], seed, less_is_better)

    return {
        "kind": kind,
        "way": way,
        "inputs": len(chosen),
        "ratio": figure("source", "positions", less_is_better=False),
        "bits per Z-token": figure("bits", "positions"),
        "bits per token": figure("bits", "source"),
    }


def main() -> None:
    """Run, write `results/repeats.json`, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=6, help="inputs of each kind")
    parser.add_argument("--tokens", type=int, default=2000, help="of each input")
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.time()
    codec = zprompt.load()
    costs: list[Row] = []
    for kind, paths in machine_files().items():
        ids = machine_ids(paths, codec.backbone)
        for index, piece in enumerate(draw_inputs(ids, options.tokens, options.limit, options.seed)):
            costs += measure(codec, kind, codec.backbone.decode(piece), check=index == 0)
    kinds = dict.fromkeys(cost["kind"] for cost in costs)
    rows = [summarise(costs, kind, way, options.seed) for kind in kinds for way in WAYS]
    write_json(RESULTS / "repeats.json", {"run": RunRecord.take(options.seed, began), "rows": rows, "inputs": costs})
    print("\n".join(figures(rows, COLUMNS)))


if __name__ == "__main__":
    main()
