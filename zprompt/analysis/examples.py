"""Values of codes with the segments that they stand for, and the places where these stand.

For each role, its most used values. The two places shown are those whose embedding in context is nearest to the mean
of the value's places, and farthest from it: how far apart the value's meanings are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from zprompt.analysis.consistency import GroupFigures
from zprompt.analysis.embeddings import Vectors
from zprompt.analysis.intervals import Ints
from zprompt.analysis.sample import Sample
from zprompt.analysis.segments import Occurrences

VALUES = 3  # shown of each role
SEGMENTS = 8  # shown of each value
AROUND = 28  # characters shown on each side of a segment

Decode = Callable[[list[int]], str]


@dataclass(frozen=True, slots=True)
class Place:
    """A segment where it stands in a text."""

    before: str
    segment: str
    after: str


@dataclass(frozen=True, slots=True)
class CodeValue:
    """One value of a code."""

    role: str
    value: int
    uses: int
    distinct: int  # segments that it stands for
    segments: tuple[tuple[str, int], ...]  # the most frequent ones, each with its uses
    in_context: float | None  # mean cosine of its uses, without pairs of the same words; None: there are no others
    control: float | None  # of as many uses of any values
    nearest: Place  # to the mean of its uses in context
    farthest: Place


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What examples are drawn from."""

    sample: Sample
    occurrences: Occurrences
    vectors: Vectors  # (n, D), in context, centred
    codes: Ints  # (n,), of `Occurrences.codes`
    figures: GroupFigures  # in context, by code
    decode: Decode


def most_used(material: Material) -> tuple[CodeValue, ...]:
    """Show the most used values of each role.

    :param material: What to draw from.
    :return: The values, role by role, the most used first.
    """
    occurrences = material.occurrences
    shown = []
    for role in range(len(occurrences.roles)):
        codes, uses = np.unique(material.codes[occurrences.role == role], return_counts=True)
        shown += [_value(material, int(code)) for code in codes[np.argsort(-uses, kind="stable")][:VALUES]]
    return tuple(shown)


def _value(material: Material, code: int) -> CodeValue:
    occurrences = material.occurrences
    uses = np.flatnonzero(material.codes == code)
    counts = Counter(occurrences.words[uses].tolist())
    mean = material.vectors[uses].mean(0)
    nearness = material.vectors[uses] @ mean
    found = np.flatnonzero(material.figures.group == code)
    return CodeValue(
        role=occurrences.roles[int(occurrences.role[uses[0]])],
        value=int(occurrences.value[uses[0]]),
        uses=len(uses),
        distinct=len(counts),
        segments=tuple(
            (material.decode(list(occurrences.segments[words])), count) for words, count in counts.most_common(SEGMENTS)
        ),
        in_context=_of(material.figures.cosine[found].tolist()),
        control=_of(material.figures.control[found].tolist()),
        nearest=_place(material, int(uses[nearness.argmax()])),
        farthest=_place(material, int(uses[nearness.argmin()])),
    )


def _of(found: list[float]) -> float | None:
    return found[0] if found and np.isfinite(found[0]) else None


def _place(material: Material, use: int) -> Place:
    occurrences = material.occurrences
    document = material.sample.documents[int(occurrences.document[use])]
    first, size = int(occurrences.start[use]), int(occurrences.size[use])
    start, end = document.offsets[first][0], document.offsets[first + size - 1][1]
    text = document.text
    return Place(text[max(0, start - AROUND) : start], text[start:end], text[end : end + AROUND])
