"""Random pruning keeps whole words within the budget, the same ones for the same seed."""

from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from tests.baselines.test_truncation import TEXT, any_text
from zprompt.baselines.random_pruning import RandomPruning
from zprompt.baselines.words import split_words
from zprompt.llm import Backbone


@given(text=any_text, budget=st.integers(0, 60), seed=st.integers(0, 3))
def test_the_budget_is_never_exceeded(tiny_backbone: Backbone, text: str, budget: int, seed: int) -> None:
    short = RandomPruning(seed, tokenizer=tiny_backbone.tokenizer).shorten(text, budget)
    assert short.tokens == len(tiny_backbone.encode(short.text)) <= budget


@given(st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=6), st.floats(1.5, 10), st.integers(0, 3))
def test_the_budget_is_met_but_for_less_than_a_word(
    tiny_backbone: Backbone, sentences: list[str], ratio: float, seed: int
) -> None:
    short = RandomPruning(seed, ratio, tiny_backbone.tokenizer).shorten(" ".join(sentences))
    wanted = max(1, round(short.source_tokens / ratio))
    assert wanted - 1 <= short.tokens <= wanted


def test_words_are_whole_and_in_order(tiny_backbone: Backbone) -> None:
    short = RandomPruning(tokenizer=tiny_backbone.tokenizer).shorten(TEXT)
    source = iter(word.text for word in split_words(TEXT))
    assert all(word.text in source for word in split_words(short.text.replace(",", " ,")))


def test_the_seed_decides(tiny_backbone: Backbone) -> None:
    tokenizer = tiny_backbone.tokenizer
    first, again, other = (RandomPruning(seed, tokenizer=tokenizer).shorten(TEXT).text for seed in (0, 0, 1))
    assert first == again != other
