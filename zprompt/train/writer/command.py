"""Train a writer for a reader: the function behind `zprompt train writer`.

The reader's folder gets `writer.safetensors` and `writer-training.json` (config, figures, history); `work/writer/` in
it holds the checkpoint.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zprompt.codec import Codec
from zprompt.codec import load_codec as load
from zprompt.errors import CheckpointError, OptionError
from zprompt.eval import read_questions
from zprompt.reader import (
    Z_HEAD_FILE,
    ZTokenHead,
    find_reader,
    load_z_head,
    read_reader_config,
    reader_fingerprint,
    reader_weights,
    write_z_head,
)
from zprompt.train.reader.command import MOST_BYTES
from zprompt.train.reader.materials import Materials, Report, Sources
from zprompt.train.reader.reading import Reading, load_reading
from zprompt.train.loop import Figures, Progress
from zprompt.train.writer.config import WriterTrainConfig
from zprompt.train.writer.examples import Written, WrittenExamples, written_answers, written_passage
from zprompt.train.writer.fit import Fit, measure_fit
from zprompt.train.writer.trainer import WriterTrainer

RECORD_FILE = "writer-training.json"

Texts = dict[str, list[Written]]  # passages and answers


@dataclass(frozen=True, slots=True)
class TrainedWriter:
    """What a training run gave."""

    path: Path
    fits: dict[str, Fit]  # on development passages and answers
    seconds: float  # of training, over all sessions


def train_writer(
    sources: Sources,
    reader: str,
    config: WriterTrainConfig,
    *,
    codec_name: str = "default",
    backbone_name: str | None = None,
    cache: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> TrainedWriter:
    """Train a writer.

    :param sources: Training and development data.
    :param reader: The reader's folder, which the writer goes to.
    :param config: How to train.
    :param codec_name: The codec whose Z-tokens the reader reads, as `load` takes it.
    :param backbone_name: The backbone, if it lies elsewhere than the codec says.
    :param cache: Where Z-tokens are kept, to be shared with the training of readers; None: in the folder.
    :param resume: Whether to go on with a run that was stopped.
    :param report: Called as work goes on.
    :return: The figures of the run.
    :raises CheckpointError: If there is a run in the folder and `resume` was not said.
    """
    folder = find_reader(reader)
    work = folder / "work" / "writer"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or delete it to start anew.")
    codec = load(codec_name, backbone=backbone_name, quantization="none")
    reading, kind = open_reading(folder, codec)
    torch.manual_seed(config.seed)
    writer = ZTokenHead(codec.settings, codec.backbone.hidden_size, config.width).to(codec.backbone.device)
    require_small(folder, writer)
    training, dev = read_texts_of(Materials(codec, config.materials(kind), cache or folder / "work", report), sources)
    examples = WrittenExamples(training["passages"], training["answers"], config.answers)
    trainer = WriterTrainer(config, reading, writer, examples, work, reader_fingerprint(folder))
    trainer.run(_reporter(trainer, dev, report))
    return _finish(folder, trainer, dev, codec, sources)


def open_reading(folder: Path, codec: Codec) -> tuple[Reading, str]:
    """Load the frozen reader, without a writer that it may have.

    :param folder: Its folder.
    :param codec: The codec.
    :return: The reader, and what its passages were given as.
    :raises CheckpointError: If it reads no Z-tokens, or those of another codec.
    """
    config = read_reader_config(folder)
    if config.training.get("input", "z") not in ("z", "anchors") or config.codec_fingerprint != codec.fingerprint:
        raise CheckpointError(
            f"The reader in {folder} was trained on {config.training.get('input')!r} for the codec {config.codec_fingerprint}. A "
            f"writer needs one that reads Z-tokens of the codec that is loaded, {codec.fingerprint}: give the reader's "
            "--codec, or another reader."
        )
    return load_reading(folder, codec.backbone), config.training.get("input", "z")


def require_small(folder: Path, writer: ZTokenHead) -> None:
    """Refuse a writer with which the reader would be too large, before it is trained.

    :param folder: The reader's folder.
    :param writer: The writer.
    :raises OptionError: If it would.
    """
    size = sum(path.stat().st_size for path in reader_weights(folder))
    size += 2 * sum(parameter.numel() for parameter in writer.parameters())
    if size > MOST_BYTES:
        raise OptionError(
            f"The reader in {folder} would take {size / 1e6:.1f} MB with its writer, more than {MOST_BYTES / 1e6:.0f}. "
            "Choose a lower --width."
        )


def read_texts_of(materials: Materials, sources: Sources) -> tuple[Texts, Texts]:
    """Cut and tile training and development data.

    :param materials: Makes passages, questions and Z-tokens.
    :param sources: The data.
    :return: What is trained on, and what is measured on.
    """
    config = materials.config
    held = 0 if sources.dev_text else config.dev_passages
    texts = materials.passages(sources.text, config.passages + held) if sources.text else []
    held = min(held, len(texts) // 2)
    dev_texts = materials.passages(sources.dev_text, config.dev_passages) if sources.dev_text else texts[:held]
    dev_questions = read_questions(sources.dev_questions)[: config.dev_questions]
    written = []
    for name, own, questions in (
        ("", texts[held:], read_questions(sources.questions)),
        ("development ", dev_texts, dev_questions),
    ):
        tiles = materials.store.tiles(own, config.ratios, materials.say(f"tile {name}".strip()))
        asked = materials.asked(questions, config.ratios, f"tile {name}questions")
        answers = written_answers(asked, materials.prompts, materials.store, config.ratios)
        written.append({"passages": [written_passage(t, materials.prompts) for t in tiles], "answers": answers})
    return written[0], written[1]


def _measure(trainer: WriterTrainer, writer: ZTokenHead, dev: Mapping[str, Sequence[Written]]) -> dict[str, Fit]:
    return {kind: measure_fit(writer, trainer.reading, texts) for kind, texts in dev.items() if texts}


def _reporter(trainer: WriterTrainer, dev: Texts, report: Report | None) -> Callable[[Progress, Figures], None]:
    """Keep the history of a run, and pass it on."""
    config = trainer.config
    recent: Figures = {}

    def after_step(progress: Progress, figures: Figures) -> None:
        entry = {"step": float(progress.step), **figures}
        due = config.evaluate_every and progress.step % config.evaluate_every == 0
        if due and progress.step < config.steps:  # the end has an evaluation of its own
            for kind, fit in _measure(trainer, trainer.writer, dev).items():
                recent.update({f"dev_{kind}_gap_right": fit.gap_accuracy, f"dev_{kind}_code_right": fit.code_accuracy})
            entry |= recent
        progress.history.append(entry)
        if report:
            report("train", progress.step, config.steps, {**figures, **recent})

    return after_step


def _finish(folder: Path, trainer: WriterTrainer, dev: Texts, codec: Codec, sources: Sources) -> TrainedWriter:
    """Write the writer, measure what was written, and write the record of its training."""
    progress, config = trainer.progress, trainer.config
    write_z_head(folder, trainer.writer)
    # As it was written, in half precision.
    written = load_z_head(folder, read_reader_config(folder), codec.backbone.hidden_size) or trainer.writer
    fits = _measure(trainer, written.to(codec.backbone.device), dev)
    record: dict[str, Any] = {
        "data": [Path(source).name for source in (*sources.text, *sources.questions)],
        "reader": reader_fingerprint(folder),
        "codec": codec.fingerprint,
        "steps": progress.step,
        "positions": progress.positions,
        "targets": progress.targets,
        "seconds": round(progress.seconds, 1),
        "passages": len(trainer.examples.passages),
        "answers": len(trainer.examples.answers),
        "fits": {kind: fit.to_dict() for kind, fit in fits.items()},
        "config": config.to_dict(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": platform.processor() or platform.machine(),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "history": progress.history,
    }
    (folder / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    return TrainedWriter(folder / Z_HEAD_FILE, fits, progress.seconds)
