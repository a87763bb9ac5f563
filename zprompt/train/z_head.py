"""Train a Z-token head for a reader: the script behind `zprompt train z-head`.

    passage    ▯▮▮▮▮▮▮▮▮▮          the start token, and a passage in Z-tokens
    answer     ▯▯▯▮▮▮▮▮▮▯▯▮▮       a question about passages, and its answer in Z-tokens
               ···········^^       what is learned: from the first Z-token that is to be written

    loss = cross-entropy of the gap + mean over Z-tokens with a gap of mean over sub-codes of their cross-entropy

The reader is frozen: a step reads its texts once, without gradients, and trains the head on the hidden states. The
anchors are the LM head's, which is not trained here: their cross-entropy shows how well it does in Z-tokens.

The reader's folder gets `z_token_head.safetensors` and `z-token-head-training.json` (config, figures, history);
`work/z-head/` in it holds the checkpoint.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from zprompt.codec import Codec
from zprompt.errors import CheckpointError, OptionError, TrainingDataError
from zprompt.eval import read_questions
from zprompt.reader import (
    Z_HEAD_FILE,
    ZTokenHead,
    find_reader,
    load_z_embedding,
    load_z_head,
    merged_decoder,
    read_reader_config,
    reader_fingerprint,
    reader_weights,
    write_z_head,
)
from zprompt.train.config import ZHeadTrainConfig
from zprompt.train.loop import (
    Figures,
    Report,
    TrainingProgress,
    rate_at,
    refuse_another_run,
    run_steps,
    write_checkpoint,
    write_record,
)
from zprompt.train.packing import PackedSequence, Positions, make_batch
from zprompt.train.passages import PassageStore, TiledPassage
from zprompt.train.reader import MOST_BYTES
from zprompt.train.reader_data import Prompts, ReaderData, Sources, TiledQuestion
from zprompt.train.reader_model import ReaderModel
from zprompt.train.reader_trainer import RAMP, keep_history

RECORD_FILE = "z-token-head-training.json"
BATCH = 8  # texts that are measured at a time
FREE = ("checkpoint_every", "evaluate_every", "dev_passages", "dev_questions")  # may change when a run is resumed


@dataclass(frozen=True, slots=True)
class TrainedZHead:
    """A Z-token head on disk, and its figures."""

    path: Path
    fits: dict[str, "Fit"]  # on development passages and answers
    seconds: float  # of training, over all sessions


def train_z_head(
    sources: Sources,
    reader: str,
    config: ZHeadTrainConfig,
    *,
    codec_name: str = "default",
    backbone_name: str | None = None,
    cache: Path | None = None,
    resume: bool = False,
    report: Report | None = None,
) -> TrainedZHead:
    """Train a Z-token head.

    :param sources: Training and development data.
    :param reader: The reader's folder, which the head goes to.
    :param config: How to train.
    :param codec_name: The codec whose Z-tokens the reader reads, as `load` takes it.
    :param backbone_name: The backbone, if it lies elsewhere than the codec says.
    :param cache: Folder for Z-tokens, to share with the training of readers; None: in the reader's folder.
    :param resume: Whether to continue a run that was stopped.
    :param report: Called as work goes on.
    :return: The figures of the run.
    :raises CheckpointError: If there is a run in the folder and `resume` is not set.
    """
    folder = find_reader(reader)
    work = folder / "work" / "z-head"
    if (work / "checkpoint.pt").is_file() and not resume:
        raise CheckpointError(f"A training run is in {work}. Go on with it by --resume, or delete it to start anew.")
    codec = Codec.from_pretrained(codec_name, backbone=backbone_name, quantization="none")
    model, input_ = load_frozen_reader(folder, codec)
    torch.manual_seed(config.seed)
    z_head = ZTokenHead(codec.settings, codec.backbone.hidden_size, config.width).to(codec.backbone.device)
    require_small(folder, z_head)
    data = ReaderData(codec, config.reader_config(input_), cache or folder / "work", report)
    training, development = read_z_texts(data, sources)
    trainer = ZHeadTrainer(config, model, z_head, training, work, reader_fingerprint(folder))
    after_step = keep_history(config, lambda: trainer.accuracies(development), report)
    run_steps(trainer, config.steps, config.checkpoint_every, after_step)
    return _finish(folder, trainer, development, codec, sources)


def load_frozen_reader(folder: Path, codec: Codec) -> tuple[ReaderModel, str]:
    """Load the frozen reader, without a head that it may have, and what its passages were given as.

    :param folder: Its folder.
    :param codec: The codec.
    :return: The reader's model, and the input that it was trained on.
    :raises CheckpointError: If it reads no Z-tokens, or those of another codec.
    """
    config, backbone = read_reader_config(folder), codec.backbone
    input_ = config.training.get("input", "z")
    if input_ not in ("z", "anchors") or config.codec_fingerprint != codec.fingerprint:
        raise CheckpointError(
            f"The reader in {folder} was trained on {input_!r} for the codec {config.codec_fingerprint}. A Z-token "
            f"head needs one that reads Z-tokens of the codec that is loaded, {codec.fingerprint}: give the reader's "
            "--codec, or another reader."
        )
    embedding = load_z_embedding(folder, config, backbone.hidden_size).to(backbone.device)
    return ReaderModel.of(backbone, merged_decoder(folder, backbone), embedding), input_


def require_small(folder: Path, z_head: ZTokenHead) -> None:
    """Raise OptionError if the reader would be too large with a head, before it is trained."""
    size = sum(path.stat().st_size for path in reader_weights(folder))
    size += 2 * sum(parameter.numel() for parameter in z_head.parameters())
    if size > MOST_BYTES:
        raise OptionError(
            f"The reader in {folder} would take {size / 1e6:.1f} MB with its Z-token head, more than "
            f"{MOST_BYTES / 1e6:.0f}. Choose a lower --width."
        )


# Texts in Z-tokens.


@dataclass(frozen=True, slots=True, eq=False)
class ZText:
    """A text in Z-tokens, after what was given."""

    positions: Positions
    first: int  # index of the first Z-token that is to be written, at least 1


@dataclass(frozen=True, slots=True, eq=False)
class ZTexts:
    """Texts to write, by kind."""

    passages: Sequence[ZText]
    answers: Sequence[ZText]

    def draw(self, count: int, answers: float, random: np.random.Generator) -> list[ZText]:
        """Draw texts, of which a share are answers if there are both kinds."""
        share = answers if self.passages and self.answers else float(not self.passages)
        kinds = random.random(count) < share
        pools = [self.answers if is_answer else self.passages for is_answer in kinds]
        return [pool[int(random.integers(len(pool)))] for pool in pools]


def read_z_texts(data: ReaderData, sources: Sources) -> tuple[ZTexts, ZTexts]:
    """Cut and compress the texts to train on, and those to measure on."""
    texts, dev_texts = data.split(sources)
    dev_questions = read_questions(sources.dev_questions)[: data.config.dev_questions]
    found = []
    for name, own, questions in (
        ("tile", texts, read_questions(sources.questions)),
        ("tile development", dev_texts, dev_questions),
    ):
        passages = data.store.tile(own, data.config.ratios, data.count_report(name))
        asked = data.tile_questions(questions, data.config.ratios, f"{name} questions")
        answers = answers_to_write(asked, data.prompts, data.store, data.config.ratios)
        found.append(ZTexts([_passage_to_write(one, data.prompts) for one in passages], answers))
    return found[0], found[1]


def _passage_to_write(passage: TiledPassage, prompts: Prompts) -> ZText:
    start = Positions.of_ids([prompts.tokenizer.start_id], prompts.subcodes)
    return ZText(Positions.concatenate((start, Positions.of_z_tokens(passage.tokens, prompts.subcodes))), 1)


def answers_to_write(
    questions: Sequence[TiledQuestion], prompts: Prompts, store: PassageStore, ratios: Sequence[float]
) -> list[ZText]:
    """Compress the first answer to each question, after its prompt; an answer without Z-tokens stays in tokens."""
    ids = [prompts.answer_ids(one.answers[0]) for one in questions]
    texts = [store.codec.backbone.decode(list(own)) for own in ids]
    tiled = {passage.text: passage for passage in store.tile([text for text in texts if text], ratios)}
    answers = []
    for one, text, own in zip(questions, texts, ids, strict=True):
        prompt = prompts.question(one.question, one.passages)
        written = (
            Positions.of_z_tokens(tiled[text].tokens, prompts.subcodes)
            if text in tiled
            else Positions.of_ids(own, prompts.subcodes)
        )
        answers.append(ZText(Positions.concatenate((prompt, written)), len(prompt)))
    return answers


@dataclass(frozen=True, slots=True, eq=False)
class ZTargets:
    """Z-tokens to write, each with the reader's hidden state."""

    hidden: Tensor  # (N, D), where each is predicted
    vectors: Tensor  # (N, D), embeddings of their anchors
    anchors: Tensor  # (N,)
    gaps: Tensor  # (N,)
    codes: Tensor  # (N, M)


