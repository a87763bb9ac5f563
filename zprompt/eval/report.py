"""Write what a run found as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zprompt.eval.comparison import compare
from zprompt.eval.page import render_page
from zprompt.eval.results import BenchResults
from zprompt.eval.sections import Section, about, sections
from zprompt.eval.tables import table

TITLE = "What shortening keeps, and what it costs"
MARKDOWN, PAGE = "bench.md", "bench.html"


def write_reports(results: BenchResults, folder: Path, other: BenchResults | None = None) -> tuple[Path, Path]:
    """Write Markdown and an HTML page.

    :param results: The results.
    :param folder: Where to.
    :param other: Results to compare with.
    :return: The two files.
    """
    parts = [*sections(results), *(compare(results, other) if other else ())]
    folder.mkdir(parents=True, exist_ok=True)
    markdown, page = folder / MARKDOWN, folder / PAGE
    markdown.write_text(render_markdown(about(results), parts), encoding="utf-8")
    page.write_text(render_page(TITLE, about(results), parts, results), encoding="utf-8")
    return markdown, page


def render_markdown(said: Iterable[str], parts: Iterable[Section]) -> str:
    """Write sections as Markdown.

    :param said: How the run ran.
    :param parts: The sections.
    :return: The text.
    """
    lines = [f"# {TITLE}", ""]
    for sentence in said:
        lines += [sentence, ""]
    for part in parts:
        lines += [f"## {part.title}", ""]
        if part.note:
            lines += [part.note, ""]
        if part.head:
            rows = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in part.rows]
            lines += [*table(part.head, rows), ""]
    return "\n".join(lines).rstrip() + "\n"
