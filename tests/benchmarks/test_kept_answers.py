"""The share of answers' tokens that are anchors."""

import pytest

from benchmarks.kept_answers import NAMES_AND_DIGITS, Way, measure
from zprompt.codec import Codec
from zprompt.eval import Passage, Question

TEXT = "the lamp was lit by Hale in the year 1834, and the bell was cast in Bristol by three old men of the town."


def asked(answer: str) -> Question:
    return Question("Who?", (answer,), (Passage("", TEXT),))


def test_what_is_protected_is_kept(codec: Codec) -> None:
    questions = [asked("Hale"), asked("1834"), asked("Bristol")]
    found = measure(codec, questions, Way(4, protect=NAMES_AND_DIGITS))
    assert (found["kept"].value, found["whole"].value, found["kept"].worst, found["questions"]) == (1, 1, 1, 3)


def test_at_ratio_1_all_is_kept_and_at_a_high_one_it_is_not(codec: Codec) -> None:
    questions = [asked("the lamp was lit"), asked("three old men of the town")]
    assert measure(codec, questions, Way(1))["kept"].value == 1
    high = measure(codec, questions, Way(12))
    assert high["kept"].low <= high["kept"].value <= high["kept"].high < 1
    assert high["ratio"] == pytest.approx(12, rel=0.1)


def test_a_question_keeps_what_is_around_its_words(codec: Codec) -> None:
    one = Question("Which bell of the town was cast?", ("in Bristol",), (Passage("", TEXT),))
    plain, aware = measure(codec, [one, one], Way(3)), measure(codec, [one, one], Way(3, query=True))
    assert aware["kept"].value > plain["kept"].value
    assert (aware["questions"], aware["way"]) == (2, "ratio 3, with the question")


def test_answers_that_the_passage_does_not_have_are_not_counted(codec: Codec) -> None:
    assert measure(codec, [asked("Hale"), asked("nobody")], Way(4))["questions"] == 1
