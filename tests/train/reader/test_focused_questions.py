"""Questions are drawn in the forms that focusing gives their passages."""

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


def of_tiny_text(codec: Codec) -> FocusedQuestions:
    backbone = codec.backbone
    relevance = Relevance.from_pretrained(embedder=None)
    return FocusedQuestions(QUESTIONS, PASSAGES, relevance, ContentTokenizer(backbone), backbone.encode_with_offsets)


def draw_many(codec: Codec, count: int = 60) -> list[PromptedQuestions]:
    questions = of_tiny_text(codec)
    return [questions.draw(2, np.random.default_rng(seed)) for seed in range(count)]


def text_of(codec: Codec, prompt: Positions) -> str:
    return codec.backbone.decode(prompt.ids.tolist())


def test_what_answers_is_there_in_every_form(reader_codec: Codec) -> None:
    drawn = [one for one in draw_many(reader_codec) if one.answers[0] == ANSWER]
    assert len(drawn) > 30
    for one in drawn:
        for prompt in one.prompts:
            assert "In 1969 two people walked on the Moon." in text_of(reader_codec, prompt)


def test_without_its_own_passages_a_question_is_not_answered(reader_codec: Codec) -> None:
    drawn = [one for one in draw_many(reader_codec) if one.answers[0] == NOT_FOUND]
    assert 4 < len(drawn) < 20
    assert all(TEXT not in text_of(reader_codec, one.prompts[0]) for one in drawn)


def test_forms_are_plain_text_elided_text_and_z_tokens(reader_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.train.focused_questions.KEPT", (30, 120))  # characters: these passages are short
    prompts = [one.prompts[0] for one in draw_many(reader_codec) if one.answers[0] == ANSWER]
    z_tokens = [prompt for prompt in prompts if prompt.gaps.any()]
    texts = [text_of(reader_codec, prompt) for prompt in prompts if not prompt.gaps.any()]
    assert z_tokens
    assert any(TEXT in text for text in texts) and any(TEXT not in text for text in texts)
    assert not any(f": {NOTHING}" in text for text in texts)


def test_questions_about_the_same_passages_share_them(reader_codec: Codec) -> None:
    drawn = draw_many(reader_codec)
    assert any(len(one.prompts) > 1 for one in drawn)
    for one in drawn:
        assert len(one.prompts) == len(one.answers) <= max(TOGETHER.values())
        shared = min(one.prompts[0].common_prefix(prompt) for prompt in one.prompts)
        assert shared > len(one.prompts[0]) / 2


def test_the_seed_decides(reader_codec: Codec) -> None:
    first, again = draw_many(reader_codec, 5), draw_many(reader_codec, 5)
    assert [one.prompts[0].ids.tolist() for one in first] == [one.prompts[0].ids.tolist() for one in again]


def test_z_tokens_stand_for_the_whole_passage(reader_codec: Codec) -> None:
    text = " ".join(SENTENCES)
    kept = KeptText(((0, len(SENTENCES[0])),), 0.0)
    tokens = of_tiny_text(reader_codec)._z_tokens(text, kept, np.random.default_rng(3))
    assert sum(token.gap + 1 for token in tokens) == len(reader_codec.backbone.encode(text))
