"""Say what a run found, as titled tables of text, which Markdown and HTML then write in their own ways.

A cell of a table is "value [low, high], worst": over all samples, its 95 % interval, and the worst sample. Shares are
in per cent. Whatever could not be measured has a dash here, and its reason in the last section.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zprompt.eval.cells import COMMON, RESTORING, SHORTENING, SPEED, CellResult
from zprompt.eval.full_text import FULL
from zprompt.eval.readers import LTSC_READER, READER, READERS
from zprompt.eval.results import BenchResults, TaskInfo
from zprompt.eval.settings import Cell
from zprompt.eval.writing import NONE, ratio_of, write

TIMES = (
    SPEED,
    SHORTENING,
    RESTORING,
    *(f"{name}, {reader}" for reader in READERS for name in ("first token s", "reading s", "end to end s")),
)
_STAR = "*"


@dataclass(frozen=True, slots=True)
class Section:
    """A title, some sentences, and a table."""

    title: str
    note: str
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(results: BenchResults) -> Iterator[Section]:
    """Say all that a run found.

    :param results: The results.
    :yields: The summary, two or three tables for each task, and what could not be measured.
    """
    yield _summary(results)
    for task in results.tasks:
        own = [one for one in results.of_task(task.name) if one.reason is None]
        if own:
            yield _quality(task, own)
            yield from _kinds(task, own)
            yield _times(task, own)
    yield _not_measured(results)


def about(results: BenchResults) -> list[str]:
    """Say how a run ran.

    :param results: The results.
    :return: Sentences.
    """
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


def _summary(results: BenchResults) -> Section:
    """Set the main figures of all tasks side by side."""
    keys = list(dict.fromkeys((one.cell.method, one.cell.ratio) for one in results.cells))
    rows = []
    for method, ratio in keys:
        found = [results.find(Cell(method, task.name, ratio)) for task in results.tasks]
        first = next((one for one in found if one and one.reason is None), None)
        figures = [_main(task, one) for task, one in zip(results.tasks, found, strict=True)]
        reached = write("ratio", first.figures.get("positions ratio"), brief=True) if first else NONE
        speed = write(SPEED, first.times.get(SPEED), brief=True) if first else NONE
        rows.append((method, NONE if ratio is None else f"{ratio:g}", reached, *figures, speed))
    head = tuple(f"{task.title}: {task.main}" for task in results.tasks)
    counts = ", ".join(f"{task.title.lower()} {task.samples}" for task in results.tasks)
    note = (
        f"Samples: {counts}. Few samples say how methods behave, not by how much they differ: intervals and worst "
        "cases are below. Reached ratio and speed of shortening are those of the first task that ran."
    )
    if any(figure.endswith(_STAR) for row in rows for figure in row):
        note += f" {_STAR}: by {LTSC_READER}, which is another model: {_from_full_text(results)}."
    return Section("Summary", note, ("method", "asked", "reached", *head, "tokens/s"), tuple(rows))


def _main(task: TaskInfo, one: CellResult | None) -> str:
    """Write the main figure of a cell, with a mark if only LTSC's reader could read what the method left."""
    if one is None:
        return NONE
    if task.main in one.figures:
        return write(task.main, one.figures[task.main], brief=True)
    name = task.main.replace(READER, LTSC_READER)
    return write(name, one.figures[name], brief=True) + _STAR if name in one.figures else NONE


def _from_full_text(results: BenchResults) -> str:
    """Say what LTSC's reader makes of full texts."""
    found = []
    for task in results.tasks:
        name, full = task.main.replace(READER, LTSC_READER), results.find(Cell(FULL, task.name, None))
        if name != task.main and full and name in full.figures:
            found.append(f"{task.title.lower()} {write(name, full.figures[name], brief=True)}")
    return f"from the full text it has {', '.join(found)}" if found else "the full text was not measured"


def _quality(task: TaskInfo, own: Sequence[CellResult]) -> Section:
    """Write all figures of a task."""
    order = [*COMMON[:1], *task.figures, *COMMON[1:]]
    names = [name for name in order if any(name in one.figures for one in own)]
    rows = tuple(
        (one.cell.method, ratio_of(one.cell), *(write(name, one.figures.get(name)) for name in names)) for one in own
    )
    note = f"{task.samples} samples: {task.source}. Value [95 % interval], worst sample."
    return Section(task.title, note, ("method", "asked", *names), rows)


def _kinds(task: TaskInfo, own: Sequence[CellResult]) -> Iterator[Section]:
    """Write the ratio that each kind of text reached, where there are several."""
    groups = list(dict.fromkeys(row["group"] for one in own for row in one.samples))
    if len(groups) < 2:
        return
    rows = tuple((one.cell.method, ratio_of(one.cell), *(_ratio_in(one, group) for group in groups)) for one in own)
    note = "Source tokens per position, over the samples of a kind. A method without loss has the length that it needs."
    yield Section(f"{task.title}: ratio by kind of text", note, ("method", "asked", *groups), rows)


def _ratio_in(one: CellResult, group: str) -> str:
    """Write the ratio that was reached in one kind of text."""
    pairs = [row["shares"]["positions ratio"] for row in one.samples if row["group"] == group]
    return f"{sum(top for top, _ in pairs) / max(1, sum(bottom for _, bottom in pairs)):.2f}" if pairs else NONE


def _times(task: TaskInfo, own: Sequence[CellResult]) -> Section:
    """Write all times of a task."""
    names = [name for name in TIMES if any(name in one.times for one in own)]
    rows = tuple(
        (
            one.cell.method,
            ratio_of(one.cell),
            *(write(name, one.times.get(name)) for name in names),
            NONE if one.megabytes is None else f"{one.megabytes:,.0f}",
        )
        for one in own
    )
    note = (
        "Seconds are for one sample; reading is all samples' in batches, divided by their number. Peak memory is the "
        "process's, with all that is loaded in it."
    )
    return Section(f"{task.title}: time and memory", note, ("method", "asked", *names, "peak MB"), rows)


def _not_measured(results: BenchResults) -> Section:
    """List what could not be measured, with the reason; the same reason is said once."""
    why: dict[tuple[str, str, str], list[str]] = {}
    for one in results.cells:
        reasons = {"all": one.reason} if one.reason else one.missing
        for figure, reason in reasons.items():
            why.setdefault((one.cell.method, figure, reason), []).append(
                f"{one.cell.task} {ratio_of(one.cell)}".strip()
            )
    rows = tuple((method, figure, ", ".join(cells), reason) for (method, figure, reason), cells in why.items())
    if not rows:
        return Section("Not measured", "Everything that was asked for was measured.")
    return Section("Not measured", "", ("method", "figure", "task and ratio", "reason"), rows)
