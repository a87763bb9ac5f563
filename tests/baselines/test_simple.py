"""Truncation and random pruning never exceed their budget, and meet it as far as tokens and words allow."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.baselines.conftest import TEXT, any_text
from tests.conftest import SENTENCES
from zprompt.baselines.simple import Keep, RandomPruning, Truncation
from zprompt.baselines.words import split_words
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError
from zprompt.llm import Backbone


class TestTruncation:
    @given(text=any_text, budget=st.integers(0, 60), keep=st.sampled_from(["start", "end"]))
    def test_the_budget_is_never_exceeded(self, tiny_backbone: Backbone, text: str, budget: int, keep: Keep) -> None:
        short = Truncation(keep, tokenizer=tiny_backbone.tokenizer).shorten(text, budget)
        assert short.tokens == len(tiny_backbone.encode(short.text)) <= budget
        assert text.startswith(short.text) if keep == "start" else text.endswith(short.text)

    @pytest.mark.parametrize("budget", [1, 2, 5, 10, 20, 50])
    @pytest.mark.parametrize("keep", ["start", "end"])
    def test_the_budget_is_met_exactly(self, tiny_backbone: Backbone, budget: int, keep: Keep) -> None:
        assert Truncation(keep, tokenizer=tiny_backbone.tokenizer).shorten(TEXT, budget).tokens == budget

    def test_without_a_budget_the_ratio_counts(self, tiny_backbone: Backbone) -> None:
        short = Truncation(ratio=4, tokenizer=tiny_backbone.tokenizer).shorten(TEXT)
        assert short.tokens == round(short.source_tokens / 4)

    def test_a_text_that_fits_stays_as_it_is(self, tiny_backbone: Backbone) -> None:
        method = Truncation(tokenizer=tiny_backbone.tokenizer)
        assert method.shorten(TEXT, 10_000).text == TEXT
        assert method.shorten("").to_dict() == {"text": "", "source_tokens": 0, "tokens": 0, "baseline": "truncation"}

    def test_wrong_options_and_texts_are_refused(self, tiny_backbone: Backbone) -> None:
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


class TestRandomPruning:
    @given(text=any_text, budget=st.integers(0, 60), seed=st.integers(0, 3))
    def test_the_budget_is_never_exceeded(self, tiny_backbone: Backbone, text: str, budget: int, seed: int) -> None:
        short = RandomPruning(seed, tokenizer=tiny_backbone.tokenizer).shorten(text, budget)
        assert short.tokens == len(tiny_backbone.encode(short.text)) <= budget

    @given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), st.floats(1.5, 10), st.integers(0, 3))
    def test_the_budget_is_missed_by_less_than_a_word(
        self, tiny_backbone: Backbone, sentences: list[str], ratio: float, seed: int
    ) -> None:
        short = RandomPruning(seed, ratio, tiny_backbone.tokenizer).shorten(" ".join(sentences))
        budget = max(1, round(short.source_tokens / ratio))
        assert budget - 1 <= short.tokens <= budget

    def test_words_are_whole_and_in_order(self, tiny_backbone: Backbone) -> None:
        short = RandomPruning(tokenizer=tiny_backbone.tokenizer).shorten(TEXT)
        source = iter(word.text for word in split_words(TEXT))
        assert all(word.text in source for word in split_words(short.text.replace(",", " ,")))

    def test_the_same_seed_drops_the_same_words(self, tiny_backbone: Backbone) -> None:
        tokenizer = tiny_backbone.tokenizer
        first, again, other = (RandomPruning(seed, tokenizer=tokenizer).shorten(TEXT).text for seed in (0, 0, 1))
        assert first == again != other
