"""Measure LTSC: how short, how fast, and how it compares with `delta-ltsc` (PyPI) on the same ids.

All inputs are text of this machine, in the default tokenizer's ids: code is Python's standard library, JSON the
`*.json` files of the installed packages, and logs are those of `/var/log` and of the tests. They are cut into inputs of
`--tokens`, of which `--limit` of each kind are drawn. `delta-ltsc` takes long, so it gets the first `--peer-limit` of
them; if it is not installed, the results say so. Times are CPU seconds of one core, which other work on the machine
hardly lengthens; where it does, they are upper bounds.

    python -m benchmarks.ltsc [--limit N] [--peer-limit N] [--tokens N]
"""

import argparse
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from benchmarks.common import LONG, RESULTS, Ints, describe_run, draw_inputs, machine_files, machine_ids
from zprompt.baselines import Tokenizer, default_tokenizer, ltsc
from zprompt.baselines.ltsc import ALL_MODES, Mode, count_tokens
from zprompt.eval import RunRecord, bootstrap, table, write_json

PAPER = "27 % and 18 %"  # the paper's two tasks, of other data and with another tokenizer
BIG = 100_000


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of one input, shortened."""

    kind: str
    source: int
    flat: int  # in the paper's mode
    hierarchical: int
    lzw: int
    shortest: int
    text: int  # as readable text
    text_source: int  # of the input as text; cutting may have changed a token at its ends
    seconds: float  # of CPU, for all modes of ids together


@dataclass(frozen=True, slots=True)
class Peer:
    """One input by delta-ltsc."""

    tokens: int  # in the shortest of its modes that came back exactly
    seconds: float  # of CPU, of that mode
    fastest_seconds: float  # of its fastest mode
    failures: int  # modes that raised, or did not come back


def main() -> None:
    """Run, and write `results/ltsc.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=40, help="inputs of each kind")
    parser.add_argument("--peer-limit", type=int, default=20, help="of these, inputs that delta-ltsc sees")
    parser.add_argument("--tokens", type=int, default=500, help="of each input")
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.time()
    tokenizer = default_tokenizer()
    files = machine_files()
    ids = {kind: machine_ids(paths, tokenizer) for kind, paths in files.items()}
    inputs = [
        (kind, piece) for kind in ids for piece in draw_inputs(ids[kind], options.tokens, options.limit, options.seed)
    ]
    rows = [_measure(kind, piece, tokenizer) for kind, piece in inputs]
    delta, reason = _delta()
    seen = [i for i in range(len(rows)) if [kind for kind, _ in inputs[:i]].count(inputs[i][0]) < options.peer_limit]
    peers = {i: peer for i in seen if delta and (peer := _measure_delta(inputs[i][1], delta))}
    long = [_measure(kind, ids[kind][:LONG], tokenizer) for kind in ids]
    seconds = _big_seconds(ids["code"][:BIG])
    record = RunRecord.take(options.seed, began)
    values = {"run": record, "peer_skipped": reason, "seconds": seconds, "inputs": rows, "peer": peers, "long": long}
    write_json(RESULTS / "ltsc.json", values | {"files": {kind: len(paths) for kind, paths in files.items()}})
    report = "\n".join(_report(rows, peers, long, seconds, reason, record))
    (RESULTS / "ltsc.md").write_text(report + "\n", encoding="utf-8")
    print(report)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result and the CPU seconds of a call."""
    began = time.process_time()
    result = work()
    return result, time.process_time() - began


def _big_seconds(ids: list[int]) -> dict[str, float]:
    seconds = {"tokens": float(len(ids)), "all modes": _timed(partial(ltsc.compress, ids))[1]}
    return seconds | {mode.value: _timed(partial(ltsc.compress, ids, modes=[mode]))[1] for mode in ALL_MODES}


def _measure(kind: str, ids: list[int], tokenizer: Tokenizer) -> Lengths:
    short, seconds = _timed(partial(ltsc.compress, ids))
    text = tokenizer.decode(ids)
    readable = ltsc.shorten_text(text, tokenizer)
    if ltsc.decompress(short) != ids or ltsc.restore_text(readable) != text:
        raise SystemExit(f"An input of the kind {kind} did not come back: that is an error in zprompt, report it.")
    modes = {mode: len(ltsc.compress(ids, modes=[mode])) for mode in ALL_MODES}
    return Lengths(
        kind=kind,
        source=len(ids),
        flat=modes[Mode.FLAT],
        hierarchical=modes[Mode.HIERARCHICAL],
        lzw=modes[Mode.LZW],
        shortest=len(short),
        text=count_tokens(readable, tokenizer),
        text_source=count_tokens(text, tokenizer),
        seconds=seconds,
    )


def _delta() -> tuple[Any, str | None]:
    """Import delta-ltsc; return the reason if it is not installed."""
    try:
        return importlib.import_module("delta"), None
    except ImportError as error:
        return None, f"delta-ltsc is not there ({error}); pip install delta-ltsc"


def _measure_delta(ids: list[int], delta: Any) -> Peer | None:  # noqa: ANN401 - an optional module
    """Try all modes of delta-ltsc on one input."""
    runs, failures = [], 0
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
            result, seconds = _timed(partial(delta.compress, ids, config))
            came_back = list(delta.decompress(result.serialized_tokens, config)) == ids
        except Exception:  # noqa: BLE001 - whatever a peer raises is a finding
            came_back = False
        if came_back:
            runs.append((len(result.serialized_tokens), seconds))
        failures += not came_back
    return Peer(*min(runs), min(seconds for _, seconds in runs), failures) if runs else None


def _report(
    rows: Sequence[Lengths],
    peers: dict[int, Peer],
    long: Sequence[Lengths],
    seconds: dict[str, float],
    reason: str | None,
    record: RunRecord,
) -> Iterable[str]:
    yield from ("# LTSC", "", "Share of tokens saved, with its 95 % interval over inputs, and the least of any input.")
    yield from (f"The paper reports {PAPER} for its two tasks: other data, and another tokenizer.", "")
    head = ("", "inputs", "flat (the paper's)", "hierarchical", "LZW", "shortest", "as readable text")
    yield from table(head, [_cells(kind, rows) for kind in dict.fromkeys(row.kind for row in rows)])
    yield from ("", f"Of one input of up to {LONG:,} tokens:", "")
    yield from table(head, [_cells(row.kind, [row]) for row in long])
    yield ""
    if peers:
        yield from _comparison([(rows[i], peer) for i, peer in peers.items()])
    if reason:
        yield reason
    tokens = int(seconds["tokens"])
    times = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items() if name != "tokens")
    yield from ("", f"CPU seconds for {tokens:,} tokens of code: {times}.", "")
    yield f"{describe_run(record)} The machine was shared with other work."


def _cells(kind: str, rows: Sequence[Lengths]) -> tuple[str, ...]:
    inputs = [asdict(row) for row in rows if row.kind == kind]
    cells = []
    for name in ("flat", "hierarchical", "lzw", "shortest", "text"):
        source = np.array([row["text_source" if name == "text" else "source"] for row in inputs])
        short = np.array([row[name] for row in inputs])
        cell = f"**{1 - short.sum() / source.sum():.1%}**"
        if len(inputs) > 1:

            def saved(drawn: Ints, short: Ints = short, source: Ints = source) -> float:
                return float(1 - short[drawn].sum() / source[drawn].sum())

            interval = bootstrap(saved, len(inputs))
            cell += f" [{interval.low:.1%}, {interval.high:.1%}], least {(1 - short / source).min():.1%}"
        cells.append(cell)
    return (kind, f"{len(inputs)} × {inputs[0]['source']:,}", *cells)


def _comparison(pairs: Sequence[tuple[Lengths, Peer]]) -> Iterable[str]:
    names = ("shortest", "hierarchical", "flat")
    wins = {name: sum(getattr(row, name) <= peer.tokens for row, peer in pairs) for name in names}
    longer = max(row.shortest / peer.tokens for row, peer in pairs)
    ours, best = sum(row.seconds for row, _ in pairs), sum(peer.seconds for _, peer in pairs)
    fastest = sum(peer.fastest_seconds for _, peer in pairs)
    saved = 1 - sum(peer.tokens for _, peer in pairs) / sum(row.source for row, _ in pairs)
    saved_here = 1 - sum(row.shortest for row, _ in pairs) / sum(row.source for row, _ in pairs)
    count = len(pairs)
    yield f"**delta-ltsc**, the shortest of its 16 settings on each of {count} of these inputs, saves {saved:.1%},"
    yield f"ours {saved_here:.1%}. Ours is at least as short on {wins['shortest']} (worst: {longer:.2f} times as long);"
    yield f"with a written dictionary, as delta-ltsc has it, on {wins['hierarchical']} in the hierarchical mode alone,"
    yield f"and on {wins['flat']} in the paper's alone. All three modes together take {ours / count * 1000:.1f} ms an"
    yield f"input; delta-ltsc's shortest setting takes {best / ours:.1f} times as long, its fastest"
    yield f"{fastest / ours:.1f} times. {sum(peer.failures for _, peer in pairs)} of its {16 * count} runs raised or"
    yield "did not come back."


if __name__ == "__main__":
    main()
