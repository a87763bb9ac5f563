"""Train a reader from text and questions: the script behind `zprompt train reader`.

    data      passages and questions in Z-tokens, and the teacher's predictions (reader_data.py)
    start     a LoRA that changes nothing and gaps that add nothing, or another reader
    steps     packed sequences of four tasks; LoRA and embedding are trained, the LLM is frozen
    end       the reader is written in half precision, and measured as it was written

The folder gets `config.json`, `z_embedding.safetensors` and `adapter/` (the reader), `training.json` (config, figures,
history) and `training.png`; `work/` in it holds the checkpoint. Z-tokens and the teacher's predictions are kept in
`work/` too, or in a folder of their own, which runs on all inputs can share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zprompt.baselines.ltsc import LtscReader, LtscReaderConfig, MetaEmbedding, write_ltsc_reader
from zprompt.codec import Codec
from zprompt.errors import CheckpointError, OptionError
from zprompt.eval import Question, read_questions
from zprompt.llm import llama_of, projections
from zprompt.reader import (
    Calibration,
    Reader,
    ReaderConfig,
    ZEmbedding,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.train.config import TASKS, ReaderTrainConfig
from zprompt.train.loop import Report, new_figure, run_steps, write_record
from zprompt.train.reader_data import Continuation, ReaderData, Sources, TiledQuestion
from zprompt.train.reader_evaluation import (
    Answers,
    Benefit,
    BenefitMeter,
    answer_focused,
    answer_from_meta_tokens,
    answer_questions,
    calibrate,
    score_answers,
)
from zprompt.train.reader_model import Embedding, ReaderModel
from zprompt.train.reader_trainer import ReaderTrainer, keep_history, load_start, new_start

MOST_BYTES = 40_000_000  # of LoRA and Z-embedding on disk


@dataclass(frozen=True, slots=True)
class TrainedReader:
    """A reader on disk, and its figures."""

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
    :param cache: Folder for Z-tokens and the teacher's predictions, to share between runs; None: in the folder.
    :param start_from: A reader, as `load_reader` takes it, whose LoRA to train on; None: a new one.
    :param resume: Whether to continue a run that was stopped.
    :param report: Called as work goes on.
    :return: The figures of the run.
    :raises CheckpointError: If there is a run in the folder and `resume` is not set, or `start_from` does not fit.
    """
    work = folder / "work"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or choose another --out.")
    # Not quantized: a LoRA trains, and merges, in fp32.
    codec = Codec.from_pretrained(codec_name, backbone=backbone_name, quantization="none")
    start = load_start(start_from, codec, config) if start_from else new_start(codec, config)
    require_small(codec, start.embedding, config)
    data = ReaderData(codec, config, cache or work, report)
    texts, dev_texts = data.split(sources)
    examples = data.examples(texts, sources)
    dev_questions = read_questions(sources.dev_questions)[: config.dev_questions]
    development = Development.of(data, dev_texts, dev_questions)
    trainer = ReaderTrainer(config, codec.backbone, start, examples, work)
    after_step = keep_history(config, lambda: {"kept": development.kept(trainer.model)}, report)
    run_steps(trainer, config.steps, config.checkpoint_every, after_step)
    return _finish(folder, trainer, data, development, sources, start_from)


def require_small(codec: Codec, embedding: Embedding, config: ReaderTrainConfig) -> None:
    """Raise OptionError if a reader would be too large, before it is trained."""
    sizes = [sum(module.weight.shape) for _, module in projections(llama_of(codec.backbone))]
    count = config.rank * sum(sizes) + sum(parameter.numel() for parameter in embedding.parameters())
    if 2 * count > MOST_BYTES:
        raise OptionError(
            f"A LoRA of rank {config.rank} and the Z-embedding take {2 * count / 1e6:.1f} MB in half precision, more "
            f"than {MOST_BYTES / 1e6:.0f}. Choose a lower --rank."
        )


