"""Train a reader from text and questions: the script behind `zprompt train reader`, `prepare` and `run`.

    data      passages and questions in Z-tokens, and development contexts (reader_data.py, training_set.py)
    teach     the LLM's predictions for the plain passages (teacher.py)
    start     a LoRA that changes nothing and gaps that add nothing, or another reader
    steps     packed sequences of four tasks; LoRA and embedding are trained, the LLM is frozen
    end       the reader is written in half precision, loaded again, and measured

`prepare` does the first, draws all sequences, and writes them to a folder; `run` does the rest from there, on a machine
that has only the LLM; `reader` does it all, drawing sequences as it goes, and measures answers, too. The same data,
config and number of steps give the same reader either way.

The folder gets `config.json`, `z_embedding.safetensors` and `adapter/` (the reader), `training.json` (config, figures,
history) and `training.png`; `work/` in it holds the checkpoint. Z-tokens and the teacher's predictions are kept in
`work/`, too, or in a separate folder that runs with any input can share.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zprompt.baselines.ltsc import LtscReader, LtscReaderConfig, MetaEmbedding, write_ltsc_reader
from zprompt.codec import Codec
from zprompt.errors import CheckpointError, MissingDependencyError, OptionError
from zprompt.eval import Question, read_questions
from zprompt.llm import Backbone, llama_of, load_backbone, projections
from zprompt.paths import walk
from zprompt.reader import (
    NOT_FOUND,
    Calibration,
    ContentTokenizer,
    Reader,
    ReaderConfig,
    ZEmbedding,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.train.codes import CodeEmbedding, load_codes, write_codes
from zprompt.train.config import CODES, TASKS, ReaderTrainConfig
from zprompt.train.loop import STATE_FILE, Figures, Limit, Report, run_steps, write_record
from zprompt.train.reader_data import ReaderData, Sources
from zprompt.train.reader_evaluation import (
    Answers,
    Benefit,
    BenefitMeter,
    answer_focused,
    answer_from_codes,
    answer_from_meta_tokens,
    answer_questions,
    calibrate,
    score_answers,
)
from zprompt.train.reader_model import ReaderModel
from zprompt.train.reader_trainer import READER, ReaderTrainer, keep_history, load_start, new_embedding, new_start
from zprompt.train.teacher import Teacher
from zprompt.train.training_set import TrainingSet, draw_training_set, read_training_set, write_training_set

WORK = "work"  # folder of the checkpoint
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
    work = folder / WORK
    if (work / STATE_FILE).is_file() and not resume:
        raise CheckpointError(f"{work} already has a training run. Continue it with --resume, or choose another --out.")
    data = _open(config, codec_name, backbone_name, cache or work, start_from, report)
    content = draw_training_set(data, sources, start_from)
    questions = read_questions(sources.dev_questions)[: config.dev_questions]
    limit, backbone = Limit(config.steps), data.codec.backbone
    return _train(content, backbone, folder, cache or work, limit, report, lambda: _answers(folder, data, questions))


def prepare_reader(
    sources: Sources,
    folder: Path,
    config: ReaderTrainConfig,
    *,
    codec_name: str = "default",
    backbone_name: str | None = None,
    cache: Path | None = None,
    start_from: str | None = None,
    report: Report | None = None,
) -> int:
    """Draw all that a reader's training needs beside the LLM.

    :param sources: Training and development data; development questions are not asked.
    :param folder: Where the training set goes.
    :param config: How to train.
    :param codec_name: As in `train_reader`.
    :param backbone_name: As in `train_reader`.
    :param cache: Folder for Z-tokens; None: in the folder.
    :param start_from: As in `train_reader`.
    :param report: Called as work goes on.
    :return: The size of the folder in bytes, without Z-tokens.
    """
    data = _open(config, codec_name, backbone_name, cache or folder / WORK, start_from, report)
    write_training_set(folder, draw_training_set(data, sources, start_from), data.count_report("draw"))
    return sum(path.stat().st_size for path in walk(folder) if path.parent.name != WORK)


def run_reader(
    prepared: Path,
    folder: Path,
    *,
    minutes: float | None = None,
    backbone_name: str | None = None,
    report: Report | None = None,
) -> TrainedReader:
    """Train a reader on what was prepared, or resume such a run.

    :param prepared: The folder of `prepare_reader`; the teacher's predictions are kept in it.
    :param folder: Where the reader goes.
    :param minutes: How long to train, over all calls; None: the steps of the config.
    :param backbone_name: The LLM, if it has been moved since.
    :param report: Called as work goes on.
    :return: The figures of the run, without answers.
    :raises CheckpointError: If the LLM is another one, or the folder has another run.
    """
    content = read_training_set(prepared)
    backbone = load_backbone(backbone_name or content.backbone, quantization="none")
    advice = "Pass that one as --backbone."
    backbone.require_weights(content.fingerprint, content.backbone, f"The training set in {prepared}", advice)
    return _train(content, backbone, folder, prepared, Limit(content.config.steps, minutes), report)


def _open(
    config: ReaderTrainConfig,
    codec_name: str,
    backbone_name: str | None,
    cache: Path,
    start_from: str | None,
    report: Report | None,
) -> ReaderData:
    """Load the codec, and refuse what could not be trained or written before any work is done."""
    # Not quantized: a LoRA trains, and merges, in fp32.
    codec = Codec.from_pretrained(codec_name, backbone=backbone_name, quantization="none")
    require_small(codec.backbone, config)
    if start_from:
        load_start(start_from, codec.backbone, config)
    return ReaderData(codec, config, cache, report)


def require_small(backbone: Backbone, config: ReaderTrainConfig) -> None:
    """Raise OptionError if a reader would be too large, before it is trained."""
    embedding = new_embedding(backbone, config)
    if isinstance(embedding, CodeEmbedding):
        return  # for research: what is shipped is small
    sizes = [sum(module.weight.shape) for _, module in projections(llama_of(backbone))]
    count = config.rank * sum(sizes) + sum(parameter.numel() for parameter in embedding.parameters())
    if 2 * count > MOST_BYTES:
        raise OptionError(
            f"A LoRA of rank {config.rank} and the Z-embedding take {2 * count / 1e6:.1f} MB in half precision, more "
            f"than {MOST_BYTES / 1e6:.0f}. Choose a lower --rank."
        )


def _train(
    content: TrainingSet,
    backbone: Backbone,
    folder: Path,
    cache: Path,
    limit: Limit,
    report: Report | None,
    answer: Callable[[], dict[str, Answers]] = dict,
) -> TrainedReader:
    """Train on a set, write the reader, and measure what was written; `answer` lets it answer questions."""
    config = content.config
    start = load_start(content.start, backbone, config) if content.start else new_start(backbone, config)
    predict = None
    if content.passages:
        teacher = Teacher(cache / "teacher", backbone, content.passages, config.top)
        teacher.ensure(lambda done, total: report("teach", done, total, {}) if report else None)
        predict = teacher.top_tokens
    untuned = ReaderModel.of(backbone, llama_of(backbone), ZEmbedding(backbone.hidden_size).to(backbone.device))
    meters = {ratio: BenefitMeter(untuned, contexts) for ratio, contexts in content.development.items()}
    trainer = ReaderTrainer(content, backbone, start, folder / WORK, predict)
    passages = max(1, config.dev_passages // 3)

    def evaluate() -> Figures:
        return {"kept": next(iter(meters.values())).measure(trainer.model, passages).kept}

    run_steps(trainer, limit, config.checkpoint_every, keep_history(config, limit, evaluate, report))
    return _finish(trainer, backbone, folder, meters, answer)


def _finish(
    trainer: ReaderTrainer,
    backbone: Backbone,
    folder: Path,
    meters: Mapping[str, BenefitMeter],
    answer: Callable[[], dict[str, Answers]],
) -> TrainedReader:
    content, progress, config = trainer.content, trainer.progress, trainer.config
    summary: dict[str, Any] = {
        "input": config.input,
        **content.summary,
        "steps": progress.step,
        "positions": progress.positions,
        "targets": progress.targets,
        "seconds": round(progress.seconds, 1),
        "seed": config.seed,
    }
    _write(folder, backbone, trainer, summary, Calibration())
    model = _load(folder, backbone, config)
    calibration = Calibration()
    if content.calibration:
        not_found = ContentTokenizer(backbone).encode(NOT_FOUND)[0]
        calibration = calibrate(model, content.calibration, not_found)
    benefit = {ratio: meter.measure(model) for ratio, meter in meters.items()}
    answers = answer()
    summary["context_benefit"] = {ratio: figures.to_dict() for ratio, figures in benefit.items()}
    summary["answers"] = {ratio: figures.to_dict() for ratio, figures in answers.items()}
    _write(folder, backbone, trainer, summary, calibration)
    shown = {"shown": {ratio: figures.shown for ratio, figures in answers.items()}}
    write_record(folder / "training.json", summary | shown, config.to_dict(), progress.history)
    plot_reader_history(progress.history, folder / "training.png")
    return TrainedReader(folder, benefit, answers, progress.seconds)


def _write(
    folder: Path, backbone: Backbone, trainer: ReaderTrainer, training: dict[str, Any], calibration: Calibration
) -> None:
    embedding, fingerprint, loras = trainer.embedding, backbone.weights_fingerprint, trainer.loras()
    if isinstance(embedding, CodeEmbedding):
        write_codes(folder, embedding, loras, backbone)
        return
    if isinstance(embedding, MetaEmbedding):
        ltsc_config = LtscReaderConfig(backbone.name, fingerprint, training)
        write_ltsc_reader(folder, ltsc_config, embedding, loras[READER])
        return
    config = ReaderConfig(backbone.name, fingerprint, embedding.max_gap, training, calibration)
    write_reader(folder, config, embedding, loras[READER])


def _load(folder: Path, backbone: Backbone, config: ReaderTrainConfig) -> ReaderModel:
    """Load what was written."""
    if config.input in CODES:
        return load_codes(folder, backbone)
    if config.input == "ltsc":
        reader = LtscReader.from_pretrained(str(folder), backbone=backbone)
        return ReaderModel.of(backbone, reader.decoder, reader.meta_embedding)
    embedding = load_z_embedding(folder, read_reader_config(folder), backbone.hidden_size).to(backbone.device)
    return ReaderModel.of(backbone, merged_decoder(folder, backbone), embedding)


def _answers(folder: Path, data: ReaderData, questions: Sequence[Question]) -> dict[str, Answers]:
    """Let a reader that was written answer development questions."""
    config, codec = data.config, data.codec
    if config.input in CODES:
        model, decode = load_codes(folder, codec.backbone), codec.backbone.decode
        by_ratio = data.development_questions(questions)
        return {
            ratio: score_answers(tiled, answer_from_codes(model, data.prompts, tiled, decode))
            for ratio, tiled in by_ratio.items()
        }
    if config.input == "ltsc":
        ltsc_reader = LtscReader.from_pretrained(str(folder), backbone=codec.backbone)
        by_ratio = data.development_questions(questions)
        return {
            ratio: score_answers(tiled, answer_from_meta_tokens(ltsc_reader, tiled))
            for ratio, tiled in by_ratio.items()
        }
    # Not by `Reader.from_pretrained`: given a folder named like a shipped codec, it would load that codec's reader.
    embedding = load_z_embedding(folder, read_reader_config(folder), codec.backbone.hidden_size)
    reader = Reader(codec, merged_decoder(folder, codec.backbone), embedding.to(codec.backbone.device))
    if config.input == "z":
        return answer_focused(reader, questions, config.dev_ratios)
    by_ratio = data.development_questions(questions)
    return {
        ratio: score_answers(tiled, answer_questions(reader, data.prompts, tiled)) for ratio, tiled in by_ratio.items()
    }


def plot_reader_history(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw a training history to a PNG file: the cross-entropy of each task, and the context benefit kept."""
    figure = _new_figure()
    losses, benefit = figure.subplots(1, 2)
    for task in TASKS:
        entries = [entry for entry in history if task in entry]
        losses.plot([entry["step"] for entry in entries], [entry[task] for entry in entries], linewidth=0.8, label=task)
    losses.set(title="training", xlabel="step", ylabel="nats per target")
    losses.legend(frameon=False)
    measured = [entry for entry in history if "kept" in entry]
    steps, kept = [entry["step"] for entry in measured], [entry["kept"] for entry in measured]
    benefit.plot(steps, kept, "o-", color="tab:orange")
    benefit.set(title="development", xlabel="step", ylabel="context benefit kept")
    figure.savefig(path, dpi=120)


def _new_figure() -> Any:  # noqa: ANN401 - matplotlib's Figure; importing it here would need the extra
    """Return an empty matplotlib figure that needs no screen."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError("Plots need matplotlib: pip install 'zprompt[train]'.") from error
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
