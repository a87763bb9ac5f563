"""Train a reader from text and questions to a folder: the function behind `zprompt train reader`.

The folder gets `config.json`, `z_embedding.safetensors` and `adapter/` (the reader), `training.json` (config, figures,
history) and `training.png`; `work/` in it holds the checkpoint. Z-tokens and the teacher's expectations are kept in
`work/` too, or in a folder of their own, which the runs of all baselines can share.
"""

import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from zprompt.codec import Codec
from zprompt.codec import load_codec as load
from zprompt.errors import CheckpointError, OptionError
from zprompt.llm import llama_of, projections
from zprompt.reader import ReaderConfig, ZEmbedding, write_reader
from zprompt.train.reader.config import ReaderTrainConfig
from zprompt.train.reader.evaluation import Answers, Benefit
from zprompt.train.reader.materials import Development, Materials, Report, Sources
from zprompt.train.reader.plot import plot_reader_history
from zprompt.train.reader.reading import load_reading
from zprompt.train.reader.start import give_meaning, new_start, start_of
from zprompt.train.reader.trainer import ReaderTrainer
from zprompt.train.loop import Figures, Progress

MOST_BYTES = 40_000_000  # of adapter and Z-embedding on disk


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """What a training run gave."""

    folder: Path
    benefit: dict[str, Benefit]  # on the development passages, by ratio
    answers: dict[str, Answers]  # on the development questions, by ratio
    seconds: float  # of training, over all sessions


def train_reader(
    sources: Sources,
    folder: Path,
    config: ReaderTrainConfig,
    *,
    codec_name: str = "default",
    backbone_name: str | None = None,
    cache: Path | None = None,
    start_from: str | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> TrainedReader:
    """Train a reader.

    :param sources: Training and development data.
    :param folder: Where the reader goes.
    :param config: How to train.
    :param codec_name: The codec whose Z-tokens it is to read, as `load` takes it.
    :param backbone_name: The backbone, if it lies elsewhere than the codec says.
    :param cache: Where Z-tokens and expectations are kept, to be shared by several runs; None: in the folder.
    :param start_from: A reader, as `load_reader` takes it, whose LoRA is trained on; None: a new one.
    :param resume: Whether to go on with a run that was stopped.
    :param report: Called as work goes on.
    :return: The figures of the run.
    :raises CheckpointError: If there is a run in the folder and `resume` was not said, or `start_from` does not fit.
    """
    work = folder / "work"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or choose another --out.")
    codec = load(codec_name, backbone=backbone_name, quantization="none")  # a LoRA trains, and merges, in fp32
    start = start_of(start_from, codec, config) if start_from else new_start(codec, config)
    require_small(codec, start.embedding, config)
    materials = Materials(codec, config, cache or work, report)
    examples = materials.examples(sources)
    give_meaning(start, [*examples.tiles, *materials.question_tiles], codec, config)
    dev = materials.development(sources)
    trainer = ReaderTrainer(config, codec.backbone, start, examples, work)
    trainer.run(_reporter(trainer, dev, report))
    return _finish(folder, trainer, materials, dev, sources, start_from)


def require_small(codec: Codec, embedding: ZEmbedding, config: ReaderTrainConfig) -> None:
    """Refuse a reader that would be too large, before it is trained.

    :param codec: The codec.
    :param embedding: The Z-embedding.
    :param config: Has the rank.
    :raises OptionError: If it is.
    """
    sizes = [sum(module.weight.shape) for _, module in projections(llama_of(codec.backbone))]
    count = config.rank * sum(sizes) + sum(parameter.numel() for parameter in embedding.parameters())
    if 2 * count > MOST_BYTES:
        raise OptionError(
            f"A LoRA of rank {config.rank} and the Z-embedding take {2 * count / 1e6:.1f} MB in half precision, more "
            f"than {MOST_BYTES / 1e6:.0f}. Choose a lower --rank."
        )


def _reporter(trainer: ReaderTrainer, dev: Development, report: Report | None) -> Callable[[Progress, Figures], None]:
    """Keep the history of a run, and pass it on."""
    config = trainer.config
    recent: Figures = {}
    first = next(iter(dev.meters.values()))

    def after_step(progress: Progress, figures: Figures) -> None:
        entry = {"step": float(progress.step), **figures}
        due = config.evaluate_every and progress.step % config.evaluate_every == 0
        if due and progress.step < config.steps:  # the end has an evaluation of its own
            entry["kept"] = recent["kept"] = first.measure(trainer.reading, max(1, config.dev_passages // 3)).kept
        progress.history.append(entry)
        if report:
            report("train", progress.step, config.steps, {**figures, **recent})

    return after_step


def _finish(
    folder: Path,
    trainer: ReaderTrainer,
    materials: Materials,
    dev: Development,
    sources: Sources,
    start_from: str | None,
) -> TrainedReader:
    """Write the reader, measure what was written, and write the record of its training."""
    codec, progress, config = materials.codec, trainer.progress, trainer.config
    summary: dict[str, Any] = {
        "input": config.input,
        "data": [Path(source).name for source in (*sources.text, *sources.questions)],
        "started_from": start_from,
        "steps": progress.step,
        "positions": progress.positions,
        "targets": progress.targets,
        "seconds": round(progress.seconds, 1),
        "passages": len(trainer.examples.tiles),
        "questions": len(trainer.examples.questions),
        "seed": config.seed,
    }
    about = ReaderConfig(
        codec.backbone.name,
        codec.backbone.weights_fingerprint,
        codec.fingerprint,
        codec.settings,
        config.input != "anchors",
        summary,
    )
    write_reader(folder, about, trainer.embedding, trainer.lora.adapter())
    reading = load_reading(folder, codec.backbone)  # as it was written, in half precision
    benefit, answers = dev.benefit(reading), dev.answers(reading)
    summary["context_benefit"] = {ratio: figures.to_dict() for ratio, figures in benefit.items()}
    summary["answers"] = {
        ratio: {name: value for name, value in figures.to_dict().items() if name != "shown"}
        for ratio, figures in answers.items()
    }
    write_reader(folder, replace(about, training=summary), trainer.embedding, trainer.lora.adapter())
    record = {
        **summary,
        "shown": {ratio: figures.shown for ratio, figures in answers.items()},
        "config": config.to_dict(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": platform.processor() or platform.machine(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "history": progress.history,
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    plot_reader_history(progress.history, folder / "training.png")
    return TrainedReader(folder, benefit, answers, progress.seconds)