@torch.no_grad()
def read_targets(model: ReaderModel, texts: Sequence[ZText]) -> ZTargets:
    """Read texts in one pass, and list the Z-tokens to write, text by text."""
    batch = make_batch([PackedSequence("z", text.positions, ()) for text in texts])
    states = model.states(batch)
    places = [np.arange(text.first, len(text.positions)) for text in texts]
    rows = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(own) for own in places]))
    columns = torch.from_numpy(np.concatenate(places))
    device = states.device
    anchors, gaps, codes = (part[rows, columns].to(device) for part in (batch.ids, batch.gaps, batch.codes))
    hidden = states[rows.to(device), columns.to(device) - 1]
    return ZTargets(hidden, model.vectors[anchors], anchors, gaps, codes)


# Loss, and how well a head fits.


@dataclass(frozen=True, slots=True, eq=False)
class ZLosses:
    """The losses of Z-tokens."""

    gap: Tensor  # (N,) nats
    gap_right: Tensor  # (N,)
    code: Tensor  # (n, M) nats, of those with a gap
    code_right: Tensor  # (n, M)

    @property
    def total(self) -> Tensor:
        """Return the loss, a scalar."""
        return self.gap.mean() + self.code.mean() if len(self.code) else self.gap.mean()


def z_losses(z_head: ZTokenHead, targets: ZTargets) -> ZLosses:
    """Compute the losses of Z-tokens."""
    features = z_head.features(targets.hidden, targets.vectors)
    gap_logits = z_head.gap_logits(features)
    gap = functional.cross_entropy(gap_logits, targets.gaps, reduction="none")
    spans = targets.gaps > 0
    features, gaps, codes = features[spans], targets.gaps[spans], targets.codes[spans]
    logits = [z_head.subcode_logits(features, gaps, codes, m) for m in range(codes.shape[1])]
    code = [functional.cross_entropy(one, codes[:, m], reduction="none") for m, one in enumerate(logits)]
    right = [one.argmax(dim=1) == codes[:, m] for m, one in enumerate(logits)]
    return ZLosses(gap, gap_logits.argmax(dim=1) == targets.gaps, torch.stack(code, 1), torch.stack(right, 1))


