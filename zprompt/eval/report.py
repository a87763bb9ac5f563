"""Report the results of a run as Markdown and as one HTML page, and compare two runs.

A figure is "value [low, high], worst": over all samples, with its 95 % interval, and of the worst sample. Shares are in
per cent. What could not be measured shows as a dash, with the reason in the last section. A comparison has

    difference = figure of this run - figure of the other

with an interval where both runs measured the same samples: a bootstrap that draws the same samples for both. BLEU has
none, as it is no sum over samples. The page is self-contained: no script, no font, nothing fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zprompt.eval import metrics as m
from zprompt.eval.context import FULL
from zprompt.eval.metrics import LTSC_READER, READER, Metric, metric_of
from zprompt.eval.results import BenchResults, Cell, CellResult, TaskInfo
from zprompt.eval.statistics import Estimate, paired_difference

if TYPE_CHECKING:
    from jinja2 import Environment
    from pandas import DataFrame

TITLE = "What shortening keeps, and what it costs"
MARKDOWN, PAGE = "bench.md", "bench.html"
NONE = "–"
_STAR = "*"  # marks a figure of LTSC's reader in the summary


@dataclass(frozen=True, slots=True)
class Section:
    """A title, some sentences, and a table of text."""

    title: str
    note: str
    table: DataFrame | None = None


def write_reports(results: BenchResults, folder: Path, other: BenchResults | None = None) -> tuple[Path, Path]:
    """Write Markdown and an HTML page.

    :param results: The results.
    :param folder: Where to write; created if missing.
    :param other: Results to compare with.
    :return: The paths of the Markdown file and the page.
    """
    from zprompt.eval.plots import draw_charts, styles_of

    all_sections = [*sections(results), *(compare(results, other) if other else ())]
    values = {"title": TITLE, "about": about(results), "sections": all_sections}
    environment = _environment()
    folder.mkdir(parents=True, exist_ok=True)
    markdown, page = folder / MARKDOWN, folder / PAGE
    markdown.write_text(environment.get_template("bench.md.jinja").render(values), encoding="utf-8")
    charts = {"legend": styles_of(results), "charts": draw_charts(results)}
    page.write_text(environment.get_template("bench.html.jinja").render(values, **charts), encoding="utf-8")
    return markdown, page


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup, escape

    def inline(text: str) -> Markup:
        """Write code between backquotes and strong text between double asterisks as HTML."""
        code = re.sub(r"`(.+?)`", r"<code>\1</code>", str(escape(text)))
        return Markup(re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", code))

    environment = Environment(
        loader=PackageLoader("zprompt.eval"),
        autoescape=lambda name: name is not None and ".html" in name,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["inline"] = inline
    return environment


# Sections.


def about(results: BenchResults) -> list[str]:
    """Describe the circumstances of a run, in sentences."""
    run, settings = results.run, results.settings
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    processes = "one process" if settings.jobs == 1 else f"{settings.jobs} processes, which disturb each other's times"
    reused = f"; {run['reused_cells']} cells are of an earlier run of the same commit" if run["reused_cells"] else ""
    return [
        f"`{run['command']}` of zprompt {run['version']} at commit {run['commit']}, {run['started']}, "
        f"{run['seconds'] / 60:.1f} minutes, seed {run['seed']}, {processes}{reused}.",
        f"{run['machine']}, {run['cores']} cores, {run['memory_gigabytes']:.0f} GB, {run['threads']} threads, load "
        f"average {run['load_average']:.1f} at the end; {versions}.",
    ]


def sections(results: BenchResults) -> Iterator[Section]:
    """Yield the summary, two or three tables for each task, and what could not be measured."""
    yield _summary(results)
    for task in results.tasks:
        measured = [result for result in results.of_task(task.name) if result.reason is None]
        if measured:
            yield _quality(task, measured)
            yield from _ratios_by_group(task, measured)
            yield _times(task, measured)
    yield _not_measured(results)


def _summary(results: BenchResults) -> Section:
    """Set the main figures of all tasks side by side."""
    rows = []
    for method, ratio in dict.fromkeys((result.cell.method, result.cell.ratio) for result in results.cells):
        by_task = [results.find(Cell(method, task.name, ratio)) for task in results.tasks]
        first = next((result for result in by_task if result and result.reason is None), None)
        rows.append(
            {
                "method": method,
                "asked": _write_ratio(ratio),
                "reached": write(m.POSITIONS, first.get(m.POSITIONS) if first else None, brief=True),
                **{
                    f"{task.title}: {task.main}": _write_main(task, result)
                    for task, result in zip(results.tasks, by_task, strict=True)
                },
                "tokens/s": write(m.SPEED, first.get(m.SPEED) if first else None, brief=True),
            }
        )
    counts = ", ".join(f"{task.title.lower()} {task.samples}" for task in results.tasks)
    note = (
        f"Samples: {counts}. Few samples show how methods behave, not by how much they differ: intervals and worst "
        "cases are below. Reached ratio and speed of shortening are those of the first task that ran."
    )
    if any(text.endswith(_STAR) for row in rows for text in row.values()):
        note += f" {_STAR}: by {LTSC_READER}, which is another model: {_ltsc_from_full_text(results)}."
    return Section("Summary", note, _table(rows))


def _write_main(task: TaskInfo, result: CellResult | None) -> str:
    """Write the main figure of a cell, with a mark if only LTSC's reader could read what the method wrote."""
    metric, ltsc = task.main_metric, _by_ltsc(task)
    if result is None:
        return NONE
    if result.get(metric) is None and result.get(ltsc):
        return write(ltsc, result.get(ltsc), brief=True) + _STAR
    return write(metric, result.get(metric), brief=True)


