"""The optional third stage of a codec's training: a LoRA on the backbone, trained with the heads on the same loss.

It changes the hidden states of compressor and decompressor alike, so the codec's backbone is the merged one. Each
step runs the LLM forward and backward, several times the price of a joint step, which reads hidden states from a
file. The LoRA is kept only if the development windows then take fewer bits; its figures are recorded either way.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.errors import MissingDependencyError, OptionError
from zprompt.llm import TARGETS, LlamaDecoder, merge_in_place
from zprompt.train.codec_evaluation import Evaluation, evaluate, fit_rank_table
from zprompt.train.codec_trainer import RAMP, CodecTrainer
from zprompt.train.hidden_states import shift_right
from zprompt.train.loop import Figures, Report, TrainingProgress, run_steps

FITTED_WINDOWS = 8


def train_lora(
    trainer: CodecTrainer, dev: NDArray[np.int32], before: Evaluation, folder: Path, report: Report | None
) -> dict[str, Any]:
    """Train a LoRA, and keep it if it saves bits.

    :param trainer: The trainer after its joint stage; its heads and backbone are changed if the LoRA is kept.
    :param dev: (N, T), development windows.
    :param before: The figures without it.
    :param folder: Where the LoRA goes.
    :param report: Called after every step.
    :return: The figures before and after, and whether it was kept.
    :raises MissingDependencyError: If PEFT is not installed.
    :raises OptionError: If the backbone is no Llama.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError("The codec LoRA needs PEFT: pip install 'zprompt[train]'.") from error
    if not isinstance(trainer.backbone.decoder, LlamaDecoder):
        raise OptionError(
            f"The codec LoRA is for Llama models, which {trainer.backbone.name!r} is not. Go on with --resume, and "
            "without --lora-steps."
        )
    config, heads, settings = trainer.config, trainer.heads, trainer.heads.settings
    kept_heads = copy.deepcopy(heads.state_dict())
    wanted = LoraConfig(r=config.lora_rank, lora_alpha=2 * config.lora_rank, target_modules=list(TARGETS))
    torch.manual_seed(config.seed)
    model: Any = get_peft_model(trainer.backbone.model, wanted)
    _LoraTrainer(trainer, model).run(report)
    model.save_pretrained(str(folder))
    model.unload()  # the backbone is itself again
    unmerge = merge_in_place(trainer.backbone, folder)
    fit_rank_table(trainer.backbone, heads, trainer.windows[-FITTED_WINDOWS:])
    after = evaluate(trainer.backbone, heads, dev)
    kept = after.bits_per_source_token < before.bits_per_source_token
    if not kept:
        unmerge()
        heads.load_state_dict(kept_heads)
        heads.settings = settings
    return {"steps": config.lora_steps, "before": before.to_dict(), "after": after.to_dict(), "kept": kept}


class _LoraTrainer:
    """Trains a LoRA and the heads of a trainer."""

    def __init__(self, trainer: CodecTrainer, model: Any) -> None:  # noqa: ANN401 - PEFT's
        self.trainer, self.decoder, self.progress = trainer, model.base_model.model.model, TrainingProgress()
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW([*trained, *trainer.heads.parameters()], betas=(0.9, 0.98))

    def run(self, report: Report | None) -> None:
        """Train to the end."""
        steps = self.trainer.config.lora_steps

        def after_step(progress: TrainingProgress, figures: Figures) -> None:
            if report:
                report("lora", progress.step, steps, figures)

        run_steps(self, steps, steps, after_step)

    def step(self, step: int) -> Figures:
        """Train on one batch."""
        trainer, config, backbone = self.trainer, self.trainer.config, self.trainer.backbone
        random = np.random.default_rng([config.seed, 2, step])
        torch.manual_seed(int(random.integers(2**31)))
        rows = np.sort(random.choice(len(trainer.windows), min(config.lora_batch, len(trainer.windows)), replace=False))
        spans = trainer.spans(rows, random)
        ids = torch.from_numpy(trainer.windows[rows].astype(np.int64)).to(backbone.device)
        for group in self.optimizer.param_groups:
            group["lr"] = config.lora_rate * min(1.0, (step + 1) / RAMP) * (1.0 - step / config.lora_steps)
        with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=trainer.dtype == torch.bfloat16):
            read = self.decoder(input_ids=shift_right(ids, backbone.start_id), use_cache=False)
            loss = trainer.objective(ids, spans, read.last_hidden_state, trainer.candidates(random), config.coldest)
        self.optimizer.zero_grad()
        loss.total.backward()
        self.optimizer.step()
        return loss.figures()

    def save(self) -> None:
        """Write nothing: the stage is short, and starts again if it is stopped."""
