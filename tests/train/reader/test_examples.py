"""Rows are drawn in their shares, and say what they should."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import SENTENCES
from tests.train.reader.conftest import PASSAGES, MakeExamples
from zprompt.baselines.ltsc import READER_ALPHABET as ALPHABET
from zprompt.baselines.ltsc import decompress
from zprompt.codec.codec import Codec
from zprompt.codec.settings import CodecSettings
from zprompt.errors import OptionError, TrainingDataError
from zprompt.llm import Backbone
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.prompt import ContentTokenizer
from zprompt.train.reader.cloze import cloze_questions
from zprompt.train.reader.inputs import as_input
from zprompt.train.reader.meta_tokens import tell_apart
from zprompt.train.reader.prompts import Prompts, Titled
from zprompt.train.reader.rows import Row
from zprompt.train.reader.tiles import Tile, make_tile


def text_of(backbone: Backbone, row: Row) -> str:
    return backbone.decode(row.trunk.ids.tolist())


def test_the_seed_decides_the_rows(examples_of: MakeExamples) -> None:
    examples = examples_of()
    one, same, other = (examples.draw(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert [row.trunk.ids.tolist() for row in one] == [row.trunk.ids.tolist() for row in same]
    assert [row.trunk.ids.tolist() for row in one] != [row.trunk.ids.tolist() for row in other]


def test_tasks_have_their_shares(examples_of: MakeExamples) -> None:
    examples = examples_of(batch=20, continuation=0.5, questions=0.25, cloze=0.25, repetition=0.0)
    tasks = Counter(row.task for row in examples.draw(np.random.default_rng(0)))
    assert tasks == {"continuation": 10, "questions": 5, "cloze": 5}


def test_without_anything_there_is_nothing_to_learn(examples_of: MakeExamples) -> None:
    examples = examples_of()
    with pytest.raises(TrainingDataError, match="Give --data, --qa or both"):
        type(examples)(examples.config, examples.prompts, [], [], None)


def test_continuations_go_on_where_the_trunk_ends(examples_of: MakeExamples, tiles: list[Tile]) -> None:
    row = examples_of(input="text").row("continuation", np.random.default_rng(0))
    [tile] = [tile for tile in tiles if tile.ids[: len(row.trunk) - 1].tolist() == row.trunk.ids[1:].tolist()]
    assert len(row.branches) > 1
    for branch in row.branches:
        assert tile.ids[branch.fork - 1 :][: len(branch.ids)].tolist() == branch.ids.tolist()
        assert branch.teacher is not None and len(branch.teacher.ids) == len(branch.ids)


def test_repetition_gives_back_what_the_z_tokens_stand_for(examples_of: MakeExamples) -> None:
    row = examples_of().row("repetition", np.random.default_rng(0))
    [branch] = row.branches
    assert branch.ids[0] == row.trunk.ids[1]  # the first anchor
    assert len(branch.ids) == int((row.trunk.gaps[1:] + 1).sum()) - len(examples_of().again)


def test_cloze_questions_share_their_passage(examples_of: MakeExamples, tiny_backbone: Backbone) -> None:
    row = examples_of(input="text").row("cloze", np.random.default_rng(3))
    assert "Passage 1: " in text_of(tiny_backbone, row)
    for branch in row.branches:
        answer = tiny_backbone.decode(branch.ids[branch.first : -1].tolist())
        assert answer in text_of(tiny_backbone, row)


def test_questions_have_distractors(examples_of: MakeExamples, tiny_backbone: Backbone) -> None:
    examples, random = examples_of(input="text"), np.random.default_rng(0)
    texts = [text_of(tiny_backbone, examples.row("questions", random)) for _ in range(12)]
    assert all("Passage 1 (Moon): " in text and "when did they walk" in text for text in texts)
    assert any("Passage 2 (Moon): " in text for text in texts) and not all("Passage 2" in text for text in texts)


@pytest.mark.parametrize("kind", ["z", "anchors", "pruned", "truncated", "text"])
def test_inputs_take_as_many_positions_as_z_tokens(examples_of: MakeExamples, kind: str) -> None:
    for tile in examples_of(taught=False).tiles:
        given = as_input(tile, kind)
        assert len(given.tokens) == (len(tile.ids) if kind == "text" else len(tile.tokens))
        assert given.places[0] == 0 and given.places[-1] == len(given.tokens)
        assert kind in ("z", "anchors") or all(token.gap == 0 and not any(token.code) for token in given.tokens)


def test_pruning_keeps_what_was_expected_least(examples_of: MakeExamples) -> None:
    tile = examples_of(taught=False).tiles[0]  # its first tokens are the most surprising
    assert as_input(tile, "pruned").tokens == as_input(tile, "truncated").tokens


def test_meta_tokens_stand_for_what_is_repeated(reader_codec: Codec) -> None:
    backbone = reader_codec.backbone
    text = " ".join(SENTENCES[:2] * 4)
    span = reader_codec.compress([text], ratio=2.0).documents[0]
    tile = make_tile(text, span, reader_codec)
    assert tile is not None
    given = as_input(tile, "ltsc")
    ids = [t.anchor if t.gap == 0 else ALPHABET.first + t.code[0] for t in given.tokens]
    assert decompress(ids, ALPHABET) == backbone.encode(text) and len(ids) < 0.6 * len(tile.ids)
    for edge, place in zip(tile.edges, given.places, strict=True):  # no cut gives away what is after it
        shown = decompress(ids[:place], ALPHABET)
        assert shown == tile.ids[: len(shown)].tolist() and len(shown) <= edge
    assert given.places[-1] == len(ids)
    tokenizer = ContentTokenizer(backbone)
    text, ltsc = (
        len(Prompts(tokenizer, kind, reader_codec.settings.subcodes).question("Who?", [Titled("Foxes", tile)]))
        for kind in ("text", "ltsc")
    )
    assert text - ltsc == len(tile.ids) - len(ids)  # each is one position of a prompt, too
    plain = replace(tile, ids=tile.ids[: tile.edges[3]], tokens=tile.tokens[:3], starts=tile.starts[:3])
    assert as_input(plain, "ltsc").tokens == as_input(plain, "text").tokens  # nothing is repeated
    assert as_input(plain, "ltsc").places.tolist() == plain.edges.tolist()


def test_meta_tokens_start_apart(reader_codec: Codec) -> None:
    embedding = ZEmbedding(reader_codec.settings, reader_codec.backbone.hidden_size)
    tell_apart(embedding, reader_codec.backbone.embeddings, seed=0)
    distances = torch.cdist(embedding.value[0], embedding.value[0]) + 9 * torch.eye(len(embedding.value[0]))
    assert distances.min() > 0 and not embedding.value[1:].any()
    with pytest.raises(OptionError, match="16 values"):
        tell_apart(ZEmbedding(CodecSettings(subcode_size=8), 4), torch.eye(4), seed=0)


def test_an_unknown_kind_is_refused(tiles: list[Tile]) -> None:
    for kind in ("smell", "pruned"):  # these tiles have no surprisals
        with pytest.raises(OptionError, match=kind):
            as_input(tiles[0], kind)


TEXT = (
    "The tower was designed by Stephen Sauvestre for the World Fair. It was opened on 31 March 1889, and is 330 metres "
    "tall. Nothing here. It was seen by Edison and many others in the year after."
)


def test_names_numbers_and_dates_are_blanked() -> None:
    found = {c.answer: c.question for seed in range(20) for c in cloze_questions(TEXT, 4, np.random.default_rng(seed))}
    assert {"Stephen Sauvestre", "31 March 1889", "330", "Edison"} <= set(found)
    assert found["330"] == "What is missing in “It was opened on 31 March 1889, and is ___ metres tall.”?"
    for answer, question in found.items():
        assert answer in TEXT and answer not in question and "___" in question


def test_there_are_no_more_questions_than_wanted() -> None:
    assert len(cloze_questions(TEXT, 2, np.random.default_rng(0))) == 2
    assert cloze_questions("nothing to ask about in this one sentence.", 2, np.random.default_rng(0)) == []
    assert all(cloze_questions(text, 3, np.random.default_rng(0)) for text in PASSAGES if "1969" in text)
