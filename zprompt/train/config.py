"""How to train a codec, in numbers."""

from dataclasses import asdict, dataclass, field
from typing import Any

from zprompt.codec import CodecSettings
from zprompt.errors import OptionError

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run; the same config, data and machine give the same heads."""

    settings: CodecSettings = field(default_factory=CodecSettings)
    windows: int = 2400  # windows of training text, of settings.window tokens each
    first_windows: int = 200  # windows whose hidden states are computed before the joint stage starts ...
    growth: int = 2  # ... and how many are added at each of its steps, until all are there
    warmup_steps: int = 150  # without the LLM
    joint_steps: int = 1200  # with the frozen LLM
    batch: int = 16  # windows a step
    warmup_rate: float = 2e-3  # AdamW's learning rate at its highest
    joint_rate: float = 1.5e-3
    shortest_budget: float = 1.5  # bits that a training span may cost to restore: drawn log-uniformly from here ...
    longest_budget: float = 40.0  # ... to here, once for each window
    random_candidates: int = 2500  # of the vocabulary, beside the common tokens and the batch's own, in the softmax
    common_candidates: int = 1500  # the lowest ids: in a BPE vocabulary, the most frequent tokens
    usage_weight: float = 0.02  # of the entropy that keeps all values of a sub-code in use
    hottest: float = 1.2  # Gumbel temperature at the start of warm-up
    coldest: float = 0.4  # and at the end of each stage
    lora_steps: int = 0  # of the optional third stage
    lora_batch: int = 4  # windows a step of it
    lora_rank: int = 16
    lora_rate: float = 3e-4
    seed: int = 0
    precision: str = "auto"  # of the matrix products; "auto": bf16 where the processor has instructions for it
    checkpoint_every: int = 100  # steps
    evaluate_every: int = 200  # steps; 0: only at the end
    dev_windows: int = 8  # windows of the development text that are tiled for the ratio

    def __post_init__(self) -> None:
        """Refuse a config that no run can follow."""
        for name in ("windows", "first_windows", "batch", "joint_steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision must be one of {PRECISIONS}, got {self.precision!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Give the config as JSON-able values.

        :return: One entry for each field; the settings as a dict of theirs.
        """
        return {**asdict(self), "settings": self.settings.to_dict()}
