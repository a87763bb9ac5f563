"""What each sub-code stands for, each time that it is used.

A sub-code's value depends on its segment of words and on its role alone (codec/layout.py), so the same words in the
same role always have the same value. What can differ is which other words share it, and what the words mean where
they stand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zprompt.analysis.intervals import Ints
from zprompt.analysis.sample import Sample
from zprompt.codec import CodecSettings, Layout, layout


@dataclass(frozen=True, slots=True, eq=False)
class Occurrences:
    """Every use of a sub-code in a sample, in the order of the texts; n of them."""

    document: Ints  # (n,)
    start: Ints  # (n,), first source token of the segment
    size: Ints  # (n,), its source tokens
    subcode: Ints  # (n,), which of the M sub-codes
    role: Ints  # (n,)
    value: Ints  # (n,), 0 to K - 1
    words: Ints  # (n,), which of `segments` it is
    segments: tuple[tuple[int, ...], ...]  # token ids of each distinct segment
    roles: tuple[str, ...]  # names

    def __len__(self) -> int:
        """Count the uses.

        :return: n.
        """
        return len(self.value)

    def codes(self, subcode_size: int) -> Ints:
        """Give each value of each role a number of its own, since roles do not share values.

        :param subcode_size: K.
        :return: (n,), role * K + value.
        """
        return self.role * subcode_size + self.value


def find_occurrences(sample: Sample, settings: CodecSettings) -> Occurrences:
    """List the uses of sub-codes.

    :param sample: The texts.
    :param settings: The codec's.
    :return: The uses; Z-tokens without a gap have no code.
    """
    cut = layout(settings.subcodes, settings.max_gap)
    parts = [_in_document(sample, index, cut) for index in range(len(sample.documents))]
    document, start, size, subcode, role, value = np.concatenate(parts, axis=1)
    known: dict[tuple[int, ...], int] = {}
    words = np.empty(len(value), np.int64)
    for i, (owner, first, length) in enumerate(zip(document, start, size, strict=True)):
        ids = sample.documents[owner].tile.ids[first : first + length]
        words[i] = known.setdefault(tuple(ids.tolist()), len(known))
    return Occurrences(document, start, size, subcode, role, value, words, tuple(known), role_names(settings))


def role_names(settings: CodecSettings) -> tuple[str, ...]:
    """Name the roles of sub-codes.

    :param settings: The codec's.
    :return: The names: "1 token", "1 token, code 2" for its second stage, "2 tokens" and so on.
    """
    stages = [f"1 token, code {stage + 1}" if stage else "1 token" for stage in range(settings.subcodes)]
    sizes = layout(settings.subcodes, settings.max_gap).sizes[settings.subcodes :]
    return (*stages, *(f"{size} tokens" for size in sizes))


def _in_document(sample: Sample, index: int, cut: Layout) -> Ints:
    """List the uses in one text: (6, n)."""
    tile = sample.documents[index].tile
    gaps = np.array([token.gap for token in tile.tokens], np.int64)
    coded = gaps > 0
    gap = gaps[coded]
    role = cut.role[gap]  # (z, M)
    start = tile.starts[coded][:, None] + 1 + cut.start[gap]
    value = np.array([token.code for token in tile.tokens], np.int64).reshape(len(gaps), -1)[coded]
    size = np.array(cut.sizes, np.int64)[role]
    subcode = np.broadcast_to(np.arange(role.shape[1]), role.shape)
    document = np.full(role.shape, index)
    return np.stack([part.ravel() for part in (document, start, size, subcode, role, value)])
