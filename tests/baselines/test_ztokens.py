"""As a baseline, Z-tokens restore the text exactly and keep to the budget."""

import pytest

from tests.baselines.conftest import TEXT
from zprompt.baselines import JointBaseline, LosslessBaseline
from zprompt.baselines.ztokens import FocusText, FocusZ, SentencesByEmbeddings, SentencesByWords, ZTokens
from zprompt.codec import Codec
from zprompt.errors import BaselineUnavailableError, OptionError


@pytest.mark.parametrize("budget", [None, 0, 1, 10, 40, 10_000])
@pytest.mark.parametrize("text", ["", "x", TEXT, "é\x04🌍 " + TEXT])
def test_a_text_comes_back(small_codec: Codec, text: str, budget: int | None) -> None:
    method = ZTokens(codec=small_codec)
    short = method.shorten(text, budget, query="Who walked on the Moon?")
    assert method.restore(short.text) == text
    assert isinstance(method, LosslessBaseline)


def test_the_budget_is_used_and_not_exceeded(small_codec: Codec) -> None:
    tokens = [ZTokens(codec=small_codec).shorten(TEXT, budget).tokens for budget in (60, 80, 100)]
    assert tokens == sorted(tokens)
    assert 40 < tokens[0] <= 60
    assert 80 < tokens[2] <= 100


def test_without_a_budget_the_ratio_counts(small_codec: Codec) -> None:
    short = ZTokens(ratio=3, codec=small_codec).shorten(TEXT)
    assert short.tokens == pytest.approx(short.source_tokens / 3, rel=0.1)


QUESTION = "Who walked on the Moon?"


@pytest.mark.parametrize("budget", [None, 1, 30, 10_000])
def test_focused_spans_come_back(small_codec: Codec, budget: int | None) -> None:
    method = FocusZ(codec=small_codec)
    short = method.shorten_together([TEXT, "", "The Moon is far."], budget, QUESTION, ["Flights", "", "Moon"])
    assert [method.restore(shortened.text) for shortened in short] == [TEXT, "", "The Moon is far."]
    assert isinstance(method, JointBaseline) and isinstance(method, LosslessBaseline)


def test_focused_text_nears_its_budget_over_all_texts(small_codec: Codec) -> None:
    method = FocusText(tokenizer=small_codec.backbone.tokenizer)
    texts = [TEXT, TEXT.upper()]
    whole = sum(shortened.source_tokens for shortened in method.shorten_together(texts, 10_000, QUESTION))
    short = method.shorten_together(texts, whole // 2, QUESTION)
    assert sum(shortened.tokens for shortened in short) == pytest.approx(whole / 2, rel=0.25)
    assert not any("[z2:" in shortened.text for shortened in short)


def test_sentences_are_chosen_by_shared_words_alone(small_codec: Codec) -> None:
    method = SentencesByWords(tokenizer=small_codec.backbone.tokenizer)
    [short] = method.shorten_together(["Rain fell. Two walked on the Moon. It was late."], 10, QUESTION)
    assert short.text == "Two walked on the Moon."


def test_without_an_embedding_model_the_error_says_what_to_run(small_codec: Codec) -> None:
    with pytest.raises(BaselineUnavailableError, match="zprompt pull"):
        SentencesByEmbeddings(tokenizer=small_codec.backbone.tokenizer).shorten(TEXT, 5, QUESTION)


@pytest.mark.default_model
def test_sentences_are_chosen_by_embeddings_alone() -> None:
    short = SentencesByEmbeddings().shorten(
        "Rain fell. Armstrong set foot on the lunar surface. It was late.", 10, QUESTION
    )
    assert short.text == "Armstrong set foot on the lunar surface."


def test_without_a_question_focusing_is_refused(small_codec: Codec) -> None:
    with pytest.raises(OptionError, match="there is no question"):
        FocusText(tokenizer=small_codec.backbone.tokenizer).shorten(TEXT, 5)


def test_impossible_ratios_and_budgets_are_refused(small_codec: Codec) -> None:
    with pytest.raises(OptionError, match="at least 1, got 0"):
        ZTokens(ratio=0, codec=small_codec)
    with pytest.raises(OptionError, match="at least 0 tokens, got -3"):
        ZTokens(codec=small_codec).shorten(TEXT, -3)
