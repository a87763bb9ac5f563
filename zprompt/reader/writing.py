"""Write Z-tokens: what the reader adds to an anchor that its LM head chose.

    anchor      a = the LM head's choice, from h, the hidden state where the Z-token is expected
    gap         g = argmax  gap · y                                   y = gelu(hidden(norm h) + anchor(norm E[a]))
    sub-code    c_m = argmax  out[role_m] · z_m                       m = 1 .. M, one after the other
                z_m = gelu(mid(y) + slot[g, m] + before[role_(m-1), c_(m-1)])

Roles are those of codec/layout.py: a sub-code's value means the same words in every span, so there is one table for
each role, and `slot` says where in which span. h is the reader's own, which stays as it is: only these heads are
trained (train/writer). A text in Z-tokens has no residual, so what a span says is the decompressor's first guess.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from zprompt.codec.layout import layout
from zprompt.codec.settings import CodecSettings

WIDTH = 384  # hidden units


class ZWriter(nn.Module):
    """Chooses gap and code of a Z-token whose anchor is known."""

    roles: Tensor

    def __init__(self, settings: CodecSettings, hidden_size: int, width: int = WIDTH) -> None:
        """Make a writer with random weights.

        :param settings: The codec's settings.
        :param hidden_size: Width of the LLM's hidden states and embeddings, D.
        :param width: Hidden units, W.
        """
        super().__init__()
        places = layout(settings.subcodes, settings.max_gap)
        shape = (len(places.sizes), settings.subcode_size)
        self.hidden = nn.Linear(hidden_size, width)
        self.anchor = nn.Linear(hidden_size, width, bias=False)
        self.gap = nn.Linear(width, settings.max_gap + 1)
        self.mid = nn.Linear(width, width)
        self.slot = nn.Parameter(torch.zeros(settings.max_gap + 1, settings.subcodes, width))
        self.before = nn.Parameter(0.1 * torch.randn(*shape, width))
        self.out = nn.Parameter(torch.randn(*shape, width) * width**-0.5)
        self.register_buffer("roles", torch.from_numpy(places.role), persistent=False)  # (G + 1, M)

    def features(self, hidden: Tensor, anchors: Tensor) -> Tensor:
        """Give y, from which gap and code are chosen.

        :param hidden: (N, D), the hidden states where the Z-tokens are expected.
        :param anchors: (N, D), the embeddings of their anchors.
        :return: (N, W).
        """
        size = hidden.shape[-1:]
        y = self.hidden(functional.layer_norm(hidden, size)) + self.anchor(functional.layer_norm(anchors, size))
        return functional.gelu(y)

    def gap_logits(self, features: Tensor) -> Tensor:
        """Weigh the gaps.

        :param features: (N, W).
        :return: (N, G + 1).
        """
        logits: Tensor = self.gap(features)
        return logits

    def subcode_logits(self, features: Tensor, gaps: Tensor, codes: Tensor, m: int) -> Tensor:
        """Weigh the values of one sub-code.

        :param features: (N, W).
        :param gaps: (N,), the gaps that were chosen.
        :param codes: (N, at least m), the sub-codes before this one.
        :param m: Which sub-code, from 0.
        :return: (N, K).
        """
        z = self.mid(features) + self.slot[gaps, m]
        if m:
            z = z + self.before[self.roles[gaps, m - 1], codes[:, m - 1]]
        # All roles at once: a product with the rows' own tables would first have to copy one for each row.
        logits: Tensor = (functional.gelu(z) @ self.out.flatten(0, 1).T).unflatten(1, self.out.shape[:2])
        return logits[torch.arange(len(gaps), device=gaps.device), self.roles[gaps, m]]

    @torch.no_grad()
    def choose(self, hidden: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """Choose gap and code of Z-tokens, the most likely ones.

        :param hidden: (N, D), the hidden states where the Z-tokens are expected.
        :param anchors: (N, D), the embeddings of their anchors.
        :return: Gaps, (N,), and sub-codes, (N, M), zeros where the gap is 0.
        """
        features = self.features(hidden, anchors)
        gaps = self.gap_logits(features).argmax(dim=1)
        codes = gaps.new_zeros(len(gaps), self.roles.shape[1])
        for m in range(codes.shape[1]):
            codes[:, m] = self.subcode_logits(features, gaps, codes, m).argmax(dim=1)
        return gaps, codes * (gaps > 0)[:, None]
