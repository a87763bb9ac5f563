"""Look at some gaps only, and take the others to cost what the nearest longer one does.

Spans of neighbouring lengths cost nearly the same token by token, so only the gaps of `probed_gaps` are checked: about
40 % of the rows, for 1 % more bits in the tilings that are chosen (docs/codec.md). A token of a span between two of
them is estimated by the next longer probed span that begins (left half) or ends (right half) at the same place:

    bits(t, g, j) = bits(t, s, j)                     j < g / 2
                  = bits(t - (s - g), s, j + s - g)   else             s = the least probed gap >= g

These are estimates for choosing a tiling. What is written is ranked in full (compressor.py).
"""

import torch
from torch import Tensor


def probed_gaps(max_gap: int) -> list[int]:
    """List the gaps that are looked at.

    :param max_gap: Longest span, in tokens.
    :return: Gaps from 1 to `max_gap`, ever farther apart.
    """
    gaps = [1]
    while gaps[-1] < max_gap:
        gaps.append(min(gaps[-1] + 1 + gaps[-1] // 4, max_gap))
    return gaps


def fill_between(bits: Tensor, probed: list[int]) -> Tensor:
    """Estimate the spans of gaps that were not looked at.

    :param bits: (n, G + 1, G), bits of token j of span (t, g); inf where it was not looked at. Changed in place.
    :param probed: The gaps that were.
    :return: `bits`.
    """
    for longer, shorter in zip(probed[1:], probed, strict=False):
        for gap in range(shorter + 1, longer):
            _fill(bits, gap, longer)
    return bits


def _fill(bits: Tensor, gap: int, longer: int) -> None:
    """Estimate one gap by a longer one."""
    cut, offset = (gap + 1) // 2, longer - gap
    from_left = bits[:, longer, :gap]
    from_right = torch.full_like(from_left, float("inf"))
    from_right[offset:] = bits[: max(len(bits) - offset, 0), longer, offset : offset + gap]
    left = torch.arange(gap, device=bits.device) < cut
    first, second = torch.where(left, from_left, from_right), torch.where(left, from_right, from_left)
    bits[:, gap, :gap] = torch.where(first.isinf(), second, first)  # near the window's ends there is one of them only
