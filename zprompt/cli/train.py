"""`zprompt train`: make a codec from your own text, on your own backbone, or what reads and writes its Z-tokens.

The options of the commands are generated from the config dataclasses in zprompt.train:

    name       the field's, with hyphens; `ratios` and `dev_ratios` (tuples) become --ratio and --dev-ratio, repeated
    type       the field's annotation: int, float, str or tuple[float, ...]
    default    the field's
    help       the comment on the field's line, as docs/_site/field_comments.py reads it: a whole phrase with its unit

        steps: int = 500  # optimizer steps

A comment must therefore stand on the line of its field and make sense alone: no "... and to here". Which fields are
options is listed in this module; limits are checked by the dataclass's `__post_init__` alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from zprompt.cli import train_reader, train_writer
from zprompt.cli.messages import note
from zprompt.cli.training_options import Data, DevText, Resume, Seed
from zprompt.cli.training_progress import training_reporter

app = typer.Typer(name="train", help="Train codecs, readers and writers.", no_args_is_help=True)
app.add_typer(train_reader.app)
app.add_typer(train_writer.app)


@app.command("codec")
def _codec(
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that the codec goes to.")] = Path("codec"),
    dev: DevText = None,
    backbone: Annotated[str, typer.Option(metavar="NAME|FOLDER", help="The causal LM.")] = "default",
    start_from: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="A codec whose heads to train on, without a warm-up.")
    ] = None,
    resume: Resume = False,
    windows: Annotated[int, typer.Option(min=1, help="Windows of training text.")] = 2400,
    window: Annotated[int, typer.Option(min=64, help="Tokens of a window.")] = 512,
    warmup_steps: Annotated[int, typer.Option(min=0, help="Steps without the LLM.")] = 150,
    joint_steps: Annotated[int, typer.Option(min=1, help="Steps with the frozen LLM.")] = 1200,
    lora_steps: Annotated[int, typer.Option(min=0, help="Steps of the optional codec LoRA.")] = 0,
    batch: Annotated[int, typer.Option(min=1, help="Windows a step.")] = 16,
    joint_rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate of the joint stage.")] = 1.5e-3,
    usage_weight: Annotated[float, typer.Option(min=0.0, help="Of the entropy that keeps all codes in use.")] = 0.02,
    subcodes: Annotated[int, typer.Option(min=1, help="Sub-codes of a Z-token.")] = 4,
    max_gap: Annotated[int, typer.Option(min=1, help="Most source tokens that a Z-token swallows.")] = 23,
    precision: Annotated[str, typer.Option(help="auto, bf16 or fp32.")] = "auto",
    evaluate_every: Annotated[int, typer.Option(min=0, help="Steps between dev ratios; 0: only at the end.")] = 200,
    seed: Seed = 0,
) -> None:
    """Train codec heads: a warm-up, a joint stage with the frozen LLM and, if asked for, a codec LoRA.

    Stop it whenever you like: it goes on from its last checkpoint with --resume.
    """
    from zprompt.codec import CodecSettings
    from zprompt.train.codec import train_codec
    from zprompt.train.config import CodecTrainConfig

    settings = CodecSettings(subcodes=subcodes, max_gap=max_gap, window=window)
    config = CodecTrainConfig(
        settings=settings,
        windows=windows,
        warmup_steps=warmup_steps,
        joint_steps=joint_steps,
        lora_steps=lora_steps,
        batch=batch,
        joint_rate=joint_rate,
        usage_weight=usage_weight,
        precision=precision,
        evaluate_every=evaluate_every,
        seed=seed,
    )
    with ExitStack() as stack:
        trained = train_codec(
            data,
            out,
            config,
            dev_sources=dev or (),
            backbone_name=backbone,
            start_from=start_from,
            resume=resume,
            report=training_reporter(stack, _line),
        )
    figures = trained.evaluation
    note(
        f"{out}: ratio {figures.ratio:.2f} on {figures.windows} development windows "
        f"(worst {figures.worst_ratio:.2f}), {figures.bits_per_z_token:.1f} bits per Z-token, "
        f"{figures.bits_per_source_token:.2f} bits per source token. Load it with zprompt.load({str(out)!r})."
    )


def _line(figures: dict[str, float]) -> str:
    ratio = f", dev ratio {figures['dev_ratio']:.2f}" if figures.get("dev_ratio") else ""
    return (
        f"{figures['bits']:.2f} bits a dropped token, {figures['right']:.0%} right, "
        f"codes {figures['code_usage_bits']:.1f} bits{ratio}"
    )