def _by_ltsc(task: TaskInfo) -> Metric:
    """Return a task's main metric, on the replies of LTSC's reader if it is measured on the reader's."""
    metric = task.main_metric
    return metric.by(LTSC_READER) if metric.reader == READER else metric


def _ltsc_from_full_text(results: BenchResults) -> str:
    figures = []
    for task in results.tasks:
        full, metric = results.find(Cell(FULL, task.name, None)), _by_ltsc(task)
        if metric != task.main_metric and full and full.get(metric):
            figures.append(f"{task.title.lower()} {write(metric, full.get(metric), brief=True)}")
    return f"from the full text it has {', '.join(figures)}" if figures else "the full text was not measured"


def _quality(task: TaskInfo, results: Sequence[CellResult]) -> Section:
    ratio, *others = m.COMMON
    metrics = [ratio, *map(metric_of, task.figures), *others]
    note = f"{task.samples} samples: {task.source}. Value [95 % interval], worst sample."
    return Section(task.title, note, _figures_table(results, metrics))


def _ratios_by_group(task: TaskInfo, results: Sequence[CellResult]) -> Iterator[Section]:
    """Yield a table of the ratio reached by each kind of text, if there are several kinds."""
    groups = list(dict.fromkeys(row["group"] for result in results for row in result.samples))
    if len(groups) < 2:
        return
    rows = [{**_cell_columns(result), **{group: _ratio_in(result, group) for group in groups}} for result in results]
    note = "Source tokens per position, over the samples of a kind. A lossless method has the length that it needs."
    yield Section(f"{task.title}: ratio by kind of text", note, _table(rows))


def _ratio_in(result: CellResult, group: str) -> str:
    ratios = [ratio for _, ratio in result.ratios(m.POSITIONS, group)]
    if not ratios:
        return NONE
    return f"{sum(ratio.numerator for ratio in ratios) / max(1, sum(ratio.denominator for ratio in ratios)):.2f}"


def _times(task: TaskInfo, results: Sequence[CellResult]) -> Section:
    table = _figures_table(results, m.TIMES)
    table["peak MB"] = [NONE if result.megabytes is None else f"{result.megabytes:,.0f}" for result in results]
    note = (
        "Seconds are for one sample; reading is all samples' in batches, divided by their number. Peak memory is the "
        "process's, with all that is loaded in it."
    )
    return Section(f"{task.title}: time and memory", note, table)


def _not_measured(results: BenchResults) -> Section:
    """List what could not be measured, with one row for all cells that have the same reason."""
    rows = [
        {
            "method": result.cell.method,
            "figure": figure,
            "task and ratio": f"{result.cell.task} {_write_ratio(result.cell.ratio)}",
            "reason": reason,
        }
        for result in results.cells
        for figure, reason in ({"all": result.reason} if result.reason else result.missing).items()
    ]
    if not rows:
        return Section("Not measured", "Everything that was asked for was measured.")
    columns = list(rows[0])
    grouped = _table(rows).groupby(["method", "figure", "reason"], sort=False)["task and ratio"].agg(", ".join)
    return Section("Not measured", "", grouped.reset_index()[columns])


