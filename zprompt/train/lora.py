"""The optional third stage: a LoRA on the backbone, trained with the heads on the same loss.

It changes the hidden states of compressor and decompressor alike, so the codec's backbone is the merged one. Each
step runs the LLM forward and backward, several times the price of a joint step, which reads hidden states from a
file. It is kept only if the development windows then take fewer bits; its figures are recorded either way.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.errors import MissingDependencyError, OptionError
from zprompt.llm import TARGETS, LlamaDecoder, merge_in_place
from zprompt.train.evaluation import Evaluation, evaluate, fit_rank_table
from zprompt.train.trainer import RAMP, Trainer

FITTED_WINDOWS = 8

Report = Callable[[str, int, int, dict[str, float]], None]


def train_lora(
    trainer: Trainer, dev: NDArray[np.int32], before: Evaluation, folder: Path, report: Report | None
) -> dict[str, Any]:
    """Train a LoRA, and keep it if it wins.

    :param trainer: The trainer after its joint stage; its heads and backbone are changed if the LoRA wins.
    :param dev: (N, T), development windows.
    :param before: The figures without it.
    :param folder: Where the adapter goes.
    :param report: Called after every step.
    :return: What was measured: the figures before and after, whether it was kept.
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
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": trained, "lr": config.lora_rate}, {"params": heads.parameters(), "lr": config.lora_rate}],
        betas=(0.9, 0.98),
    )
    for step in range(config.lora_steps):
        figures = _step(trainer, model.base_model.model.model, optimizer, step)
        if report:
            report("lora", step + 1, config.lora_steps, figures)
    model.save_pretrained(str(folder))
    model.unload()  # the backbone is itself again
    unmerge = merge_in_place(trainer.backbone, folder)
    fit_rank_table(trainer.backbone, heads, trainer.windows[-FITTED_WINDOWS:])
    after = evaluate(trainer.backbone, heads, dev)
    won = after.bits_per_source_token < before.bits_per_source_token
    if not won:
        unmerge()
        heads.load_state_dict(kept_heads)
        heads.settings = settings
    return {"steps": config.lora_steps, "before": before.to_dict(), "after": after.to_dict(), "kept": won}


def _step(trainer: Trainer, decoder: Any, optimizer: torch.optim.Optimizer, step: int) -> dict[str, float]:  # noqa: ANN401
    """Train on one batch."""
    config, backbone = trainer.config, trainer.backbone
    random = np.random.default_rng([config.seed, 2, step])
    torch.manual_seed(int(random.integers(2**31)))
    rows = np.sort(random.choice(len(trainer.windows), min(config.lora_batch, len(trainer.windows)), replace=False))
    spans = trainer.spans(rows, random)
    ids = torch.from_numpy(trainer.windows[rows].astype(np.int64)).to(backbone.device)
    start = torch.full((len(ids), 1), backbone.start_id, device=ids.device)
    done = step / config.lora_steps
    for group in optimizer.param_groups:
        group["lr"] = config.lora_rate * min(1.0, (step + 1) / RAMP) * (1.0 - done)
    with torch.autocast(ids.device.type, dtype=torch.bfloat16, enabled=trainer.dtype == torch.bfloat16):
        hidden = decoder(input_ids=torch.cat((start, ids[:, :-1]), 1), use_cache=False).last_hidden_state
        loss = trainer.objective(ids, spans, hidden, trainer.candidates(random), config.coldest)
    optimizer.zero_grad()
    loss.total.backward()
    optimizer.step()
    return {"bits": float(loss.bits.mean()), "right": loss.right, "code_usage_bits": loss.usage}
