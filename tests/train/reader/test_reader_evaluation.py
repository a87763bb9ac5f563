"""Readers are measured against the LLM that reads the text, and the one that reads nothing."""

import numpy as np
import pytest
import torch

from tests.train.reader.conftest import CONFIG, MakeExamples
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.reader import Reader
from zprompt.train.passages import TiledPassage
from zprompt.train.reader_data import CONTEXT, Contexts, Continuation, Prompts, TiledQuestion
from zprompt.train.reader_evaluation import (
    BenefitMeter,
    answer_questions,
    fit_calibration,
    score_answers,
)
from zprompt.train.reader_model import ReaderModel


@pytest.fixture(autouse=True)
def short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONTEXT > 100
    monkeypatch.setattr("zprompt.train.reader_data.CONTEXT", 24)


def contexts(kind: str, passages: list[TiledPassage], codec: Codec) -> Contexts:
    return Contexts.of(passages, Continuation(kind, codec.backbone.start_id, CONFIG.continued))


def test_the_text_keeps_all_of_its_benefit(
    untuned: ReaderModel, passages: list[TiledPassage], reader_codec: Codec
) -> None:
    meter = BenefitMeter(untuned, contexts("text", passages, reader_codec))
    benefit = meter.measure(untuned)
    assert benefit.kept == pytest.approx(1.0) and benefit.positions_ratio == 1.0
    assert benefit.kept_interval == pytest.approx((1.0, 1.0))
    assert (benefit.passages, benefit.continuations > len(passages)) == (len(passages), True)
    assert benefit.with_input == pytest.approx(benefit.with_text)


def test_z_tokens_take_fewer_positions(untuned: ReaderModel, passages: list[TiledPassage], reader_codec: Codec) -> None:
    meter = BenefitMeter(untuned, contexts("z", passages, reader_codec))
    benefit = meter.measure(untuned, 3)
    assert benefit.positions_ratio > 1.2 and benefit.passages == 3 and benefit.to_dict()["kept"] == benefit.kept


def test_greedy_answers_are_the_llms_own(
    untuned: ReaderModel, examples_of: MakeExamples, reader_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zprompt.train.reader_evaluation.ANSWER", 5)
    examples = examples_of(input="text")
    asked = [*examples.questions, TiledQuestion("and then?", ("the dog",), ())]  # prompts of different lengths
    assert isinstance(untuned.embedding, ZEmbedding)
    reader = Reader(reader_codec, untuned.decoder, untuned.embedding)
    given = answer_questions(reader, examples.prompts, asked)
    assert given == [greedy(reader_codec.backbone, examples.prompts, one, 5) for one in asked]
    answers = score_answers(asked, given)
    assert [answer for _, _, answer in answers.shown] == given
    assert answers.questions == len(asked) and answers.f1_interval[0] <= answers.f1 <= answers.f1_interval[1]


def greedy(backbone: Backbone, prompts: Prompts, asked: TiledQuestion, most: int) -> str:
    ids = prompts.question(asked.question, asked.passages).ids.tolist()
    answer: list[int] = []
    while len(answer) < most:
        state = backbone.hidden(torch.tensor([ids + answer]))[0, -1]
        token = int((state @ backbone.output_embeddings.T).argmax())
        if token == prompts.end_id:
            break
        answer.append(token)
    return backbone.decode(answer).strip()


def test_a_calibrated_confidence_is_even_where_both_kinds_are_as_frequent() -> None:
    random = np.random.default_rng(0)
    answered = np.arange(2000) % 2 == 0
    calibration = fit_calibration(random.normal(np.where(answered, 7.0, 5.0), 1.0), answered)

    assert calibration.confidence(1 / (1 + np.exp(6.0))) == pytest.approx(0.5, abs=0.03)
    assert calibration.confidence(1 / (1 + np.exp(7.0))) == pytest.approx(1 / (1 + np.exp(-2.0)), abs=0.05)


def test_what_separates_both_kinds_wholly_has_a_finite_calibration() -> None:
    calibration = fit_calibration(np.array([1.0, 9.0, 1.0, 9.0]), np.array([False, True, False, True]))
    assert 0.5 < calibration.confidence(1 / (1 + np.exp(9.0))) < 1
