"""Measure what each quantization of the default backbone costs on this CPU: memory, a forward pass, a greedy step.

Each one is measured in its own process, since memory once touched is not given back. Writes
`benchmarks/results/quantization.json` and prints the table of `docs/quantization.md`.

    python -m benchmarks.quantization [--note "what else was running"]
"""

import argparse
import ctypes
import gc
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from benchmarks.common import RESULTS, ROOT
from zprompt.eval import RunRecord, table, write_json

QUANTIZATIONS = ("none", "nf4", "int8")
PASS_TOKENS = 512
STEPS = 10
REPEATS = 3


@dataclass(frozen=True, slots=True)
class Measurement:
    """The cost of one quantization."""

    quantization: str
    weight_megabytes: float  # all tensors of the decoder, its tied head counted once
    rss_megabytes: float  # resident memory that loading and one pass added, after the allocator released free pages
    load_seconds: float  # without imports
    pass_tokens_per_second: float  # one row of 512 tokens, median
    step_milliseconds: float  # one row after 512 tokens, median
    same_top_token: float  # share of positions where the most likely next token is that of "none"


def median_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the median seconds of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def release_free_memory() -> None:
    """Let glibc return free pages, or the fp32 weights that were packed would still count as resident."""
    gc.collect()
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def measure(quantization: str) -> Measurement:
    """Load the default backbone once and measure it."""
    import psutil
    import torch

    from zprompt.llm import llama_of, load_backbone

    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    process = psutil.Process()
    if quantization != "none":
        import bitsandbytes  # noqa: F401 - its own memory is not the model's
    before, start = process.memory_info().rss, time.perf_counter()
    backbone = load_backbone("default", device="cpu", quantization=quantization)
    backbone.load()
    load_seconds = time.perf_counter() - start
    ids = torch.tensor([[backbone.start_id, *backbone.encode(text)][:PASS_TOKENS]])
    hidden = backbone.hidden(ids)
    release_free_memory()
    rss = process.memory_info().rss - before
    cache = backbone.new_cache(1)
    backbone.hidden(ids, cache)
    plain = (
        hidden if quantization == "none" else load_backbone("default", device="cpu", quantization="none").hidden(ids)
    )
    top, plain_top = ((states @ backbone.output_embeddings.T).argmax(-1) for states in (hidden, plain))
    weights = {tensor.data_ptr(): tensor.nbytes for tensor in llama_of(backbone).state_dict().values()}
    return Measurement(
        quantization=quantization,
        weight_megabytes=sum(weights.values()) / 1e6,
        rss_megabytes=rss / 1e6,
        load_seconds=load_seconds,
        pass_tokens_per_second=PASS_TOKENS / median_seconds(lambda: backbone.hidden(ids), REPEATS),
        step_milliseconds=1e3 * median_seconds(lambda: backbone.hidden(ids[:, -1:], cache), STEPS),
        same_top_token=float((top == plain_top).float().mean()),
    )


def measure_apart(quantization: str) -> Measurement:
    """Measure in a new process."""
    command = [sys.executable, "-m", "benchmarks.quantization", "--one", quantization]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Measurement(**json.loads(output.splitlines()[-1]))


def main() -> None:
    """Measure all, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=QUANTIZATIONS, help="measure one in this process and print it as JSON")
    parser.add_argument("--note", default="", help="what else the machine was doing")
    options, began = parser.parse_args(), time.time()
    if options.one:
        print(json.dumps(asdict(measure(options.one))))
        return
    measurements = [measure_apart(quantization) for quantization in QUANTIZATIONS]
    write_json(
        RESULTS / "quantization.json",
        {"run": RunRecord.take(0, began), "note": options.note, "measurements": measurements},
    )
    head = ("quantization", "weights", "resident memory", "load", "pass of 512 tokens", "greedy step", "same top token")
    rows = [
        (
            *(f"`{m.quantization}`", f"{m.weight_megabytes:.0f} MB", f"{m.rss_megabytes:.0f} MB"),
            *(f"{m.load_seconds:.1f} s", f"{m.pass_tokens_per_second:.0f} tokens/s"),
            *(f"{m.step_milliseconds:.0f} ms", f"{m.same_top_token:.1%}"),
        )
        for m in measurements
    ]
    print("\n".join(table(head, rows)))


if __name__ == "__main__":
    main()
