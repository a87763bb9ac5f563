"""The steps of a reader's training.

    start    a LoRA that changes nothing and an embedding that adds nothing, or another reader
    step     draw packed sequences ─► micro-batches of similar length ─► losses, in which each task has its share

LoRA and embedding are trained; the LLM is frozen. All randomness of a step comes from (seed, step). On a CPU, each core
computes one micro-batch at a time: two cores were 1.7 times as fast as one, but 1.4 times when both computed the same
micro-batch (its products are small, and one core does what is between them). Gradients are summed in the order of the
micro-batches, so the number of cores changes nothing.

On a GPU products are in bf16, layers are compiled, and a micro-batch is as large as memory allows: the first step tells
how much a position takes, and if a micro-batch was too large, the step is repeated with half of it. The next step's
micro-batches are made meanwhile.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from zprompt.baselines.ltsc import (
    READER_META_TOKENS,
    MetaEmbedding,
    find_any_reader,
    load_meta_embedding,
)
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone, LlamaDecoder, Lora, llama_of, new_lora, projections, read_lora
from zprompt.reader import ADAPTER_FOLDER, ReaderConfig, ZEmbedding, load_z_embedding
from zprompt.train.codes import COMPRESSOR, CodeEmbedding, CodesConfig, CodesModel, Noise, new_codes
from zprompt.train.config import CODES, TASKS, ReaderTrainConfig
from zprompt.train.loop import (
    STATE_FILE,
    Figures,
    Limit,
    Report,
    TrainingProgress,
    is_due,
    load_checkpoint,
    rate_at,
    read_state,
    refuse_another_run,
    write_checkpoint,
)
from zprompt.train.packing import Batch, Predict, make_batch, micro_batches
from zprompt.train.reader_model import (
    Embedding,
    ReaderModel,
    candidate_tokens,
    decoder_with_loras,
    init_embeddings,
    lora_matrices,
    target_losses,
)
from zprompt.train.training_set import TrainingSet

READER = "reader"  # the LoRA's name
RAMP = 20  # steps until the learning rate is full
FULL = 0.7  # share of a GPU's free memory to fill; the rest is for micro-batches of longer sequences
# Fields of the config that may change when a run is resumed.
FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions", "dev_ratios", "micro_batch")


@dataclass(frozen=True, slots=True)
class Start:
    """The LoRAs and the embedding that a run starts with."""

    loras: dict[str, Lora]
    embedding: Embedding | CodeEmbedding  # trained in place


def new_start(backbone: Backbone, config: ReaderTrainConfig) -> Start:
    """Start as a reader of text: a LoRA that changes nothing, and gaps that add nothing or random meta-tokens."""
    embedding = new_embedding(backbone, config)
    names = embedding.adapters if isinstance(embedding, CodeEmbedding) else (READER,)
    llama = llama_of(backbone)
    loras = {name: new_lora(llama, config.rank, config.alpha, config.seed + i) for i, name in enumerate(names)}
    return Start(loras, embedding)


def new_embedding(backbone: Backbone, config: ReaderTrainConfig) -> Embedding | CodeEmbedding:
    """Make the embedding of a new reader."""
    if config.input in CODES:
        codes_config = CodesConfig(
            kind=config.input,
            codes=config.codes,
            tokens_per_code=config.tokens_per_code,
            layer=config.code_layer,
            ratio=config.ratios[0],
            start_id=backbone.start_id,
        )
        return new_codes(codes_config, backbone.embeddings, config.seed)
    if config.input != "ltsc":
        return ZEmbedding(backbone.hidden_size)
    meta_tokens = MetaEmbedding(READER_META_TOKENS, backbone.hidden_size)
    init_embeddings(meta_tokens, backbone.embeddings, config.seed)
    return meta_tokens


def load_start(name: str, backbone: Backbone, config: ReaderTrainConfig) -> Start:
    """Start from another reader: from its LoRA, and from its embedding if it was trained on the same input.

    :param name: The reader, as `load_reader` takes it.
    :param backbone: The LLM.
    :param config: Has rank, alpha and input.
    :return: The start.
    :raises CheckpointError: If that reader has another backbone, or another form of LoRA.
    """
    folder, reader_config = find_any_reader(name)
    lora = read_lora(folder / ADAPTER_FOLDER)
    pairs: dict[str, tuple[object, object]] = {
        "backbone": (reader_config.backbone_fingerprint, backbone.weights_fingerprint),
        "LoRA's rank": (lora.rank, config.rank),
        "LoRA's alpha": (lora.alpha, config.alpha),
        "LoRA's projections": (sorted(lora.down), sorted(name for name, _ in projections(llama_of(backbone)))),
    }
    for what, (value, wanted) in pairs.items():
        if value != wanted:
            raise CheckpointError(
                f"The reader in {folder} cannot be trained further: its {what} is {value}, but this run's is {wanted}. "
                "Use the same in this run, or leave out --start-from."
            )
    if reader_config.training.get("input") != config.input:
        new = new_start(backbone, config)
        loras = {adapter: new_lora if adapter == COMPRESSOR else lora for adapter, new_lora in new.loras.items()}
        return Start(loras, new.embedding)
    embedding: Embedding = (
        load_z_embedding(folder, reader_config, backbone.hidden_size)
        if isinstance(reader_config, ReaderConfig)
        else load_meta_embedding(folder, backbone.hidden_size)
    )
    return Start({READER: lora}, embedding.train().requires_grad_())


MicroBatch: TypeAlias = tuple[Batch, Tensor, int]  # with the tokens of its softmax, and the seed of its codes


class ReaderTrainer:
    """Trains a LoRA and an embedding on a frozen LLM."""

    def __init__(
        self, content: TrainingSet, backbone: Backbone, start: Start, folder: Path, predict: Predict | None = None
    ) -> None:
        """Set up a run, or resume one that was stopped.

        :param content: The training set, with its config.
        :param backbone: The frozen LLM.
        :param start: The LoRAs and the embedding to start with.
        :param folder: Where checkpoints are kept.
        :param predict: Returns the teacher's predictions; None: train on the cross-entropy alone.
        """
        config = content.config
        self.config, self.content, self.predict, self.folder = config, content, predict, folder
        decoder, self.embedding = decoder_with_loras(backbone, start.loras), start.embedding.to(backbone.device)
        self.on_gpu = backbone.device.type == "cuda"
        dtype = torch.bfloat16 if self.on_gpu or config.precision == "bf16" else torch.float32
        for name, weight in list(decoder.named_parameters()):
            if name.endswith("base_layer.weight"):
                # Rounded once, where autocast would in every pass; a new parameter, since the backbone may share the
                # old one (see `unpack`).
                rounded = nn.Parameter(weight.to(dtype), requires_grad=False)
                decoder.get_submodule(name.removesuffix(".weight")).weight = rounded
        kind = CodesModel if isinstance(self.embedding, CodeEmbedding) else ReaderModel
        self.model = kind(decoder, self.embedding, backbone.embeddings, backbone.output_embeddings, dtype)
        self.downs, self.ups = (
            {name: lora_matrices(decoder, part, name) for name in start.loras} for part in ("lora_A", "lora_B")
        )
        rates = (
            ([matrix for matrices in self.downs.values() for matrix in matrices.values()], config.rate),
            ([matrix for matrices in self.ups.values() for matrix in matrices.values()], config.up_rate),
            (list(self.embedding.parameters()), config.embedding_rate),
        )
        groups = [{"params": parameters, "lr": rate, "highest": rate} for parameters, rate in rates]
        self.parameters = [parameter for parameters, _ in rates for parameter in parameters]
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0)
        self.progress = TrainingProgress()
        self.micro_batch = config.micro_batch
        self._prepared: dict[int, list[MicroBatch]] = {}  # of the next step
        # The active LoRA is a state of the decoder, so with codes micro-batches cannot run side by side.
        self.one_at_a_time = self.on_gpu or kind is CodesModel
        if self.on_gpu and kind is ReaderModel:
            compile_layers(decoder)
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    def loras(self) -> dict[str, Lora]:
        """Return the LoRAs as they are trained now."""
        config = self.config
        return {
            name: Lora(config.rank, config.alpha, dict(self.downs[name]), dict(self.ups[name])) for name in self.ups
        }

    def step(self, step: int, done: float) -> Figures:
        """Train on one batch.

        :param step: The step, from which all randomness comes.
        :param done: The share of the run that is done, which sets the learning rate.
        :return: The loss and each task's cross-entropy before the update.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(group["highest"], done, step, RAMP)
        try:
            figures = self._accumulate(step, done)
        except torch.OutOfMemoryError:
            if self.micro_batch == 1:
                raise
            self.micro_batch = max(1, self.micro_batch // 2)
            self._prepared.clear()
            torch.cuda.empty_cache()
            return self.step(step, done)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        return figures

    def _accumulate(self, step: int, done: float) -> Figures:
        """Sum the gradients of a step's micro-batches."""
        prepared = self._prepared.pop(step, None) or self._prepare(step)
        counts = dict.fromkeys(TASKS, 0)
        for batch, *_ in prepared:
            for task, count in zip(TASKS, _task_sums(batch, torch.ones(len(batch.targets))), strict=True):
                counts[task] += int(count)
        sums = dict.fromkeys((*TASKS, "loss"), 0.0)
        self.optimizer.zero_grad()
        before = _allocated_bytes() if self.on_gpu else 0
        with _one_core_each(self.one_at_a_time) as pool:
            next_step = pool.submit(self._prepare, step + 1)
            run = map if self.one_at_a_time else pool.map
            for figures, gradients in run(lambda micro_batch: self._gradients(micro_batch, counts, done), prepared):
                self._add(figures, gradients, sums)
            self._prepared[step + 1] = next_step.result()
        if self.on_gpu and self.micro_batch == self.config.micro_batch:
            self.micro_batch = self._positions_that_fit(before, max(batch.ids.numel() for batch, *_ in prepared))
        self.progress.positions += sum(int((batch.layout[1] >= 0).sum()) for batch, *_ in prepared)
        self.progress.targets += sum(counts.values())
        return {"loss": sums["loss"], **{task: sums[task] / count for task, count in counts.items() if count}}

    def _positions_that_fit(self, before: int, positions: int) -> int:
        """Estimate how many positions the GPU holds from the bytes allocated before and at the peak of a step."""
        bytes_each = max(1, torch.cuda.max_memory_allocated() - before) / positions
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        return max(self.config.micro_batch + 1, int(FULL * free / bytes_each))

    def _prepare(self, step: int) -> list[MicroBatch]:
        """Draw the sequences of a step, make micro-batches, and choose the tokens of their softmax."""
        random, config = np.random.default_rng([self.config.seed, step, 1]), self.config
        prepared = []
        for sequences in micro_batches(self.content.draw(step), self.micro_batch):
            batch = make_batch(sequences, self.predict, config.top)
            counts = config.common_candidates, config.random_candidates
            tokens = candidate_tokens(batch.targets, len(self.model.head), *counts, random)
            prepared.append((batch, tokens, int(random.integers(2**31)) if isinstance(self.model, CodesModel) else 0))
        return prepared

    def _gradients(
        self, micro_batch: MicroBatch, counts: Mapping[str, int], done: float
    ) -> tuple[Figures, Sequence[Tensor]]:
        """Return a micro-batch's figures and gradients; the targets of a task together have its share of the loss."""
        batch, tokens, seed = micro_batch
        hidden, penalty = self._hidden(batch, seed, done)
        losses = target_losses(hidden, self.model.head, batch.targets, tokens, self.config.gold_weight)
        shares = self.content.shares
        weights = torch.tensor([shares[task] / counts[task] for task in batch.tasks])[batch.targets.rows]
        loss = (losses.total * weights.to(losses.total.device)).sum() + penalty * len(batch.tasks) / self.config.batch
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        sums = dict(zip(TASKS, _task_sums(batch, losses.gold), strict=True))
        return {"loss": loss.item(), **sums}, gradients

    def _hidden(self, batch: Batch, seed: int, done: float) -> tuple[Tensor, Tensor]:
        """Return the states that predict the targets, and the penalty on codes."""
        if isinstance(self.model, CodesModel):
            return self.model.train_hidden(batch, Noise(torch.Generator().manual_seed(seed), done))
        hidden = self.model.hidden(batch)
        return hidden, hidden.new_zeros(())

    def _add(self, figures: Figures, gradients: Sequence[Tensor], sums: Figures) -> None:
        for name, figure in figures.items():
            sums[name] += figure
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad.add_(gradient)

    def save(self) -> None:
        """Write a checkpoint."""
        state = {"config": self.config.to_dict(), "progress": self.progress.to_dict()}
        write_checkpoint(self.folder, self.parameters, self.optimizer, state)

    def _resume(self) -> None:
        state = read_state(self.folder)
        if state:
            refuse_another_run(self.folder / STATE_FILE, state["config"], self.config.to_dict(), FREE)
            load_checkpoint(self.folder, self.parameters, self.optimizer, state)
            self.progress = TrainingProgress(**state["progress"])


def compile_layers(decoder: LlamaDecoder) -> None:
    """Compile each layer of a decoder, for any number of positions; all layers share the code."""
    torch.set_float32_matmul_precision("high")
    for layer in decoder.layers:
        layer.compile(dynamic=True)


def _allocated_bytes() -> int:
    """Return the bytes allocated on the GPU, and start to measure their peak."""
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _task_sums(batch: Batch, values: Tensor) -> list[float]:
    """Sum a value of each target by task."""
    tasks = torch.tensor([TASKS.index(task) for task in batch.tasks])[batch.targets.rows].to(values.device)
    sums: list[float] = values.new_zeros(len(TASKS)).index_add(0, tasks, values).tolist()
    return sums


@contextmanager
def _one_core_each(one_at_a_time: bool) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of one thread per core, each of which computes on one core; or of one thread beside the main one."""
    cores = torch.get_num_threads()
    torch.set_num_threads(cores if one_at_a_time else 1)
    try:
        with ThreadPoolExecutor(1 if one_at_a_time else cores) as pool:
            yield pool
    finally:
        torch.set_num_threads(cores)


def keep_history(
    config: ReaderTrainConfig, limit: Limit, evaluate: Callable[[], Figures], report: Report | None
) -> Callable[[TrainingProgress, Figures], None]:
    """Return a function for `run_steps` that records each step, and development figures now and then.

    :param config: How often to evaluate.
    :param limit: When the run ends.
    :param evaluate: Returns development figures.
    :param report: Called after every step, with the latest development figures.
    :return: The function.
    """
    recent: Figures = {}

    def after_step(progress: TrainingProgress, figures: Figures) -> None:
        due = is_due(progress.step, limit, config.evaluate_every)
        if due:
            recent.update(evaluate())
        progress.history.append({"step": progress.step, **figures, **(recent if due else {})})
        if report:
            report("train", *limit.counts(progress), {**figures, **recent})

    return after_step
