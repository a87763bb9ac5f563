"""How to train a reader, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from zprompt.errors import OptionError
from zprompt.train.config import INPUTS

TASKS = ("continuation", "questions", "cloze", "repetition")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class ReaderTrainConfig:
    """One training run; the same config, data and machine give the same reader."""

    input: str = "z"  # how passages are given: one of INPUTS
    steps: int = 500
    batch: int = 8  # rows a step
    micro_batch: int = 1024  # positions that are computed at once, padding included
    passages: int = 1500  # of training text
    passage_tokens: int = 320  # the most that a passage has
    ratios: tuple[float, ...] = (2.0, 4.0, 7.0, 8.0)  # source tokens per Z-token; each passage gets one of them
    continuation: float = 0.35  # share of the rows, and of the loss
    questions: float = 0.30
    cloze: float = 0.20
    repetition: float = 0.15
    shortest_context: int = 64  # source tokens that a continuation has before it, at least
    continued: int = 48  # tokens that a continuation has
    repeated: int = 64  # source tokens that are repeated
    cloze_questions: int = 4  # about one passage
    distractors: int = 2  # passages that do not answer the question, at most
    query_aware: float = 0.5  # share of the questions whose passages are compressed with the question
    rank: int = 32  # of the LoRA
    alpha: float = 32.0  # its changes are scaled by alpha / rank
    rate: float = 5e-4  # AdamW's highest learning rate for the LoRA's A ...
    up_rate: float = 2e-3  # ... for its B, which starts at zero (LoRA+) ...
    embedding_rate: float = 2e-3  # ... and for the Z-embedding
    scale: float = 0.3  # of the codes at the start, 1 being the sum of the embeddings that they stand for
    top: int = 32  # tokens that the teacher's expectation is kept for
    gold_weight: float = 0.2  # of the cross-entropy on targets that have a teacher; the others have it alone
    random_candidates: int = 2048  # of the vocabulary, beside common tokens and the batch's own, in the softmax
    common_candidates: int = 2048  # the lowest ids: in a BPE vocabulary, the most frequent tokens
    precision: str = (
        "fp32"  # of the products with the LLM's weights: "fp32" or "bf16", twice as fast where CPUs have it
    )
    seed: int = 0
    checkpoint_every: int = 50  # steps
    evaluate_every: int = 100  # steps; 0: only at the end
    dev_passages: int = 48  # for the context benefit; a third of them during training
    dev_questions: int = 100  # of the development questions
    dev_ratios: tuple[float, ...] = (4.0, 7.0)  # that the reader is measured at; the first also during training

    def __post_init__(self) -> None:
        """Refuse a config that no run can follow."""
        if self.input not in INPUTS:
            raise OptionError(f"input must be one of {INPUTS}, got {self.input!r}.")
        for name in ("steps", "batch", "passages", "rank", "continued", "repeated", "top", "micro_batch"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {PRECISIONS}, got {self.precision!r}.")
        if not 0 <= self.query_aware <= 1:
            raise OptionError(f"query_aware is a share, from 0 to 1, got {self.query_aware}.")
        if self.passage_tokens < self.shortest_context + self.continued:
            raise OptionError(
                f"passage_tokens must hold a context and its continuation, {self.shortest_context} + {self.continued} "
                f"tokens, got {self.passage_tokens}."
            )
        if not self.ratios or min(self.ratios) < 1:
            raise OptionError(f"ratios must be 1 or more each, and one of them at least, got {self.ratios}.")
        if min(self.shares.values()) < 0 or not any(self.shares.values()):
            raise OptionError(f"The shares of the tasks must not be negative, nor all zero, got {self.shares}.")

    @property
    def shares(self) -> dict[str, float]:
        """Give the share of each task.

        :return: A share for each of TASKS, as it was given.
        """
        return {task: getattr(self, task) for task in TASKS}

    def to_dict(self) -> dict[str, Any]:
        """Give the config as JSON-able values.

        :return: One entry for each field.
        """
        return {**asdict(self), "ratios": list(self.ratios), "dev_ratios": list(self.dev_ratios)}
