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

import torch
from torch import Tensor

from zprompt.codec.candidates import UNRANKED
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
    drafts = [_begin(compressor, analysis, tiling) for analysis, tiling in zip(analyses, tilings, strict=True)]
    for _ in range(ROUNDS):
        going = [draft for draft in drafts if bool(draft.wrong.any())]
        if not going:
            break
        states = compressor.hidden([draft.restored.tolist() for draft in going])
        for draft, hidden in zip(going, states, strict=True):
            _improve(compressor, draft, hidden)
    return drafts


def _begin(compressor: Compressor, analysis: Analysis, tiling: Tiling) -> Draft:
    """Take the ranks in the source's own context."""
    chosen = chosen_tokens(tiling, torch.tensor(tiling).numpy() > 0, analysis.ranks.device)
    draft = Draft(analysis, tiling, chosen, analysis.ids, [[] for _ in tiling])
    _improve(compressor, draft, analysis.window.hidden[: len(analysis.ids)])
    draft.exact = not bool(draft.wrong.any())
    return draft


def _improve(compressor: Compressor, draft: Draft, hidden: Tensor) -> None:
    """Take the ranks in the context of what the draft gives back now."""
    analysis, chosen = draft.analysis, draft.chosen
    if not len(chosen.start):
        return
    parts = compressor.checker.parts(compressor.window(draft.restored, hidden), analysis.parts.subcodes)
    ranks, best = compressor.true_ranks(compressor.window(analysis.ids, hidden), parts, chosen)
    flat, weights = ranks.tolist(), analysis.weights[chosen.position].tolist()
    written: list[int] = []
    at = 0
    for index, gap in enumerate(draft.tiling):
        draft.written[index] = compressor.affordable(flat[at : at + gap], weights[at : at + gap]) if gap else []
        written += draft.written[index]
        at += gap
    kept = (ranks == torch.tensor(written, device=ranks.device)) & (ranks != UNRANKED)
    restored = analysis.ids.clone()
    restored[chosen.position] = torch.where(kept, restored[chosen.position], best)
    draft.restored = restored
