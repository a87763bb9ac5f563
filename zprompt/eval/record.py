"""The record of a run, with all that is needed to judge its figures and to repeat it, and results as JSON."""

from __future__ import annotations

import json
import math
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, is_dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from zprompt.cores import cores

_HERE = Path(__file__).parent
_CODE = (":(top)", ":(top,exclude)benchmarks/results")  # the results that a run writes are no change to its code
PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "sacrebleu")
DIGITS = 6  # significant digits of a number in JSON


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Where, when and how a benchmark ran."""

    command: str
    commit: str  # with "+changes" if the working tree differs from it
    seed: int
    started: str  # UTC
    seconds: float
    machine: str
    cores: int
    threads: int  # of torch
    memory_gigabytes: float
    load_average: float  # at the end; if much above `cores`, other work disturbed the timings
    versions: dict[str, str]

    @classmethod
    def take(cls, seed: int, began: float) -> RunRecord:
        """Record a run that is about to end.

        :param seed: Its seed.
        :param began: `time.time()` of its beginning.
        :return: The record.
        """
        import psutil
        import torch

        return cls(
            command=shlex.join([*_program(), *sys.argv[1:]]),
            commit=commit(),
            seed=seed,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            seconds=time.time() - began,
            machine=_processor(),
            cores=cores(),
            threads=torch.get_num_threads(),
            memory_gigabytes=psutil.virtual_memory().total / 1e9,
            load_average=psutil.getloadavg()[0],
            versions={"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        )


@cache  # imported code does not change
def commit() -> str:
    """Return the commit of the code, with "+changes" if the working tree differs; "unknown" outside a clone."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no", "--", *_CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    process = subprocess.run(["git", *arguments], cwd=_HERE, check=True, capture_output=True, text=True)
    return process.stdout.strip()


def _program() -> list[str]:
    """Return how the running program was started: as a module or as a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return ["python", "-m", spec.name.removesuffix(".__main__")] if spec else [Path(sys.argv[0]).name]


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# Peak memory. On Linux it is VmHWM, which can be reset; memory that an allocator retains still counts. ru_maxrss would
# start at the peak of the parent process there, so getrusage is for other systems.


def reset_peak_memory() -> None:
    """Reset the peak to the memory that is resident now, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return  # the peak remains that of the process's whole life


def peak_megabytes() -> float | None:
    """Return this process's peak resident memory in megabytes, or None where the system does not report it."""
    if sys.platform == "linux":
        return _linux_peak()
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # macOS counts bytes, others kibibytes


def _linux_peak() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text("ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM")), None)


# JSON.


def write_json(path: Path, values: object) -> None:
    """Write dataclasses, dicts, sequences and plain values as JSON, floats to six significant digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(values), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(value: object) -> Any:  # noqa: ANN401 - any JSON value
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None  # JSON has no infinities
    return value