# Comparison of two runs.


def compare(results: BenchResults, other: BenchResults) -> Iterator[Section]:
    """Yield a section for each task of both runs: the main figure and the speed of each cell."""
    digests = {task.name: task.digest for task in other.tasks}
    which = f"The other run: `{other.run['command']}` at commit {other.run['commit']}, {other.run['started']}."
    for task in results.tasks:
        if task.name in digests:
            same = task.digest == digests[task.name]
            samples = "The samples are the same." if same else "**The samples are not the same.**"
            cells = results.of_task(task.name)
            table = _table([_compare_cells(task, result, other.find(result.cell), same) for result in cells])
            yield Section(f"Compared: {task.title}", f"{which} {samples}", table)


def _compare_cells(task: TaskInfo, result: CellResult, other: CellResult | None, same: bool) -> dict[str, str]:
    metric = task.main_metric
    row = {
        **_cell_columns(result),
        f"{task.main}, this": NONE,
        f"{task.main}, other": NONE,
        "difference": "not in the other run",
        "tokens/s, this": NONE,
        "tokens/s, other": NONE,
    }
    if other is None:
        return row
    values = (
        write(metric, result.get(metric), brief=True),
        write(metric, other.get(metric), brief=True),
        _write_difference(metric, result, other, same),
        write(m.SPEED, result.get(m.SPEED), brief=True),
        write(m.SPEED, other.get(m.SPEED), brief=True),
    )
    return {**row, **dict(zip(list(row)[2:], values, strict=True))}


def _write_difference(metric: Metric, result: CellResult, other: CellResult, same: bool) -> str:
    figure, other_figure = result.get(metric), other.get(metric)
    if figure is None or other_figure is None:
        return NONE
    value = _write_value(metric, figure.value - other_figure.value, sign="+")
    ratios, other_ratios = dict(result.ratios(metric)), dict(other.ratios(metric))
    if not same or not ratios or ratios.keys() != other_ratios.keys():
        return value
    interval = paired_difference(list(ratios.values()), list(other_ratios.values()))
    low, high = (_write_value(metric, bound, sign="+") for bound in (interval.low, interval.high))
    return f"{value} [{low}, {high}]"


# Tables and numbers.


def _table(rows: Sequence[dict[str, str]]) -> DataFrame:
    from pandas import DataFrame

    return DataFrame(rows)


def _figures_table(results: Sequence[CellResult], metrics: Sequence[Metric]) -> DataFrame:
    """Write the figures of cells, with a column for each metric that any of them has."""
    columns = [metric for metric in metrics if any(result.get(metric) for result in results)]
    return _table(
        [
            {**_cell_columns(result), **{metric.name: write(metric, result.get(metric)) for metric in columns}}
            for result in results
        ]
    )


def _cell_columns(result: CellResult) -> dict[str, str]:
    return {"method": result.cell.method, "asked": _write_ratio(result.cell.ratio)}


def _write_ratio(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:g}"


def write(metric: Metric, figure: Estimate | None, brief: bool = False) -> str:
    """Write a figure with its interval and worst sample; its value alone if brief, or if it has one sample."""
    if figure is None:
        return NONE
    value, low, high, worst = (
        _write_value(metric, raw) for raw in (figure.value, figure.low, figure.high, figure.worst)
    )
    return value if brief or figure.samples == 1 else f"{value} [{low}, {high}], worst {worst}"


def _write_value(metric: Metric, value: float, sign: str = "") -> str:
    return f"{value * 100 if metric.percent else value:{sign},.{metric.digits}f}"


def table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield the lines of a Markdown table, all columns but the first right-aligned."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def percent(share: float | None) -> str:
    """Write a share, 0 to 1, in per cent; only 1 itself is written as 100 %."""
    if share is None:
        return NONE
    return "100 %" if share == 1 else f"{min(share, 0.999):.1%}".replace("%", " %")


def number(value: float | None, digits: int) -> str:
    """Write a number with a fixed number of digits after the point, or None as a dash."""
    return NONE if value is None else f"{value:.{digits}f}"
