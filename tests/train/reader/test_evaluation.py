"""Readers are measured against the LLM that reads the text, and the one that reads nothing."""

import pytest

from tests.train.reader.conftest import CONFIG, MakeExamples
from zprompt.codec.codec import Codec
from zprompt.eval import exact_match, f1
from zprompt.llm import Backbone
from zprompt.train.reader.continuation import Continuation
from zprompt.train.reader.evaluation import CONTEXT, BenefitMeter, measure_answers
from zprompt.train.reader.examples import Asked
from zprompt.train.reader.prompts import Prompts
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.tiles import Tile


@pytest.fixture(autouse=True)
def short_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CONTEXT > 100
    monkeypatch.setattr("zprompt.train.reader.evaluation.CONTEXT", 24)


def test_the_text_keeps_all_of_its_benefit(untuned: Reading, tiles: list[Tile], reader_codec: Codec) -> None:
    meter = BenefitMeter(untuned, tiles, Continuation("text", reader_codec.backbone.start_id, CONFIG.continued))
    benefit = meter.measure(untuned)
    assert benefit.kept == pytest.approx(1.0) and benefit.positions_ratio == 1.0
    assert benefit.kept_interval == pytest.approx((1.0, 1.0))
    assert (benefit.passages, benefit.continuations > len(tiles)) == (len(tiles), True)
    assert benefit.with_input == pytest.approx(benefit.with_text)


def test_z_tokens_take_fewer_positions(untuned: Reading, tiles: list[Tile], reader_codec: Codec) -> None:
    meter = BenefitMeter(untuned, tiles, Continuation("z", reader_codec.backbone.start_id, CONFIG.continued))
    benefit = meter.measure(untuned, 3)
    assert benefit.positions_ratio > 1.2 and benefit.passages == 3 and benefit.to_dict()["kept"] == benefit.kept


def test_greedy_answers_are_the_llms_own(
    untuned: Reading, examples_of: MakeExamples, tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zprompt.train.reader.evaluation.ANSWER", 5)
    examples = examples_of(input="text")
    asked = [*examples.questions, Asked("and then?", ("the dog",), ())]  # prompts of different lengths
    answers = measure_answers(untuned, examples.prompts, asked, tiny_backbone.decode)
    for one, (_, _, given) in zip(asked, answers.shown, strict=True):
        assert given == greedy(tiny_backbone, examples.prompts, one, 5)
    assert answers.questions == len(asked) and answers.f1_interval[0] <= answers.f1 <= answers.f1_interval[1]


def greedy(backbone: Backbone, prompts: Prompts, asked: Asked, most: int) -> str:
    import torch

    ids = prompts.question(asked.question, asked.passages).ids.tolist()
    answer: list[int] = []
    while len(answer) < most:
        state = backbone.hidden(torch.tensor([ids + answer]))[0, -1]
        token = int((state @ backbone.output_embeddings.T).argmax())
        if token == prompts.end_id:
            break
        answer.append(token)
    return backbone.decode(answer).strip()


def test_answers_are_scored_as_squad_does() -> None:
    assert exact_match("The Moon.", ["moon"]) == 1.0
    assert exact_match("Moon landing", ["moon"]) == 0.0
    assert f1("Moon landing", ["Mars", "the moon"]) == pytest.approx(2 / 3)
    assert (f1("", ["the"]), f1("", ["moon"]), f1("sun", ["moon"])) == (1.0, 0.0, 0.0)
