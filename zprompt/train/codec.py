"""Train a codec from text to a folder that `zprompt.load` takes: the function behind `zprompt train codec`.

The folder gets `config.json` and `heads.safetensors` (the codec), `training.json` (config, figures, history) and
`training.png`; `work/` in it holds the checkpoint and the hidden states.
"""

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
from zprompt.train.codec_evaluation import Evaluation, evaluate, fit_rank_table
from zprompt.train.codec_lora import train_lora
from zprompt.train.codec_trainer import STAGES, CodecTrainer
from zprompt.train.config import CodecTrainConfig
from zprompt.train.corpus import cut_windows, read_texts
from zprompt.train.loop import Figures, Report, TrainingProgress, is_due, new_figure, write_record

FITTED_WINDOWS = 12  # training windows that the rank table is fitted on: the last, which were trained on least
HELD_OUT = 0.02  # share of the training windows that serve as development text if none is given


@dataclass(frozen=True, slots=True)
class TrainedCodec:
    """The outcome of a training run."""

    folder: Path
    evaluation: Evaluation  # on the development windows
    lora: dict[str, Any] | None  # figures of the codec LoRA, if it was tried
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
    :param start_from: A codec, as `load` takes it, whose heads are trained on, without a warm-up. None: random heads.
    :param resume: Whether to go on with a run that was stopped.
    :param report: Called after every step.
    :return: The folder and the figures.
    :raises CheckpointError: If there is a run in the folder and `resume` is false.
    """
    work = folder / "work"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or choose another --out.")
    # In fp32: heads that were trained on quantized hidden states would serve no other quantization well.
    backbone = load_backbone(backbone_name, quantization="none")
    windows, dev = _read_windows(backbone, sources, dev_sources, config)
    if start_from:
        config = replace(config, warmup_steps=0)
    heads = _initial_heads(backbone, config, start_from)
    trainer = CodecTrainer(config, backbone, heads, windows, work)
    trainer.run(_history_keeper(trainer, dev, report))
    heads.settings = replace(config.settings, rank_table=fit_rank_table(backbone, heads, windows[-FITTED_WINDOWS:]))
    evaluation = evaluate(backbone, heads, dev)
    lora = train_lora(trainer, dev, evaluation, folder / "lora", report) if config.lora_steps else None
    summary = {
        "data": [Path(source).name for source in sources],
        "started_from": start_from,
        "windows": len(windows),
        "tokens": int(windows.size),
        "dropped_tokens_trained": trainer.progress.targets,
        "seconds": round(trainer.progress.seconds, 1),
        "seed": config.seed,
        "evaluation": evaluation.to_dict(),
        "lora": lora,
    }
    has_lora = bool(lora and lora["kept"])
    write_codec(
        folder, CodecConfig(heads.settings, backbone_name, backbone.weights_fingerprint, summary, has_lora), heads
    )
    history = trainer.progress.history
    record = {**summary, "precision": str(trainer.dtype)}
    write_record(folder / "training.json", record, config.to_dict(), history)
    plot_history(history, folder / "training.png")
    return TrainedCodec(folder, evaluation, lora, trainer.progress.seconds)


def _read_windows(
    backbone: Backbone, sources: Sequence[str], dev_sources: Sequence[str], config: CodecTrainConfig
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return training and development windows."""
    size = config.settings.window
    windows = cut_windows(read_texts(sources), backbone.encode, size, config.windows, config.seed)
    if dev_sources:
        return windows, cut_windows(read_texts(dev_sources), backbone.encode, size, config.dev_windows, config.seed)
    held_out = min(config.dev_windows, max(1, int(len(windows) * HELD_OUT)))
    return windows[held_out:] if len(windows) > held_out else windows, windows[:held_out]


def _initial_heads(backbone: Backbone, config: CodecTrainConfig, start_from: str | None) -> CodecHeads:
    """Return random heads, or those of another codec."""
    torch.manual_seed(config.seed)
    heads = CodecHeads(config.settings, backbone.embeddings, backbone.hidden_size)
    if start_from:
        heads.load(find_codec(start_from) / HEADS_FILE)
    return heads.to(backbone.device)


def _history_keeper(
    trainer: CodecTrainer, dev: NDArray[np.int32], report: Report | None
) -> Callable[[TrainingProgress, Figures], None]:
    """Return a report that keeps the history of a run, with the dev ratio now and then, and passes it on."""
    last_ratio: Figures = {}

    def after_step(progress: TrainingProgress, figures: Figures) -> None:
        stage, index, steps = trainer.stage_of(progress.step - 1)
        step = index + 1
        entry = {"stage": stage, "step": step, **figures}
        due = stage == "joint" and is_due(step, steps, trainer.config.evaluate_every)
        if due:
            entry["dev_ratio"] = last_ratio["dev_ratio"] = evaluate(trainer.backbone, trainer.heads, dev).ratio
        if due or step % 10 == 0 or step == steps:
            progress.history.append(entry)
        if report:
            report(stage, step, steps, {**figures, **last_ratio})

    return after_step


def plot_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the bits of a dropped token and the dev ratio, one panel a stage, to a PNG file."""
    figure = new_figure()
    for axes, stage in zip(figure.subplots(1, len(STAGES)), STAGES, strict=True):
        entries = [entry for entry in history if entry["stage"] == stage]
        axes.plot([e["step"] for e in entries], [e["bits"] for e in entries], color="tab:blue", linewidth=0.8)
        axes.set(title=stage, xlabel="step", ylabel="bits per dropped token")
        measured = [entry for entry in entries if "dev_ratio" in entry]
        if measured:
            right = axes.twinx()
            right.plot([e["step"] for e in measured], [e["dev_ratio"] for e in measured], "o-", color="tab:orange")
            right.set_ylabel("exact ratio on dev windows", color="tab:orange")
    figure.savefig(path, dpi=120)
