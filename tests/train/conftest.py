"""Training in miniature: a tiny backbone, few windows, heads of a few thousand weights."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import SENTENCES
from zprompt.codec.heads import CodecHeads
from zprompt.codec.settings import CodecSettings
from zprompt.llm import Backbone
from zprompt.train.codec_trainer import CodecTrainer
from zprompt.train.config import CodecTrainConfig

SETTINGS = CodecSettings(subcodes=2, subcode_size=8, max_gap=5, width=24, span_width=8, window=32, margin=1e-4)
CONFIG = CodecTrainConfig(
    settings=SETTINGS,
    windows=20,
    first_windows=4,
    growth=2,
    warmup_steps=4,
    joint_steps=6,
    batch=3,
    random_candidates=40,
    common_candidates=20,
    lora_batch=2,
    lora_rank=2,
    precision="fp32",
    checkpoint_every=2,
    evaluate_every=0,
    dev_windows=3,
)

MakeHeads: TypeAlias = Callable[..., CodecHeads]
MakeTrainer: TypeAlias = Callable[..., CodecTrainer]


def new_heads(backbone: Backbone, seed: int = 0) -> CodecHeads:
    """Make heads as a training run starts with."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CodecHeads(SETTINGS, backbone.embeddings, backbone.hidden_size)


@pytest.fixture(scope="session")
def windows(tiny_backbone: Backbone) -> NDArray[np.int32]:
    """Training windows: the sentences, in other orders."""
    random = np.random.default_rng(0)
    texts = [SENTENCES[index] for _ in range(40) for index in random.permutation(len(SENTENCES))]
    ids = tiny_backbone.encode(" ".join(texts))[: 20 * SETTINGS.window]
    return np.array(ids, np.int32).reshape(20, SETTINGS.window)


@pytest.fixture
def heads(tiny_backbone: Backbone) -> CodecHeads:
    """Heads that are not trained yet."""
    return new_heads(tiny_backbone)


@pytest.fixture(scope="session")
def trainer_of(tiny_backbone: Backbone, windows: NDArray[np.int32]) -> MakeTrainer:
    """A function that makes trainers of new heads."""

    def make(
        folder: Path,
        seed_of_heads: int = 0,
        backbone: Backbone = tiny_backbone,
        **changes: Any,  # noqa: ANN401 - fields of the config
    ) -> CodecTrainer:
        return CodecTrainer(replace(CONFIG, **changes), backbone, new_heads(backbone, seed_of_heads), windows, folder)

    return make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of training text."""
    path = tmp_path_factory.mktemp("text") / "corpus.txt"
    path.write_text("\n\n".join(SENTENCES * 12), "utf-8")
    return path
