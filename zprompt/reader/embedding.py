"""Turn Z-tokens into input embeddings of the LLM, one position each.

    x = E[anchor] + gap[min(g, G)]          g > 0
    x = E[anchor]                           g = 0

A reader has learned gaps up to G; a longer gap reads like G. In a new Z-embedding gaps add nothing: an anchor reads
like the token that it is.
"""

import torch
from torch import Tensor, nn

MAX_GAP = 23


class ZEmbedding(nn.Module):
    """The embeddings of gaps, added to those of the anchors."""

    def __init__(self, hidden_size: int, max_gap: int = MAX_GAP) -> None:
        """Create an embedding in which gaps add nothing yet.

        :param hidden_size: Width of the LLM's embeddings, D.
        :param max_gap: G, the longest gap with an embedding of its own.
        """
        super().__init__()
        self.max_gap = max_gap
        self.gap = nn.Parameter(torch.zeros(max_gap + 1, hidden_size))

    def forward(self, anchors: Tensor, gaps: Tensor) -> Tensor:
        """Embed Z-tokens.

        :param anchors: (N, D), the embeddings of their anchors.
        :param gaps: (N,), how many tokens were dropped after each.
        :return: (N, D).
        """
        return anchors + torch.where(gaps[:, None] > 0, self.gap[gaps.clamp(max=self.max_gap)], 0.0)
