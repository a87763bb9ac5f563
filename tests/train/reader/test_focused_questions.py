"""Questions are drawn with their passages in the forms that focusing gives them."""

import numpy as np
import pytest

from tests.conftest import SENTENCES
from tests.train.reader.conftest import PASSAGES
from zprompt.codec.codec import Codec
from zprompt.eval import Question
from zprompt.reader import NOT_FOUND
from zprompt.reader.prompt import ContentTokenizer
from zprompt.relevance import NOTHING, Passage, Relevance
from zprompt.results import KeptText
from zprompt.train.focused_questions import TOGETHER, FocusedQuestions, PromptedQuestions
from zprompt.train.packing import Positions

TEXT = (
    "The quick brown fox jumps over the lazy dog. In 1969 two people walked on the Moon. The mud becomes stone again."
)
ANSWER = "1969"
QUESTIONS = [
    Question(f"When did {who} walk on the Moon?", (ANSWER,), (Passage(TEXT, "Moon"),)) for who in ("two", "we")
]


def make_questions(codec: Codec) -> FocusedQuestions:
    backbone = codec.backbone
    relevance = Relevance.from_pretrained(embedder=None)
    return FocusedQuestions(QUESTIONS, PASSAGES, relevance, ContentTokenizer(backbone), backbone.encode_with_offsets)


def draw_many(codec: Codec, count: int = 60) -> list[PromptedQuestions]:
    questions = make_questions(codec)
    return [questions.draw(2, np.random.default_rng(seed)) for seed in range(count)]


def text_of(codec: Codec, prompt: Positions) -> str:
    return codec.backbone.decode(prompt.ids.tolist())


def test_the_sentence_that_answers_is_there_in_every_form(reader_codec: Codec) -> None:
    drawn = [questions for questions in draw_many(reader_codec) if questions.answers[0] == ANSWER]
    assert len(drawn) > 30
    for questions in drawn:
        for prompt in questions.prompts:
            assert "In 1969 two people walked on the Moon." in text_of(reader_codec, prompt)


def test_a_question_without_its_own_passages_has_no_answer(reader_codec: Codec) -> None:
    drawn = [questions for questions in draw_many(reader_codec) if questions.answers[0] == NOT_FOUND]
    assert 4 < len(drawn) < 20
    assert all(TEXT not in text_of(reader_codec, questions.prompts[0]) for questions in drawn)


def test_forms_are_plain_text_elided_text_and_z_tokens(reader_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.train.focused_questions.KEPT", (30, 120))  # characters: these passages are short
    prompts = [drawn.prompts[0] for drawn in draw_many(reader_codec) if drawn.answers[0] == ANSWER]
    z_tokens = [prompt for prompt in prompts if prompt.gaps.any()]
    texts = [text_of(reader_codec, prompt) for prompt in prompts if not prompt.gaps.any()]
    assert z_tokens
    assert any(TEXT in text for text in texts) and any(TEXT not in text for text in texts)
    assert not any(f": {NOTHING}" in text for text in texts)


def test_questions_about_the_same_passages_share_them(reader_codec: Codec) -> None:
    drawn = draw_many(reader_codec)
    assert any(len(questions.prompts) > 1 for questions in drawn)
    for questions in drawn:
        assert len(questions.prompts) == len(questions.answers) <= max(TOGETHER.values())
        shared = min(questions.prompts[0].common_prefix(prompt) for prompt in questions.prompts)
        assert shared > len(questions.prompts[0]) / 2


def test_the_same_seed_draws_the_same_questions(reader_codec: Codec) -> None:
    first, again = draw_many(reader_codec, 5), draw_many(reader_codec, 5)
    assert [drawn.prompts[0].ids.tolist() for drawn in first] == [drawn.prompts[0].ids.tolist() for drawn in again]


def test_z_tokens_stand_for_the_whole_passage(reader_codec: Codec) -> None:
    text = " ".join(SENTENCES)
    kept = KeptText(((0, len(SENTENCES[0])),), 0.0)
    tokens = make_questions(reader_codec)._z_tokens(text, kept, np.random.default_rng(3))
    assert sum(token.gap + 1 for token in tokens) == len(reader_codec.backbone.encode(text))
