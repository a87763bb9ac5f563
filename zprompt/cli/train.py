"""`zprompt train`: train a codec on your own text and LLM, or a reader of its Z-tokens.

The options of the commands are generated from the config dataclasses in zprompt.train:

    name       the field's, with hyphens; tuples (`ratios`) become an option that may be repeated (--ratio)
    type       the field's annotation: int, float, str or tuple[float, ...]
    default    the field's
    help       the comment on the field's line, as docs/_site/field_comments.py reads it

        steps: int = 500  # optimizer steps

The comment of such a field must therefore make sense alone. This module lists which fields are options. The dataclasses
refuse what cannot be trained; LEAST is what makes sense of a real text, where they also take the sizes of toys.
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
from typing import Annotated, Any, TypeAlias, TypeVar, get_type_hints

import typer
from typer.core import TyperGroup

from zprompt.cli.messages import is_terminal, note

Figures: TypeAlias = dict[str, float]
Report: TypeAlias = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures
Config = TypeVar("Config")

LINE_EVERY = 50  # steps between lines where there is no terminal

CODEC_OPTIONS = (
    *("windows", "warmup_steps", "joint_steps", "lora_steps", "batch", "joint_rate", "usage_weight", "precision"),
    *("evaluate_every", "seed"),
)
SETTINGS_OPTIONS = ("window", "subcodes", "max_gap")
READER_OPTIONS = (
    *("input", "steps", "batch", "passages", "passage_tokens", "shortest_context", "continued", "ratios"),
    *("query_aware", "rank", "rate", "up_rate", "embedding_rate", "scale", "precision", "dev_passages"),
    *("dev_questions", "dev_ratios", "checkpoint_every", "evaluate_every", "seed"),
)

LEAST = {"window": 64, "continued": 8, "passage_tokens": 16}  # tokens

Data: TypeAlias = Annotated[
    list[str], typer.Option(metavar="PATH", help="Training text: a file, a folder or a dataset. May be repeated.")
]
Questions: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="JSONL of questions, answers and passages. May be repeated.")
]
DevText: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Development text; a part of the training text is held out if not given."),
]
DevQuestions: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="JSONL of development questions.")
]
CodecName: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME|FOLDER", help="The codec whose Z-tokens the reader reads.")
]
OtherBackbone: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FOLDER", help="The backbone, if it lies elsewhere than the codec says.")
]
Cache: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for Z-tokens and the teacher's predictions, to share between runs.")
]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]


class _TrainGroup(TyperGroup):
    """Builds its commands when they are asked for: their options come from configs, whose import loads torch."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - Click's or Typer's own Context
        """Return the names of the commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - Click's or Typer's own Command
        """Build a command; None if there is none of this name."""
        return _command(cmd_name) if cmd_name in _COMMANDS else None


app = typer.Typer(name="train", cls=_TrainGroup, help="Train codecs and readers.", no_args_is_help=True)


def _codec(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that the codec goes to.")] = Path("codec"),
    dev: DevText = None,
    backbone: Annotated[str, typer.Option(metavar="NAME|FOLDER", help="The causal LM.")] = "default",
    start_from: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="A codec whose heads to train on, without a warm-up.")
    ] = None,
    resume: Resume = False,
    **values: Any,  # noqa: ANN401 - options of the config
) -> None:
    """Train codec heads: a warm-up, a joint stage with the frozen LLM and, if asked for, a codec LoRA.

    Stop it whenever you like: it goes on from its last checkpoint with --resume.
    """
    from zprompt.codec import CodecSettings
    from zprompt.train import CodecTrainConfig, train_codec

    settings = CodecSettings(**{name: values.pop(name) for name in SETTINGS_OPTIONS})
    with _reporting(_codec_line) as report:
        trained = train_codec(
            data,
            out,
            CodecTrainConfig(settings=settings, **values),
            dev_sources=dev or (),
            backbone_name=backbone,
            start_from=start_from,
            resume=resume,
            report=report,
        )
    figures = trained.evaluation
    note(
        f"{out}: ratio {figures.ratio:.2f} on {figures.windows} development windows "
        f"(worst {figures.worst_ratio:.2f}), {figures.bits_per_z_token:.1f} bits per Z-token, "
        f"{figures.bits_per_source_token:.2f} bits per source token. Load it with zprompt.load({str(out)!r})."
    )


def _codec_line(figures: Figures) -> str:
    ratio = f", dev ratio {figures['dev_ratio']:.2f}" if "dev_ratio" in figures else ""
    return (
        f"{figures['bits']:.2f} bits a dropped token, {figures['right']:.0%} right, "
        f"codes {figures['code_usage_bits']:.1f} bits{ratio}"
    )


def _reader(
    data: Data,
    qa: Questions = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that the reader goes to.")] = Path("reader"),
    dev: DevText = None,
    dev_qa: DevQuestions = None,
    codec: CodecName = "default",
    backbone: OtherBackbone = None,
    cache: Cache = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="A reader of the same codec whose LoRA to train on.")
    ] = None,
    resume: Resume = False,
    **values: Any,  # noqa: ANN401 - options of the config
) -> None:
    """Train a reader: a LoRA and an embedding of Z-tokens, on continuations, questions, cloze tests and repetition.

    Stop it whenever you like: it goes on from its last checkpoint with --resume.
    """
    from zprompt.train import ReaderTrainConfig, Sources, train_reader

    with _reporting(_reader_line) as report:
        trained = train_reader(
            Sources(data, qa or (), dev or (), dev_qa or ()),
            out,
            _with_tuples(ReaderTrainConfig, alpha=float(values["rank"]), **values),
            codec_name=codec,
            backbone_name=backbone,
            cache=cache,
            start_from=start_from,
            resume=resume,
            report=report,
        )
    for ratio, benefit in trained.benefit.items():
        low, high = benefit.kept_interval
        note(
            f"{out}, ratio {ratio}: {benefit.kept:.1%} of the context benefit kept ({low:.1%} to {high:.1%}; "
            f"{benefit.passages} passages, {benefit.tokens:,} tokens)."
        )
    for ratio, answers in trained.answers.items():
        low, high = answers.f1_interval
        note(
            f"{out}, ratio {ratio}: F1 {answers.f1:.1%} ({low:.1%} to {high:.1%}), "
            f"exact match {answers.exact_match:.1%} of {answers.questions} questions."
        )


def _reader_line(figures: Figures) -> str:
    from zprompt.train import TASKS

    tasks = [f"{task} {figures[task]:.2f}" for task in TASKS if task in figures]
    kept = [f"kept {figures['kept']:.1%}"] if "kept" in figures else []
    return ", ".join([*tasks, *kept])


# From configs to options.

_COMMANDS: dict[str, Callable[..., None]] = {"codec": _codec, "reader": _reader}


@cache
def _command(name: str) -> Any:  # noqa: ANN401 - Click's or Typer's own Command
    """Build a command, with an option for each listed field of its configs in place of `**values`."""
    from zprompt.codec import CodecSettings
    from zprompt.train import CodecTrainConfig, ReaderTrainConfig

    configs: dict[str, list[tuple[type[Any], Sequence[str]]]] = {
        "codec": [(CodecTrainConfig, CODEC_OPTIONS), (CodecSettings, SETTINGS_OPTIONS)],
        "reader": [(ReaderTrainConfig, READER_OPTIONS)],
    }
    function: Any = _COMMANDS[name]
    signature = inspect.signature(function, eval_str=True)
    written = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    generated = [option for config, names in configs[name] for option in options_of(config, names)]
    function.__signature__ = signature.replace(parameters=[*written, *generated])
    alone = typer.Typer(add_completion=False)
    alone.command(name)(function)
    return typer.main.get_command(alone)


def options_of(config: type[Any], names: Sequence[str]) -> list[inspect.Parameter]:
    """Return a parameter that Typer makes an option of for each listed field of a config dataclass."""
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
    """Return the comment on the line of each field of a dataclass that has one."""
    source = inspect.getsource(config)
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {
        node.target.id: comments[node.lineno]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.lineno in comments
    }


def _with_tuples(config: type[Config], **values: Any) -> Config:  # noqa: ANN401 - of the config's fields
    return config(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


# Progress: a bar for each stage on a terminal, else a line now and then.


@contextmanager
def _reporting(line: Callable[[Figures], str]) -> Iterator[Report]:
    """Yield what training calls after each step; `line` writes the figures of a step."""
    if not is_terminal():
        yield _line_report(line)
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
            bars.update(tasks[stage], completed=step, figures=line(figures))

        yield report


def _line_report(line: Callable[[Figures], str]) -> Report:
    written: dict[str, int] = {}

    def report(stage: str, step: int, steps: int, figures: Figures) -> None:
        if step // LINE_EVERY > written.get(stage, 0) or step == steps:  # a stage may advance by several steps
            written[stage] = step // LINE_EVERY
            note(f"{stage} {step}/{steps}{': ' if figures else ''}{line(figures)}")

    return report
