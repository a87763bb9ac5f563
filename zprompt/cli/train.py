"""`zprompt train`: readers of Z-tokens for your own text and LLM, on one machine or two, and relevance, for focusing.

The options of `reader` and `prepare` are generated from the config dataclass in zprompt.train:

    name       the field's, with hyphens; a tuple (`ratios`) becomes an option that may be repeated (--ratio)
    type       the field's annotation: int, float, str or tuple[float, ...]
    default    the field's
    help       the comment on the field's line, as docs/_site/field_comments.py reads it

        steps: int = 500  # optimizer steps

So the comment of such a field must make sense on its own. This module lists which fields are options. The dataclass
refuses what cannot be trained; LEAST has the smallest values that make sense for real text (toys may be smaller).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import tokenize
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_type_hints

import typer
from typer.core import TyperGroup

from zprompt.cli.files import require_other
from zprompt.cli.messages import is_terminal, note

if TYPE_CHECKING:
    from zprompt.train import TrainedReader

Figures: TypeAlias = dict[str, float]
Report: TypeAlias = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures

LINE_EVERY = 50  # steps between lines if stderr is no terminal

READER_OPTIONS = (
    *("input", "steps", "batch", "passages", "passage_tokens", "shortest_context", "continued", "ratios"),
    *(
        "continuation",
        "questions",
        "cloze",
        "repetition",
        "rank",
        "rate",
        "up_rate",
        "embedding_rate",
        "precision",
        "dev_passages",
    ),
    *("codes", "tokens_per_code", "code_layer"),
    *("dev_questions", "dev_ratios", "checkpoint_every", "evaluate_every", "seed"),
)

LEAST = {"continued": 8, "passage_tokens": 16}  # tokens

Data: TypeAlias = Annotated[
    list[str], typer.Option(metavar="PATH", help="Training text: a file, a folder or a dataset. May be repeated.")
]
Questions: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="JSONL of questions, answers and passages. May be repeated.")
]
DevText: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Development text; by default, part of the training text is held out."),
]
DevQuestions: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="JSONL of development questions.")
]
CodecName: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME|FOLDER", help="Codec whose Z-tokens the reader reads, or an LLM.")
]
OtherBackbone: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FOLDER", help="The backbone, if it is not where the codec says.")
]
Cache: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for Z-tokens and the teacher's predictions, to share between runs.")
]
StartFrom: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FOLDER", help="Reader over the same LLM whose LoRA to continue training.")
]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Resume the run in the --out folder.")]


class _TrainGroup(TyperGroup):
    """Builds a command only when it is used: its options come from a config whose import loads torch."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Click's or Typer's own Context
        """Return the names of the commands."""
        return ["reader", "prepare", "run", "relevance"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - Click's or Typer's own Command
        """Build a command; return None if there is none of this name."""
        if cmd_name in ("reader", "prepare"):
            return _generated_command(cmd_name)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(name="train", cls=_TrainGroup, help="Train readers and relevance weights.", no_args_is_help=True)


@app.command("relevance")
def _relevance(
    data: Annotated[
        list[str], typer.Option(metavar="PATH", help="JSONL of questions with their passages. May be repeated.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="JSON file to write.")] = Path("relevance.json"),
    seed: Annotated[int, typer.Option(help="Random seed for mixing in passages.")] = 0,
) -> None:
    """Train the weights that choose sentences for a question; a few thousand questions take a few minutes.

    Each line has question, answers and passages, or question, title, sentences and answer_sentences. In Python,
    Relevance.from_pretrained loads the file, and takes your own embedder.
    """
    from zprompt.train import train_relevance

    require_other(out, *map(Path, data))
    trained = train_relevance(data, out, seed=seed)
    recall = ", ".join(f"{share} keeps {value:.1%}" for share, value in trained.recall.items())
    note(f"{out}: of the held-out answers, {recall}; 95 % take {trained.kept:.1%} of the text.")


def _reader(
    data: Data,
    qa: Questions = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the reader.")] = Path("reader"),
    dev: DevText = None,
    dev_qa: DevQuestions = None,
    codec: CodecName = "default",
    backbone: OtherBackbone = None,
    cache: Cache = None,
    start_from: StartFrom = None,
    resume: Resume = False,
    **values: Any,  # noqa: ANN401 - options of the config
) -> None:
    """Train a reader: a LoRA and an embedding of Z-tokens, on continuations, questions, cloze tests and repetition.

    Stop it at any time: --resume continues from the last checkpoint.
    """
    from zprompt.train import ReaderTrainConfig, Sources, train_reader

    with _reporting() as report:
        trained = train_reader(
            Sources(data, qa or (), dev or (), dev_qa or ()),
            out,
            ReaderTrainConfig(**_fields(values)),
            codec_name=codec,
            backbone_name=backbone,
            cache=cache,
            start_from=start_from,
            resume=resume,
            report=report,
        )
    _sum_up(trained)


def _prepare(
    data: Data,
    qa: Questions = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for what is prepared.")] = Path("prepared"),
    dev: DevText = None,
    codec: CodecName = "default",
    backbone: OtherBackbone = None,
    cache: Cache = None,
    start_from: StartFrom = None,
    **values: Any,  # noqa: ANN401 - options of the config
) -> None:
    """Prepare everything `train run` needs besides the LLM, for a machine without the data or with little time."""
    from zprompt.train import ReaderTrainConfig, Sources, prepare_reader

    with _reporting() as report:
        size = prepare_reader(
            Sources(data, qa or (), dev or ()),
            out,
            ReaderTrainConfig(**_fields(values)),
            codec_name=codec,
            backbone_name=backbone,
            cache=cache,
            start_from=start_from,
            report=report,
        )
    note(f"{out}: {size / 1e6:.1f} MB.")


@app.command("run")
def _run(
    prepared: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder that `train prepare` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the reader.")] = Path("reader"),
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Minutes to train in total, over all runs; by default, until all steps are done."),
    ] = None,
    backbone: OtherBackbone = None,
) -> None:
    """Train a reader on what was prepared, on a GPU if there is one. Run the same command again to resume."""
    from zprompt.train import run_reader

    with _reporting() as report:
        trained = run_reader(prepared, out, minutes=minutes, backbone_name=backbone, report=report)
    _sum_up(trained)


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    """Turn the values of options into fields of the config."""
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return {**values, **lists, "alpha": float(values["rank"])}


def _sum_up(trained: TrainedReader) -> None:
    """Print the figures of a reader."""
    for ratio, benefit in trained.benefit.items():
        low, high = benefit.kept_interval
        note(
            f"{trained.folder}, ratio {ratio}: {benefit.kept:.1%} of the context benefit kept ({low:.1%} to "
            f"{high:.1%}; {benefit.passages} passages, {benefit.tokens:,} tokens)."
        )
    for ratio, answers in trained.answers.items():
        low, high = answers.f1_interval
        note(
            f"{trained.folder}, ratio {ratio}: F1 {answers.f1:.1%} ({low:.1%} to {high:.1%}), "
            f"exact match {answers.exact_match:.1%} of {answers.questions} questions."
        )


def _line(figures: Figures) -> str:
    """Format the figures of a step."""
    from zprompt.train import TASKS

    tasks = [f"{task} {figures[task]:.2f}" for task in TASKS if task in figures]
    kept = [f"kept {figures['kept']:.1%}"] if "kept" in figures else []
    return ", ".join([*tasks, *kept])


# From config to options.


@cache
def _generated_command(name: str) -> Any:  # noqa: ANN401 - Click's or Typer's own Command
    """Build `reader` or `prepare`, with an option for each of READER_OPTIONS in place of `**values`."""
    from zprompt.train import ReaderTrainConfig

    function: Any = {"reader": _reader, "prepare": _prepare}[name]
    signature = inspect.signature(function, eval_str=True)
    written = [
        parameter for parameter in signature.parameters.values() if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    generated = options_of(ReaderTrainConfig, READER_OPTIONS)
    function.__signature__ = signature.replace(parameters=[*written, *generated])
    alone = typer.Typer(add_completion=False)
    alone.command(name=name)(function)
    return typer.main.get_command(alone)


def options_of(config: type[Any], names: Sequence[str]) -> list[inspect.Parameter]:
    """Return, for each listed field of a config dataclass, a parameter that Typer turns into an option."""
    fields = {field.name: field for field in dataclasses.fields(config)}
    hints, comments = get_type_hints(config), field_comments(config)
    options = []
    for name in names:
        default, several = fields[name].default, isinstance(fields[name].default, tuple)
        flag = "--" + (name.removesuffix("s") if several else name).replace("_", "-")
        option = typer.Option(
            list(default) if isinstance(default, tuple) else default,
            flag,
            min=LEAST.get(name),
            help=f"{comments[name][0].upper()}{comments[name][1:]}.",
        )
        annotation = list[float] if several else hints[name]
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        options.append(inspect.Parameter(name, kind, default=option, annotation=annotation))
    return options


def field_comments(config: type[Any]) -> dict[str, str]:
    """Return the comments of a dataclass's fields, by field; a comment is on its field's line."""
    source = inspect.getsource(config)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {
        node.target.id: comments[node.lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.lineno in comments
    }


# Progress: a bar for each stage on a terminal, else a line every LINE_EVERY steps.


@contextmanager
def _reporting() -> Iterator[Report]:
    """Yield a function that training calls after each step."""
    if not is_terminal():
        yield _line_report()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=Console(stderr=True)) as bars:

        def report(stage: str, step: int, steps: int, figures: Figures) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=steps, figures="")
            bars.update(tasks[stage], completed=step, figures=_line(figures))

        yield report


def _line_report() -> Report:
    written: dict[str, int] = {}

    def report(stage: str, step: int, steps: int, figures: Figures) -> None:
        if step // LINE_EVERY > written.get(stage, 0) or step == steps:  # a stage may advance by several steps
            written[stage] = step // LINE_EVERY
            note(f"{stage} {step}/{steps}{': ' if figures else ''}{_line(figures)}")

    return report
