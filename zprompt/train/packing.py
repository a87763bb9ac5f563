"""Packed sequences: many targets that share a prefix.

    trunk     ▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮▮        a passage in Z-tokens, say
    branch 1        └▯▯▯▯              what follows a part of it
    branch 2                 └▯▯▯▯▯    a question about all of it, and the answer

A branch attends to the trunk up to its fork, and to itself. Each target is predicted as from a prompt of its own, at
the same positions, but the trunk is computed once. Sequences are padded on the right; padding attends to padding only.

A position is a token, or a Z-token: an anchor with a gap. Ids above the vocabulary are LTSC's meta-tokens. A branch
that continues a passage word for word names its source, for which a batch asks the teacher's predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from zprompt.reader import Piece, TextPiece
from zprompt.zspan import ZToken

PADDING = 0.25  # of a sequence in a micro-batch, at most

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """A run of positions."""

    ids: Ints  # (T,) tokens, or anchors
    gaps: Ints  # (T,) tokens that were dropped after each anchor; 0 for a token

    @classmethod
    def of_ids(cls, ids: Sequence[int] | Ints) -> Positions:
        """Make positions of tokens."""
        array = np.asarray(ids, np.int64)
        return cls(array, np.zeros_like(array))

    @classmethod
    def of_z_tokens(cls, tokens: Sequence[ZToken]) -> Positions:
        """Make positions of Z-tokens."""
        return cls(
            np.array([token.anchor for token in tokens], np.int64),
            np.array([token.gap for token in tokens], np.int64),
        )

    @classmethod
    def of_pieces(cls, pieces: Iterable[Piece]) -> Positions:
        """Make positions of a prompt."""
        return cls.concatenate(
            cls.of_ids(piece.ids) if isinstance(piece, TextPiece) else cls.of_z_tokens(piece.tokens) for piece in pieces
        )

    @classmethod
    def concatenate(cls, runs: Iterable[Positions]) -> Positions:
        """Join runs, of which there is one at least."""
        runs = list(runs)
        return cls(np.concatenate([run.ids for run in runs]), np.concatenate([run.gaps for run in runs]))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice) -> Positions:
        return Positions(self.ids[index], self.gaps[index])

    def common_prefix(self, other: Positions) -> int:
        """Count the positions of the longest common prefix."""
        size = min(len(self), len(other))
        same = (self.ids[:size] == other.ids[:size]) & (self.gaps[:size] == other.gaps[:size])
        return size if same.all() else int(same.argmin())


@dataclass(frozen=True, slots=True, eq=False)
class TopTokens:
    """The teacher's distributions at the targets of a branch."""

    ids: Ints  # (n, k) the most likely tokens
    log_probabilities: NDArray[np.float32]  # (n, k)


Predict = Callable[[int, slice], TopTokens]  # a passage and some of its tokens ─► the teacher's predictions for these


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run of tokens stands in the teacher's passages."""

    passage: int  # index of the passage
    first: int  # index of the run's first token in it


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """A run of tokens that goes on from somewhere in the trunk."""

    fork: int  # positions of the trunk that it attends to, at least 1
    ids: Ints
    first: int  # index of the first target in ids; the ids before it are part of the prompt
    source: Source | None = None  # of ids, if a teacher has read them


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequence:
    """A trunk and its branches, all of one task."""

    task: str
    trunk: Positions
    branches: tuple[Branch, ...]

    def __len__(self) -> int:
        return len(self.trunk) + sum(len(branch.ids) for branch in self.branches)

    @property
    def targets(self) -> int:
        """Count the targets of all branches."""
        return sum(len(branch.ids) - branch.first for branch in self.branches)


