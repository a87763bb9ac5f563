"""Rows of training: many targets that share what comes before them.

    trunk     ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮        a passage in Z-tokens, say
    branch 1        └▯▯▯▯              what follows after a part of it
    branch 2                 └▯▯▯▯▯    a question about all of it, and the answer

A branch sees the trunk up to its fork, and itself; so each target sees what it would see in a prompt of its own, at the
same positions, but the trunk is computed once. Rows are padded at their end, where nobody looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.llm import Step
from benchmarks.old_reader.positions import Ints, Positions, concatenate


@dataclass(frozen=True, slots=True, eq=False)
class Expectation:
    """What the teacher expected at the targets of a branch."""

    ids: Ints  # (n, k) its most likely tokens
    log_probabilities: NDArray[np.float32]  # (n, k)


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A run of source tokens that goes on from somewhere in the trunk."""

    fork: int  # positions of the trunk that it sees, at least 1
    ids: Ints
    first: int  # place of the first target in ids; what is before it is given
    teacher: Expectation | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A trunk and its branches, all of one task."""

    task: str
    trunk: Positions
    branches: tuple[Branch, ...]

    def __len__(self) -> int:
        """Count the positions.

        :return: Of the trunk and of all branches.
        """
        return len(self.trunk) + sum(len(branch.ids) for branch in self.branches)

    @property
    def targets(self) -> int:
        """Count the targets.

        :return: Of all branches.
        """
        return sum(len(branch.ids) - branch.first for branch in self.branches)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows as tensors."""

    ids: Tensor  # (B, T)
    gaps: Tensor  # (B, T)
    codes: Tensor  # (B, T, M)
    tree: Tree
    rows: Tensor  # (N,) of each target: its row ...
    places: Tensor  # (N,) ... and the position that is to expect it
    targets: Tensor  # (N,)
    tasks: tuple[str, ...]  # of each row
    taught: Tensor  # (N,) True where there is a teacher
    teacher_ids: Tensor  # (N, k)
    teacher_log: Tensor  # (N, k) log-probabilities; -inf where there is no teacher


class Tree:
    """Stands in for a decoder's cache: says what each position sees, and keeps nothing."""

    def __init__(self, positions: Tensor, mask: Tensor) -> None:
        """Hold the shape of a batch.

        :param positions: (B, T).
        :param mask: (B, 1, T, T), True where a position sees another.
        """
        self.positions, self.mask = positions, mask

    def advance(self, count: int) -> Step:
        """Give what the decoder asks of its cache.

        :param count: Positions, T.
        :return: A step.
        :raises ValueError: If the batch has another length.
        """
        if count != self.mask.shape[-1]:
            raise ValueError(f"The batch has {self.mask.shape[-1]} positions, not {count}.")
        return _TreeStep(self.positions, self.mask)


class _TreeStep(Step):
    """One call of a decoder on whole rows."""

    def __init__(self, positions: Tensor, mask: Tensor) -> None:
        """Plan the call.

        :param positions: (B, T).
        :param mask: (B, 1, T, T).
        """
        self.positions, self.mask, self.causal = positions, mask, False

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep nothing.

        :param layer: The layer.
        :param keys: (B, H, T, d).
        :param values: (B, H, T, d).
        :return: The same.
        """
        return keys, values


def lay_out(rows: Sequence[Row], top: int) -> Batch:
    """Make tensors of rows.

    :param rows: The rows, one at least.
    :param top: Tokens of each expectation, k.
    :return: The batch, on the CPU.
    """
    length, subcodes = max(map(len, rows)), rows[0].trunk.codes.shape[1]
    shape = (len(rows), length)
    ids, gaps, positions, owners = (np.zeros(shape, np.int64) for _ in range(4))
    codes, forks = np.zeros((*shape, subcodes), np.int64), np.full(shape, length)
    owners[:] = -1  # padding sees padding alone
    for index, row in enumerate(rows):
        whole = concatenate([row.trunk, *(_as_positions(branch, subcodes) for branch in row.branches)])
        ids[index, : len(whole)], gaps[index, : len(whole)] = whole.ids, whole.gaps
        codes[index, : len(whole)] = whole.codes
        edge = len(row.trunk)
        positions[index, :edge], owners[index, :edge] = np.arange(edge), 0
        for number, branch in enumerate(row.branches, 1):
            part = slice(edge, edge + len(branch.ids))
            positions[index, part] = branch.fork + np.arange(len(branch.ids))
            owners[index, part], forks[index, part] = number, branch.fork
            edge = part.stop
    tree = Tree(torch.from_numpy(positions), torch.from_numpy(_mask(owners, forks))[:, None])
    return Batch(torch.from_numpy(ids), torch.from_numpy(gaps), torch.from_numpy(codes), tree, *_targets(rows, top))


def _as_positions(branch: Branch, subcodes: int) -> Positions:
    return Positions(branch.ids, np.zeros_like(branch.ids), np.zeros((len(branch.ids), subcodes), np.int64))


def _mask(owners: Ints, forks: Ints) -> NDArray[np.bool_]:
    """Say what sees what: (B, T, T)."""
    places = np.arange(owners.shape[1])
    before = places[None, :] <= places[:, None]
    own = owners[:, :, None] == owners[:, None, :]
    trunk = (owners[:, None, :] == 0) & (places < forks[:, :, None]) & (owners[:, :, None] >= 0)
    seen: NDArray[np.bool_] = before & (own | trunk)
    return seen


def _targets(rows: Sequence[Row], top: int) -> tuple[Tensor, Tensor, Tensor, tuple[str, ...], Tensor, Tensor, Tensor]:
    """List the targets of all rows; see Batch for what they are."""
    # Empty arrays first, since rows may have no targets at all.
    owner, places, targets = ([np.zeros(0, np.int64)] for _ in range(3))
    taught, top_ids, top_log = [np.zeros(0, np.bool_)], [np.zeros((0, top), np.int64)], [np.zeros((0, top), np.float32)]
    for index, row in enumerate(rows):
        edge = len(row.trunk)
        for branch in row.branches:
            count = len(branch.ids) - branch.first
            sources = edge + branch.first - 1 + np.arange(count)
            if branch.first == 0:
                sources[0] = branch.fork - 1  # the trunk's own position expects what comes first
            owner.append(np.full(count, index))
            places.append(sources)
            targets.append(branch.ids[branch.first :])
            taught.append(np.full(count, branch.teacher is not None))
            known = branch.teacher
            top_ids.append(known.ids if known else np.zeros((count, top), np.int64))
            top_log.append(known.log_probabilities if known else np.full((count, top), -np.inf, np.float32))
            edge += len(branch.ids)
    whole = [torch.from_numpy(np.concatenate(part)) for part in (owner, places, targets, taught, top_ids, top_log)]
    return whole[0], whole[1], whole[2], tuple(row.task for row in rows), whole[3], whole[4], whole[5].float()
