"""What the RAG apps share: the library holds the answers, and outcomes have times, sources and scores."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from examples.rag_common import NEW_TOKENS, Outcome, Question, Reply, ask, in_process, library, questions, show, wanted
from examples.rag_plain import paragraphs, search
from zprompt.reader.reader import Reader


@dataclass
class Passage:
    """A passage as a framework returns it."""

    page_content: str
    metadata: dict[str, str] = field(default_factory=dict)

    def model_copy(self, **_: Any) -> "Passage":  # noqa: ANN401
        return self


def test_each_answer_is_in_the_text_that_the_question_names() -> None:
    texts = {text.file: text.text for text in library()}
    assert len(questions()) == 20
    for question in questions():
        assert any(answer in texts[str(question.file)] for answer in question.answers)


def test_titles_are_no_part_of_the_texts() -> None:
    assert all(text.title and not text.text.startswith(text.title + "\n") for text in library())


def test_an_outcome_has_the_time_of_both_steps_and_each_source_once() -> None:
    passages = [Passage("One.", {"file": "a.txt"}), Passage("Two.", {"file": "a.txt"})]
    prompts: list[Any] = []

    def llm(messages: Any) -> Reply:  # noqa: ANN401
        prompts.append(messages)
        return Reply("Two of them", 12, 0.5)

    outcome = ask(lambda query: passages, llm, Question("How many?", ("two",)))
    assert outcome.sources == ("a.txt",)
    assert outcome.first_token_after == pytest.approx(outcome.passages_after + 0.5)
    assert outcome.f1 == pytest.approx(0.5)
    assert "One." in prompts[0][1]["content"]


def test_without_a_right_answer_there_is_no_f1(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome(Question("Why?"), "Because", ("a.txt",), 10, 0.1, 0.2)
    assert outcome.f1 is None
    show({"one": outcome, "other": outcome})
    assert "Because" in capsys.readouterr().out


def test_the_plain_search_finds_the_right_file() -> None:
    passages = paragraphs()
    files = [passages[index]["metadata"]["file"] for index in search("Who founded the harbour orchestra?", passages)]
    assert "orchestra.txt" in files


def test_a_reader_in_this_process_reports_its_positions_and_time(tiny_reader: Reader) -> None:
    messages = [{"role": "user", "content": "The fox?"}]
    reply = in_process(tiny_reader)(messages)
    generation = tiny_reader.generate(messages, max_new_tokens=NEW_TOKENS)
    assert (reply.text, reply.positions) == (generation.text.strip(), generation.usage.prompt_positions)
    assert reply.first_token > 0


def test_known_questions_have_their_answers() -> None:
    known, unknown = wanted([questions()[4].question, "Why?"])
    assert known == questions()[4]
    assert unknown == Question("Why?")
    assert wanted([]) == questions()[:3]
