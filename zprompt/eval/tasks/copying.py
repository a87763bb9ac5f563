"""Copy a value exactly: keys and values are hidden in a long context, and one value is asked for.

The context is made from a seed: sentences of a warehouse's log, some of which say that a locker has a code. Methods are
told the question.

    kept       the value stands in the words that are left; Z-tokens are read as the words of their anchors here, though
               their way back gives the value, too
    copied     the reader's answer has the value in it, character for character
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.eval.figures import Share
from zprompt.eval.reading import TEXT_READERS, read_by_all
from zprompt.eval.samples import Sample
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

_MOST = 20  # new tokens of an answer
_SENTENCES = 8  # of a context
_KEYS = 3  # of them: sentences that have a value
_NAMES = ("Larkspur", "Juniper", "Marigold", "Hawthorn", "Bluebell", "Foxglove", "Rosemary", "Clover")
_WHO = ("The night watch", "A driver", "The clerk", "An inspector", "The cook")
_DID = ("counted the crates in", "swept the floor of", "checked the lamps in", "left a note in", "locked the door of")
_WHERE = ("the north hall", "the loading bay", "the cold store", "the yard office", "the upper gallery")


class Copying:
    """Values to copy."""

    name, title, main = "copying", "Exact copy", "kept"
    figures = ("kept", *(f"copied, {reader}" for reader in TEXT_READERS))
    restores = False

    def __init__(self, source: str, samples: Sequence[Sample]) -> None:
        """Hold the samples.

        :param source: Where they are from.
        :param samples: One context each, with its question and value.
        """
        self.source, self.samples = source, samples

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Look for the values, and ask for them.

        :param left: What a method left of each context.
        :param workshop: Has the readers.
        :return: Whether the values are there, and whether readers say them.
        """
        from zprompt.reader import question_messages  # imports torch, which a report needs not

        values = [one.sample.answers[0] for one in left]
        kept = [value in workshop.words(one.shortened[0]) for value, one in zip(values, left, strict=True)]
        scores = Scores({"kept": [Share(float(there)) for there in kept]})
        prompts = [question_messages(one.sample.query or "", [one.shortened[0].text]) for one in left]
        for name, answers in read_by_all(left, prompts, _MOST, workshop, scores).items():
            scores.shares[f"copied, {name}"] = [
                Share(float(value in answer)) for value, answer in zip(values, answers, strict=True)
            ]
        return scores


def make_samples(count: int, seed: int) -> list[Sample]:
    """Make contexts.

    :param count: How many.
    :param seed: Of all of them.
    :return: The samples.
    """
    return [_sample(number, random.Random(seed * 1000 + number)) for number in range(count)]


def _sample(number: int, rng: random.Random) -> Sample:
    """Make one context."""
    names = rng.sample(_NAMES, _KEYS)
    values = [f"{rng.randrange(1000, 10000)}-{rng.choice('ABCDEFGHJK')}{rng.randrange(10, 100)}" for _ in names]
    sentences = [
        f"{rng.choice(_WHO)} {rng.choice(_DID)} {rng.choice(_WHERE)} at {rng.randrange(24)}:{rng.randrange(60):02}."
        for _ in range(_SENTENCES - _KEYS)
    ]
    for name, value in zip(names, values, strict=True):
        sentences.insert(rng.randrange(len(sentences) + 1), f"The {name} locker has the code {value}.")
    asked = rng.randrange(_KEYS)
    question = f"What is the code of the {names[asked]} locker?"
    return Sample(f"copy-{number}", "keys", (" ".join(sentences),), question, answers=(values[asked],))
