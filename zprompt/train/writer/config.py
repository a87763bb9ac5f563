"""How to train a writer, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from zprompt.errors import OptionError
from zprompt.train.reader.config import ReaderTrainConfig


@dataclass(frozen=True, slots=True)
class WriterTrainConfig:
    """One training run; the same config, data and machine give the same writer."""

    steps: int = 300
    batch: int = 8  # texts a step
    passages: int = 1500  # of training text
    passage_tokens: int = 320  # the most that a passage has
    # Source tokens per Z-token. Low, since what is written has no residual: a span whose first guess is wrong is one
    # that a writer had better not write.
    ratios: tuple[float, ...] = (2.0,)
    answers: float = 0.4  # share of the texts that are answers, if there are questions
    rate: float = 2e-3  # AdamW's highest learning rate
    decay: float = 0.05  # AdamW's weight decay
    width: int = 384  # hidden units
    seed: int = 0
    checkpoint_every: int = 50  # steps
    evaluate_every: int = 100  # steps; 0: only at the end
    dev_passages: int = 24
    dev_questions: int = 60

    def __post_init__(self) -> None:
        """Refuse a config that no run can follow."""
        for name in ("steps", "batch", "passages", "width", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.ratios or min(self.ratios) < 1:
            raise OptionError(f"ratios must be 1 or more each, and one of them at least, got {self.ratios}.")
        if not 0 <= self.answers <= 1:
            raise OptionError(f"answers must be a share, from 0 to 1, got {self.answers}.")

    def materials(self, kind: str) -> ReaderTrainConfig:
        """Say which passages and questions are wanted, in a reader's terms: so both share what is in the cache.

        :param kind: What the reader's passages are given as.
        :return: A reader's config.
        """
        return ReaderTrainConfig(
            input=kind,
            passages=self.passages,
            passage_tokens=self.passage_tokens,
            shortest_context=min(ReaderTrainConfig().shortest_context, self.passage_tokens // 4),
            continued=min(ReaderTrainConfig().continued, self.passage_tokens // 4),
            ratios=self.ratios,
            seed=self.seed,
            dev_passages=self.dev_passages,
            dev_questions=self.dev_questions,
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the config as JSON-able values.

        :return: One entry for each field.
        """
        return {**asdict(self), "ratios": list(self.ratios)}
