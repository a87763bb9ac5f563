"""Let LTSC's reader answer from meta-tokens, as the paper does (arXiv 2506.00307), and from the full text beside it.

It is another model than the reader of Z-tokens, tuned on text with meta-tokens, so what it answers from the full text
is what its other answers are to be compared with. Methods that leave text have the other readers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.errors import UnreadableError, ZPromptError
from zprompt.eval.figures import Share
from zprompt.eval.full_text import FULL
from zprompt.eval.readers import LTSC_READER
from zprompt.eval.reading import kv_megabytes
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop
    from zprompt.train.reader.examples import Asked

_KINDS = {FULL: "text", "ltsc-tuned": "ltsc"}  # what a method leaves: how passages are given


def answers_from_meta_tokens(left: Sequence[Left], workshop: Workshop, scores: Scores) -> tuple[str, ...] | None:
    """Let LTSC's reader answer questions, and note what reading cost.

    :param left: What a method left of the passages of each.
    :param workshop: Has the reader.
    :param scores: What costs and times are written to, and why there are no answers.
    :return: The answers; None if it does not read what the method leaves.
    """
    kind = _KINDS.get(left[0].shortened[0].baseline)
    if kind is None:
        return None
    try:
        return _answers(left, kind, workshop, scores)
    except ZPromptError as error:
        scores.missing[LTSC_READER] = str(error)
        return None


def _answers(left: Sequence[Left], kind: str, workshop: Workshop, scores: Scores) -> tuple[str, ...]:
    """Ask."""
    from zprompt.reader import ContentTokenizer
    from zprompt.train.reader.evaluation import answer_questions
    from zprompt.train.reader.prompts import Prompts

    backbone, reading = workshop.codec.backbone, workshop.ltsc_reading
    prompts = Prompts(ContentTokenizer(backbone), kind, workshop.codec.settings.subcodes)
    asked = [_asked(one, workshop) for one in left]
    began = time.perf_counter()
    answers = answer_questions(reading, prompts, asked, backbone.decode)
    scores.times[f"reading s, {LTSC_READER}"] = [Share(time.perf_counter() - began, len(left))]
    positions = [len(prompts.question(one.question, one.passages)) for one in asked]
    scores.shares[f"KV MB, {LTSC_READER}"] = [Share(kv_megabytes(count, reading.decoder.shape)) for count in positions]
    return tuple(answers)


def _asked(left: Left, workshop: Workshop) -> Asked:
    """Put a question together; meta-tokens are made of the passages' own tokens, as the method makes them."""
    from zprompt.train.reader.examples import Asked
    from zprompt.train.reader.prompts import Titled
    from zprompt.train.reader.tiles import make_tile

    sample, codec = left.sample, workshop.codec
    passages = []
    for title, text in zip(sample.all_titles, sample.texts, strict=True):
        tile = make_tile(text, codec.compress(text, ratio=1.0).documents, codec)
        if tile is None:
            raise UnreadableError("A passage has characters that the tokenizer cannot carry.")
        passages.append(Titled(title, tile))
    return Asked(sample.query or "", sample.answers, tuple(passages))
