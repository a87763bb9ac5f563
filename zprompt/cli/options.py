"""The options that commands share, and the codec or reader that they choose.

torch is imported only when a codec or reader is opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

if TYPE_CHECKING:
    from zprompt.codec import Codec
    from zprompt.reader import Reader


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Engine(StrEnum):
    """What runs a reader, and in which precision."""

    FP32 = "fp32"
    ONNX = "onnx"
    BF16 = "bf16"


class Quantization(StrEnum):
    """The format of the backbone's weights in memory."""

    AUTO = "auto"
    NONE = "none"
    NF4 = "nf4"
    INT8 = "int8"


class OnError(StrEnum):
    """What to do with a file that has a text that cannot be converted."""

    RAISE = "raise"
    SKIP = "skip"
    PASSTHROUGH = "passthrough"


class Form(StrEnum):
    """What texts become."""

    Z = "z"
    TEXT = "text"


_CODEC, _READER, _TILING, _FILES = "Codec", "Reader", "Tiling", "Files"  # the panels that --help shows

Inputs: TypeAlias = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="FILE…",
        help="Files and folders; stdin if - or omitted.",
        show_default=False,
    ),
]
Input: TypeAlias = Annotated[Path, typer.Argument(metavar="FILE", help="File to read; - for stdin.")]
Output: TypeAlias = Annotated[
    str | None,  # a Path would lose a trailing slash
    typer.Option(
        "--output",
        "-o",
        metavar="OUT",
        rich_help_panel=_FILES,
        help="Output file; a folder for several inputs or with a trailing /; stdout if not given.",
    ),
]
Field: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=_FILES,
        help="Read JSON lines, with the text in this field. Not needed for *.jsonl and *.ndjson if the field is text.",
    ),
]
Force: TypeAlias = Annotated[bool, typer.Option("--force", rich_help_panel=_FILES, help="Allow overwriting an input.")]
OnErrorOption: TypeAlias = Annotated[
    OnError,
    typer.Option(
        "--on-error",
        rich_help_panel=_FILES,
        help="If a text cannot be converted: write nothing, skip its file, or leave the text as it is.",
    ),
]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", rich_help_panel=_FILES, help="Hide progress and statistics.")
]

Ratio: TypeAlias = Annotated[
    float | None,
    typer.Option(min=1.0, rich_help_panel=_TILING, help="Compression ratio to aim for: tokens before per token after."),
]
MaxTokens: TypeAlias = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=_TILING, help="Token budget for all texts together."),
]
Query: TypeAlias = Annotated[
    str | None,
    typer.Option(rich_help_panel=_TILING, help="Question to focus on: the sentences it needs stay word for word."),
]
FormName: TypeAlias = Annotated[
    Form,
    typer.Option(
        "--form",
        rich_help_panel=_TILING,
        help="Z-spans, or text for any LLM without what the question does not need (requires --query).",
    ),
]
CountName: TypeAlias = Annotated[
    str,
    typer.Option(
        "--count",
        metavar="reader|tiktoken:NAME",
        rich_help_panel=_TILING,
        help="Tokenizer that counts the tokens of --form text.",
    ),
]
Protect: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="REGEX", rich_help_panel=_TILING, help="Keep whatever this matches. May be repeated."),
]

CodecName: TypeAlias = Annotated[
    str,
    typer.Option("--codec", metavar="NAME|FOLDER", rich_help_panel=_CODEC, help="Any causal LM, or a codec folder."),
]
BackboneName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="NAME|FOLDER",
        rich_help_panel=_CODEC,
        help="The causal LM, if it is not where the codec's folder says.",
    ),
]
DeviceName: TypeAlias = Annotated[Device, typer.Option("--device", rich_help_panel=_CODEC, help="Device to run on.")]
QuantizationName: TypeAlias = Annotated[
    Quantization,
    typer.Option("--quantization", rich_help_panel=_CODEC, help="Format of the backbone's weights in memory."),
]
BatchSize: TypeAlias = Annotated[
    int | None, typer.Option(min=1, rich_help_panel=_CODEC, help="Windows per batch.", show_default=False)
]

ReaderName: TypeAlias = Annotated[
    str, typer.Option("--reader", metavar="NAME|FOLDER", rich_help_panel=_READER, help="The reader to use.")
]
ReaderEngine: TypeAlias = Annotated[
    Engine,
    typer.Option(
        "--engine",
        rich_help_panel=_READER,
        help="What runs it: onnx and bf16 halve the memory; on some CPUs, bf16 also halves the time.",
    ),
]
ReaderCodec: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--codec",
        metavar="NAME|FOLDER",
        rich_help_panel=_READER,
        help="Codec whose Z-tokens it reads; by default, the LLM it was trained on.",
    ),
]


def given(**options: object) -> dict[str, Any]:
    """Leave out options that are None, so that the codec's own defaults apply."""
    return {name: value for name, value in options.items() if value is not None}


def protected(expressions: Sequence[str] | None) -> list[re.Pattern[str]] | None:
    """Compile the values of --protect.

    :param expressions: The values.
    :return: A pattern for each; None if there are none.
    :raises BadParameter: If an expression is not valid.
    """
    return [_compile(expression) for expression in expressions or ()] or None


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression)
    except (re.error, OverflowError, RecursionError) as error:
        raise typer.BadParameter(
            f"{expression!r} is not a valid regular expression: {error}.", param_hint="--protect"
        ) from error


def open_codec(name: str, backbone: str | None, device: Device, quantization: Quantization) -> Codec:
    """Load the codec that the options choose."""
    from zprompt.codec import Codec

    return Codec.from_pretrained(name, backbone=backbone, device=device.value, quantization=quantization.value)


def open_reader(name: str, codec: Codec | str | None, device: Device, engine: Engine = Engine.FP32) -> Reader:
    """Load the reader that the options choose."""
    from zprompt.reader import load_reader

    return load_reader(name, codec, device.value, engine.value)
