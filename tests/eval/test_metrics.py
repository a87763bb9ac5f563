"""Metrics of texts, answers and search, against the libraries that define them."""

import pytest
import sacrebleu
from torchmetrics.functional.text import squad

from zprompt.eval.metrics import (
    CorpusBleu,
    Recall,
    SearchIndex,
    exact_match,
    f1,
    metric_of,
    names,
    numbers,
    recall,
)

SOURCES = [
    "In 1969 two people walked on the Moon, and 600 million watched them walk.",
    "Rivers carry sand and mud to the sea, where they become stone again.",
]
RESTORED = [
    "In 1968 two people walked on the Moon, and 600 million saw them walk.",
    "Rivers carry sand and mud to the sea, where they become stone again.",
]


def test_numbers_keep_their_points_commas_and_slashes() -> None:
    assert numbers("On 3/4, 1,200.5 of 7 (9.)") == ["3/4", "1,200.5", "7", "9"]


def test_names_are_runs_of_capitalised_words() -> None:
    assert names("They moved to New York with Anne-Marie, O'Brien and the BBC.") == [
        "New York",
        "Anne-Marie",
        "O'Brien",
        "BBC",
    ]


def test_the_first_word_of_a_sentence_is_not_a_name() -> None:
    assert names('Rain fell. "Where?" asked Ida.\n\nThen Bo left! Nobody saw.') == ["Ida", "Bo"]


def test_a_capitalised_word_after_punctuation_within_a_sentence_is_a_name() -> None:
    assert names("the ship (Aurora) sank") == ["Aurora"]


def test_recall_counts_each_occurrence_once() -> None:
    assert recall(["7", "7", "9"], ["7", "9", "9", "9"]) == Recall(found=2, total=3)


def test_recall_does_not_depend_on_the_order() -> None:
    assert recall(["a", "b"], ["b", "a"]) == Recall(2, 2)


def test_bleu_is_that_of_sacrebleu() -> None:
    assert CorpusBleu(SOURCES, RESTORED).score() == pytest.approx(sacrebleu.corpus_bleu(RESTORED, [SOURCES]).score)


def test_bleu_without_common_n_grams_is_smoothed_as_in_sacrebleu() -> None:
    restored = ["A walk on sand and by the sea.", "People saw mud."]
    assert CorpusBleu(SOURCES, restored).score() == pytest.approx(sacrebleu.corpus_bleu(restored, [SOURCES]).score)


def test_bleu_of_resampled_documents_counts_repeated_ones_again() -> None:
    expected = sacrebleu.corpus_bleu([RESTORED[0], RESTORED[0]], [[SOURCES[0], SOURCES[0]]]).score
    assert CorpusBleu(SOURCES, RESTORED).score([0, 0]) == pytest.approx(expected)


def test_bleu_of_texts_without_four_words_is_none() -> None:
    assert CorpusBleu(["", "x"], ["", "x"]).score() is None


ANSWERS = [
    ("the Eiffel Tower!", ["Eiffel tower"]),
    ("in 1907, or so", ["1907", "the year 1907"]),
    ("", ["Ada"]),
    ("a", ["the"]),
    ("Ada Ada Hale", ["Ada Hale Ada Hale"]),
    ("Zürich", ["Zurich", "Bern"]),
    ("The Moon.", ["moon"]),
    ("Moon landing", ["Mars", "the moon"]),
    ("", ["the"]),
    ("sun", ["moon"]),
]


@pytest.mark.parametrize(("answer", "golds"), ANSWERS)
def test_answers_are_scored_as_squad_does(answer: str, golds: list[str]) -> None:
    expected = squad(
        [{"prediction_text": answer, "id": "0"}],
        [{"answers": {"answer_start": [0] * len(golds), "text": golds}, "id": "0"}],
    )

    assert 100 * f1(answer, golds) == pytest.approx(expected["f1"].item())
    assert 100 * exact_match(answer, golds) == expected["exact_match"].item()


def test_bm25_finds_the_document_that_has_the_rare_word() -> None:
    index = SearchIndex(["the cat sat", "the dog sat", "the dog and the bird"])

    assert index.rank("a dog with a BIRD", 2) == 1
    assert index.rank("cat", 1) == 3  # no word of it matches
    assert index.rank("", 0) == 3


@pytest.mark.parametrize(
    ("name", "digits", "percent", "less_is_better"),
    [
        ("positions ratio", 2, False, False),
        ("bits per source token", 1, False, True),
        ("KV MB, reader", 1, False, True),
        ("shortening tokens/s", 0, False, False),
        ("shortening s", 2, False, True),
        ("first token s, reader", 2, False, True),
        ("F1, reader", 1, True, False),
        ("BLEU-4", 1, False, False),
        ("ROUGE-L, reference, untuned backbone", 1, True, False),
        ("a metric of another release", 1, True, False),
    ],
)
def test_a_metric_has_its_unit_and_direction(name: str, digits: int, percent: bool, less_is_better: bool) -> None:
    metric = metric_of(name)

    assert metric.name == name
    assert (metric.digits, metric.percent, metric.less_is_better) == (digits, percent, less_is_better)
