"""The sentence that answers a question scores highest, here by words and form alone."""

import json
import math
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import BackboneNotFoundError, CheckpointError, DownloadError, OptionError
from zprompt.relevance import WEIGHTS, LogisticWeights, Passage, Relevance, ScoredPassage, relevance, write_weights
from zprompt.relevance.relevance import rarities, read_weights

WORDS = Relevance.from_pretrained(embedder=None)
TOWN = (
    "Bern lies on the river Aare. ",
    "The old tower was built in 1256 by a duke. ",
    "Many people come to see the bears. ",
    "A baker named Anna Moser sells bread there.",
)


def best(question: str, *texts: str, scorer: Relevance = WORDS) -> str:
    """Return the unit that scores highest."""
    scored = scorer.score(question, [Passage(text) for text in texts])
    passage, text = max(zip(scored, texts, strict=True), key=lambda pair: pair[0].relevance)
    start, end = passage.units[int(passage.scores.argmax())]
    return text[start:end]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When was the tower built?", 1),
        ("Which river is Bern on?", 0),
        ("Who is the baker?", 3),
        ("Are there bears?", 2),
    ],
)
def test_the_sentence_that_answers_scores_highest(question: str, answer: int) -> None:
    assert best(question, "".join(TOWN)) == TOWN[answer]
    assert best(question, *TOWN[::-1], "It rains. The sea is far.") == TOWN[answer]


def test_a_chinese_sentence_is_found_by_its_characters() -> None:
    assert (
        best("钟楼是什么时候建造的？", "伯尔尼在河边。那里有很多熊。钟楼建造于1256年。冬天很冷。面包很好吃。")
        == "钟楼建造于1256年。"
    )


def test_a_matching_title_raises_its_passage() -> None:
    plain, titled = WORDS.score("tower of Bern", [Passage("It is old."), Passage("It is old.", "The tower of Bern")])
    assert titled.relevance > plain.relevance


@pytest.mark.parametrize("texts", [[], [""], ["", " \n"], [TOWN[0], "", TOWN[1], " "]])
def test_empty_passages_have_no_units_and_no_relevance(texts: list[str]) -> None:
    scored = WORDS.score("Who?", [Passage(text) for text in texts])
    assert [len(passage.units) for passage in scored] == [int(bool(text.strip())) for text in texts]
    assert all((passage.relevance > 0) == bool(passage.units) for passage in scored)


@settings(max_examples=50)
@given(
    question=st.text(max_size=40), texts=st.lists(st.text("ab. \n1É。", max_size=30) | st.text(max_size=20), max_size=4)
)
def test_any_passages_are_scored_and_always_the_same(question: str, texts: list[str]) -> None:
    passages = [Passage(text, text[:5]) for text in texts]
    once, again = WORDS.score(question, passages), WORDS.score(question, passages)
    for passage, first, second in zip(passages, once, again, strict=True):
        assert np.array_equal(first.scores, second.scores) and np.isfinite(first.scores).all()
        assert first.units == second.units and len(first.units) == len(first.scores)
        assert "".join(passage.text[start:end] for start, end in first.units) in (passage.text, "")


def test_extreme_log_odds_are_still_a_probability() -> None:
    assert ScoredPassage(((0, 1),), np.array([-1e5])).relevance == 0
    assert ScoredPassage(((0, 1),), np.array([1e5])).relevance == 1
    assert ScoredPassage(((0, 1),), np.array([1.0])).relevance == pytest.approx(1 / (1 + np.exp(-1)))


def test_rare_words_count_more_and_function_words_do_not_count() -> None:
    rarity = rarities("When was the zymurgy of water?")
    assert rarity["zymurgy"] > rarity["water"] > 0 and len(rarity) == 2


class Synonyms:
    """Embeds synonyms alike."""

    def embed_query(self, text: str) -> list[float]:
        return [float(any(word in text for word in words)) for words in (("feline", "cat"), ("bank", "loan"))] + [0.1]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self.embed_query, texts))