@dataclass(frozen=True, slots=True)
class Fit:
    """How well Z-tokens are predicted, each after the right ones."""

    texts: int
    z_tokens: int
    usual_gap: float  # share of the most frequent gap: what always choosing it would reach
    gap_accuracy: float
    gap_nats: float
    codes: int  # sub-codes, of Z-tokens with a gap
    code_accuracy: float  # of sub-codes, the gap and those before being right
    code_nats: float
    anchor_accuracy: float
    anchor_nats: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@torch.no_grad()
def measure_fit(z_head: ZTokenHead, model: ReaderModel, texts: Sequence[ZText]) -> Fit:
    """Measure a head on texts, of which there is one at least."""
    order = sorted(texts, key=lambda text: len(text.positions))
    losses, gaps, anchor_nats, anchor_right = [], [], [], []
    for start in range(0, len(order), BATCH):
        targets = read_targets(model, order[start : start + BATCH])
        logits = targets.hidden @ model.head.T
        anchor_nats.append(functional.cross_entropy(logits, targets.anchors, reduction="none"))
        anchor_right.append(logits.argmax(dim=1) == targets.anchors)
        losses.append(z_losses(z_head, targets))
        gaps.append(targets.gaps.cpu().numpy())
    every_gap = np.concatenate(gaps)
    return Fit(
        texts=len(texts),
        z_tokens=len(every_gap),
        usual_gap=float(np.bincount(every_gap).max() / len(every_gap)),
        gap_accuracy=_mean([one.gap_right for one in losses]),
        gap_nats=_mean([one.gap for one in losses]),
        codes=sum(one.code.numel() for one in losses),
        code_accuracy=_mean([one.code_right for one in losses]),
        code_nats=_mean([one.code for one in losses]),
        anchor_accuracy=_mean(anchor_right),
        anchor_nats=_mean(anchor_nats),
    )


def _mean(parts: Sequence[Tensor]) -> float:
    """Average over all parts; 0 if they are empty."""
    whole = torch.cat([part.float().flatten() for part in parts])
    return float(whole.mean()) if len(whole) else 0.0


# The steps.


