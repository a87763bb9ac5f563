"""`zprompt bench`: what each way of shortening a prompt keeps and costs; `zprompt bench report`: the same as a page.

The defaults are those of `zprompt.eval.BenchSettings`, imported only when the command runs or --help shows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zprompt.cli.messages import is_terminal, note
from zprompt.errors import MissingDependencyError

_MODULES = {  # of zprompt[bench], and their packages
    "bm25s": "bm25s",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "psutil": "psutil",
    "rouge_score": "rouge-score",
    "sacrebleu": "sacrebleu",
}


class _Bench(TyperGroup):
    """The bench group, whose help shows the defaults of the settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401  # Click's or Typer's own
        """Write the help."""
        from zprompt.eval import BenchSettings

        defaults = {field.name: field.default for field in fields(BenchSettings) if field.default not in (MISSING, ())}
        for option in self.params:
            if option.name in defaults:
                option.default = defaults[option.name]
        super().format_help(ctx, formatter)


app = typer.Typer(name="bench", cls=_Bench, invoke_without_command=True)


@app.callback()
def _bench(
    context: typer.Context,
    methods: Annotated[list[str] | None, typer.Option(metavar="NAME,…", help="Methods, or “all”.")] = None,
    tasks: Annotated[list[str] | None, typer.Option(metavar="NAME,…", help="Tasks, or “all”.")] = None,
    ratios: Annotated[
        list[str] | None, typer.Option(metavar="N,…", help="Ratios to request, in source tokens per position.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TASK=]SOURCE",
            help="File or Hugging Face dataset; by default, the shipped data. May be repeated.",
        ),
    ] = None,
    readers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="Reader of Z-tokens, or of LTSC's meta-tokens, to use instead of the shipped one. May be repeated.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum samples per task.")] = None,
    characters: Annotated[int | None, typer.Option(min=1, help="Maximum characters per text.")] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of processes; more than one distorts the timings.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("bench"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Hide progress.")] = False,
) -> None:
    """Measure methods on tasks at several ratios; run it again with the same --out to resume.

    Without --data it needs only the model: no files and no network. Commas separate methods, tasks and ratios.
    """
    if context.invoked_subcommand:
        return
    _require_extra()
    from zprompt import baselines
    from zprompt.eval import TASKS, BenchSettings, run, write_reports
    from zprompt.progress import rich_progress

    options: dict[str, Any] = {
        "methods": _all_of(baselines.names(), _split(methods), "--methods"),
        "tasks": _all_of(TASKS, _split(tasks), "--tasks"),
        "ratios": _numbers(_split(ratios)),
        "data": tuple(data or ()),
        "readers": tuple(readers or ()),
        "limit": limit,
        "characters": characters,
        "jobs": jobs,
        "seed": seed,
    }
    settings = BenchSettings(**{name: value for name, value in options.items() if value not in (None, ())})
    with rich_progress(not quiet and is_terminal()) as progress:
        results = run(settings, out, progress)
    markdown, page = write_reports(results, out)
    measured = sum(cell.reason is None for cell in results.cells)
    note(f"Measured {measured} of {len(results.cells)} cells: {markdown}, {page}.")
    if results.cells and not measured:
        raise typer.Exit(1)


@app.command("report")
def _report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its bench.json.")],
    compare: Annotated[Path | None, typer.Option(metavar="OTHER", help="Another run to compare with.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; by default, the run's own.")
    ] = None,
) -> None:
    """Report a run as Markdown and as a self-contained HTML page; compare it with another run if given."""
    _require_extra()
    from zprompt.eval import load_results, write_reports

    folder = out or (run if run.is_dir() else run.parent)
    markdown, page = write_reports(load_results(run), folder, load_results(compare) if compare else None)
    note(f"The report is in {markdown} and {page}.")


def _split(values: Sequence[str] | None) -> tuple[str, ...]:
    """Split values at commas."""
    return tuple(part.strip() for value in values or () for part in value.split(",") if part.strip())


def _all_of(names: Sequence[str], chosen: Sequence[str], option: str) -> tuple[str, ...]:
    """Return the chosen names, or all names if "all" is chosen."""
    if unknown := [name for name in chosen if name not in (*names, "all")]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(names)}.", param_hint=option)
    return tuple(names) if "all" in chosen else tuple(chosen)


def _numbers(values: Sequence[str]) -> tuple[float, ...]:
    try:
        return tuple(map(float, values))
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--ratios") from error


def _require_extra() -> None:
    """Raise MissingDependencyError if a package of the extra is missing."""
    if missing := [name for module, name in _MODULES.items() if find_spec(module) is None]:
        raise MissingDependencyError(
            f"zprompt bench needs {', '.join(missing)}, not installed here: pip install 'zprompt[bench]'."
        )
