"""Readers are measured against the LLM with the text, and the LLM without it."""

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


def test_answers_are_decoded_greedily(
    untuned: ReaderModel, examples_of: MakeExamples, reader_codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zprompt.train.reader_evaluation.ANSWER", 5)
    examples = examples_of(input="text")
    questions = [*examples.questions, TiledQuestion("and then?", ("the dog",), ())]  # prompts of different lengths
    assert isinstance(untuned.embedding, ZEmbedding)
    reader = Reader(reader_codec, untuned.decoder, untuned.embedding)
    texts = answer_questions(reader, examples.prompts, questions)
    assert texts == [greedy(reader_codec.backbone, examples.prompts, question, 5) for question in questions]
    answers = score_answers(questions, texts)
    assert [answer for _, _, answer in answers.shown] == texts
    assert answers.questions == len(questions) and answers.f1_interval[0] <= answers.f1 <= answers.f1_interval[1]


def greedy(backbone: Backbone, prompts: Prompts, question: TiledQuestion, limit: int) -> str:
    ids = prompts.question(question.question, question.passages).ids.tolist()
    answer: list[int] = []
    while len(answer) < limit:
        state = backbone.hidden(torch.tensor([ids + answer]))[0, -1]
        token = int((state @ backbone.output_embeddings.T).argmax())
        if token == prompts.end_id:
            break
        answer.append(token)
    return backbone.decode(answer).strip()


def test_a_calibrated_confidence_is_one_half_where_both_kinds_are_equally_frequent() -> None:
    random = np.random.default_rng(0)
    answered = np.arange(2000) % 2 == 0
    calibration = fit_calibration(random.normal(np.where(answered, 7.0, 5.0), 1.0), answered)

    assert calibration.confidence(1 / (1 + np.exp(6.0))) == pytest.approx(0.5, abs=0.03)
    assert calibration.confidence(1 / (1 + np.exp(7.0))) == pytest.approx(1 / (1 + np.exp(-2.0)), abs=0.05)


def test_perfectly_separated_kinds_have_a_finite_calibration() -> None:
    calibration = fit_calibration(np.array([1.0, 9.0, 1.0, 9.0]), np.array([False, True, False, True]))
    assert 0.5 < calibration.confidence(1 / (1 + np.exp(9.0))) < 1
