"""Fixtures for training tiny readers: a few passages in Z-tokens of a tiny codec."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone
from zprompt.llm.lora import llama_of
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.prompt import ContentTokenizer
from zprompt.train.config import ReaderTrainConfig
from zprompt.train.passages import PassageStore, TiledPassage
from zprompt.train.reader_data import Prompts, ReaderExamples, TiledQuestion, TitledPassage
from zprompt.train.reader_model import ReaderModel
from zprompt.train.teacher import Teacher

CONFIG = ReaderTrainConfig(
    steps=4,
    batch=6,
    micro_batch=400,
    passages=6,
    passage_tokens=160,
    ratios=(2.0, 7.0),
    shortest_context=16,
    continued=12,
    repeated=16,
    rank=2,
    top=8,
    random_candidates=20,
    common_candidates=20,
    checkpoint_every=2,
    evaluate_every=0,
    dev_passages=2,
    dev_questions=2,
    dev_ratios=(4.0,),
)
ORDERS = [np.random.default_rng(seed).permutation(len(SENTENCES)) for seed in range(8)]
PASSAGES = [" ".join(SENTENCES[index] for index in order[:4]) for order in ORDERS]

MakeExamples: TypeAlias = Callable[..., ReaderExamples]


@pytest.fixture(scope="session")
def reader_codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec over the tiny backbone."""
    return Codec(tiny_backbone, SETTINGS, name="tiny")


@pytest.fixture(scope="session")
def codec_folder(tmp_path_factory: pytest.TempPathFactory, reader_codec: Codec) -> Path:
    """Return the folder of that codec."""
    folder = tmp_path_factory.mktemp("codecs") / "tiny"
    reader_codec.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def passages(tmp_path_factory: pytest.TempPathFactory, reader_codec: Codec) -> list[TiledPassage]:
    """Return a few passages in Z-tokens."""
    return PassageStore(tmp_path_factory.mktemp("tiles") / "tiles.jsonl", reader_codec).tile(PASSAGES, (2.0, 7.0))


@pytest.fixture(scope="session")
def tokenizer(tiny_backbone: Backbone) -> ContentTokenizer:
    """Return the reader's tokenizer."""
    return ContentTokenizer(tiny_backbone)


@pytest.fixture
def teacher(reader_codec: Codec, passages: list[TiledPassage], tmp_path: Path) -> Teacher:
    """Return the tiny LLM's predictions for the passages."""
    teacher = Teacher(tmp_path / "teacher", reader_codec.backbone, [passage.ids for passage in passages], CONFIG.top)
    teacher.ensure()
    return teacher


@pytest.fixture
def examples_of(passages: list[TiledPassage], tokenizer: ContentTokenizer) -> MakeExamples:
    """Return a factory of examples."""

    def make(**changes: Any) -> ReaderExamples:  # noqa: ANN401 - fields of the config
        config = replace(CONFIG, **changes)
        surprising = [
            replace(passage, surprisal=np.arange(len(passage.ids), 0, -1, np.float32)) for passage in passages
        ]
        questions = [
            TiledQuestion("when did they walk", ("1969",), (TitledPassage("Moon", passage),))
            for passage in surprising[:3]
        ]
        return ReaderExamples(config, Prompts(tokenizer, config.input), surprising, questions)

    return make


@pytest.fixture
def untuned(reader_codec: Codec) -> ReaderModel:
    """Return the tiny LLM, which was not tuned for Z-tokens."""
    backbone = reader_codec.backbone
    return ReaderModel.of(backbone, llama_of(backbone), ZEmbedding(backbone.hidden_size))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache of Z-tokens that all runs share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    """Write a file of training text."""
    path = tmp_path / "text.jsonl"
    texts = [" ".join(SENTENCES[index] for index in np.roll(ORDERS[n % 8], n)[:4]) for n in range(12)]
    path.write_text("".join(json.dumps({"paragraphs": [text]}) + "\n" for text in texts), "utf-8")
    return path


@pytest.fixture
def question_file(tmp_path: Path) -> Path:
    """Write a file of questions."""
    path = tmp_path / "questions.jsonl"
    rows = [
        {"question": "who?", "answers": ["the dog"], "passages": [{"title": "T", "text": text, "gold": True}]}
        for text in PASSAGES[:3]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
