"""Packed sequences are drawn in the shares of their tasks, with the right trunks and targets."""

from collections import Counter

import numpy as np
import pytest

from tests.conftest import SENTENCES
from tests.train.reader.conftest import PASSAGES, MakeExamples
from zprompt.baselines.ltsc import READER_ALPHABET as ALPHABET
from zprompt.baselines.ltsc import decompress
from zprompt.codec.codec import Codec
from zprompt.errors import OptionError, TrainingDataError
from zprompt.llm import Backbone
from zprompt.reader.prompt import ContentTokenizer, SpanPiece, TextPiece
from zprompt.train.cloze import cloze_questions
from zprompt.train.packing import PackedSequence
from zprompt.train.passages import TiledPassage, tile_passage
from zprompt.train.reader_data import Prompts, TitledPassage, as_input, as_meta_tokens


def text_of(backbone: Backbone, sequence: PackedSequence) -> str:
    return backbone.decode(sequence.trunk.ids.tolist())


def test_the_seed_decides_the_sequences(examples_of: MakeExamples) -> None:
    examples = examples_of()
    batches = [examples.draw(np.random.default_rng(seed)) for seed in (0, 0, 1)]
    trunks = [[sequence.trunk.ids.tolist() for sequence in batch] for batch in batches]
    assert trunks[0] == trunks[1] != trunks[2]


def test_tasks_have_their_shares(examples_of: MakeExamples) -> None:
    examples = examples_of(batch=20, continuation=0.5, questions=0.25, cloze=0.25, repetition=0.0)
    tasks = Counter(sequence.task for sequence in examples.draw(np.random.default_rng(0)))
    assert tasks == {"continuation": 10, "questions": 5, "cloze": 5}


def test_no_passages_and_no_questions_are_refused(examples_of: MakeExamples) -> None:
    examples = examples_of()
    with pytest.raises(TrainingDataError, match="Pass --data, --qa or both"):
        type(examples)(examples.config, examples.prompts, [], [])


def test_continuations_follow_the_text_before_their_fork(
    examples_of: MakeExamples, passages: list[TiledPassage]
) -> None:
    sequence = examples_of(input="text").draw_one("continuation", np.random.default_rng(0))
    seen = sequence.trunk.ids[1:].tolist()
    [passage] = [passage for passage in passages if passage.ids[: len(seen)].tolist() == seen]
    assert len(sequence.branches) > 1
    for branch in sequence.branches:
        assert passage.ids[branch.fork - 1 :][: len(branch.ids)].tolist() == branch.ids.tolist()
        assert branch.source is not None and branch.source.first == branch.fork - 1
        assert passages[branch.source.passage] is passage


def test_repetition_asks_for_the_text_that_the_z_tokens_stand_for(examples_of: MakeExamples) -> None:
    examples = examples_of()
    sequence = examples.draw_one("repetition", np.random.default_rng(0))
    [branch] = sequence.branches
    assert branch.ids[0] == sequence.trunk.ids[1]  # the first anchor
    assert len(branch.ids) == int((sequence.trunk.gaps[1:] + 1).sum()) - len(examples.again)


def test_cloze_questions_share_their_passage(examples_of: MakeExamples, tiny_backbone: Backbone) -> None:
    sequence = examples_of(input="text").draw_one("cloze", np.random.default_rng(3))
    assert "Passage 1: " in text_of(tiny_backbone, sequence)
    for branch in sequence.branches:
        answer = tiny_backbone.decode(branch.ids[branch.first : -1].tolist())
        assert answer in text_of(tiny_backbone, sequence)


def test_questions_have_distractors(examples_of: MakeExamples, tiny_backbone: Backbone) -> None:
    examples, random = examples_of(input="text"), np.random.default_rng(0)
    texts = [text_of(tiny_backbone, examples.draw_one("questions", random)) for _ in range(12)]
    assert all("Passage 1 (Moon): " in text and "when did they walk" in text for text in texts)
    assert any("Passage 2 (Moon): " in text for text in texts) and not all("Passage 2" in text for text in texts)


@pytest.mark.parametrize("kind", ["z", "pruned", "truncated", "text"])
def test_inputs_take_as_many_positions_as_z_tokens(examples_of: MakeExamples, kind: str) -> None:
    for passage in examples_of().passages:
        reader_input = as_input(passage, kind)
        assert len(reader_input.piece) == (len(passage.ids) if kind == "text" else len(passage.tokens))
        assert reader_input.places[0] == 0 and reader_input.places[-1] == len(reader_input.piece)
        assert isinstance(reader_input.piece, SpanPiece if kind == "z" else TextPiece)


def test_pruning_keeps_the_most_surprising_tokens(examples_of: MakeExamples) -> None:
    passage = examples_of().passages[0]  # its first tokens are the most surprising
    assert as_input(passage, "pruned").piece == as_input(passage, "truncated").piece


def test_meta_tokens_stand_for_what_is_repeated(reader_codec: Codec) -> None:
    backbone = reader_codec.backbone
    text = " ".join(SENTENCES[:2] * 4)
    span = reader_codec.compress([text], ratio=2.0).documents[0]
    passage = tile_passage(text, span, reader_codec)
    assert passage is not None
    ids, places = as_meta_tokens(passage)
    assert decompress(ids, ALPHABET) == backbone.encode(text) and len(ids) < 0.6 * len(passage.ids)
    for edge, position in zip(passage.edges, places, strict=True):  # no cut reveals text that comes after it
        shown = decompress(ids[:position], ALPHABET)
        assert shown == passage.ids[: len(shown)].tolist() and len(shown) <= edge
    assert places[-1] == len(ids)
    tokenizer = ContentTokenizer(backbone)
    plain_size, meta_size = (
        len(Prompts(tokenizer, kind).question("Who?", [TitledPassage("Foxes", passage)])) for kind in ("text", "ltsc")
    )
    assert plain_size - meta_size == len(passage.ids) - len(ids)  # a meta-token takes one position of a prompt, too
    plain = passage.part(0, 3)
    assert as_input(plain, "ltsc").piece == as_input(plain, "text").piece  # nothing is repeated
    assert as_input(plain, "ltsc").places.tolist() == plain.edges.tolist()


def test_an_unknown_kind_is_refused(passages: list[TiledPassage]) -> None:
    for kind in ("smell", "pruned"):  # these passages have no surprisals
        with pytest.raises(OptionError, match=kind):
            as_input(passages[0], kind)


TEXT = (
    "The tower was designed by Stephen Sauvestre for the World Fair. It was opened on 31 March 1889, and is 330 metres "
    "tall. Nothing here. It was seen by Edison and many others in the year after."
)


def test_names_numbers_and_dates_are_blanked() -> None:
    questions = {
        cloze.answer: cloze.question
        for seed in range(20)
        for cloze in cloze_questions(TEXT, 4, np.random.default_rng(seed))
    }
    assert {"Stephen Sauvestre", "31 March 1889", "330", "Edison"} <= set(questions)
    assert questions["330"] == "What is missing in “It was opened on 31 March 1889, and is ___ metres tall.”?"
    for answer, question in questions.items():
        assert answer in TEXT and answer not in question and "___" in question


def test_there_are_no_more_cloze_questions_than_asked_for() -> None:
    assert len(cloze_questions(TEXT, 2, np.random.default_rng(0))) == 2
    assert cloze_questions("nothing to ask about in this one sentence.", 2, np.random.default_rng(0)) == []
    assert all(cloze_questions(text, 3, np.random.default_rng(0)) for text in PASSAGES if "1969" in text)
