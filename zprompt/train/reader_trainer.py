"""The steps of a reader's training: where they start, and what one does.

    start    a LoRA that changes nothing and an embedding that adds nothing, or another reader
    step     draw packed sequences ─► micro-batches of similar length ─► losses, in which each task has its share

LoRA and embedding are trained; the LLM is frozen. All randomness of a step comes from (seed, step). On a CPU, each
micro-batch has a core of its own: on two cores that was 1.7 times as fast as one, and both on one micro-batch 1.4 times
(its products are small, and what is between them is done by one core). Gradients are summed in the order of the
micro-batches, so the number of cores changes nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from zprompt.baselines.ltsc import (
    READER_ALPHABET,
    LtscReaderConfig,
    MetaEmbedding,
    find_ltsc_reader,
    load_meta_embedding,
    read_ltsc_config,
)
from zprompt.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, Lora, llama_of, new_lora, projections, read_lora
from zprompt.reader import ADAPTER_FOLDER, ReaderConfig, ZEmbedding, find_reader, load_z_embedding, read_reader_config
from zprompt.train.config import TASKS, ReaderTrainConfig
from zprompt.train.loop import Figures, Report, TrainingProgress, is_due, rate_at, refuse_another_run, write_checkpoint
from zprompt.train.packing import Batch, PackedSequence, make_batch, micro_batches
from zprompt.train.reader_data import ReaderExamples
from zprompt.train.reader_model import (
    Embedding,
    ReaderModel,
    candidate_tokens,
    decoder_with_lora,
    init_embeddings,
    lora_matrices,
    target_losses,
)

RAMP = 20  # steps until the learning rate is full
FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions", "dev_ratios", "micro_batch")


@dataclass(frozen=True, slots=True)
class Start:
    """The LoRA and the embedding that a run starts with."""

    lora: Lora
    embedding: Embedding  # is trained itself, not a copy


def new_start(codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at a reader of text: a LoRA that changes nothing, and gaps that add nothing or random meta-tokens."""
    backbone = codec.backbone
    lora = new_lora(llama_of(backbone), config.rank, config.alpha, config.seed)
    if config.input != "ltsc":
        return Start(lora, ZEmbedding(backbone.hidden_size))
    count = (READER_ALPHABET.vocabulary_size or 0) - READER_ALPHABET.first
    meta_tokens = MetaEmbedding(count, backbone.hidden_size)
    init_embeddings(meta_tokens, backbone.embeddings, config.seed)
    return Start(lora, meta_tokens)


def load_start(name: str, codec: Codec, config: ReaderTrainConfig) -> Start:
    """Start at another reader: at its LoRA, and at its embedding if it was trained on the same input.

    :param name: The reader, as `load_reader` takes it.
    :param codec: The codec whose Z-tokens are to be read.
    :param config: Has rank, alpha and input.
    :return: The start.
    :raises CheckpointError: If that reader has another backbone or rank.
    """
    folder, its = _read_config(name)
    lora, backbone = read_lora(folder / ADAPTER_FOLDER), codec.backbone
    pairs: dict[str, tuple[object, object]] = {
        "backbone": (its.backbone_fingerprint, backbone.weights_fingerprint),
        "LoRA's rank": (lora.rank, config.rank),
        "LoRA's alpha": (lora.alpha, config.alpha),
        "LoRA's projections": (sorted(lora.down), sorted(name for name, _ in projections(llama_of(backbone)))),
    }
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
    return Start(lora, embedding.train().requires_grad_())


def _read_config(name: str) -> tuple[Path, ReaderConfig | LtscReaderConfig]:
    """Find a reader of either kind, and read its config."""
    try:
        folder = find_ltsc_reader(name)
    except CheckpointError:
        folder = find_reader(name)
        return folder, read_reader_config(folder)
    return folder, read_ltsc_config(folder)


