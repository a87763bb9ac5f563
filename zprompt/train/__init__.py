"""Training of readers, and of relevance.

    relevance  all of relevance's training
    config     the numbers of a reader's run
    corpus     files → texts
    reader     the run; reader_data, training_set, reader_model, reader_trainer and reader_evaluation are its parts
    codes      codes learned end to end with their reader, paper A's among them; codes_analysis, what they mean
    loop       steps, learning rate, checkpoints, resume, record

Readers learn from passages in Z-tokens (`passages`), with many targets on each (`packing`), and from the frozen LLM's
predictions (`teacher`).
"""

from zprompt.train.codes_analysis import CodesAnalysis, analyze_codes
from zprompt.train.config import INPUTS, TASKS, ReaderTrainConfig
from zprompt.train.corpus import read_texts
from zprompt.train.reader import TrainedReader, prepare_reader, run_reader, train_reader
from zprompt.train.reader_data import Sources
from zprompt.train.relevance import TrainedRelevance, train_relevance

__all__ = [
    "INPUTS",
    "TASKS",
    "CodesAnalysis",
    "ReaderTrainConfig",
    "Sources",
    "TrainedReader",
    "TrainedRelevance",
    "analyze_codes",
    "prepare_reader",
    "read_texts",
    "run_reader",
    "train_reader",
    "train_relevance",
]
