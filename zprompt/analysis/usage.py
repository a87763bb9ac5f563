"""How fully sub-codes are used.

    H(value) = -Σ p log2 p    bits that a use of the sub-code carries, of log2 K at most

from relative frequencies, so too low where there are few uses. A value that does not occur is *unused in the sample*:
what that says depends on how many uses there were, so beside it stands how many values equal use would have left out,
K (1 - 1/K)^n. A value is *dead* if no segment has it. That can be known where segments are single tokens: the code head
classifies the whole vocabulary.

The words of a segment decide its value, so H(words) - H(value) is what a value leaves open about them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from zprompt.analysis.intervals import Ints
from zprompt.analysis.segments import Occurrences
from zprompt.codec import CodecHeads

_CHUNK = 4096  # tokens that are classified at a time


@dataclass(frozen=True, slots=True)
class Usage:
    """How one sub-code, or one role, is used."""

    name: str
    uses: int
    values: int  # K
    entropy_bits: float  # of the values
    unused: int  # values that do not occur in the sample
    unused_if_equal: float  # values that would not occur in so many uses if all were equally likely
    reachable: int | None  # values that some token of the vocabulary has; None: not one token, or not one role
    segments: int  # distinct segments that were meant
    segment_bits: float  # entropy of the segments


def usage_by_role(
    occurrences: Occurrences, subcode_size: int, reachable: Mapping[int, int] | None = None
) -> tuple[Usage, ...]:
    """Measure each role.

    :param occurrences: The uses.
    :param subcode_size: Values of a sub-code, K.
    :param reachable: Values that some segment has, by role, as far as it is known.
    :return: A figure for each role that is used.
    """
    return tuple(_usages(occurrences, occurrences.role, occurrences.roles, subcode_size, reachable or {}))


def usage_by_subcode(occurrences: Occurrences, subcodes: int, subcode_size: int) -> tuple[Usage, ...]:
    """Measure each of the M fields of a code as it is stored, whatever the role of its value.

    :param occurrences: The uses.
    :param subcodes: Sub-codes of a code, M.
    :param subcode_size: Values of a sub-code, K.
    :return: A figure for each field that is used.
    """
    names = tuple(f"sub-code {m + 1}" for m in range(subcodes))
    return tuple(_usages(occurrences, occurrences.subcode, names, subcode_size, {}))


@torch.no_grad()
def reachable_values(heads: CodecHeads) -> dict[int, int]:
    """Count the values that any token of the vocabulary has, in each role that speaks about one token.

    :param heads: The codec's heads.
    :return: Values by role.
    """
    head, found = heads.code_head, {}
    for role in range(heads.settings.subcodes):
        values = [head(role, tokens[:, None]).argmax(-1) for tokens in heads.embeddings.split(_CHUNK)]
        found[role] = len(torch.cat(values).unique())
    return found


def entropy(labels: Ints) -> float:
    """Give the entropy of labels.

    :param labels: (n,).
    :return: Bits; 0 if there is none.
    """
    share = np.unique(labels, return_counts=True)[1] / max(1, len(labels))
    return float(-(share * np.log2(share)).sum()) + 0.0  # not -0


def _usages(
    occurrences: Occurrences, part: Ints, names: tuple[str, ...], subcode_size: int, reachable: Mapping[int, int]
) -> Iterator[Usage]:
    for index, name in enumerate(names):
        chosen = part == index
        value, words = occurrences.value[chosen], occurrences.words[chosen]
        if not len(value):
            continue
        yield Usage(
            name=name,
            uses=len(value),
            values=subcode_size,
            entropy_bits=entropy(value),
            unused=subcode_size - len(np.unique(value)),
            unused_if_equal=subcode_size * math.exp(len(value) * math.log1p(-1 / subcode_size))
            if subcode_size > 1
            else 0.0,
            reachable=reachable.get(index),
            segments=len(np.unique(words)),
            segment_bits=entropy(words),
        )
