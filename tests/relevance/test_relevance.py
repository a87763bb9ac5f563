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
from zprompt.relevance import SHIPPED, LogisticWeights, Passage, Relevance, ScoredPassage, relevance, write_weights
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
    own, text = max(zip(scored, texts, strict=True), key=lambda pair: pair[0].relevance)
    start, end = own.units[int(own.scores.argmax())]
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


def test_a_title_speaks_for_its_passage() -> None:
    plain, titled = WORDS.score("tower of Bern", [Passage("It is old."), Passage("It is old.", "The tower of Bern")])
    assert titled.relevance > plain.relevance


@pytest.mark.parametrize("texts", [[], [""], ["", " \n"], [TOWN[0], "", TOWN[1], " "]])
def test_empty_passages_have_no_units_and_no_relevance(texts: list[str]) -> None:
    scored = WORDS.score("Who?", [Passage(text) for text in texts])
    assert [len(one.units) for one in scored] == [int(bool(text.strip())) for text in texts]
    assert all((one.relevance > 0) == bool(one.units) for one in scored)


@settings(max_examples=50)
@given(
    question=st.text(max_size=40), texts=st.lists(st.text("ab. \n1É。", max_size=30) | st.text(max_size=20), max_size=4)
)
def test_any_passages_are_scored_and_twice_the_same(question: str, texts: list[str]) -> None:
    passages = [Passage(text, text[:5]) for text in texts]
    once, again = WORDS.score(question, passages), WORDS.score(question, passages)
    for passage, one, other in zip(passages, once, again, strict=True):
        assert np.array_equal(one.scores, other.scores) and np.isfinite(one.scores).all()
        assert one.units == other.units and len(one.units) == len(one.scores)
        assert "".join(passage.text[start:end] for start, end in one.units) in (passage.text, "")


def test_a_log_odds_beyond_all_reason_is_still_a_probability() -> None:
    assert ScoredPassage(((0, 1),), np.array([-1e5])).relevance == 0
    assert ScoredPassage(((0, 1),), np.array([1e5])).relevance == 1
    assert ScoredPassage(((0, 1),), np.array([1.0])).relevance == pytest.approx(1 / (1 + np.exp(-1)))


def test_rare_words_count_more_and_words_of_form_nothing() -> None:
    found = rarities("When was the zymurgy of water?")
    assert found["zymurgy"] > found["water"] > 0 and len(found) == 2


class Synonyms:
    """Knows that some words mean the same."""

    def embed_query(self, text: str) -> list[float]:
        return [float(any(word in text for word in own)) for own in (("feline", "cat"), ("bank", "loan"))] + [0.1]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return list(map(self.embed_query, texts))


def test_an_embedder_finds_what_no_word_tells() -> None:
    scorer = Relevance.from_pretrained(embedder=Synonyms())
    texts = ("A loan is cheap. ", "Rain fell. ", "The cat is asleep.")
    assert best("Is that feline tired?", "".join(texts), scorer=scorer) == texts[2]
    assert (scorer.name, repr(scorer)) == ("Synonyms", "Relevance('Synonyms')")
    assert WORDS.name == "words"


def test_the_default_scorer_does_without_an_embedder_that_cannot_be_had(
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
    found: list[object] = [Synonyms(), DownloadError("No network."), DownloadError("No network.")]
    now = [0.0]

    def open_embedder(embedder: object) -> object:
        if isinstance(one := found.pop(), Exception):
            raise one
        return one

    def name_at(seconds: float) -> str:
        now[0] = seconds
        relevance.shared_relevance()
        return relevance.shared_relevance().name

    monkeypatch.setattr(threading, "Thread", lambda target, daemon: SimpleNamespace(start=target))  # no waiting
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(relevance, "open_embedder", open_embedder)
    monkeypatch.setattr(relevance, "_shared", {})
    monkeypatch.setattr(relevance, "_retry_at", math.inf)

    minutes = relevance.RETRY_AFTER
    names = [name_at(seconds) for seconds in (0, minutes / 2, minutes, 1.5 * minutes, 2 * minutes, 9 * minutes)]
    assert names == ["words", "words", "words", "words", "Synonyms", "Synonyms"]


def test_an_embedder_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match="LangChain"):
        Relevance.from_pretrained(embedder=3)


def test_weights_that_were_written_are_read_again(tmp_path: Path) -> None:
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
        ({"format": 99}, "has format 99, this release reads 1"),
        ({"words_only": None}, "no weights of a relevance model"),
        ({"words_only": {}}, "no weights of a relevance model .'names'"),
        ({"words_only": {"bias": "much"}}, "no weights"),
        ({"words_only": {"mean": [1.0]}}, "lists differ in length"),
        ({"with_embedder": {"names": [f"new {index}" for index in range(16)]}}, "does not know"),
        (
            {"words_only": {"names": ["cosine", *json.loads(SHIPPED.read_text())["words_only"]["names"][1:]]}},
            "not know",
        ),
    ],
)
def test_weights_of_another_make_are_refused(tmp_path: Path, change: dict[str, object], error: str) -> None:
    data = json.loads(SHIPPED.read_text())
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
