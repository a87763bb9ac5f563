"""Truncation never exceeds its budget, and meets it where tokens allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.baselines.truncation import Keep, Truncation
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError
from zprompt.llm import Backbone

TEXT = " ".join(SENTENCES)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.lists(
    st.sampled_from(SENTENCES), max_size=4
).map(" ".join)


@given(text=any_text, budget=st.integers(0, 60), keep=st.sampled_from(["start", "end"]))
def test_the_budget_is_never_exceeded(tiny_backbone: Backbone, text: str, budget: int, keep: Keep) -> None:
    short = Truncation(keep, tokenizer=tiny_backbone.tokenizer).shorten(text, budget)
    assert short.tokens == len(tiny_backbone.encode(short.text)) <= budget
    assert text.startswith(short.text) if keep == "start" else text.endswith(short.text)


@pytest.mark.parametrize("budget", [1, 2, 5, 10, 20, 50])
@pytest.mark.parametrize("keep", ["start", "end"])
def test_the_budget_is_met_exactly(tiny_backbone: Backbone, budget: int, keep: Keep) -> None:
    assert Truncation(keep, tokenizer=tiny_backbone.tokenizer).shorten(TEXT, budget).tokens == budget


def test_without_a_budget_the_ratio_counts(tiny_backbone: Backbone) -> None:
    short = Truncation(ratio=4, tokenizer=tiny_backbone.tokenizer).shorten(TEXT)
    assert short.tokens == round(short.source_tokens / 4)


def test_a_text_that_fits_stays_as_it_is(tiny_backbone: Backbone) -> None:
    method = Truncation(tokenizer=tiny_backbone.tokenizer)
    assert method.shorten(TEXT, 10_000).text == TEXT
    assert method.shorten("").to_dict() == {"text": "", "source_tokens": 0, "tokens": 0, "baseline": "truncation"}


def test_nonsense_is_refused(tiny_backbone: Backbone) -> None:
    method = Truncation(tokenizer=tiny_backbone.tokenizer)
    with pytest.raises(OptionError, match="one of 'start', 'end', got 'middle'"):
        Truncation("middle")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"at least 1, got 0\.5"):
        Truncation(ratio=0.5)
    with pytest.raises(OptionError, match="at least 0 tokens, got -1"):
        method.shorten(TEXT, -1)
    with pytest.raises(DocumentTypeError, match="must be a str, got list"):
        method.shorten([TEXT])  # type: ignore[arg-type]
    with pytest.raises(InvalidTextError, match="U\\+D800"):
        method.shorten("before \ud800 after")
