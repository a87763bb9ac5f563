"""`zprompt train reader`: teach the LLM to read a codec's Z-tokens."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from zprompt.cli.messages import note
from zprompt.cli.training_options import (
    CheckpointEvery,
    Data,
    DevPassageCount,
    DevQuestionCount,
    DevQuestions,
    DevText,
    EvaluateEvery,
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


@app.command("reader")
def _reader(
    data: Data,
    qa: Questions = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder that the reader goes to.")] = Path("reader"),
    dev: DevText = None,
    dev_qa: DevQuestions = None,
    codec: Annotated[
        str, typer.Option(metavar="NAME|FOLDER", help="The codec whose Z-tokens the reader is to read.")
    ] = "default",
    backbone: OwnBackbone = None,
    input_: Annotated[
        str,
        typer.Option(
            "--input", help="What passages are given as: z, or for baselines text, anchors, pruned, truncated, ltsc."
        ),
    ] = "z",
    cache: Annotated[
        Path | None, typer.Option(help="Folder for Z-tokens and the teacher's expectations, to share between runs.")
    ] = None,
    start_from: Annotated[
        str | None, typer.Option(metavar="NAME|FOLDER", help="A reader of the same codec whose LoRA to train on.")
    ] = None,
    resume: Resume = False,
    steps: Steps = 500,
    batch: Annotated[int, typer.Option(min=1, help="Rows a step.")] = 8,
    passages: Passages = 1500,
    passage_tokens: PassageTokens = 320,
    shortest_context: Annotated[int, typer.Option(min=1, help="Tokens before a continuation, at least.")] = 64,
    continued: Annotated[int, typer.Option(min=8, help="Tokens of a continuation.")] = 48,
    ratio: Annotated[
        list[float] | None, typer.Option(min=1.0, help="Source tokens per Z-token; 2, 4, 7 and 8 if not given.")
    ] = None,
    dev_ratio: Annotated[
        list[float] | None, typer.Option(min=1.0, help="Ratios to measure at; 4 and 7 if not given.")
    ] = None,
    query_aware: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the questions whose passages are compressed with them.")
    ] = 0.5,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the LoRA.")] = 32,
    rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate of the LoRA's A.")] = 5e-4,
    up_rate: Annotated[float, typer.Option(min=0.0, help="Highest learning rate of the LoRA's B.")] = 2e-3,
    embedding_rate: Annotated[float, typer.Option(min=0.0, help="Highest rate of the Z-embedding.")] = 2e-3,
    scale: Annotated[float, typer.Option(help="Of the codes' embeddings at the start.")] = 0.3,
    precision: Annotated[
        str, typer.Option(help="Of products with the LLM's weights: fp32, or bf16, twice as fast on CPUs that have it.")
    ] = "fp32",
    dev_passages: DevPassageCount = 48,
    dev_questions: DevQuestionCount = 100,
    checkpoint_every: CheckpointEvery = 50,
    evaluate_every: EvaluateEvery = 100,
    seed: Seed = 0,
) -> None:
    """Train a reader: a LoRA and an embedding of Z-tokens, on continuations, questions, cloze tests and repetition.

    Stop it whenever you like: it goes on from its last checkpoint with --resume.
    """
    from zprompt.train.reader.command import train_reader
    from zprompt.train.reader.config import ReaderTrainConfig
    from zprompt.train.reader.materials import Sources

    config = ReaderTrainConfig(
        input=input_,
        steps=steps,
        batch=batch,
        passages=passages,
        passage_tokens=passage_tokens,
        shortest_context=shortest_context,
        continued=continued,
        ratios=tuple(ratio or ReaderTrainConfig().ratios),
        dev_ratios=tuple(dev_ratio or ReaderTrainConfig().dev_ratios),
        query_aware=query_aware,
        rank=rank,
        alpha=float(rank),
        rate=rate,
        up_rate=up_rate,
        embedding_rate=embedding_rate,
        scale=scale,
        precision=precision,
        dev_passages=dev_passages,
        dev_questions=dev_questions,
        checkpoint_every=checkpoint_every,
        evaluate_every=evaluate_every,
        seed=seed,
    )
    with ExitStack() as stack:
        trained = train_reader(
            Sources(data, qa or (), dev or (), dev_qa or ()),
            out,
            config,
            codec_name=codec,
            backbone_name=backbone,
            cache=cache,
            start_from=start_from,
            resume=resume,
            report=training_reporter(stack, _line),
        )
    for at, figures in trained.benefit.items():
        low, high = figures.kept_interval
        note(
            f"{out}, ratio {at}: {figures.kept:.1%} of the context benefit kept ({low:.1%} to {high:.1%}; "
            f"{figures.passages} passages, {figures.tokens:,} tokens)."
        )
    for at, answers in trained.answers.items():
        low, high = answers.f1_interval
        note(
            f"{out}, ratio {at}: F1 {answers.f1:.1%} ({low:.1%} to {high:.1%}), exact match {answers.exact_match:.1%} "
            f"of {answers.questions} questions."
        )


def _line(figures: dict[str, float]) -> str:
    from zprompt.train.reader.config import TASKS

    tasks = [f"{task} {figures[task]:.2f}" for task in TASKS if task in figures]
    kept = [f"kept {figures['kept']:.1%}"] if "kept" in figures else []
    return ", ".join([*tasks, *kept])
