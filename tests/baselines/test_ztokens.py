"""Z-tokens as a baseline come back exactly, with as many Z-tokens as were asked for."""

import pytest

from tests.baselines.conftest import TEXT
from zprompt.baselines import LosslessBaseline
from zprompt.baselines.ztokens import Shorthand, ZTokens
from zprompt.codec import Codec
from zprompt.errors import OptionError


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


def test_shorthand_is_readable_and_nears_its_budget(small_codec: Codec) -> None:
    # The tiny tokenizer spends three tokens on an ellipsis, so that fewer Z-tokens are of little help.
    long, short = (Shorthand(codec=small_codec).shorten(TEXT, budget) for budget in (None, 60))
    assert short.tokens == len(small_codec.backbone.encode(short.text)) < long.tokens
    assert short.baseline == "shorthand"
    assert "[z2:" not in short.text


def test_nonsense_is_refused(small_codec: Codec) -> None:
    with pytest.raises(OptionError, match="at least 1, got 0"):
        ZTokens(ratio=0, codec=small_codec)
    with pytest.raises(OptionError, match="at least 0 tokens, got -3"):
        ZTokens(codec=small_codec).shorten(TEXT, -3)
