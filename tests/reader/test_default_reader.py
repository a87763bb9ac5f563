"""The shipped reader uses the question, and says when there is no answer."""

import pytest

import zprompt
from zprompt import Reader

pytestmark = [pytest.mark.default_model, pytest.mark.slow]
NOTE = (  # 52 tokens
    "The ferry Aurora leaves Harlan at seven each morning and is back before noon. It carries forty cars and two "
    "hundred people. In winter it stays in the harbour when the wind is strong. The captain is Lena Brandt."
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return zprompt.load_reader(device="cpu")


def test_focused_passages_are_read_word_for_word_by_default(reader: Reader) -> None:
    compressed = reader.codec.compress(NOTE, query="Who is the captain?").documents
    answer = reader.answer("Who is the captain?", compressed)
    whole = reader.answer("Who is the captain?", compressed, max_passage_tokens=None)

    assert answer.text == "Lena Brandt" and answer.found
    assert answer.usage.z_tokens == 0 and whole.usage.z_tokens > 0


def test_of_many_passages_only_those_that_the_question_needs_are_read(reader: Reader) -> None:
    others = [
        f"The ferry number {number} carries forty cars, and is painted white every spring." for number in range(40)
    ]
    answer = reader.answer("Who is the captain?", [*others, NOTE, *others])

    assert answer.text == "Lena Brandt"
    assert answer.usage.prompt_positions < 300


def test_an_answer_that_is_not_in_the_passages_is_not_found(reader: Reader) -> None:
    answers = reader.answer(["What is the price of gold?", "Who is the captain?"], [NOTE, ""])

    assert [answer.found for answer in answers] == [False, False]
    assert [answer.text for answer in answers] == ["not found", "not found"]
