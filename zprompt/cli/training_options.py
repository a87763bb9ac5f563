"""Options that several `zprompt train` commands have, in the same words."""

from typing import Annotated, TypeAlias

import typer

_DATA = typer.Option(metavar="PATH", help="Training text: a file, a folder or a dataset. May be repeated.")

Data: TypeAlias = Annotated[list[str], _DATA]
OptionalData: TypeAlias = Annotated[list[str] | None, _DATA]
Questions: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="JSONL of questions, answers and passages. May be repeated."),
]
DevText: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Development text; a part of the training text is held out if not given."),
]
DevQuestions: TypeAlias = Annotated[
    list[str] | None, typer.Option(metavar="PATH", help="JSONL of development questions.")
]
OwnBackbone: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FOLDER", help="The backbone, if it lies elsewhere than the codec says.")
]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")]
Steps: TypeAlias = Annotated[int, typer.Option(min=1, help="Steps of training.")]
Passages: TypeAlias = Annotated[int, typer.Option(min=1, help="Passages of training text.")]
PassageTokens: TypeAlias = Annotated[int, typer.Option(min=16, help="Tokens of a passage, at most.")]
DevPassageCount: TypeAlias = Annotated[int, typer.Option(min=1, help="Development passages.")]
DevQuestionCount: TypeAlias = Annotated[int, typer.Option(min=0, help="Development questions.")]
CheckpointEvery: TypeAlias = Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")]
EvaluateEvery: TypeAlias = Annotated[int, typer.Option(min=0, help="Steps between measurements; 0: only at the end.")]
Seed: TypeAlias = Annotated[int, typer.Option(help="Decides everything random.")]
