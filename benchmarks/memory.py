"""Measure peak resident memory: each job in a process of its own, since memory once touched is not given back.

The peak has everything in it: Python, torch, the weights, the job; "load only" does nothing with what it has loaded.
"""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import torch

import zprompt
from benchmarks.passes import cut, forward_with_head, generate, token_rows
from benchmarks.plan import Plan
from zprompt import Codec
from zprompt.eval import peak_megabytes

JOBS = ("load only", "forward pass", "compress", "generate", "decompress")


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak resident memory of a process that does one thing."""

    job: str
    batch_size: int
    tokens: int  # of each row
    megabytes: float


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do."""

    codec: str
    name: str  # one of JOBS
    texts: list[str]  # or Z-spans, to decompress
    threads: int


def measure_memory(codec: Codec, prose: str, plan: Plan) -> tuple[Memory, ...]:
    """Measure all jobs.

    :param codec: The codec.
    :param prose: A text to take pieces of.
    :param plan: Sizes.
    :return: The peak of each job.
    """
    texts = cut(codec, prose, plan.pass_windows, plan.pass_tokens)
    short = cut(codec, prose, plan.pass_windows, plan.step_tokens)
    given = {
        "load only": [],
        "forward pass": texts,
        "compress": texts,
        "generate": short,
        "decompress": codec.compress(short).documents,
    }
    lengths = {"load only": 0, "forward pass": plan.pass_tokens, "compress": plan.pass_tokens}
    return tuple(
        Memory(name, len(given[name]), lengths.get(name, plan.step_tokens), _peak(codec.name, name, given[name]))
        for name in JOBS
    )


def _peak(codec: str, name: str, texts: list[str]) -> float:
    """Run a job in a new process and ask for its peak, in megabytes."""
    given = json.dumps(asdict(Job(codec, name, texts, torch.get_num_threads())))
    command = [sys.executable, "-m", "benchmarks.memory"]
    return float(subprocess.run(command, input=given, check=True, stdout=subprocess.PIPE, text=True).stdout)


def _run(job: Job) -> None:
    """Do a job."""
    torch.set_num_threads(job.threads)
    codec = zprompt.load(job.codec, device="cpu")
    if job.name == "forward pass":
        forward_with_head(codec, token_rows(codec, job.texts))
    elif job.name == "compress":
        codec.compress(job.texts, batch_size=len(job.texts))
    elif job.name == "generate":
        generate(codec, token_rows(codec, job.texts))
    elif job.name == "decompress":
        codec.decompress(job.texts, batch_size=len(job.texts))


if __name__ == "__main__":
    _run(Job(**json.load(sys.stdin)))
    print(peak_megabytes())
