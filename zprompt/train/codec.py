"""Train a codec from text to a folder that `zprompt.load` takes: the function behind `zprompt train codec`.

The folder gets `config.json` and `heads.safetensors` (the codec), `training.json` (config, figures, history) and
`training.png`; `work/` in it holds checkpoints and hidden states while training lasts.
"""

import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.codec import HEADS_FILE, CodecConfig, CodecHeads, find_codec, write_codec
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, load_backbone
from zprompt.train.config import CodecTrainConfig
from zprompt.train.corpus import cut_windows, read_texts
from zprompt.train.evaluation import Evaluation, evaluate, fit_rank_table
from zprompt.train.lora import train_lora
from zprompt.train.objective import Loss
from zprompt.train.plot import plot_history
from zprompt.train.trainer import STAGES, Progress, Trainer

FITTED_WINDOWS = 12  # training windows that the rank table is fitted on: the last, which were trained on least
HELD_OUT = 0.02  # share of the training windows that serve as development text if none is given

Report = Callable[[str, int, int, dict[str, float]], None]  # stage, step, steps, figures


@dataclass(frozen=True, slots=True)
class TrainedCodec:
    """What a training run gave."""

    folder: Path
    evaluation: Evaluation  # on the development windows
    lora: dict[str, Any] | None  # what the codec LoRA measured, if it was tried
    seconds: float  # of training, over all sessions


def train_codec(
    sources: Sequence[str],
    folder: Path,
    config: CodecTrainConfig,
    *,
    dev_sources: Sequence[str] = (),
    backbone_name: str = "default",
    start_from: str | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> TrainedCodec:
    """Train a codec.

    :param sources: Training text: files, folders, datasets (see corpus.py).
    :param folder: Where the codec goes.
    :param config: How to train.
    :param dev_sources: Development text; without any, a part of the training text is held out.
    :param backbone_name: The backbone, as `load_backbone` takes it.
    :param start_from: A codec, as `load` takes it, whose heads are trained on; without a warm-up. None: random heads.
    :param resume: Whether to go on with a run that was stopped.
    :param report: Called after every step.
    :return: The figures of the run.
    :raises CheckpointError: If there is a run in the folder and `resume` was not said.
    """
    work = folder / "work"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or choose another --out.")
    # In fp32: heads that were trained on quantized hidden states would serve no other quantization well.
    backbone = load_backbone(backbone_name, quantization="none")
    windows, dev = _windows(backbone, sources, dev_sources, config)
    if start_from:
        config = replace(config, warmup_steps=0)
    heads = _first_heads(backbone, config, start_from)
    trainer = Trainer(config, backbone, heads, windows, work)
    trainer.run(_reporter(trainer, dev, report))
    heads.settings = replace(config.settings, rank_table=fit_rank_table(backbone, heads, windows[-FITTED_WINDOWS:]))
    evaluation = evaluate(backbone, heads, dev)
    lora = train_lora(trainer, dev, evaluation, folder / "lora", report) if config.lora_steps else None
    _write(folder, trainer, backbone_name, sources, evaluation, lora, start_from)
    return TrainedCodec(folder, evaluation, lora, trainer.progress.seconds)


def _first_heads(backbone: Backbone, config: CodecTrainConfig, start_from: str | None) -> CodecHeads:
    """Make random heads, or read those of another codec."""
    torch.manual_seed(config.seed)
    heads = CodecHeads(config.settings, backbone.embeddings, backbone.hidden_size)
    if start_from:
        heads.load(find_codec(start_from) / HEADS_FILE)
    return heads.to(backbone.device)


def forget_work(folder: Path) -> None:
    """Delete checkpoints and hidden states of a run.

    :param folder: The codec's folder.
    """
    shutil.rmtree(folder / "work", ignore_errors=True)


def _windows(
    backbone: Backbone, sources: Sequence[str], dev_sources: Sequence[str], config: CodecTrainConfig
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Cut training and development windows."""
    size = config.settings.window
    windows = cut_windows(read_texts(sources), backbone.encode, size, config.windows, config.seed)
    if dev_sources:
        return windows, cut_windows(read_texts(dev_sources), backbone.encode, size, config.dev_windows, config.seed)
    held_out = min(config.dev_windows, max(1, int(len(windows) * HELD_OUT)))
    return windows[held_out:] if len(windows) > held_out else windows, windows[:held_out]


def _reporter(trainer: Trainer, dev: NDArray[np.int32], report: Report | None) -> Callable[[Progress, Loss], None]:
    """Keep the history of a run, and pass it on."""
    config, recent = trainer.config, [0.0, 0.0]

    def after_step(progress: Progress, loss: Loss) -> None:
        stage = STAGES[progress.stage]
        steps = config.warmup_steps if stage == "warmup" else config.joint_steps
        figures = {"bits": float(loss.bits.mean()), "right": loss.right, "code_usage_bits": loss.usage}
        due = config.evaluate_every and stage == "joint" and progress.step % config.evaluate_every == 0
        if due and progress.step < steps:  # the end has an evaluation of its own
            recent[0] = figures["dev_ratio"] = evaluate(trainer.backbone, trainer.heads, dev).ratio
        if due or progress.step % 10 == 0 or progress.step == steps:
            progress.history.append({"stage": stage, "step": progress.step, **figures})
        if report:
            report(stage, progress.step, steps, {**figures, "dev_ratio": recent[0]})

    return after_step


def _write(
    folder: Path,
    trainer: Trainer,
    backbone_name: str,
    sources: Sequence[str],
    evaluation: Evaluation,
    lora: dict[str, Any] | None,
    start_from: str | None,
) -> None:
    """Write the codec and the record of its training."""
    backbone, progress = trainer.backbone, trainer.progress
    training = {
        "data": [Path(source).name for source in sources],
        "started_from": start_from,
        "windows": len(trainer.windows),
        "tokens": int(trainer.windows.size),
        "dropped_tokens_trained": progress.tokens,
        "seconds": round(progress.seconds, 1),
        "seed": trainer.config.seed,
        "evaluation": evaluation.to_dict(),
        "lora": lora,
    }
    write_codec(
        folder,
        CodecConfig(
            trainer.heads.settings, backbone_name, backbone.weights_fingerprint, training, bool(lora and lora["kept"])
        ),
        trainer.heads,
    )
    record = {
        **training,
        "config": trainer.config.to_dict(),
        "precision": str(trainer.dtype),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": platform.processor() or platform.machine(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "history": progress.history,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    plot_history(progress.history, folder / "training.png")
