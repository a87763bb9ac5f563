"""Texts in Z-tokens, as the reader is to have written them.

passage    ▯▮▮▮▮▮▮▮▮▮          the start token, and a passage in Z-tokens
answer     ▯▯▯▮▮▮▮▮▮▯▯▮▮       a question about passages, and its answer in Z-tokens
           ···········^^       what is learned: from the first Z-token that was written
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zprompt.errors import TrainingDataError
from zprompt.train.reader.examples import Asked
from zprompt.train.reader.positions import Positions, concatenate, of_ids, of_z_tokens
from zprompt.train.reader.prompts import Prompts
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.rows import Row, lay_out
from zprompt.train.reader.tiles import Tile, TileStore


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """A text in Z-tokens, after what was given."""

    positions: Positions
    first: int  # place of the first Z-token that was written, at least 1


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Z-tokens that are to be written, each with what the reader knows."""

    hidden: Tensor  # (N, D), where each is expected
    vectors: Tensor  # (N, D), embeddings of their anchors
    anchors: Tensor  # (N,)
    gaps: Tensor  # (N,)
    codes: Tensor  # (N, M)


class WrittenExamples:
    """Draws texts in Z-tokens."""

    def __init__(self, passages: Sequence[Written], answers: Sequence[Written], share: float) -> None:
        """Hold the texts.

        :param passages: Passages.
        :param answers: Answers.
        :param share: Of answers, if there are both.
        :raises TrainingDataError: If there is neither.
        """
        if not passages and not answers:
            raise TrainingDataError("There is neither text nor a question to train on. Give --data, --qa or both.")
        self.passages, self.answers = passages, answers
        self.share = share if passages and answers else float(not passages)

    def draw(self, count: int, random: np.random.Generator) -> list[Written]:
        """Draw texts.

        :param count: How many.
        :param random: Decides which.
        :return: The texts.
        """
        kinds = random.random(count) < self.share
        return [self._one(self.answers if answer else self.passages, random) for answer in kinds]

    def _one(self, texts: Sequence[Written], random: np.random.Generator) -> Written:
        return texts[int(random.integers(len(texts)))]


def written_passage(tile: Tile, prompts: Prompts) -> Written:
    """Write a passage.

    :param tile: The passage.
    :param prompts: Has the tokenizer.
    :return: The text.
    """
    start = of_ids([prompts.tokenizer.start_id], prompts.subcodes)
    return Written(concatenate((start, of_z_tokens(tile.tokens, prompts.subcodes))), 1)


def written_answers(
    asked: Sequence[Asked], prompts: Prompts, store: TileStore, ratios: Sequence[float]
) -> list[Written]:
    """Write the first answer to each question.

    :param asked: The questions.
    :param prompts: Makes the prompts.
    :param store: Makes the Z-tokens.
    :param ratios: Source tokens per Z-token.
    :return: The texts, in order.
    """
    texts = [prompts.tokenizer.encode(one.answers[0].strip(" \n,;.")) for one in asked]
    plain = [store.codec.backbone.decode(list(ids)) for ids in texts]
    tiles = {tile.text: tile for tile in store.tiles([text for text in plain if text], ratios)}
    written = []
    for one, text, ids in zip(asked, plain, texts, strict=True):
        prompt, tile = prompts.question(one.question, one.passages), tiles.get(text)
        answer = of_z_tokens(tile.tokens, prompts.subcodes) if tile else of_ids(ids, prompts.subcodes)
        written.append(Written(concatenate((prompt, answer)), len(prompt)))
    return written


@torch.no_grad()
def targets_of(reading: Reading, texts: Sequence[Written]) -> Targets:
    """Read texts, once, and list what is to be written.

    :param reading: The frozen reader.
    :param texts: The texts.
    :return: The Z-tokens to write, text by text.
    """
    batch = lay_out([Row("written", text.positions, ()) for text in texts], 1)
    states = reading.decoder.run(reading.embed(batch.ids, batch.gaps, batch.codes), batch.tree)  # type: ignore[arg-type]
    places = [np.arange(text.first, len(text.positions)) for text in texts]
    rows = torch.from_numpy(np.repeat(np.arange(len(texts)), [len(own) for own in places]))
    at = torch.from_numpy(np.concatenate(places))
    device = states.device
    anchors, gaps, codes = (part[rows, at].to(device) for part in (batch.ids, batch.gaps, batch.codes))
    hidden = states[rows.to(device), at.to(device) - 1]
    return Targets(hidden, reading.vectors[anchors], anchors, gaps, codes)
