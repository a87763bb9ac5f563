"""What code and next anchor say about dropped tokens: the part of the span head's input that needs no LLM.

    ahead = gate[g-j] ∘ next(e(b)) + backward[g-j] + forward[j] + own[place, sub-code] + following[role, next sub-code]

(heads.py has the whole sum.) Compressor and decompressor compute it by this one function, from the Z-tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec.heads import CodecHeads
from zprompt.codec.layout import layout
from zprompt.codec.steady import steady_rows
from zprompt.codec.vocabulary import ZToken

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DroppedTokens:
    """The dropped tokens of one window, one row each."""

    position: Indices  # (R,): in the window
    token: Indices  # (R,): which token j of its span
    gap: Indices  # (R,): length g of the span
    anchor: Indices  # (R,): id of the next anchor b
    code: Indices  # (R, M): sub-codes of the span

    @classmethod
    def of(cls, tokens: Sequence[ZToken]) -> "DroppedTokens":
        """List the dropped tokens of a window.

        :param tokens: Its Z-tokens; the last of them drops none.
        :return: One row for each.
        """
        gaps = np.array([token.gap for token in tokens], np.int64)
        anchors = np.array([token.anchor for token in tokens], np.int64)
        codes = np.array([token.code for token in tokens], np.int64)
        owner = np.repeat(np.arange(len(tokens)), gaps)
        token = np.arange(len(owner)) - (np.cumsum(gaps) - gaps)[owner]
        start = np.cumsum(gaps + 1) - gaps  # of each span
        return cls(start[owner] + token, token, gaps[owner], np.append(anchors[1:], 0)[owner], codes[owner])


def ahead(heads: CodecHeads, dropped: DroppedTokens) -> Tensor:
    """Sum the parts that code and next anchor decide.

    :param heads: The codec's heads.
    :param dropped: The dropped tokens.
    :return: (R, W).
    """
    head, device = heads.span_head, heads.embeddings.device
    token, gap = dropped.token, dropped.gap
    following = steady_rows(heads.embeddings[torch.from_numpy(dropped.anchor).to(device)])
    z = head.ahead(following, steady_rows(torch.from_numpy(gap - token).to(device)))[: len(token)]
    z = z + head.forward_place[torch.from_numpy(token)]
    cut = layout(heads.settings.subcodes, heads.settings.max_gap)
    place, follower = cut.place[gap, token], cut.follower[gap, token]
    sizes, first_place = np.asarray(cut.sizes), np.asarray(cut.first_place)
    for m in range(heads.settings.subcodes):  # a token has one sub-code or several: those whose segment holds it
        role, start, code = cut.role[gap, m], cut.start[gap, m], dropped.code[:, m]
        inside = (start <= token) & (token < start + sizes[role])
        mine = np.flatnonzero(inside)
        at = first_place[role[mine]] + token[mine] - start[mine]
        z[torch.from_numpy(mine)] += head.own[torch.from_numpy(at), torch.from_numpy(code[mine])]
        next_one = (follower == role) & (cut.follower_start[gap, token] == start) & (place >= 0)
        behind = np.flatnonzero(next_one & ~inside)
        z[torch.from_numpy(behind)] += head.following[torch.from_numpy(role[behind]), torch.from_numpy(code[behind])]
    return z
