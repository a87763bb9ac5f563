"""Training of codecs, readers and Z-token heads: a script for each, and one loop.

    loop           steps, learning rate, checkpoints, resume, record
    config         the numbers of each training
    corpus         files → texts → windows of token ids

    codec          the run: warm-up → joint stage → rank table → LoRA
    codec_trainer  its steps: span_sampling (which spans to drop), hidden_states (of the frozen LLM), objective
    codec_lora, codec_evaluation

    reader         the run; reader_data, reader_model and reader_evaluation are its parts
    z_head         the run, for a reader that stays as it is
    passages, packing, teacher: passages in Z-tokens, many targets on one of them, the frozen LLM's predictions
"""

from zprompt.train.codec import TrainedCodec, train_codec
from zprompt.train.config import INPUTS, TASKS, CodecTrainConfig, ReaderTrainConfig, ZHeadTrainConfig
from zprompt.train.corpus import cut_windows, read_texts
from zprompt.train.reader import TrainedReader, train_reader
from zprompt.train.reader_data import Sources
from zprompt.train.z_head import TrainedZHead, train_z_head

__all__ = [
    "INPUTS",
    "TASKS",
    "CodecTrainConfig",
    "ReaderTrainConfig",
    "Sources",
    "TrainedCodec",
    "TrainedReader",
    "TrainedZHead",
    "ZHeadTrainConfig",
    "cut_windows",
    "read_texts",
    "train_codec",
    "train_reader",
    "train_z_head",
]
