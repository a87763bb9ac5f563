"""Write what a benchmark found, with all that is needed to judge it and to run it again."""

import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_CODE = (":(top)", ":(top,exclude)benchmarks/results")  # results that a run is writing do not change what it measures
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
    load_average: float  # at the end; much above `cores`: other work disturbed the timings
    versions: dict[str, str]

    @classmethod
    def take(cls, seed: int, began: float) -> "RunRecord":
        """Describe the run that is now ending.

        :param seed: Its seed.
        :param began: `time.time()` of its beginning.
        :return: The record.
        """
        import torch

        return cls(
            command=shlex.join([*_program(), *sys.argv[1:]]),
            commit=commit(),
            seed=seed,
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began)),
            seconds=time.time() - began,
            machine=_machine(),
            cores=os.cpu_count() or 1,
            threads=torch.get_num_threads(),
            memory_gigabytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9,
            load_average=os.getloadavg()[0],
            versions={"python": platform.python_version(), **_versions()},
        )


def write_json(path: Path, values: object) -> None:
    """Write results as JSON, numbers to six digits.

    :param path: The file.
    :param values: Dataclasses, dicts, sequences and plain values.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(values), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """Turn a value into what JSON has; it has no infinities."""
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value


def commit() -> str:
    """Name the commit of the code that runs.

    :return: Twelve digits, with "+changes" if the working tree differs; "unknown" outside of a clone.
    """
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+changes" if _git("status", "--porcelain", "--untracked-files=no", "--", *_CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _program() -> list[str]:
    """Say how the program that runs was called: as a module, or as a script."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return ["python", "-m", spec.name.removesuffix(".__main__")] if spec else [Path(sys.argv[0]).name]


def _versions() -> dict[str, str]:
    """Give the versions of what figures depend on; some of it may be missing."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def _git(*arguments: str) -> str:
    """Ask git."""
    done = subprocess.run(["git", *arguments], cwd=_HERE, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _machine() -> str:
    """Name the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