@dataclass(frozen=True, slots=True)
class Development:
    """What readers are measured with, by ratio."""

    meters: dict[str, BenefitMeter]
    questions: dict[str, list[TiledQuestion]]
    asked: Sequence[Question]  # the same questions, as they are
    glance: int  # passages that are measured during training

    @classmethod
    def of(cls, data: ReaderData, texts: Sequence[str], questions: Sequence[Question]) -> "Development":
        """Compress development passages and questions at each ratio, and compute the references."""
        config, backbone = data.config, data.codec.backbone
        untuned = ReaderModel.of(backbone, llama_of(backbone), ZEmbedding(backbone.hidden_size).to(backbone.device))
        continuation = Continuation(config.input, backbone.start_id, config.continued)
        meters, tiled = {}, {}
        for ratio in config.dev_ratios:
            passages = data.store.tile(texts, (ratio,), data.count_report("tile development"))
            asked = (
                [] if config.input == "z" else data.tile_questions(questions, (ratio,), "tile development questions")
            )
            if config.input == "pruned":
                passages = data.with_surprisals(passages, "dev")
                asked = data.questions_with_surprisals(asked, "dev-questions")
            meters[f"{ratio:g}"] = BenefitMeter(untuned, passages, continuation)
            tiled[f"{ratio:g}"] = asked
        return cls(meters, tiled, questions, max(1, config.dev_passages // 3))

    def kept(self, model: ReaderModel) -> float:
        """Measure the context benefit kept on some passages, at the first ratio."""
        return next(iter(self.meters.values())).measure(model, self.glance).kept


def _finish(
    folder: Path,
    trainer: ReaderTrainer,
    data: ReaderData,
    development: Development,
    sources: Sources,
    start_from: str | None,
) -> TrainedReader:
    """Write the reader, measure what was written, and write the record of its training."""
    codec, progress, config = data.codec, trainer.progress, trainer.config
    summary: dict[str, Any] = {
        "input": config.input,
        "data": [Path(source).name for source in (*sources.text, *sources.questions)],
        "started_from": start_from,
        "steps": progress.step,
        "positions": progress.positions,
        "targets": progress.targets,
        "seconds": round(progress.seconds, 1),
        "passages": len(trainer.examples.passages),
        "questions": len(trainer.examples.questions),
        "seed": config.seed,
    }
    calibration = Calibration()
    _write(folder, codec, trainer, summary, calibration)
    model, reader = _load(folder, data)
    if trainer.examples.focused:
        calibration = calibrate(model, trainer.examples, config.seed)
    benefit = {ratio: meter.measure(model) for ratio, meter in development.meters.items()}
    if isinstance(reader, Reader) and config.input == "z":
        answers = answer_focused(reader, development.asked, config.dev_ratios)
    else:
        tiled = {ratio: asked for ratio, asked in development.questions.items() if asked}
        answers = {ratio: score_answers(asked, _answer(reader, data, asked)) for ratio, asked in tiled.items()}
    summary["context_benefit"] = {ratio: figures.to_dict() for ratio, figures in benefit.items()}
    summary["answers"] = {ratio: figures.to_dict() for ratio, figures in answers.items()}
    _write(folder, codec, trainer, summary, calibration)
    shown = {"shown": {ratio: figures.shown for ratio, figures in answers.items()}}
    write_record(folder / "training.json", summary | shown, config.to_dict(), progress.history)
    plot_reader_history(progress.history, folder / "training.png")
    return TrainedReader(folder, benefit, answers, progress.seconds)


def _write(
    folder: Path, codec: Codec, trainer: ReaderTrainer, training: dict[str, Any], calibration: Calibration
) -> None:
    backbone, embedding = codec.backbone, trainer.embedding
    fingerprint = backbone.weights_fingerprint
    if isinstance(embedding, MetaEmbedding):
        ltsc_config = LtscReaderConfig(backbone.name, fingerprint, training)
        write_ltsc_reader(folder, ltsc_config, embedding, trainer.lora())
        return
    config = ReaderConfig(backbone.name, fingerprint, embedding.max_gap, training, calibration)
    write_reader(folder, config, embedding, trainer.lora())


def _load(folder: Path, data: ReaderData) -> tuple[ReaderModel, Reader | LtscReader]:
    """Load what was written: the model, and the reader."""
    codec, backbone = data.codec, data.codec.backbone
    if data.config.input == "ltsc":
        ltsc_reader = LtscReader.from_pretrained(str(folder), backbone=backbone)
        return ReaderModel.of(backbone, ltsc_reader.decoder, ltsc_reader.meta_embedding), ltsc_reader
    # Not by `Reader.from_pretrained`: it would take a folder of the same name as a shipped codec for that one's reader.
    embedding = load_z_embedding(folder, read_reader_config(folder), backbone.hidden_size).to(backbone.device)
    reader = Reader(codec, merged_decoder(folder, backbone), embedding)
    return ReaderModel.of(backbone, reader.decoder, embedding), reader


def _answer(reader: Reader | LtscReader, data: ReaderData, questions: Sequence[TiledQuestion]) -> list[str]:
    if isinstance(reader, LtscReader):
        return answer_from_meta_tokens(reader, questions)
    return answer_questions(reader, data.prompts, questions)


def plot_reader_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a training history to a PNG file: the cross-entropy of each task, and the context benefit kept."""
    figure = new_figure()
    losses, benefit = figure.subplots(1, 2)
    for task in TASKS:
        entries = [entry for entry in history if task in entry]
        losses.plot([e["step"] for e in entries], [e[task] for e in entries], linewidth=0.8, label=task)
    losses.set(title="training", xlabel="step", ylabel="nats per target")
    losses.legend(frameon=False)
    measured = [entry for entry in history if "kept" in entry]
    benefit.plot([e["step"] for e in measured], [e["kept"] for e in measured], "o-", color="tab:orange")
    benefit.set(title="development", xlabel="step", ylabel="context benefit kept")
    figure.savefig(path, dpi=120)
