"""Measure what each way of shortening a prompt keeps and costs: what `zprompt bench` runs.

It is part of the package rather than of the developers' `benchmarks/`, since users run it on their own data with the
wheel alone; what both need is here. A run goes through `datasets` (rows to samples) → `tasks` (what texts are for, how
predictions are scored with `metrics`) → `context` (methods and readers) → `runner` (cells, processes) → `results` (the
JSON file from which a run continues; `record` has machine and versions) → `report` and `plots`. `statistics` has the
intervals.

Importing it needs neither torch nor the packages of zprompt[bench].
"""

from zprompt.eval.datasets import Question, draw, open_dataset, question_of, read_questions, text_of
from zprompt.eval.metrics import (
    CorpusBleu,
    Recall,
    exact_match,
    f1,
    holds_answer,
    names,
    numbers,
    recall,
)
from zprompt.eval.record import RunRecord, peak_megabytes, write_json
from zprompt.eval.report import number, percent, table, write_reports
from zprompt.eval.results import BenchResults, BenchSettings, load_results
from zprompt.eval.runner import run
from zprompt.eval.statistics import RESAMPLES, Estimate, Interval, Ratio, Statistic, bootstrap, estimate
from zprompt.eval.tasks import TASKS

__all__ = [
    "RESAMPLES",
    "TASKS",
    "BenchResults",
    "BenchSettings",
    "CorpusBleu",
    "Estimate",
    "Interval",
    "Question",
    "Ratio",
    "Recall",
    "RunRecord",
    "Statistic",
    "bootstrap",
    "draw",
    "estimate",
    "exact_match",
    "f1",
    "holds_answer",
    "load_results",
    "names",
    "number",
    "numbers",
    "open_dataset",
    "peak_megabytes",
    "percent",
    "question_of",
    "read_questions",
    "recall",
    "run",
    "table",
    "text_of",
    "write_json",
    "write_reports",
]
