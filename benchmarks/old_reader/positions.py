"""What the reader's model sees, as arrays: a source token is a Z-token without a span."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zprompt.reader import Piece, TextPiece
from zprompt.zspan import ZToken

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """A run of positions."""

    ids: Ints  # (T,) tokens, or anchors
    gaps: Ints  # (T,) tokens of the span; 0 for a source token
    codes: Ints  # (T, M)

    def __len__(self) -> int:
        """Count the positions.

        :return: T.
        """
        return len(self.ids)

    def __getitem__(self, part: slice) -> Positions:
        """Cut a run out.

        :param part: Which.
        :return: The positions.
        """
        return Positions(self.ids[part], self.gaps[part], self.codes[part])

    def common(self, other: Positions) -> int:
        """Count the positions that two runs begin with alike.

        :param other: Another run.
        :return: How many.
        """
        size = min(len(self), len(other))
        one, two = self[:size], other[:size]
        same = (one.ids == two.ids) & (one.gaps == two.gaps) & (one.codes == two.codes).all(axis=1)
        return size if same.all() else int(same.argmin())


def of_ids(ids: Sequence[int] | Ints, subcodes: int) -> Positions:
    """Make positions of source tokens.

    :param ids: Token ids.
    :param subcodes: Sub-codes that a Z-token would have.
    :return: The positions.
    """
    array = np.asarray(ids, np.int64)
    return Positions(array, np.zeros_like(array), np.zeros((len(array), subcodes), np.int64))


def of_z_tokens(tokens: Sequence[ZToken], subcodes: int) -> Positions:
    """Make positions of Z-tokens.

    :param tokens: The Z-tokens.
    :param subcodes: Sub-codes of each.
    :return: The positions.
    """
    return Positions(
        np.array([token.anchor for token in tokens], np.int64),
        np.array([token.gap for token in tokens], np.int64),
        np.array([token.code for token in tokens], np.int64).reshape(len(tokens), subcodes),
    )


def of_pieces(pieces: Iterable[Piece], subcodes: int) -> Positions:
    """Make positions of a prompt.

    :param pieces: The prompt.
    :param subcodes: Sub-codes of a Z-token.
    :return: The positions.
    """
    return concatenate(
        of_ids(piece.ids, subcodes) if isinstance(piece, TextPiece) else of_z_tokens(piece.tokens, subcodes)
        for piece in pieces
    )


def concatenate(runs: Iterable[Positions]) -> Positions:
    """Put runs one after the other.

    :param runs: The runs, one at least.
    :return: All of them.
    """
    parts = list(runs)
    return Positions(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.gaps for part in parts]),
        np.concatenate([part.codes for part in parts]),
    )
