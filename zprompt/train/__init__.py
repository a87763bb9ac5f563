"""Training of codecs and readers: one script each, and one loop.

    loop           steps, learning rate, checkpoints, resume, record
    config         the numbers of each training
    corpus         files → texts → windows of token ids

    codec          the run: warm-up → joint stage → rank table → LoRA
    codec_trainer  its steps: span_sampling (which spans to drop), hidden_states (of the frozen LLM), objective
    codec_lora     its optional last stage; codec_evaluation: ratio and bits on development text

    reader         the run; reader_data, reader_model, reader_trainer and reader_evaluation are its parts

Readers learn from passages in Z-tokens (`passages`), with many targets on each (`packing`), and from the frozen LLM's
predictions (`teacher`).
"""

from zprompt.train.codec import TrainedCodec, train_codec
from zprompt.train.config import INPUTS, TASKS, CodecTrainConfig, ReaderTrainConfig
from zprompt.train.corpus import cut_windows, read_texts
from zprompt.train.reader import TrainedReader, train_reader
from zprompt.train.reader_data import Sources

__all__ = [
    "INPUTS",
    "TASKS",
    "CodecTrainConfig",
    "ReaderTrainConfig",
    "Sources",
    "TrainedCodec",
    "TrainedReader",
    "cut_windows",
    "read_texts",
    "train_codec",
    "train_reader",
]
