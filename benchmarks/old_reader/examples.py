"""What the reader learns: rows of four tasks, drawn at random.

continuation   passage in Z-tokens, cut anywhere → the text that follows, with the teacher's expectations
questions      question, its gold passage and a few others in Z-tokens → the answer
cloze          passage in Z-tokens → what is missing in some of its sentences
repetition     a short run of Z-tokens → the text that they stand for: the shortest way to what a code means
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from zprompt.errors import TrainingDataError
from benchmarks.old_reader.cloze import cloze_questions
from benchmarks.old_reader.config import TASKS, ReaderTrainConfig
from benchmarks.old_reader.continuation import Continuation
from benchmarks.old_reader.inputs import as_input
from benchmarks.old_reader.positions import Ints, Positions, concatenate, of_ids, of_z_tokens
from benchmarks.old_reader.prompts import Prompts, Titled
from benchmarks.old_reader.rows import Branch, Row
from benchmarks.old_reader.teacher import Teacher
from benchmarks.old_reader.tiles import Tile

AGAIN = "\n\nThe same text again:\n\n"
TRIES = 100  # until a row can be made


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question with the tiles of its passages."""

    question: str
    answers: tuple[str, ...]
    passages: tuple[Titled, ...]


class Examples:
    """Draws rows of training."""

    def __init__(
        self,
        config: ReaderTrainConfig,
        prompts: Prompts,
        tiles: Sequence[Tile],
        questions: Sequence[Asked],
        teacher: Teacher | None,
    ) -> None:
        """Hold what rows are made of.

        :param config: Shares and sizes.
        :param prompts: Makes the prompts.
        :param tiles: Passages of text.
        :param questions: Questions; without any, their share goes to the other tasks.
        :param teacher: Expectations over the passages of text; None: only what is there is learned.
        :raises TrainingDataError: If there is nothing to learn from.
        """
        self.config, self.prompts, self.tiles, self.questions, self.teacher = config, prompts, tiles, questions, teacher
        self.again = of_ids(prompts.tokenizer.encode(AGAIN), prompts.subcodes)
        self.continuation = Continuation(prompts.kind, prompts.tokenizer.start_id, config.continued)
        self.start = of_ids([prompts.tokenizer.start_id], prompts.subcodes)
        possible = {task: bool(questions) if task == "questions" else bool(tiles) for task in TASKS}
        shares = np.array([config.shares[task] * possible[task] for task in TASKS])
        if not shares.sum():
            raise TrainingDataError("There is neither text nor a question to train on. Give --data, --qa or both.")
        self.shares = shares / shares.sum()

    def draw(self, random: np.random.Generator) -> list[Row]:
        """Draw the rows of one step, in which each task has its share as nearly as can be.

        :param random: Decides all.
        :return: The rows.
        """
        spots = (np.arange(self.config.batch) + random.random()) / self.config.batch
        tasks = np.searchsorted(self.shares.cumsum(), spots, side="right").clip(max=len(TASKS) - 1)
        return [self.row(TASKS[task], random) for task in tasks]

    def row(self, task: str, random: np.random.Generator) -> Row:
        """Draw one row.

        :param task: One of TASKS.
        :param random: Decides which.
        :return: The row.
        :raises TrainingDataError: If no row of this task can be made of what there is.
        """
        for _ in range(TRIES):
            row: Row | None = getattr(self, f"_{task}")(random)
            if row:
                return row
        raise TrainingDataError(f"The training text has nothing to make a {task} of. Set its share to 0.")

    def _continuation(self, random: np.random.Generator) -> Row | None:
        index = int(random.integers(len(self.tiles)))
        tile, size, teacher = self.tiles[index], self.config.continued, self.teacher
        first = min(self.config.shortest_context + int(random.integers(size)), len(tile.ids) - size)
        expect = partial(teacher.expectation, index) if teacher else None
        return self.continuation.row(tile, range(first, len(tile.ids), size), expect)

    def _repetition(self, random: np.random.Generator) -> Row | None:
        tile = self.tiles[int(random.integers(len(self.tiles)))]
        edges = tile.edges
        latest = int(np.searchsorted(edges, len(tile.ids) - self.config.repeated))
        first = int(random.integers(max(1, latest)))
        last = int(np.searchsorted(edges, edges[first] + self.config.repeated, side="right")) - 1
        part = tile.part(first, max(last, first + 1))
        given = of_z_tokens(as_input(part, self.prompts.kind).tokens, self.prompts.subcodes)
        trunk = concatenate((self.start, given, self.again))
        return Row("repetition", trunk, (Branch(len(trunk), part.ids, 0),))

    def _cloze(self, random: np.random.Generator) -> Row | None:
        tile = self.tiles[int(random.integers(len(self.tiles)))]
        asked = cloze_questions(tile.text, self.config.cloze_questions, random)
        if not asked:
            return None
        prompts = [self.prompts.question(cloze.question, [Titled("", tile)]) for cloze in asked]
        return share_prefix("cloze", prompts, [self.prompts.answer(cloze.answer) for cloze in asked])

    def _questions(self, random: np.random.Generator) -> Row | None:
        asked = self.questions[int(random.integers(len(self.questions)))]
        count = int(random.integers(self.config.distractors + 1))
        others = [self.questions[i].passages[0] for i in random.integers(len(self.questions), size=count)]
        passages = {passage.tile.span: passage for passage in (*asked.passages, *others)}  # each passage once
        shown = list(passages.values())
        prompt = self.prompts.question(asked.question, [shown[i] for i in random.permutation(len(shown))])
        return share_prefix("questions", [prompt], [self.prompts.answer(asked.answers[0])])


def share_prefix(task: str, prompts: Sequence[Positions], answers: Sequence[Ints]) -> Row:
    """Make a row of prompts that begin alike, each with an answer.

    :param task: The task.
    :param prompts: The prompts; what they do not share has no Z-tokens.
    :param answers: The answer to each.
    :return: The row.
    """
    shared = min((prompts[0].common(prompt) for prompt in prompts), default=0)
    branches = tuple(
        Branch(shared, np.concatenate((prompt.ids[shared:], answer)), len(prompt) - shared)
        for prompt, answer in zip(prompts, answers, strict=True)
    )
    return Row(task, prompts[0][:shared], branches)
