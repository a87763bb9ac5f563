"""The tables of the RAG apps are made from outcomes, here made-up ones."""

from pathlib import Path

import pytest

pytest.importorskip("sacrebleu")

from benchmarks.rag import BEGIN, END, PAGE, put_into, report, summarise
from examples.rag_common import Outcome, Question
from zprompt.eval import RunRecord

RECORD = RunRecord("python -m benchmarks.rag", "abc", 0, "2026-01-01T00:00:00Z", 1.0, "a CPU", 2, 2, 8.0, 5.0, {})


def outcome(answer: str, seconds: float, source: str = "a.txt") -> Outcome:
    return Outcome(Question("Who?", ("Ann",), "a.txt"), answer, (source,), 100, seconds / 2, seconds)


def test_outcomes_are_averaged() -> None:
    result = summarise("langchain", "text", [outcome("Ann", 1.0), outcome("Ann Lee", 2.0), outcome("", 9.0, "b.txt")])
    assert result.f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert (result.exact_match, result.right_source) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (result.first_token_after, result.slowest_first_token) == (2.0, 9.0)


def test_the_report_has_all_answers_and_says_that_the_machine_was_busy() -> None:
    text_result, z_result = (summarise("langchain", way, [outcome(f"{way}|\nAnn", 1.0)]) for way in ("text", "Z"))
    text = report(RECORD, "default", [text_result, z_result])
    assert "load average 5.0**: other work ran" in text
    assert "| Who? | Ann | text\\| Ann | Z\\| Ann |" in text


def test_the_page_gets_the_new_tables(tmp_path: Path) -> None:
    page = tmp_path / "rag.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", "utf-8")
    put_into(page, "new \\1\n")
    put_into(page, "newer\n")
    assert page.read_text("utf-8") == f"before\n{BEGIN}\n\nnewer\n\n{END}\nafter\n"
    assert BEGIN in PAGE.read_text("utf-8") and END in PAGE.read_text("utf-8")
