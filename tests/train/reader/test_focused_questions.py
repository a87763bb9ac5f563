"""Questions are drawn in the forms that focusing gives their passages."""

import numpy as np

from tests.conftest import SENTENCES
from tests.train.reader.conftest import PASSAGES
from zprompt.codec.codec import Codec
from zprompt.eval import Passage, Question
from zprompt.reader.prompt import ContentTokenizer
from zprompt.results import KeptText
from zprompt.train.focused_questions import TOGETHER, FocusedQuestions, PromptedQuestions
from zprompt.train.packing import Positions

TEXT = (
    "The quick brown fox jumps over the lazy dog. In 1969 two people walked on the Moon. The mud becomes stone again."
)
ANSWER = "1969"
QUESTIONS = [
    *(Question(f"When was it {n}?", (ANSWER,), (Passage("Moon", TEXT),)) for n in range(12)),
    *(Question("Who?", ("not found",), (Passage("", passage),)) for passage in PASSAGES[:3]),
]


def draw_many(codec: Codec, count: int = 60) -> list[PromptedQuestions]:
    questions = FocusedQuestions(QUESTIONS, ContentTokenizer(codec.backbone), codec.backbone.encode_with_offsets)
    return [questions.draw(2, np.random.default_rng(seed)) for seed in range(count)]


def text_of(codec: Codec, prompt: Positions) -> str:
    return codec.backbone.decode(prompt.ids.tolist())


def test_what_answers_is_there_in_every_form(reader_codec: Codec) -> None:
    drawn = [one for one in draw_many(reader_codec) if one.answers[0] == ANSWER]
    assert drawn
    for one in drawn:
        for prompt in one.prompts:
            assert "In 1969 two people walked on the Moon." in text_of(reader_codec, prompt)


def test_forms_are_plain_text_elided_text_and_z_tokens(reader_codec: Codec) -> None:
    prompts = [one.prompts[0] for one in draw_many(reader_codec) if one.answers[0] == ANSWER]
    z_tokens = [prompt for prompt in prompts if prompt.gaps.any()]
    texts = [text_of(reader_codec, prompt) for prompt in prompts if not prompt.gaps.any()]
    assert z_tokens
    assert any(TEXT in text for text in texts) and any(TEXT not in text for text in texts)


def test_questions_about_the_same_passages_share_them(reader_codec: Codec) -> None:
    for one in draw_many(reader_codec):
        assert len(one.prompts) == len(one.answers) <= max(TOGETHER.values())
        shared = min(one.prompts[0].common_prefix(prompt) for prompt in one.prompts)
        assert shared > len(one.prompts[0]) / 2


def test_the_seed_decides(reader_codec: Codec) -> None:
    first, again = draw_many(reader_codec, 5), draw_many(reader_codec, 5)
    assert [one.prompts[0].ids.tolist() for one in first] == [one.prompts[0].ids.tolist() for one in again]


def test_z_tokens_stand_for_the_whole_passage(reader_codec: Codec) -> None:
    backbone = reader_codec.backbone
    questions = FocusedQuestions(QUESTIONS, ContentTokenizer(backbone), backbone.encode_with_offsets)
    text = " ".join(SENTENCES)
    tokens = questions._z_tokens(text, KeptText(((0, len(SENTENCES[0])),), 0.0), np.random.default_rng(3))
    assert sum(token.gap + 1 for token in tokens) == len(backbone.encode(text))