class ZHeadTrainer:
    """Trains a Z-token head."""

    def __init__(
        self,
        config: ZHeadTrainConfig,
        model: ReaderModel,
        z_head: ZTokenHead,
        texts: ZTexts,
        folder: Path,
        reader: str,
    ) -> None:
        """Set up a run, or resume one that was stopped.

        :param config: How to train.
        :param model: The frozen reader.
        :param z_head: The head to train.
        :param texts: What to train on.
        :param folder: Where checkpoints are kept.
        :param reader: Fingerprint of the reader.
        :raises TrainingDataError: If there are no texts.
        """
        if not texts.passages and not texts.answers:
            raise TrainingDataError("There is neither text nor a question to train on. Give --data, --qa or both.")
        self.config, self.model, self.z_head, self.texts = config, model, z_head, texts
        self.optimizer = torch.optim.AdamW(z_head.parameters(), config.rate, (0.9, 0.98), weight_decay=config.decay)
        self.progress = TrainingProgress()
        self._run = {"reader": reader, **config.to_dict()}
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint = folder / "checkpoint.pt"
        if self.checkpoint.is_file():
            self._resume()

    def step(self, step: int) -> Figures:
        """Train on one batch, and return cross-entropies and accuracies before the update."""
        config = self.config
        texts = self.texts.draw(config.batch, config.answers, np.random.default_rng([config.seed, step]))
        targets = read_targets(self.model, texts)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(config.rate, step, config.steps, RAMP)
        losses = z_losses(self.z_head, targets)
        self.optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(self.z_head.parameters(), 1.0)
        self.optimizer.step()
        self.progress.positions += sum(len(text.positions) for text in texts)
        self.progress.targets += len(targets.gaps)
        figures = {"gap": losses.gap.mean().item(), "gap_right": losses.gap_right.float().mean().item()}
        if len(losses.code):
            figures |= {"code": losses.code.mean().item(), "code_right": losses.code_right.float().mean().item()}
        return figures

    def save(self) -> None:
        """Write a checkpoint."""
        state = {
            "run": json.dumps(self._run),
            "z_head": self.z_head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": self.progress.to_dict(),
        }
        write_checkpoint(self.checkpoint, state)

    def measure(self, z_head: ZTokenHead, texts: ZTexts) -> dict[str, Fit]:
        """Measure a head on both kinds of texts, where there are any."""
        kinds: Mapping[str, Sequence[ZText]] = {"passages": texts.passages, "answers": texts.answers}
        return {kind: measure_fit(z_head, self.model, own) for kind, own in kinds.items() if own}

    def accuracies(self, texts: ZTexts) -> Figures:
        """Measure the head as it is now, in the figures that the history has."""
        fits = self.measure(self.z_head, texts).items()
        gaps = {f"dev_{kind}_gap_right": fit.gap_accuracy for kind, fit in fits}
        return gaps | {f"dev_{kind}_code_right": fit.code_accuracy for kind, fit in fits}

    def _resume(self) -> None:
        state = torch.load(self.checkpoint, weights_only=True)
        stopped = json.loads(state["run"])
        refuse_another_run(self.checkpoint.parent, stopped, self._run, FREE, "delete the folder to start anew")
        self.z_head.load_state_dict(state["z_head"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = TrainingProgress(**state["progress"])


def _finish(folder: Path, trainer: ZHeadTrainer, development: ZTexts, codec: Codec, sources: Sources) -> TrainedZHead:
    """Write the head, measure what was written, and write the record of its training."""
    progress, config = trainer.progress, trainer.config
    write_z_head(folder, trainer.z_head)
    # As it was written, in half precision.
    z_head = load_z_head(folder, read_reader_config(folder), codec.backbone.hidden_size) or trainer.z_head
    fits = trainer.measure(z_head.to(codec.backbone.device), development)
    summary: dict[str, Any] = {
        "data": [Path(source).name for source in (*sources.text, *sources.questions)],
        "reader": reader_fingerprint(folder),
        "codec": codec.fingerprint,
        "steps": progress.step,
        "positions": progress.positions,
        "targets": progress.targets,
        "seconds": round(progress.seconds, 1),
        "passages": len(trainer.texts.passages),
        "answers": len(trainer.texts.answers),
        "fits": {kind: fit.to_dict() for kind, fit in fits.items()},
    }
    write_record(folder / RECORD_FILE, summary, config.to_dict(), progress.history)
    return TrainedZHead(folder / Z_HEAD_FILE, fits, progress.seconds)
