"""Reports of made-up results, without a model."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from zprompt.eval.context import FULL
from zprompt.eval.metrics import SPEED, metric_of
from zprompt.eval.plots import draw_charts
from zprompt.eval.report import Section, compare, sections, write, write_reports
from zprompt.eval.results import BenchResults, BenchSettings, Cell, CellResult, TaskInfo, load_results, save_results
from zprompt.eval.statistics import Estimate

RUN = {
    "command": "zprompt bench", "version": "0.1.0", "commit": "abc", "started": "2026-01-01T00:00:00Z", "seconds": 60.0,
    "seed": 0, "reused_cells": 0, "machine": "A <machine>", "cores": 2, "memory_gigabytes": 8.0, "threads": 2,
    "load_average": 0.5, "versions": {"python": "3.11"},
}  # fmt: skip


def figure(value: float) -> Estimate:
    return Estimate(value, 0.9 * value, 1.1 * value, 0.5 * value, 3)


def rows(section: Section) -> list[tuple[str, ...]]:
    assert section.table is not None
    return [tuple(row) for row in section.table.to_numpy()]


def measured(method: str, ratio: float | None, f1: float) -> CellResult:
    actual_ratio = ratio or 1.0
    figures = {"positions ratio": figure(actual_ratio), "F1": figure(f1), "bits per position": figure(15.6)}
    samples = tuple(
        {"id": str(index), "group": "a", "shares": {"F1": [score, 1.0]}}
        for index, score in enumerate((f1 / 2, f1, 1.5 * f1))
    )
    return CellResult(
        Cell(method, "qa", ratio), "key", None, figures, {SPEED.name: figure(500 / actual_ratio)}, 900.0, {}, samples
    )


@pytest.fixture
def results() -> BenchResults:
    task = TaskInfo("qa", "Questions", "F1", ("F1",), "a file", 3, "d1")
    failed = CellResult(Cell("broken", "qa", 2.0), "key", reason="it | does <not> work")
    partly = replace(measured("pruning", 4.0, 0.3), missing={"untuned backbone": "too long"})
    cells = (measured(FULL, None, 0.6), measured("pruning", 2.0, 0.5), partly, failed)
    return BenchResults(RUN, BenchSettings(("pruning", "broken"), ("qa",), (2.0, 4.0)), (task,), cells)


def test_results_come_back_from_their_file(results: BenchResults, tmp_path: Path) -> None:
    save_results(results, tmp_path)
    again = load_results(tmp_path)

    assert [result.cell for result in again.cells] == [result.cell for result in results.cells]
    assert (again.settings, again.tasks, again.cells[3]) == (results.settings, results.tasks, results.cells[3])
    assert not list(tmp_path.glob("*.part"))
    save_results(again, tmp_path)
    assert load_results(tmp_path) == again


def test_a_report_has_every_cell_or_its_reason(results: BenchResults) -> None:
    summary, quality, times, missing = sections(results)

    assert [row[:4] for row in rows(summary)] == [
        (FULL, "–", "1.00", "60.0"), ("pruning", "2", "2.00", "50.0"), ("pruning", "4", "4.00", "30.0"),
        ("broken", "2", "–", "–"),
    ]  # fmt: skip
    assert rows(quality)[1] == (
        "pruning",
        "2",
        "2.00 [1.80, 2.20], worst 1.00",
        "50.0 [45.0, 55.0], worst 25.0",
        "15.6 [14.0, 17.2], worst 7.8",
    )
    assert rows(times)[0][-1] == "900"
    assert rows(missing) == [
        ("pruning", "untuned backbone", "qa 4", "too long"), ("broken", "all", "qa 2", "it | does <not> work")
    ]  # fmt: skip


def test_the_summary_marks_scores_that_come_from_the_reader_of_ltsc(results: BenchResults) -> None:
    task = replace(results.tasks[0], main="F1, reader")
    tuned = replace(measured("ltsc-tuned", None, 0.4), figures={"F1, LTSC's reader": figure(0.4)})
    full = replace(measured(FULL, None, 0.5), figures={"F1, LTSC's reader": figure(0.5), "F1, reader": figure(0.6)})
    summary, *_ = sections(replace(results, tasks=(task,), cells=(full, tuned)))

    assert [row[3] for row in rows(summary)] == ["60.0", "40.0*"]
    assert "*: by LTSC's reader, which is another model: from the full text it has questions 50.0." in summary.note
    summary, *_ = sections(replace(results, tasks=(task,), cells=(tuned,)))
    assert "which is another model: the full text was not measured." in summary.note


def test_kinds_of_text_have_a_section_where_there_are_several(results: BenchResults) -> None:
    def row(group: str, source: float) -> dict[str, object]:
        return {"id": group, "group": group, "shares": {"positions ratio": [source, 10.0]}}

    cells = [replace(cell, samples=(row("logs", 80.0), row("news", 20.0))) for cell in results.cells[:1]]
    [section] = [
        section for section in sections(replace(results, cells=tuple(cells))) if section.title.endswith("kind of text")
    ]

    assert section.table is not None and list(section.table) == ["method", "asked", "logs", "news"]
    assert rows(section) == [(FULL, "–", "8.00", "2.00")]


def test_a_single_sample_has_no_interval() -> None:
    assert write(metric_of("F1"), Estimate(0.5, 0.5, 0.5, 0.5, 1)) == "50.0"
    assert write(metric_of("F1"), None) == "–"


def test_markdown_and_page_are_written(results: BenchResults, tmp_path: Path) -> None:
    markdown, page = write_reports(results, tmp_path, results)

    text = markdown.read_text("utf-8")
    assert "| broken | all | qa 2 | it \\| does <not> work |" in text and "## Compared: Questions" in text
    html = page.read_text("utf-8")
    assert "it | does &lt;not&gt; work" in html and "A &lt;machine&gt;" in html
    assert not re.search(r"<script|<link|src=|@import|url\((?!#)", html)  # the page loads nothing
    assert "prefers-color-scheme: dark" in html and "width=device-width" in html
    checker = _Nesting()
    checker.feed(html)
    assert checker.open == []


def test_charts_use_the_colours_of_the_page(results: BenchResults) -> None:
    charts = draw_charts(results)

    assert [chart.title for chart in charts] == ["Questions: what is kept", "Questions: what it takes"]
    for chart in charts:
        ElementTree.fromstring(chart.svg)
        assert "var(--m1)" in chart.svg and "var(--ink)" in chart.svg
        assert not re.search(r"#0[0-4][0-9a-f]{2}0[0-4]\b", chart.svg)
        assert "source tokens per position" in chart.svg
    assert draw_charts(results) == charts


def test_two_runs_are_compared_by_sample(results: BenchResults) -> None:
    worse = replace(results, cells=(results.cells[0], measured("pruning", 2.0, 0.4)))
    [section] = compare(results, worse)

    assert "The samples are the same." in section.note
    assert rows(section)[1][2:5] == ("50.0", "40.0", "+10.0 [+5.0, +15.0]")
    assert rows(section)[2][4] == "not in the other run"
    other = replace(worse, tasks=(replace(worse.tasks[0], digest="d2"),))
    [section] = compare(results, other)
    assert "**The samples are not the same.**" in section.note and rows(section)[1][4] == "+10.0"


class _Nesting(HTMLParser):
    """Checks that elements are nested correctly."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