class ReaderTrainer:
    """Trains a LoRA and an embedding on a frozen LLM."""

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
        for name, weight in list(decoder.named_parameters()):
            if name.endswith("base_layer.weight"):  # a new one: the backbone may have the same; see `unpack`
                rounded = nn.Parameter(weight.to(dtype), requires_grad=False)  # else autocast would in every pass
                decoder.get_submodule(name.removesuffix(".weight")).weight = rounded
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
        self._drawn: dict[int, list[PackedSequence]] = {}  # of the step that follows
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
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(group["highest"], step, self.config.steps, RAMP)
        sequences = self._drawn.pop(step, None) or self._draw(step)
        random = np.random.default_rng([self.config.seed, step, 1])  # not what the sequences were drawn by
        counts = {task: sum(one.targets for one in sequences if one.task == task) for task in TASKS}
        sums = dict.fromkeys((*TASKS, "loss"), 0.0)
        self.optimizer.zero_grad()
        with _one_core_each(self.model.vectors.device) as pool:
            following = pool.submit(self._draw, step + 1)
            parts = [self._prepare(part, random) for part in micro_batches(sequences, self.config.micro_batch)]
            for own in pool.map(lambda part: self._gradients(part, counts), parts):
                self._add(*own, sums)
            self._drawn[step + 1] = following.result()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.progress.positions += sum(map(len, sequences))
        self.progress.targets += sum(counts.values())
        return {"loss": sums["loss"], **{task: sums[task] / count for task, count in counts.items() if count}}

    def _draw(self, step: int) -> list[PackedSequence]:
        return self.examples.draw(np.random.default_rng([self.config.seed, step]))

    def _prepare(self, sequences: Sequence[PackedSequence], random: np.random.Generator) -> tuple[Batch, Tensor]:
        """Make a batch, and choose the tokens of its softmax."""
        batch, config = make_batch(sequences, self.config.top), self.config
        counts = config.common_candidates, config.random_candidates
        return batch, candidate_tokens(batch.targets, len(self.model.head), *counts, random)

    def _gradients(self, part: tuple[Batch, Tensor], counts: Mapping[str, int]) -> tuple[Figures, Sequence[Tensor]]:
        """Return a micro-batch's figures and gradients; each task's targets have its share of the loss together."""
        batch, tokens = part
        targets = batch.targets
        losses = target_losses(self.model.hidden(batch), self.model.head, targets, tokens, self.config.gold_weight)
        shares = dict(zip(TASKS, self.examples.shares.tolist(), strict=True))
        weights = torch.tensor([shares[task] / counts[task] for task in batch.tasks])[targets.rows]
        loss = (losses.total * weights.to(losses.total.device)).sum()
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        figures = {"loss": loss.item()}
        for row, task in enumerate(batch.tasks):
            own = float(losses.gold[(targets.rows == row).to(losses.gold.device)].sum())
            figures[task] = figures.get(task, 0.0) + own
        return figures, gradients

    def _add(self, figures: Figures, gradients: Sequence[Tensor], sums: Figures) -> None:
        for name, figure in figures.items():
            sums[name] += figure
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

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


@contextmanager
def _one_core_each(device: torch.device) -> Iterator[ThreadPoolExecutor]:
    """Give a pool of threads as many as there are cores, each of which computes on one; beside a GPU, one thread."""
    before = torch.get_num_threads()
    cores = before if device.type == "cpu" else 1
    torch.set_num_threads(1 if device.type == "cpu" else before)
    try:
        with ThreadPoolExecutor(cores) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def keep_history(
    config: ReaderTrainConfig, evaluate: Callable[[], Figures], report: Report | None
) -> Callable[[TrainingProgress, Figures], None]:
    """Return what keeps the history of a run after each step, with development figures now and then.

    :param config: How many steps there are, and how often to evaluate.
    :param evaluate: Returns development figures.
    :param report: Called after every step, with the last of these.
    :return: What `run_steps` calls.
    """
    recent: Figures = {}

    def after_step(progress: TrainingProgress, figures: Figures) -> None:
        due = is_due(progress.step, config.steps, config.evaluate_every)
        if due:
            recent.update(evaluate())
        progress.history.append({"step": progress.step, **figures, **(recent if due else {})})
        if report:
            report("train", progress.step, config.steps, {**figures, **recent})

    return after_step
