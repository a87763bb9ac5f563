"""Where the results of the benchmarks lie; how a run is recorded is zprompt/bench/record.py's."""

from pathlib import Path

from zprompt.eval import RunRecord, write_json

__all__ = ["RESULTS", "RunRecord", "write_json"]

RESULTS = Path(__file__).parent / "results"
