"""Train a reader from text and questions: the script behind `zprompt train reader`.

    data      passages and questions in Z-tokens, and the teacher's predictions (reader_data.py)
    start     a LoRA that changes nothing and codes that mean their words, or another reader
    steps     packed sequences of four tasks; LoRA and embedding are trained, the LLM is frozen
    end       the reader is written in half precision, and measured as it was written

The folder gets `config.json`, `z_embedding.safetensors` and `adapter/` (the reader), `training.json` (config, figures,
history) and `training.png`; `work/` in it holds the checkpoint. Z-tokens and the teacher's predictions are kept in
`work/` too, or in a folder of their own, which runs on all inputs can share.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zprompt.baselines.ltsc import (
    READER_ALPHABET,
    LtscReader,
    LtscReaderConfig,
    MetaEmbedding,
    find_ltsc_reader,
    load_meta_embedding,
    read_ltsc_config,
    write_ltsc_reader,
)
from zprompt.codec import Codec, load_codec
from zprompt.errors import CheckpointError, OptionError
from zprompt.eval import Question, read_questions
from zprompt.llm import Backbone, Lora, llama_of, new_lora, projections, read_lora
from zprompt.reader import (
    ADAPTER_FOLDER,
    Reader,
    ReaderConfig,
    ZEmbedding,
    find_reader,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.train.config import TASKS, ReaderTrainConfig
from zprompt.train.loop import (
    Figures,
    Report,
    TrainingProgress,
    is_due,
    new_figure,
    rate_at,
    refuse_another_run,
    run_steps,
    write_checkpoint,
    write_record,
)
from zprompt.train.packing import PackedSequence, make_batch, micro_batches
from zprompt.train.reader_data import Continuation, ReaderData, ReaderExamples, Sources, TiledQuestion
from zprompt.train.reader_evaluation import (
    Answers,
    Benefit,
    BenefitMeter,
    answer_from_meta_tokens,
    answer_questions,
    score_answers,
)
from zprompt.train.reader_model import (
    Embedding,
    ReaderModel,
    candidate_tokens,
    decoder_with_lora,
    init_embeddings,
    init_from_codes,
    lora_matrices,
    target_losses,
)

MOST_BYTES = 40_000_000  # of LoRA and Z-embedding on disk
RAMP = 20  # steps until the learning rate is full
FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions", "dev_ratios", "micro_batch")


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
    codec = load_codec(codec_name, backbone=backbone_name, quantization="none")  # a LoRA trains, and merges, in fp32
    start = load_start(start_from, codec, config) if start_from else new_start(codec, config)
    require_small(codec, start.embedding, config)
    data = ReaderData(codec, config, cache or work, report)
    texts, dev_texts = data.split(sources)
    examples = data.examples(texts, read_questions(sources.questions))
    start.init_embedding(examples, codec, config)
    dev_questions = read_questions(sources.dev_questions)[: config.dev_questions]
    development = Development.of(data, dev_texts, dev_questions)
    trainer = ReaderTrainer(config, codec.backbone, start, examples, work)
    run_steps(trainer, config.steps, config.checkpoint_every, _reporter(trainer, development, report))
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


# Where training starts.


@dataclass(frozen=True, slots=True)
class Start:
    """The LoRA and the embedding that a run starts with."""

    lora: Lora
    embedding: Embedding  # is trained itself, not a copy
    is_new: bool = True  # the embedding, which adds nothing yet

    def init_embedding(self, examples: ReaderExamples, codec: Codec, config: ReaderTrainConfig) -> None:
        """Start a new embedding at what codes stand for, or at what tells meta-tokens apart."""
        if not self.is_new:
            return
        if isinstance(self.embedding, MetaEmbedding):
            init_embeddings(self.embedding, codec.backbone.embeddings, config.seed)
            return
        asked = {one.passage.span: one.passage for each in examples.questions for one in each.passages}
        vectors = codec.backbone.embeddings.float().cpu().numpy()
        init_from_codes(self.embedding, [*examples.passages, *asked.values()], vectors, codec.settings)
        self.embedding.scale.data.fill_(config.scale)


def new_start(codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at a reader of text: a LoRA that changes nothing, and an embedding that adds nothing."""
    lora = new_lora(llama_of(codec.backbone), config.rank, config.alpha, config.seed)
    size = codec.backbone.hidden_size
    if config.input == "ltsc":
        return Start(lora, MetaEmbedding((READER_ALPHABET.vocabulary_size or 0) - READER_ALPHABET.first, size))
    return Start(lora, ZEmbedding(codec.settings, size, codes=config.input != "anchors"))