class PackedAttention:
    """The attention of a batch; a decoder takes it in place of a cache, but nothing is cached."""

    def __init__(self, positions: Tensor, owners: Tensor, forks: Tensor) -> None:
        """Compute which position attends to which.

        :param positions: (B, T), the position ids of the prompts that are packed.
        :param owners: (B, T), 0 for the trunk, then the number of each branch; -1 for padding.
        :param forks: (B, T), how many positions of the trunk each position attends to.
        """
        columns = torch.arange(owners.shape[1], device=owners.device)
        causal = columns[None, :] <= columns[:, None]
        same_owner = owners[:, :, None] == owners[:, None, :]
        trunk = (owners[:, None, :] == 0) & (columns < forks[:, :, None]) & (owners[:, :, None] >= 0)
        self.positions = positions
        self._mask = (causal & (same_owner | trunk))[:, None]  # (B, 1, T, T)

    def advance(self, count: int) -> PackedAttention:
        """Prepare the only call of the decoder; raise ValueError if it does not have the length of the batch."""
        if count != self.positions.shape[1]:
            raise ValueError(f"The batch has {self.positions.shape[1]} positions, not {count}.")
        return self

    def attend(self, layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend by the mask, (B, H, T, d) each."""
        return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self._mask, enable_gqa=True)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Packed sequences as tensors on the CPU."""

    ids: Tensor  # (B, T)
    gaps: Tensor  # (B, T)
    layout: tuple[Tensor, Tensor, Tensor]  # (B, T) each: positions, owners and forks
    tasks: tuple[str, ...]  # of each sequence
    targets: Targets

    def attention(self, device: torch.device) -> PackedAttention:
        """Compute the attention on the device: its mask is the largest tensor of a batch."""
        return PackedAttention(*(tensor.to(device) for tensor in self.layout))


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of all sequences of a batch, concatenated."""

    ids: Tensor  # (N,)
    rows: Tensor  # (N,) the sequence of each ...
    columns: Tensor  # (N,) ... and the position that predicts it
    taught: Tensor  # (N,) True where there is a teacher
    teacher_ids: Tensor  # (N, k)
    teacher_log: Tensor  # (N, k) log-probabilities; -inf where there is no teacher

    def __len__(self) -> int:
        return len(self.ids)


def make_batch(sequences: Sequence[PackedSequence], predict: Predict | None = None, top: int = 1) -> Batch:
    """Make tensors of packed sequences.

    :param sequences: The sequences, one at least.
    :param predict: Returns the teacher's predictions, if there is a teacher.
    :param top: Tokens of each of its distributions, k.
    :return: The batch.
    """
    length = max(map(len, sequences))
    shape = (len(sequences), length)
    ids, gaps, positions, owners = (np.zeros(shape, np.int64) for _ in range(4))
    forks = np.full(shape, length)
    owners[:] = -1  # padding: 0 is the trunk, and branches count from 1
    for row, sequence in enumerate(sequences):
        edge = len(sequence.trunk)
        ids[row, :edge], gaps[row, :edge] = sequence.trunk.ids, sequence.trunk.gaps
        positions[row, :edge], owners[row, :edge] = np.arange(edge), 0
        for number, branch in enumerate(sequence.branches, 1):
            columns = slice(edge, edge + len(branch.ids))
            ids[row, columns], positions[row, columns] = branch.ids, branch.fork + np.arange(len(branch.ids))
            owners[row, columns], forks[row, columns] = number, branch.fork
            edge = columns.stop
    layout = (torch.from_numpy(positions), torch.from_numpy(owners), torch.from_numpy(forks))
    tasks = tuple(sequence.task for sequence in sequences)
    return Batch(torch.from_numpy(ids), torch.from_numpy(gaps), layout, tasks, _targets(sequences, predict, top))


def _targets(sequences: Sequence[PackedSequence], predict: Predict | None, top: int) -> Targets:
    # Starting with empty arrays, since sequences may have no targets at all.
    ids, rows, columns = ([np.zeros(0, np.int64)] for _ in range(3))
    taught, top_ids, top_log = [np.zeros(0, np.bool_)], [np.zeros((0, top), np.int64)], [np.zeros((0, top), np.float32)]
    for row, sequence in enumerate(sequences):
        edge = len(sequence.trunk)
        for branch in sequence.branches:
            count = len(branch.ids) - branch.first
            sources = edge + branch.first - 1 + np.arange(count)
            if branch.first == 0:
                sources[0] = branch.fork - 1  # the trunk's last position before the fork predicts the first token
            ids.append(branch.ids[branch.first :])
            rows.append(np.full(count, row))
            columns.append(sources)
            tokens = _teacher_tokens(branch, predict)
            taught.append(np.full(count, tokens is not None))
            top_ids.append(tokens.ids if tokens else np.zeros((count, top), np.int64))
            top_log.append(tokens.log_probabilities if tokens else np.full((count, top), -np.inf, np.float32))
            edge += len(branch.ids)
    arrays = (ids, rows, columns, taught, top_ids, top_log)
    return Targets(*(torch.from_numpy(np.concatenate(array)) for array in arrays))


def _teacher_tokens(branch: Branch, predict: Predict | None) -> TopTokens | None:
    """Return the teacher's predictions for the targets of a branch; None if it has not read them."""
    if predict is None or branch.source is None:
        return None
    first = branch.source.first
    return predict(branch.source.passage, slice(first + branch.first, first + len(branch.ids)))


def micro_batches(sequences: Sequence[PackedSequence], most: int) -> Iterator[list[PackedSequence]]:
    """Group sequences of similar length.

    :param sequences: The sequences.
    :param most: Positions of a group, padding included; a longer sequence is alone.
    :return: The groups.
    :yields: A group, the longest sequences first.
    """
    group: list[PackedSequence] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        full = group and (len(group) + 1) * len(group[0]) > most
        if full or (group and len(sequence) < (1 - PADDING) * len(group[0])):
            yield group
            group = []
        group.append(sequence)
    if group:
        yield group
