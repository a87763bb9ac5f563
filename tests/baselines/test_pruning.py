"""Pruning keeps whole words within the budget, independently of other texts, and what is protected."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.baselines.conftest import TEXT, any_text
from tests.conftest import SENTENCES
from zprompt.baselines import JointBaseline
from zprompt.baselines.pruning import Pruning
from zprompt.baselines.words import split_words
from zprompt.errors import DocumentTypeError, InvalidTextError, OptionError
from zprompt.llm import Backbone, load_backbone

PARAGRAPHS = "\n\n".join(SENTENCES)
QUERY = "Who walked on the Moon?"


@pytest.fixture(scope="module")
def pruning(tiny_backbone: Backbone) -> Pruning:
    """Return a baseline with short segments and a short context."""
    return Pruning(segment=16, context=64, backbone=tiny_backbone)


def shuffled(words: int, seed: int) -> str:
    """Make a text of random words that the tiny tokenizer knows."""
    rng = random.Random(seed)
    vocabulary = " ".join(SENTENCES).split()
    return " ".join(rng.choice(vocabulary) + rng.choice(["", "", "", "", ",", ".\n\n"]) for _ in range(words))


class TestBudget:
    @settings(max_examples=30)
    @given(words=st.integers(12, 150), ratio=st.floats(1.2, 12), seed=st.integers(0, 99), has_query=st.booleans())
    def test_the_ratio_is_met_within_two_percent(
        self, pruning: Pruning, words: int, ratio: float, seed: int, has_query: bool
    ) -> None:
        text = shuffled(words, seed)
        budget = max(1, round(len(pruning.backbone.encode(text)) / ratio))
        short = pruning.shorten(text, budget, QUERY if has_query else None)
        assert short.tokens == len(pruning.backbone.encode(short.text))
        assert 0.98 * budget - 1 < short.tokens <= budget

    @pytest.mark.parametrize("words", [2_000, pytest.param(12_000, marks=pytest.mark.slow)])
    def test_the_ratio_is_met_for_long_texts(self, tiny_backbone: Backbone, words: int) -> None:
        text = shuffled(words, 0)
        short = Pruning(4, backbone=tiny_backbone).shorten(text)
        assert short.tokens == pytest.approx(short.source_tokens / 4, rel=0.02)
        assert words < 10_000 or short.source_tokens > 20_000

    @settings(max_examples=30)
    @given(text=any_text, budget=st.integers(0, 60), has_query=st.booleans())
    def test_the_budget_is_never_exceeded(self, pruning: Pruning, text: str, budget: int, has_query: bool) -> None:
        short = pruning.shorten(text, budget, QUERY if has_query else None)
        assert short.tokens == len(pruning.backbone.encode(short.text)) <= budget

    def test_a_text_that_fits_stays_as_it_is(self, pruning: Pruning) -> None:
        assert pruning.shorten(PARAGRAPHS, 10_000).text == PARAGRAPHS
        assert pruning.shorten("", 0).tokens == 0
        assert pruning.shorten(" \n\t ", 1).tokens <= 1

    def test_a_word_that_is_longer_than_all_windows_is_dropped_or_kept_whole(self, pruning: Pruning) -> None:
        blob = "Qx7" * 200
        short = pruning.shorten(f"The key is {blob} and the lock is old.", 8)
        assert blob not in short.text
        assert "Qx7" not in short.text


class TestChoice:
    def test_words_are_whole_and_in_order(self, pruning: Pruning) -> None:
        source = iter(word.text for word in split_words(TEXT))
        kept = [word.text for word in split_words(pruning.shorten(TEXT, 40).text) if word.text[0].isalnum()]
        assert len(kept) > 5
        assert all(word in source for word in kept)

    def test_a_result_does_not_depend_on_what_was_pruned_before(self, pruning: Pruning) -> None:
        before = pruning.shorten(PARAGRAPHS, 30, QUERY)
        pruning.shorten(TEXT, 20)
        assert pruning.shorten(PARAGRAPHS, 30, QUERY) == before

    def test_the_query_changes_what_stays(self, pruning: Pruning) -> None:
        assert pruning.shorten(PARAGRAPHS, 30, QUERY).text != pruning.shorten(PARAGRAPHS, 30).text
        assert pruning.shorten(PARAGRAPHS, 30, "  ").text == pruning.shorten(PARAGRAPHS, 30).text

    def test_a_query_that_is_longer_than_the_context_is_cut(self, pruning: Pruning) -> None:
        assert pruning.shorten(PARAGRAPHS, 30, QUERY * 100).tokens <= 30

    def test_protected_words_stay(self, tiny_backbone: Backbone) -> None:
        literal = Pruning(segment=16, context=64, protect=["the dog sleeps", "stone"], backbone=tiny_backbone)
        short = literal.shorten(PARAGRAPHS, 25)
        assert "the dog sleeps" in short.text
        assert "stone" in short.text
        assert short.tokens <= 25
        pattern = Pruning(segment=16, context=64, protect=r"(s|S)and", backbone=tiny_backbone)
        assert pattern.shorten(PARAGRAPHS, 25).text.count("sand") == PARAGRAPHS.count("sand")

    def test_digits_stay_as_far_as_there_is_room(self, tiny_backbone: Backbone) -> None:
        method = Pruning(segment=16, context=64, digits=True, backbone=tiny_backbone)
        assert {"1969", "600"} <= set(method.shorten(TEXT, 40).text.split())
        assert method.shorten(TEXT, 2).tokens <= 2

    def test_another_architecture_can_be_used(self, gpt2_backbone_dir: str) -> None:
        method = Pruning(segment=16, context=64, backbone=load_backbone(str(gpt2_backbone_dir), device="cpu"))
        assert method.shorten(PARAGRAPHS, 40, QUERY).tokens == 40


class TestDocuments:
    def test_ids_metadata_and_order_stay(self, pruning: Pruning) -> None:
        documents = [{"text": text, "id": str(index), "score": index} for index, text in enumerate(SENTENCES)]
        pruned = pruning.shorten_documents(documents, 40, QUERY)
        assert [(document["id"], document["score"]) for document in pruned.documents] == [
            (str(index), index) for index in range(len(SENTENCES))
        ]
        assert [document["text"] for document in pruned.documents] == [result.text for result in pruned.results]
        assert pruned.tokens == 40
        assert pruned.source_tokens == sum(len(pruning.backbone.encode(text)) for text in SENTENCES)

    def test_passages_are_dropped_before_words(self, pruning: Pruning) -> None:
        texts = [result.text for result in pruning.shorten_documents(SENTENCES, 12, QUERY).results]
        assert 0 < sum(bool(text) for text in texts) < 4

    def test_a_single_document_and_an_empty_list_are_allowed(self, pruning: Pruning) -> None:
        assert pruning.shorten_documents(TEXT, 20).documents == pruning.shorten(TEXT, 20).text
        assert pruning.shorten_documents([], 20).documents == []

    def test_texts_are_pruned_as_documents_are(self, pruning: Pruning) -> None:
        assert isinstance(pruning, JointBaseline)
        together = pruning.shorten_together(SENTENCES, 12, QUERY, ["Moon"] * len(SENTENCES))
        assert tuple(together) == pruning.shorten_documents(SENTENCES, 12, QUERY).results


class TestRefusal:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"ratio": 0.5}, r"at least 1, got 0\.5"),
            ({"slack": 0}, "slack must be at least 1, got 0"),
            ({"spread": 2}, "from 0 to 1, got 2"),
            ({"context": 10}, "at least 64 tokens, got 10"),
            ({"context": 100, "segment": 90}, "from 1 to 25, a quarter of the context, got 90"),
            ({"protect": "("}, "not a valid regular expression"),
        ],
    )
    def test_bad_options_are_refused(self, options: dict[str, float], message: str) -> None:
        with pytest.raises(OptionError, match=message):
            Pruning(**options)  # type: ignore[arg-type]

    def test_a_budget_below_what_is_protected_is_an_error(self, tiny_backbone: Backbone) -> None:
        with pytest.raises(OptionError, match="The budget is 3 tokens, but what is protected takes"):
            Pruning(segment=16, context=64, protect=r"\w+", backbone=tiny_backbone).shorten(TEXT, 3)

    def test_bad_texts_are_refused(self, pruning: Pruning) -> None:
        with pytest.raises(OptionError, match="at least 0 tokens, got -1"):
            pruning.shorten(TEXT, -1)
        with pytest.raises(DocumentTypeError, match="must be a str, got int"):
            pruning.shorten(7)  # type: ignore[arg-type]
        with pytest.raises(DocumentTypeError, match="at position 1"):
            pruning.shorten_documents([TEXT, 7])
        with pytest.raises(InvalidTextError, match=r"U\+D800"):
            pruning.shorten(TEXT, 5, "\ud800")


@pytest.mark.default_model
def test_the_shipped_backbone_keeps_names_and_drops_predictable_words(default_backbone: Backbone) -> None:
    text = (
        "The lighthouse at Harrow Bay was built in 1871 by the engineer Thomas Kell, and it was the first of its kind "
        "on the coast. It is one of the most important of the things that there are to see in that part of the country."
    )
    short = Pruning(backbone=default_backbone).shorten(text, 20, "Who built the lighthouse?")
    assert short.tokens == 20
    assert "Kell" in short.text
