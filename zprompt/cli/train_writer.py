"""`zprompt train writer`: teach a reader to write Z-tokens."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from zprompt.cli.messages import note
from zprompt.cli.training_options import (
    CheckpointEvery,
    DevPassageCount,
    DevQuestionCount,
    DevQuestions,
    DevText,
    EvaluateEvery,
    OptionalData,
    OwnBackbone,
    Passages,
    PassageTokens,
    Questions,
    Resume,
    Seed,
    Steps,
)
from zprompt.cli.training_progress import training_reporter

app = typer.Typer()


@app.command("writer")
def _writer(
    reader: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="The reader's folder, which the writer goes to.")
    ] = "default",
    data: OptionalData = None,
    qa: Questions = None,
    dev: DevText = None,
    dev_qa: DevQuestions = None,
    codec: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="The codec whose Z-tokens the reader reads.")
    ] = "default",
    backbone: OwnBackbone = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder for Z-tokens, to share with the training of readers.")
    ] = None,
    resume: Resume = False,
    steps: Steps = 300,
    batch: Annotated[int, typer.Option(min=1, help="Texts a step.")] = 8,
    passages: Passages = 1500,
    passage_tokens: PassageTokens = 320,
    ratio: Annotated[
        list[float] | None, typer.Option(min=1.0, help="Source tokens per Z-token; 2 if not given.")
    ] = None,
    answers: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the texts that are answers.")] = 0.4,
    rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate.")] = 2e-3,
    width: Annotated[int, typer.Option(min=1, help="Hidden units.")] = 384,
    dev_passages: DevPassageCount = 24,
    dev_questions: DevQuestionCount = 60,
    checkpoint_every: CheckpointEvery = 50,
    evaluate_every: EvaluateEvery = 100,
    seed: Seed = 0,
) -> None:
    """Train a writer: heads with which a reader, which stays as it is, writes Z-tokens.

    Stop it whenever you like: it goes on from its last checkpoint with --resume.
    """
    from zprompt.train.reader.materials import Sources
    from zprompt.train.writer.command import train_writer
    from zprompt.train.writer.config import WriterTrainConfig

    config = WriterTrainConfig(
        steps=steps,
        batch=batch,
        passages=passages,
        passage_tokens=passage_tokens,
        ratios=tuple(ratio or WriterTrainConfig().ratios),
        answers=answers,
        rate=rate,
        width=width,
        seed=seed,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        dev_passages=dev_passages,
        dev_questions=dev_questions,
    )
    with ExitStack() as stack:
        trained = train_writer(
            Sources(data or (), qa or (), dev or (), dev_qa or ()),
            reader,
            config,
            codec_name=codec,
            backbone_name=backbone,
            cache=cache,
            resume=resume,
            report=training_reporter(stack, _line),
        )
    for kind, fit in trained.fits.items():
        note(
            f"{trained.path}, {kind}: gaps {fit.gap_accuracy:.1%} right (the most frequent is {fit.usual_gap:.1%}), "
            f"sub-codes {fit.code_accuracy:.1%}, anchors {fit.anchor_accuracy:.1%} ({fit.anchor_nats:.2f} nats) of "
            f"{fit.z_tokens:,} Z-tokens."
        )


def _line(figures: dict[str, float]) -> str:
    known = [name for name in ("gap", "code") if name in figures]
    return "; ".join(f"{name} {figures[name]:.2f} nats, {figures[f'{name}_right']:.0%} right" for name in known)