def load_start(name: str, codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at another reader: at its LoRA, and at its embedding if it was trained on the same input.

    :param name: The reader, as `load_reader` takes it.
    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has rank, alpha and input.
    :return: The start.
    :raises CheckpointError: If that reader has another codec, backbone or rank.
    """
    is_ltsc = False
    with suppress(CheckpointError):
        folder, is_ltsc = find_ltsc_reader(name), True
    folder = folder if is_ltsc else find_reader(name)
    its: LtscReaderConfig | ReaderConfig = read_ltsc_config(folder) if is_ltsc else read_reader_config(folder)
    lora, backbone = read_lora(folder / ADAPTER_FOLDER), codec.backbone
    pairs: dict[str, tuple[object, object]] = {
        "backbone": (its.backbone_fingerprint, backbone.weights_fingerprint),
        "LoRA's rank": (lora.rank, config.rank),
        "LoRA's alpha": (lora.alpha, config.alpha),
        "LoRA's projections": (sorted(lora.down), sorted(name for name, _ in projections(llama_of(backbone)))),
    }
    if isinstance(its, ReaderConfig):
        pairs["codec"] = (its.codec_fingerprint, codec.fingerprint)
    for what, (theirs, ours) in pairs.items():
        if theirs != ours:
            raise CheckpointError(
                f"The reader in {folder} can't be trained on: its {what} is {theirs}, this run's is {ours}. Give this "
                "run the same, or leave out --start-from."
            )
    if its.training.get("input") != config.input:
        return Start(lora, new_start(codec, config).embedding)
    embedding: Embedding = (
        load_z_embedding(folder, its, backbone.hidden_size)
        if isinstance(its, ReaderConfig)
        else load_meta_embedding(folder, backbone.hidden_size)
    )
    return Start(lora, embedding.train().requires_grad_(), is_new=False)


# The steps.


class ReaderTrainer:
    """Trains a LoRA and an embedding; the sequences of a step are computed in micro-batches of similar length."""

    def __init__(
        self, config: ReaderTrainConfig, backbone: Backbone, start: Start, examples: ReaderExamples, folder: Path
    ) -> None:
        """Set up a run, or resume one that was stopped.

        :param config: How to train.
        :param backbone: The frozen LLM.
        :param start: The LoRA and the embedding to start with.
        :param examples: Where sequences come from.
        :param folder: Where checkpoints are kept.
        """
        self.config, self.examples = config, examples
        decoder, self.embedding = decoder_with_lora(backbone, start.lora), start.embedding.to(backbone.device)
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        self.model = ReaderModel(decoder, self.embedding, backbone.embeddings, backbone.output_embeddings, dtype)
        self.downs, self.ups = lora_matrices(decoder, "lora_A"), lora_matrices(decoder, "lora_B")
        rates = (
            (list(self.downs.values()), config.rate),
            (list(self.ups.values()), config.up_rate),
            (list(self.embedding.parameters()), config.embedding_rate),
        )
        groups = [{"params": parameters, "lr": rate, "highest": rate} for parameters, rate in rates]
        self.parameters = [parameter for parameters, _ in rates for parameter in parameters]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        self.progress = TrainingProgress()
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def lora(self) -> Lora:
        """Return the LoRA as it is trained now."""
        down, up = ({name: matrix.detach() for name, matrix in own.items()} for own in (self.downs, self.ups))
        return Lora(self.config.rank, self.config.alpha, down, up)

    def step(self, step: int) -> Figures:
        """Train on one batch, and return the loss and each task's cross-entropy before the update."""
        random = np.random.default_rng([self.config.seed, step])
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(group["highest"], step, self.config.steps, RAMP)
        sequences = self.examples.draw(random)
        counts = {task: sum(one.targets for one in sequences if one.task == task) for task in TASKS}
        sums = dict.fromkeys((*TASKS, "loss"), 0.0)
        self.optimizer.zero_grad()
        for part in micro_batches(sequences, self.config.micro_batch):
            self._accumulate(part, counts, sums, random)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.progress.positions += sum(map(len, sequences))
        self.progress.targets += sum(counts.values())
        return {"loss": sums["loss"], **{task: sums[task] / count for task, count in counts.items() if count}}

    def _accumulate(
        self, sequences: Sequence[PackedSequence], counts: dict[str, int], sums: Figures, random: np.random.Generator
    ) -> None:
        """Add the gradients and figures of a micro-batch; each task's targets have its share of the loss together."""
        batch, config, head = make_batch(sequences, self.config.top), self.config, self.model.head
        targets = batch.targets
        tokens = candidate_tokens(targets, len(head), config.common_candidates, config.random_candidates, random)
        losses = target_losses(self.model.hidden(batch), head, targets, tokens, config.gold_weight)
        shares = dict(zip(TASKS, self.examples.shares.tolist(), strict=True))
        weights = torch.tensor([shares[task] / counts[task] for task in batch.tasks])[targets.rows]
        loss = (losses.total * weights.to(losses.total.device)).sum()
        loss.backward()
        sums["loss"] += loss.item()
        for row, task in enumerate(batch.tasks):
            sums[task] += float(losses.gold[(targets.rows == row).to(losses.gold.device)].sum())

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "config": json.dumps(self.config.to_dict(), sort_keys=True),
            "parameters": [parameter.detach() for parameter in self.parameters],
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.to_dict(),
        }
        write_checkpoint(self.checkpoint, state)

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        refuse_another_run(self.checkpoint.parent, json.loads(state["config"]), self.config.to_dict(), FREE)
        with torch.no_grad():
            for parameter, saved in zip(self.parameters, state["parameters"], strict=True):
                parameter.copy_(saved)
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = TrainingProgress(**state["progress"])


