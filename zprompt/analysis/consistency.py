"""Measure whether segments that share a value mean the same.

    consistency of a value    mean cosine of the embeddings of all pairs of its items, without pairs of the same words
    figure                    mean over values, each weighted by its items: what a use of the code meets
    control                   the same with the values shuffled among the items of a role, so that their sizes stay

Pairs of the same words are left out because they always share a value; their own consistency, the same words in
different places, is measured beside it: as far as context moves the meaning of words, no code can be more consistent.
A sum over pairs needs no pairs: Σ_{i≠j} u_i·u_j = |Σ u_i|² - Σ |u_i|².
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from zprompt.analysis.embeddings import Vectors
from zprompt.analysis.intervals import Estimate, Floats, Ints, estimate, quotient

SHUFFLES = 10  # of the control


@dataclass(frozen=True, slots=True)
class Consistency:
    """How alike the items of a value are, in one role or in all."""

    role: str
    items: int  # in values that have a pair
    values: int  # that have a pair
    pairs: int
    cosine: Estimate
    control: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """What is compared: n unit vectors in groups."""

    vectors: Vectors  # (n, D)
    group: Ints  # (n,): what they share, a value of a code for example
    words: Ints  # (n,): pairs of the same words do not count; all different: every pair does
    role: Ints  # (n,): the control shuffles within a role; a group lies in one role


@dataclass(frozen=True, slots=True, eq=False)
class GroupFigures:
    """The consistency of each group that has a pair."""

    group: Ints  # (g,)
    role: Ints  # (g,)
    items: Floats  # (g,)
    pairs: Floats  # (g,)
    cosine: Floats  # (g,)
    control: Floats  # (g,), over all shuffles; nan where none gave a pair


def compare(items: Items, seed: int) -> GroupFigures:
    """Measure groups.

    :param items: What is compared.
    :param seed: Of the control.
    :return: The figures of each group.
    """
    count = int(items.group.max()) + 1 if len(items.group) else 0
    sums, pairs = _pairs(items, items.group, count)
    random = np.random.default_rng(seed)
    shuffled = [_pairs(items, _shuffle(items, random), count) for _ in range(SHUFFLES)]
    kept = np.flatnonzero(pairs)
    control_sums, control_pairs = (np.sum([part[i] for part in shuffled], axis=0)[kept] for i in range(2))
    role = np.zeros(count, np.int64)
    role[items.group] = items.role
    control = np.divide(control_sums, control_pairs, out=np.full(len(kept), np.nan), where=control_pairs > 0)
    sizes = np.bincount(items.group, minlength=count)[kept].astype(np.float64)
    return GroupFigures(kept, role[kept], sizes, pairs[kept] / 2, sums[kept] / pairs[kept], control)


def summarise(figures: GroupFigures, roles: tuple[str, ...], seed: int) -> tuple[Consistency, ...]:
    """Sum groups up, with intervals over groups.

    :param figures: The groups.
    :param roles: Names of the roles.
    :param seed: Of the bootstrap.
    :return: The figures of all roles together, and of each that has a pair.
    """
    return tuple(_summaries(figures, roles, seed))


def _summaries(figures: GroupFigures, roles: tuple[str, ...], seed: int) -> Iterator[Consistency]:
    usable = np.isfinite(figures.control)
    for name, chosen in [("all", usable), *((name, usable & (figures.role == r)) for r, name in enumerate(roles))]:
        weight, cosine, control = figures.items[chosen], figures.cosine[chosen], figures.control[chosen]
        found = [
            estimate(quotient(weight * part, weight), len(weight), seed) for part in (cosine, control, cosine - control)
        ]
        if found[0] and found[1] and found[2]:
            yield Consistency(
                name, int(weight.sum()), len(weight), int(figures.pairs[chosen].sum()), found[0], found[1], found[2]
            )


def _shuffle(items: Items, random: np.random.Generator) -> Ints:
    """Give the groups of items to other items of the same role."""
    group = items.group.copy()
    for role in np.unique(items.role):
        mine = np.flatnonzero(items.role == role)
        group[mine] = items.group[random.permutation(mine)]
    return group


def _pairs(items: Items, group: Ints, count: int) -> tuple[Floats, Floats]:
    """Sum the cosines of the ordered pairs of each group, and count them, without pairs of the same words."""
    sums, pairs = _all_pairs(items.vectors, group, count)
    labels, same = np.unique(group * (items.words.max(initial=0) + 1) + items.words, return_inverse=True)
    same_sums, same_pairs = _all_pairs(items.vectors, same, len(labels))
    owner = labels // (items.words.max(initial=0) + 1)
    sums -= np.bincount(owner, same_sums, count)
    pairs -= np.bincount(owner, same_pairs, count)
    return sums, pairs


def _all_pairs(vectors: Vectors, group: Ints, count: int) -> tuple[Floats, Floats]:
    """Sum the cosines of all ordered pairs of each group, and count them."""
    sizes = np.bincount(group, minlength=count)
    sums = np.zeros(count)
    several = np.flatnonzero(sizes > 1)
    if len(several):
        chosen = np.flatnonzero(sizes[group] > 1)
        vectors, group = vectors[chosen], group[chosen]
        first = np.cumsum(sizes[several]) - sizes[several]
        totals = np.add.reduceat(vectors[np.argsort(group, kind="stable")], first, axis=0, dtype=np.float64)
        squares = np.bincount(group, np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64), count)
        sums[several] = (totals**2).sum(1) - squares[several]
    return sums, (sizes * (sizes - 1)).astype(np.float64)