def test_an_embedder_finds_an_answer_that_shares_no_word() -> None:
    scorer = Relevance.from_pretrained(embedder=Synonyms())
    texts = ("A loan is cheap. ", "Rain fell. ", "The cat is asleep.")
    assert best("Is that feline tired?", "".join(texts), scorer=scorer) == texts[2]
    assert (scorer.name, repr(scorer)) == ("Synonyms", "Relevance('Synonyms')")
    assert WORDS.name == "words"


def test_the_default_scorer_does_without_an_embedder_that_cannot_be_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZPROMPT_CACHE", str(tmp_path))
    monkeypatch.setenv("ZPROMPT_OFFLINE", "1")
    monkeypatch.setattr(relevance, "_shared", {})
    with pytest.raises(BackboneNotFoundError):
        Relevance.from_pretrained()
    assert relevance.shared_relevance().name == "words"
    assert relevance.shared_relevance() is relevance.shared_relevance()


def test_a_failed_download_is_tried_again_after_some_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[object] = [Synonyms(), DownloadError("No network."), DownloadError("No network.")]
    now = [0.0]

    def open_embedder(embedder: object) -> object:
        if isinstance(outcome := outcomes.pop(), Exception):
            raise outcome
        return outcome

    def name_at(seconds: float) -> str:
        now[0] = seconds
        relevance.shared_relevance()
        return relevance.shared_relevance().name

    monkeypatch.setattr(threading, "Thread", lambda target, daemon: SimpleNamespace(start=target))  # runs at once
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(relevance, "open_embedder", open_embedder)
    monkeypatch.setattr(relevance, "_shared", {})
    monkeypatch.setattr(relevance, "_retry_at", math.inf)

    delay = relevance.RETRY_AFTER
    names = [name_at(seconds) for seconds in (0, delay / 2, delay, 1.5 * delay, 2 * delay, 9 * delay)]
    assert names == ["words", "words", "words", "words", "Synonyms", "Synonyms"]


def test_an_object_that_is_no_embedder_is_refused() -> None:
    with pytest.raises(OptionError, match="LangChain"):
        Relevance.from_pretrained(embedder=3)


def test_saved_weights_are_read_back(tmp_path: Path) -> None:
    first = LogisticWeights(("cosine", "z_words"), (0.1, 0.2), (1.0, 2.0), (3.0, 4.0), -1.0, 0.9)
    second = LogisticWeights(("number",), (0.5,), (0.5,), (1.0,), 0.0, 1.0)
    path = tmp_path / "new" / "weights.json"
    write_weights(path, first, second, {"seed": 1})
    assert read_weights(path) == (first, second)
    assert json.loads(path.read_text())["training"] == {"seed": 1}
    assert Relevance.from_pretrained(path, embedder=None).weights == second


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"format": 99}, "has format 99, but this release reads 1"),
        ({"words_only": None}, "no weights of a relevance model"),
        ({"words_only": {}}, "no weights of a relevance model .'names'"),
        ({"words_only": {"bias": "much"}}, "no weights"),
        ({"words_only": {"mean": [1.0]}}, "lists differ in length"),
        ({"with_embedder": {"names": [f"new {index}" for index in range(16)]}}, "does not know"),
        (
            {"words_only": {"names": ["cosine", *json.loads(WEIGHTS.read_text())["words_only"]["names"][1:]]}},
            "not know",
        ),
    ],
)
def test_weights_of_another_form_are_refused(tmp_path: Path, change: dict[str, object], error: str) -> None:
    data = json.loads(WEIGHTS.read_text())
    for name, value in change.items():
        data[name] = {**data[name], **value} if isinstance(value, dict) and value else value
    (tmp_path / "weights.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match=error):
        Relevance.from_pretrained(tmp_path / "weights.json", embedder=None)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"7", b"\xff\xfe\x00"])
def test_a_file_without_weights_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no weights of a relevance model"):
        Relevance.from_pretrained(path, embedder=None)
