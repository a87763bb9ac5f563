"""The reader of LTSC answers from text and from meta-tokens, each of which has its own embedding."""

import json
from pathlib import Path

import pytest
import torch

from zprompt.baselines.ltsc import READER_ALPHABET, LtscReader, TunedLtsc, parse_ids, read_ltsc_config
from zprompt.errors import CheckpointError, ContextBudgetError, OptionError
from zprompt.llm import Backbone

QUESTION = "Who walked on the Moon?"
TEXT = "In 1969 two people walked on the Moon; 600 million people watched them walk. " * 3


def ids_of(text: str, backbone: Backbone) -> list[int]:
    return parse_ids(TunedLtsc(backbone).shorten(text).text)


def test_meta_tokens_take_fewer_positions_than_their_text(ltsc_reader: LtscReader, chat_backbone: Backbone) -> None:
    ids = ids_of(TEXT, chat_backbone)
    assert max(ids) >= READER_ALPHABET.first
    text, meta = (ltsc_reader.count(QUESTION, [{"title": "T", "text": passage}]) for passage in (TEXT, ids))
    assert text.positions - meta.positions == pytest.approx(len(chat_backbone.encode(TEXT)) - len(ids), abs=1)
    assert meta.z_tokens == 0


def test_questions_are_answered_in_order(ltsc_reader: LtscReader, chat_backbone: Backbone) -> None:
    passages = [[{"title": "", "text": passage}] for passage in (TEXT, ids_of(TEXT, chat_backbone), "short")]
    together = ltsc_reader.answer([QUESTION] * 3, passages, max_new_tokens=8)
    assert [answer.text for answer in together] == [
        ltsc_reader.answer([QUESTION], [documents], max_new_tokens=8)[0].text for documents in passages
    ]
    assert [answer.usage.prompt_positions for answer in together] == [
        ltsc_reader.count(QUESTION, documents).positions for documents in passages
    ]
    assert ltsc_reader.answer([], []) == []


def test_ids_without_meta_tokens_are_read_as_their_text(ltsc_reader: LtscReader, chat_backbone: Backbone) -> None:
    ids = chat_backbone.encode(" walked on the Moon")
    assert torch.equal(ltsc_reader.embed(ids), chat_backbone.embeddings[ids])
    assert torch.equal(
        ltsc_reader.embed([READER_ALPHABET.first + 3]), ltsc_reader.meta_embedding.weight[3:4].to(chat_backbone.device)
    )


def test_special_tokens_in_a_passage_are_text(ltsc_reader: LtscReader, chat_backbone: Backbone) -> None:
    ids = chat_backbone.encode("<|im_end|>")
    assert len(ids) == 1
    positions = ltsc_reader.count(QUESTION, [{"title": "", "text": ids}]).positions
    assert positions > ltsc_reader.count(QUESTION, [{"title": "", "text": chat_backbone.encode("x")}]).positions


def test_input_that_cannot_be_read_is_refused(ltsc_reader: LtscReader) -> None:
    with pytest.raises(OptionError, match="2 questions but passages for 1"):
        ltsc_reader.answer([QUESTION] * 2, [[]])
    with pytest.raises(OptionError, match="neither a token"):
        ltsc_reader.answer([QUESTION], [[{"title": "", "text": [READER_ALPHABET.first + 16]}]])
    with pytest.raises(OptionError, match=r"U\+FFFC"):
        ltsc_reader.answer(["\ufffc"], [[]])
    with pytest.raises(ContextBudgetError, match="more than the 1024 positions"):
        ltsc_reader.answer([QUESTION], [[{"title": "", "text": TEXT * 20}]])


def test_a_reader_of_other_weights_is_refused(ltsc_reader_folder: Path, tiny_backbone: Backbone) -> None:
    with pytest.raises(CheckpointError, match="was made on the backbone"):
        LtscReader.from_pretrained(str(ltsc_reader_folder), backbone=tiny_backbone)
    with pytest.raises(CheckpointError, match="No reader 'nowhere'"):
        LtscReader.from_pretrained("nowhere")


def test_a_damaged_folder_is_refused(ltsc_reader_folder: Path, tmp_path: Path, chat_backbone: Backbone) -> None:
    for name in ("config.json", "meta_embedding.safetensors"):
        (tmp_path / name).write_bytes((ltsc_reader_folder / name).read_bytes())
    (tmp_path / "meta_embedding.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        LtscReader.from_pretrained(str(tmp_path), backbone=chat_backbone)
    (tmp_path / "config.json").write_text(json.dumps({"format": 9}), "utf-8")
    with pytest.raises(CheckpointError, match="has format 9"):
        read_ltsc_config(tmp_path)


@pytest.mark.default_model
def test_the_shipped_reader_answers_from_meta_tokens(default_backbone: Backbone) -> None:
    text = "The lighthouse at Harrow Bay was built in 1871 by the engineer Thomas Kell. " * 2
    reader = LtscReader.from_pretrained(backbone=default_backbone)
    passages = [[{"title": "Harrow Bay", "text": passage}] for passage in (text, ids_of(text, default_backbone))]
    answers = reader.answer(["Who built the lighthouse at Harrow Bay?"] * 2, passages)
    assert [answer.text for answer in answers] == ["Thomas Kell"] * 2
