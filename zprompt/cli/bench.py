"""`zprompt bench`: what each way of shortening a prompt keeps and costs; `zprompt bench report`: the same as a page.

An option that takes several values takes them as they come, `--ratios 2 4 8`, or repeated, `--ratios 2 --ratios 4`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zprompt.cli.messages import is_terminal, note
from zprompt.errors import MissingDependencyError

_SEVERAL = ("--methods", "--tasks", "--ratios", "--data", "--readers")
_NAMES = {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score", "matplotlib": "matplotlib"}


class _Bench(TyperGroup):
    """The group, which reads several values after one option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # Click's or Typer's own Context
        """Repeat options before each of their values.

        :param ctx: The context.
        :param args: What was given.
        :return: What is left for a command.
        """
        return list(super().parse_args(ctx, spread(args)))


app = typer.Typer(name="bench", cls=_Bench, invoke_without_command=True)


def spread(args: list[str]) -> list[str]:
    """Repeat options that take several values.

    :param args: What was given on the command line.
    :return: The same with the option before each of its values.
    """
    if args[:1] == ["report"]:
        return args
    spreading: list[str] = []
    option = ""  # that what comes now is a value of
    for arg in args:
        if arg.startswith("-"):
            option = arg if arg in _SEVERAL else ""
        if option and arg != option and spreading[-1] != option:
            spreading.append(option)
        spreading.append(arg)
    return spreading


@app.callback()
def _bench(
    context: typer.Context,
    methods: Annotated[
        list[str] | None, typer.Option(metavar="NAME …", help="Methods; all if not given.", show_default=False)
    ] = None,
    tasks: Annotated[
        list[str] | None, typer.Option(metavar="NAME …", help="Tasks; all if not given.", show_default=False)
    ] = None,
    ratios: Annotated[
        list[float] | None,
        typer.Option(metavar="N …", help="Source tokens per position to ask for; 2 4 8 if not given.", min=1.0),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(metavar="[TASK=]SOURCE …", help="Files or Hugging Face datasets; what is shipped if not given."),
    ] = None,
    readers: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME|FOLDER …", help="In place of the shipped ones: a reader of Z-tokens, and one of --input ltsc."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Samples of each task, at most.")] = 3,
    characters: Annotated[int, typer.Option(min=1, help="Characters of each text, at most.")] = 400,
    jobs: Annotated[int, typer.Option(min=1, help="Processes; more than one disturb each other's times.")] = 1,
    seed: Annotated[int, typer.Option(help="Decides everything random.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")] = Path("bench"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Measure methods by tasks at several ratios; started again with the same folder, it goes on where it was.

    Without --data it needs no files and no network but the model.
    """
    if context.invoked_subcommand:
        return
    _require_extra()
    from zprompt import baselines as registry
    from zprompt.eval.report import write_reports
    from zprompt.eval.run import run
    from zprompt.eval.settings import RATIOS, BenchSettings
    from zprompt.eval.tasks.catalog import TASKS
    from zprompt.progress import rich_progress

    settings = BenchSettings(
        methods=tuple(methods or registry.names()),
        tasks=tuple(tasks or TASKS),
        ratios=tuple(ratios or RATIOS),
        data=tuple(data or ()),
        limit=limit,
        characters=characters,
        seed=seed,
        jobs=jobs,
        readers=tuple(readers or ()),
    )
    with rich_progress(not quiet and is_terminal()) as progress:
        found = run(settings, out, progress)
    markdown, page = write_reports(found, out)
    measured = sum(one.reason is None for one in found.cells)
    note(f"{measured} of {len(found.cells)} cells were measured: {markdown}, {page}.")


@app.command("report")
def _report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, or its bench.json.")],
    compare: Annotated[Path | None, typer.Option(metavar="OTHER", help="Another run to compare with.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for the report; the run's own if not given.")
    ] = None,
) -> None:
    """Write a run as Markdown and as an HTML page that needs nothing else, and compare two runs."""
    _require_extra()
    from zprompt.eval.report import write_reports
    from zprompt.eval.results import load

    folder = out or (run if run.is_dir() else run.parent)
    markdown, page = write_reports(load(run), folder, load(compare) if compare else None)
    note(f"The report is in {markdown} and {page}.")


def _require_extra() -> None:
    """Say so if what measures and draws is not installed."""
    from importlib.util import find_spec

    if missing := [name for module, name in _NAMES.items() if find_spec(module) is None]:
        raise MissingDependencyError(
            f"zprompt bench needs {', '.join(missing)}, which is not installed: pip install 'zprompt[bench]'."
        )
