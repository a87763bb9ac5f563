"""Turn Z-tokens into input embeddings of the LLM, one position each.

    x = E[anchor] + scale * sum_m slot[m] * value[role_m, code_m] + gap[g]          g > 0
    x = E[anchor]                                                                    g = 0

A sub-code's value stands for the same words in every span (see codec/code_layout.py), so it has one vector for each
role; where in the span its segment lies is what `slot` adds, by channel. In a new Z-embedding values and gaps are zero:
an anchor reads like the token that it is. Training starts the values at the words that they stand for.
"""

import torch
from torch import Tensor, nn

from zprompt.codec import CodecSettings, layout


class ZEmbedding(nn.Module):
    """The embedding of gaps and codes, added to the anchors' own."""

    roles: Tensor

    def __init__(self, settings: CodecSettings, hidden_size: int, codes: bool = True) -> None:
        """Build an embedding in which gaps and codes add nothing yet.

        :param settings: The codec's settings.
        :param hidden_size: Width of the LLM's embeddings, D.
        :param codes: False ignores the codes: only anchors and gaps are read.
        """
        super().__init__()
        places = layout(settings.subcodes, settings.max_gap)
        self.codes = codes
        self.scale = nn.Parameter(torch.ones(()))
        self.slot = nn.Parameter(torch.ones(settings.subcodes, hidden_size))
        self.value = nn.Parameter(torch.zeros(len(places.sizes), settings.subcode_size, hidden_size))
        self.gap = nn.Parameter(torch.zeros(settings.max_gap + 1, hidden_size))
        self.register_buffer("roles", torch.from_numpy(places.role), persistent=False)  # (G + 1, M)

    def forward(self, anchors: Tensor, gaps: Tensor, codes: Tensor) -> Tensor:
        """Embed Z-tokens.

        :param anchors: (N, D), the embeddings of their anchors.
        :param gaps: (N,), tokens of their spans.
        :param codes: (N, M), their sub-codes.
        :return: (N, D).
        """
        added = self.gap[gaps]
        if self.codes:
            values = self.value[self.roles[gaps], codes]  # (N, M, D)
            added = added + self.scale * (self.slot * values).sum(dim=1)
        return anchors + torch.where(gaps[:, None] > 0, added, 0.0)
