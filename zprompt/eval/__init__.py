"""Measure what each way of shortening a prompt costs and keeps: what `zprompt bench` runs."""

from zprompt.eval.drawing import draw
from zprompt.eval.memory import peak_megabytes
from zprompt.eval.metrics import CorpusBleu, Recall, correct_tokens, names, numbers, recall
from zprompt.eval.questions import Passage, Question, question_of, read_questions
from zprompt.eval.readers import SHIPPED
from zprompt.eval.record import RunRecord, write_json
from zprompt.eval.squad import exact_match, f1
from zprompt.eval.statistics import PERCENTILES, RESAMPLES, Interval, Statistic, bootstrap, resample
from zprompt.eval.tables import number, percent, table

__all__ = [
    "PERCENTILES",
    "RESAMPLES",
    "SHIPPED",
    "CorpusBleu",
    "Interval",
    "Passage",
    "Question",
    "Recall",
    "RunRecord",
    "Statistic",
    "bootstrap",
    "correct_tokens",
    "draw",
    "exact_match",
    "f1",
    "names",
    "number",
    "numbers",
    "peak_megabytes",
    "percent",
    "question_of",
    "read_questions",
    "recall",
    "resample",
    "table",
    "write_json",
]
