"""Codes are learned together with the reader of them: sub-codes of spans, and paper A's flat codebook."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
import torch

from zprompt.llm import Backbone, LlamaDecoder, LlamaShape, one_thread
from zprompt.llm.backbone import TextTokenizer, Weights
from zprompt.reader import ZEmbedding
from zprompt.train.codes import Codebook, CodesModel, SpanCodes, load_codes, usage_penalty, write_codes
from zprompt.train.config import ReaderTrainConfig
from zprompt.train.loop import Limit, run_steps
from zprompt.train.packing import Branch, PackedSequence, Positions, make_batch
from zprompt.train.reader_model import ReaderModel
from zprompt.train.reader_trainer import ReaderTrainer, new_start
from zprompt.train.training_set import TrainingSet

START, END = 0, 1  # token ids; letters follow
LETTERS, WIDTH, STEPS = 2, 32, 400
CONFIG = ReaderTrainConfig(
    input="paper-a",
    steps=1,
    batch=64,
    micro_batch=4096,
    ratios=(2.0,),
    codes=16,
    rank=16,
    alpha=16.0,
    rate=1e-2,
    up_rate=1e-2,
    embedding_rate=1e-2,
    random_candidates=0,
    common_candidates=16,
)

Draw: TypeAlias = Callable[[int], list[PackedSequence]]


@pytest.fixture(scope="module")
def llama() -> Backbone:
    """Return a random Llama of two layers and 16 tokens, without a tokenizer."""
    shape = LlamaShape(16, WIDTH, 2 * WIDTH, 2, 4, 2, WIDTH // 4, 1e-5, 1e4, 256)
    decoder, random = LlamaDecoder(shape), torch.Generator().manual_seed(0)
    for name, weights in decoder.named_parameters():
        if weights.dim() == 2:
            deviation = 0.5 if "embed" in name else weights.shape[1] ** -0.5
            weights.data = torch.randn(weights.shape, generator=random) * deviation
    decoder = decoder.eval().requires_grad_(False)
    vectors = decoder.embed_tokens.weight
    return Backbone(
        name="letters",
        load=lambda: Weights(decoder, vectors, vectors, lambda: None),
        vocab_size=len(vectors),
        hidden_size=vectors.shape[1],
        device=vectors.device,
        tokenizer=TextTokenizer.__new__(TextTokenizer),
        start_id=START,
        weights_fingerprint="0" * 16,
        fingerprint="0" * 16,
        quantization="none",
        llama=decoder.shape,
    )


def copying(ids: np.ndarray, kind: str, ratio: int = 2) -> PackedSequence:
    """Make a sequence that asks for the repetition of a text."""
    gaps = np.zeros(len(ids), np.int64)
    if kind == "paper-a":
        gaps[0] = len(ids) - 1
    else:
        gaps[::ratio] = np.minimum(ratio, len(ids) - np.arange(0, len(ids), ratio)) - 1
    trunk = Positions(np.concatenate(([START], ids)), np.concatenate(([0], gaps)))
    return PackedSequence("repetition", trunk, (Branch(len(trunk), np.concatenate((ids, [END])), 0),))


def texts(step: int, count: int, kind: str, sizes: tuple[int, ...] = (4, 6)) -> list[PackedSequence]:
    """Draw texts of random letters, in some sizes."""
    random = np.random.default_rng(step)
    return [copying(random.integers(2, 2 + LETTERS, size=random.choice(sizes)), kind) for _ in range(count)]


def trainer_of(backbone: Backbone, folder: Path, size: int = 4, **changes: object) -> ReaderTrainer:
    config = replace(CONFIG, **changes)  # type: ignore[arg-type]
    content = TrainingSet(
        config=config,
        backbone=backbone.name,
        fingerprint=backbone.weights_fingerprint,
        draw=lambda step: texts(step, config.batch, config.input, (size,)),
        shares={"repetition": 1.0, "continuation": 0.0, "questions": 0.0, "cloze": 0.0},
        passages=[],
        development={},
        calibration=[],
        start=None,
        summary={},
    )
    return ReaderTrainer(content, backbone, new_start(backbone, config), folder)


def without_text(sequence: PackedSequence) -> PackedSequence:
    """Leave out the expected text of a sequence, so that the model has to write it."""
    return replace(sequence, branches=())


def lengths_of(model: CodesModel, sequences: list[PackedSequence]) -> list[float]:
    """Return codes per token, K / |X|, of each text."""
    assert isinstance(model.codes, Codebook)
    shares = []
    for sequence in sequences:
        embedded = model.vectors[torch.from_numpy(sequence.trunk.ids[1:])][None]
        inside = torch.ones(embedded.shape[:2], dtype=torch.bool)
        shares.append(int(model.codes.translate(model, embedded, inside, None).lengths[0]) / embedded.shape[1])
    return shares


def train(trainer: ReaderTrainer) -> CodesModel:
    steps = trainer.config.steps
    with one_thread():  # so small a model takes longer on two
        run_steps(trainer, Limit(steps), steps, lambda progress, figures: None)
    assert isinstance(trainer.model, CodesModel)
    return trainer.model


@pytest.mark.slow
def test_paper_a_learns_to_copy_at_ratio_2(llama: Backbone, tmp_path: Path) -> None:
    model = train(trainer_of(llama, tmp_path, steps=STEPS, batch=32, rate=3e-3, up_rate=3e-3, embedding_rate=3e-3))
    sequences = [copying(np.array(letters) + 2, "paper-a") for letters in product(range(LETTERS), repeat=4)]

    repetitions = [model.write(without_text(sequence), END, 12) for sequence in sequences]

    expected = [sequence.branches[0].ids[:-1].tolist() for sequence in sequences]
    copied = [ids == letters for ids, letters in zip(repetitions, expected, strict=True)]
    assert np.mean(copied) >= 0.6  # 1 in 16 by chance
    assert np.mean(lengths_of(model, sequences)) == pytest.approx(1 / 2, abs=0.1)
    assert all(id_ < len(llama.output_embeddings) for ids in repetitions for id_ in ids)  # tokens of text, no codes


def test_paper_as_length_follows_the_ratio(llama: Backbone, tmp_path: Path) -> None:
    sequences, shares = texts(10**6, 16, "paper-a", (6,)), []
    for ratio in (2.0, 3.0):
        model = train(trainer_of(llama, tmp_path / str(ratio), 6, steps=120, batch=16, ratios=(ratio,)))
        shares.append(np.mean(lengths_of(model, sequences)))

    assert shares == pytest.approx([1 / 2, 1 / 3], abs=0.15) and shares[0] > shares[1] + 0.1


def test_segments_share_a_sub_code(llama: Backbone, tmp_path: Path) -> None:
    trainer = trainer_of(llama, tmp_path, input="codes", tokens_per_code=2)
    assert isinstance(trainer.embedding, SpanCodes)

    segments = trainer.embedding.segments(torch.tensor([[0, 3, 0, 0, 0, 1, 0, 0]]))

    assert segments.dropped.int().tolist() == [[0, 0, 1, 1, 1, 0, 1, 0]]
    assert [values.tolist() for values in (segments.firsts, segments.ends, segments.anchors, segments.slots)] == [
        [2, 4, 6],
        [3, 4, 6],
        [1, 1, 5],
        [0, 1, 0],
    ]


def test_codes_of_zeros_leave_the_anchors_alone_to_be_read(llama: Backbone, tmp_path: Path) -> None:
    trainer = trainer_of(llama, tmp_path, input="codes")
    assert isinstance(trainer.embedding, SpanCodes)
    torch.nn.init.zeros_(trainer.embedding.table)
    sequences = texts(0, 5, "codes")
    shorter = []
    for sequence in sequences:
        keep = np.concatenate(([True], np.arange(len(sequence.trunk) - 1) % 2 == 0))
        trunk = Positions(sequence.trunk.ids[keep], sequence.trunk.gaps[keep])
        shorter.append(PackedSequence(sequence.task, trunk, (replace(sequence.branches[0], fork=len(trunk)),)))
    plain = ReaderModel.of(llama, trainer.model.decoder, ZEmbedding(WIDTH))

    with torch.no_grad():
        assert torch.allclose(trainer.model.hidden(make_batch(sequences)), plain.hidden(make_batch(shorter)), atol=1e-4)


KINDS = [{"input": "paper-a"}, {"input": "codes"}, {"input": "codes", "tokens_per_code": 3, "code_layer": 1}]


@pytest.mark.parametrize("changes", [*KINDS, {"input": "codes", "codes": 1}])
def test_a_text_is_written_as_if_each_token_were_predicted_without_a_cache(
    llama: Backbone, tmp_path: Path, changes: dict[str, object]
) -> None:
    trainer = trainer_of(llama, tmp_path, **changes)
    torch.nn.init.normal_(next(trainer.embedding.parameters()))
    model, [sequence] = trainer.model, texts(0, 1, trainer.config.input, (6,))
    assert isinstance(model, CodesModel)
    [branch] = sequence.branches
    prompt = replace(branch, ids=branch.ids[:2], first=2)

    expected: list[int] = []
    for _ in range(5):
        ids = np.array([*prompt.ids, *expected, END], np.int64)
        batch = make_batch([replace(sequence, branches=(Branch(branch.fork, ids, len(ids) - 1),))])
        with torch.no_grad():
            expected.append(int((model.hidden(batch)[-1] @ model.head.T).argmax()))

    assert model.write(replace(sequence, branches=(prompt,)), -1, 5) == expected


@pytest.mark.parametrize("changes", KINDS)
def test_nearly_all_parameters_have_a_gradient(llama: Backbone, tmp_path: Path, changes: dict[str, object]) -> None:
    trainer = trainer_of(llama, tmp_path, batch=6, **changes)
    for ups in trainer.ups.values():
        for up in ups.values():
            torch.nn.init.normal_(up, std=0.1, generator=torch.Generator().manual_seed(0))
    sequences = [*texts(0, 3, trainer.config.input), *(replace(s, task="questions") for s in texts(1, 3, "paper-a"))]
    batch = make_batch(sequences if trainer.config.input == "paper-a" else texts(0, 6, "codes"))
    hidden, penalty = trainer._hidden(batch, 0, 0.5)
    gradients = torch.autograd.grad(hidden.square().sum() + penalty, trainer.parameters, materialize_grads=True)

    missing = [index for index, gradient in enumerate(gradients) if not gradient.any()]
    assert len(missing) <= len(gradients) // 20  # parts of the compressor's last layer that no hidden state needs


def test_saved_codes_are_loaded_as_they_were(llama: Backbone, tmp_path: Path) -> None:
    for kind in ("codes", "paper-a"):
        trainer = trainer_of(llama, tmp_path / kind, input=kind)
        trainer.save()  # rounds to half precision
        write_codes(tmp_path / kind, trainer.embedding, trainer.loras(), llama)  # type: ignore[arg-type]
        batch = make_batch(texts(0, 3, kind))
        with torch.no_grad():
            assert torch.allclose(
                load_codes(tmp_path / kind, llama).hidden(batch), trainer.model.hidden(batch), atol=1e-4
            )


def test_the_usage_penalty_is_zero_for_even_usage_and_one_for_a_single_code() -> None:
    assert float(usage_penalty(torch.eye(4))) == pytest.approx(0.0, abs=1e-6)
    assert float(usage_penalty(torch.eye(4)[:1])) == pytest.approx(1.0, abs=1e-6)