# Measuring and recording.


@dataclass(frozen=True, slots=True)
class Development:
    """What readers are measured with, by ratio."""

    meters: dict[str, BenefitMeter]
    questions: dict[str, list[TiledQuestion]]

    @classmethod
    def of(cls, data: ReaderData, texts: Sequence[str], questions: Sequence[Question]) -> "Development":
        """Compress development passages and questions at each ratio, and compute the references."""
        config, backbone = data.config, data.codec.backbone
        no_codes = ZEmbedding(data.codec.settings, backbone.hidden_size).to(backbone.device)
        untuned = ReaderModel.of(backbone, llama_of(backbone), no_codes)
        continuation = Continuation(config.input, backbone.start_id, config.continued)
        meters, tiled = {}, {}
        for ratio in config.dev_ratios:
            passages = data.store.tile(texts, (ratio,), data.count_report("tile development"))
            aware = 1.0 if config.query_aware else 0.0
            asked = data.tile_questions(questions, (ratio,), "tile development questions", aware)
            if config.input == "pruned":
                passages = data.with_surprisals(passages, "dev")
                asked = data.questions_with_surprisals(asked, "dev-questions")
            meters[f"{ratio:g}"] = BenefitMeter(untuned, passages, continuation)
            tiled[f"{ratio:g}"] = asked
        return cls(meters, tiled)


def _reporter(
    trainer: ReaderTrainer, development: Development, report: Report | None
) -> Callable[[TrainingProgress, Figures], None]:
    """Keep the history of a run, and pass it on."""
    config = trainer.config
    recent: Figures = {}
    first = next(iter(development.meters.values()))

    def after_step(progress: TrainingProgress, figures: Figures) -> None:
        entry = {"step": float(progress.step), **figures}
        if is_due(progress.step, config.steps, config.evaluate_every):
            entry["kept"] = recent["kept"] = first.measure(trainer.model, max(1, config.dev_passages // 3)).kept
        progress.history.append(entry)
        if report:
            report("train", progress.step, config.steps, {**figures, **recent})

    return after_step


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
    _write(folder, codec, trainer, summary)
    model, answer = _load(folder, data)
    benefit = {ratio: meter.measure(model) for ratio, meter in development.meters.items()}
    answers = {ratio: score_answers(asked, answer(asked)) for ratio, asked in development.questions.items() if asked}
    summary["context_benefit"] = {ratio: figures.to_dict() for ratio, figures in benefit.items()}
    summary["answers"] = {ratio: figures.to_dict() for ratio, figures in answers.items()}
    _write(folder, codec, trainer, summary)
    shown = {"shown": {ratio: figures.shown for ratio, figures in answers.items()}}
    write_record(folder / "training.json", summary | shown, config.to_dict(), progress.history)
    plot_reader_history(progress.history, folder / "training.png")
    return TrainedReader(folder, benefit, answers, progress.seconds)


def _write(folder: Path, codec: Codec, trainer: ReaderTrainer, training: dict[str, Any]) -> None:
    backbone, embedding = codec.backbone, trainer.embedding
    fingerprint = backbone.weights_fingerprint
    if isinstance(embedding, MetaEmbedding):
        ltsc_config = LtscReaderConfig(backbone.name, fingerprint, training)
        write_ltsc_reader(folder, ltsc_config, embedding, trainer.lora())
        return
    config = ReaderConfig(
        backbone.name, fingerprint, codec.fingerprint, codec.settings, embedding.codes, training
    )
    write_reader(folder, config, embedding, trainer.lora())


def _load(folder: Path, data: ReaderData) -> tuple[ReaderModel, Callable[[Sequence[TiledQuestion]], list[str]]]:
    """Load what was written: the model, and the function that lets the reader answer questions."""
    codec, backbone = data.codec, data.codec.backbone
    if data.config.input == "ltsc":
        ltsc_reader = LtscReader.from_pretrained(str(folder), backbone=backbone)
        model = ReaderModel.of(backbone, ltsc_reader.decoder, ltsc_reader.meta_embedding)
        return model, partial(answer_from_meta_tokens, ltsc_reader)
    # Not by `Reader.from_pretrained`: the folder may have a Z-token head that belongs to the last reader in it.
    embedding = load_z_embedding(folder, read_reader_config(folder), backbone.hidden_size).to(backbone.device)
    reader = Reader(codec, merged_decoder(folder, backbone), embedding)
    return ReaderModel.of(backbone, reader.decoder, embedding), partial(answer_questions, reader, data.prompts)


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
