"""Take the ranks of a lossy tiling on the text that will come back.

After a wrong token the decompressor's context is not the compressor's, so a rank that was taken on the source can
name another token there. The text that comes back is the fixed point of

    y = the source, with each dropped token replaced by what its written rank gives after y[<t]

and is approached by Jacobi iteration, one LLM pass a round: each round is right at least as far as the one before,
plus the next wrong token, and in practice after two or three rounds nearly everywhere (README, rate-distortion). A
tiling with no wrong token at the end of the first round is exact, and is written as such.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from zprompt.codec.compressor import Analysis, ChosenTokens, Compressor, chosen_tokens
from zprompt.codec.segmentation import Tiling

ROUNDS = 3  # LLM passes beside the first


@dataclass(slots=True)
class Draft:
    """A tiling of one window, and what it will give back as far as is known."""

    analysis: Analysis
    tiling: Tiling
    chosen: ChosenTokens
    restored: Tensor  # (n,): token ids
    written: list[list[int]]  # ranks that each span's residual holds
    exact: bool = False  # nothing is wrong in the source's own context: only there, ranks are certain

    @property
    def wrong(self) -> Tensor:
        """Say which tokens come back wrong.

        :return: (n,).
        """
        return self.restored != self.analysis.ids


def settle(compressor: Compressor, analyses: Sequence[Analysis], tilings: Sequence[Tiling]) -> list[Draft]:
    """Choose what the residuals of tilings restore, in the context of what will come back.

    :param compressor: The compressor that analysed the windows.
    :param analyses: The windows.
    :param tilings: Their tilings.
    :return: A draft for each window.
    """
    drafts = []
    for analysis, tiling in zip(analyses, tilings, strict=True):
        chosen = chosen_tokens(tiling, np.asarray(tiling) > 0, analysis.ranks.device)
        drafts.append(Draft(analysis, tiling, chosen, analysis.ids, [[] for _ in tiling]))
    # In the source's own context first.
    _improve(compressor, drafts, [draft.analysis.window.hidden[: len(draft.analysis.ids)] for draft in drafts])
    for draft in drafts:
        draft.exact = not bool(draft.wrong.any())
    for _ in range(ROUNDS):
        going = [draft for draft in drafts if bool(draft.wrong.any())]
        if not going:
            break
        _improve(compressor, going, compressor.hidden([draft.restored.tolist() for draft in going]))
    return drafts


def _improve(compressor: Compressor, drafts: Sequence[Draft], states: Sequence[Tensor]) -> None:
    """Take the ranks in the context of what the drafts give back now."""
    wanted = []
    for draft, hidden in zip(drafts, states, strict=True):
        parts = compressor.checker.parts(compressor.window(draft.restored, hidden), draft.analysis.parts.subcodes)
        wanted.append((compressor.window(draft.analysis.ids, hidden), parts, draft.chosen))
    for draft, (ranks, best) in zip(drafts, compressor.true_ranks(wanted), strict=True):
        _rewrite(compressor, draft, ranks, best)


def _rewrite(compressor: Compressor, draft: Draft, ranks: Tensor, best: Tensor) -> None:
    """Choose what the residuals of a draft hold, and foresee what comes back."""
    position, at = draft.chosen.position, 0
    flat, weights = ranks.tolist(), draft.analysis.weights[position].tolist()
    for index, gap in enumerate(draft.tiling):
        draft.written[index] = compressor.affordable(flat[at : at + gap], weights[at : at + gap]) if gap else []
        at += gap
    written = torch.tensor([rank for span in draft.written for rank in span], device=ranks.device)
    restored = draft.analysis.ids.clone()
    # A lost token comes back as the best candidate; so does one whose rank is 0.
    restored[position] = torch.where(ranks == written, restored[position], best)
    draft.restored = restored
