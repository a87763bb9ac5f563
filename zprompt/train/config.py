"""How to train a reader, in numbers."""

from dataclasses import asdict, dataclass
from typing import Any

from zprompt.errors import OptionError

INPUTS = ("text", "z", "pruned", "truncated", "ltsc", "codes", "paper-a")  # what a reader may read (reader_data.py)
CODES = ("codes", "paper-a")  # those with learned codes (codes.py)
TASKS = ("continuation", "questions", "cloze", "repetition")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class ReaderTrainConfig:
    """One training run of a reader; the same config, data and machine give the same reader."""

    input: str = "z"  # form of the passages: z, codes or paper-a; for baselines text, pruned, truncated or ltsc
    steps: int = 500  # optimizer steps
    batch: int = 8  # packed sequences per step
    micro_batch: int = 1024  # positions that are computed at once, padding included
    passages: int = 1500  # passages of training text
    passage_tokens: int = 320  # maximum tokens of a passage
    ratios: tuple[float, ...] = (2.0, 4.0, 7.0, 8.0)  # source tokens per Z-token; each passage gets one of these
    continuation: float = 0.35  # share of continuations in a batch, and in the loss
    questions: float = 0.30  # share of questions
    cloze: float = 0.20  # share of cloze tests
    repetition: float = 0.15  # share of repetitions
    shortest_context: int = 64  # minimum source tokens before a continuation
    continued: int = 48  # tokens of a continuation
    repeated: int = 64  # source tokens of a repetition
    cloze_questions: int = 4  # cloze tests on one passage, at most
    distractors: int = 2  # passages that do not answer the question, at most
    rank: int = 32  # rank of the LoRA
    alpha: float = 32.0  # the LoRA's update is scaled by alpha / rank
    rate: float = 5e-4  # highest learning rate of the LoRA's A
    up_rate: float = 2e-3  # highest learning rate of the LoRA's B, which starts at zero (LoRA+)
    embedding_rate: float = 2e-3  # highest learning rate of the Z-embedding
    codes: int = 256  # values of a learned code
    tokens_per_code: int = 1  # dropped tokens that share a code
    code_layer: int = 0  # layer before which codes are added to their anchors; 0: to the embeddings
    top: int = 32  # most likely tokens that are kept of the teacher's distributions
    gold_weight: float = 0.2  # weight of the cross-entropy on targets with a teacher; other targets have nothing else
    random_candidates: int = 2048  # random tokens in the softmax
    common_candidates: int = 2048  # lowest ids in the softmax: in a BPE vocabulary, the most frequent tokens
    precision: str = "fp32"  # precision of products with the LLM's weights: fp32, or bf16, faster on CPUs that have it
    seed: int = 0  # seed of everything random
    checkpoint_every: int = 50  # steps between checkpoints
    evaluate_every: int = 100  # steps between evaluations; 0: only at the end
    dev_passages: int = 48  # development passages; a third of them during training
    dev_questions: int = 100  # maximum number of development questions
    dev_ratios: tuple[float, ...] = (4.0, 7.0)  # ratios to measure at; during training, only the first

    def __post_init__(self) -> None:
        """Raise OptionError if no run can follow this config."""
        if self.input not in INPUTS:
            raise OptionError(f"input must be one of {INPUTS}, got {self.input!r}.")
        _require_at_least(self, 1, "steps", "batch", "passages", "rank", "shortest_context", "continued", "repeated")
        _require_at_least(self, 1, "top", "micro_batch", "checkpoint_every", "dev_passages", "codes", "tokens_per_code")
        _require_at_least(self, 0, "rate", "up_rate", "embedding_rate", "dev_questions", "evaluate_every", "code_layer")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {PRECISIONS}, got {self.precision!r}.")
        if self.passage_tokens < self.shortest_context + self.continued:
            raise OptionError(
                f"passage_tokens must be at least shortest_context + continued, {self.shortest_context} + "
                f"{self.continued}, got {self.passage_tokens}."
            )
        _require_ratios("ratios", self.ratios)
        _require_ratios("dev_ratios", self.dev_ratios)
        if min(self.shares.values()) < 0 or not any(self.shares.values()):
            raise OptionError(f"The shares of the tasks must not be negative or all zero, got {self.shares}.")

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each of TASKS, as it was given."""
        return {task: getattr(self, task) for task in TASKS}

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return {**asdict(self), "ratios": list(self.ratios), "dev_ratios": list(self.dev_ratios)}


def _require_at_least(config: ReaderTrainConfig, least: int, *names: str) -> None:
    for name in names:
        if getattr(config, name) < least:
            raise OptionError(f"{name} must be at least {least}, got {getattr(config, name)}.")


def _require_ratios(name: str, ratios: tuple[float, ...]) -> None:
    if not ratios or min(ratios) < 1:
        raise OptionError(f"{name} must be at least one ratio of 1 or more, got {ratios}.")
