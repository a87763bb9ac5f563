"""What the decompressor will see of each token of a window: one LLM pass, and ranks in the full vocabulary.

The decompressor sees, at every step, the text that the compressor saw, since all that it has restored so far is right.
So the hidden states of this one pass are the ones that it will compute, and no second pass is needed.

    symbol[t] = the number of tokens v with  E[v]·h[t] > E[x[t]]·h[t] + margin

counts only if none is within `margin` of the true token's logit, since logits differ by about 1e-5 between batch
shapes, thread counts and machines; else, and from rank 256 on, the symbol is the token itself. So what is written is
what comes back.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from zprompt.codec.settings import CodecSettings
from zprompt.llm import ALONE, Backbone, batches, one_thread, pad_rows, padded_batch
from zprompt.zspan import LITERALS

RANKED_ROWS = 256  # full-vocabulary rows at a time


class Compressor:
    """Ranks the tokens of windows among the LLM's candidates."""

    def __init__(self, backbone: Backbone, settings: CodecSettings) -> None:
        self.backbone, self.settings = backbone, settings

    def hidden(self, windows: Sequence[Sequence[int]]) -> list[Tensor]:
        """Run the LLM over windows of token ids.

        :param windows: Token ids of each window.
        :return: (n, H) for each: hidden[t] predicts token t from the start token and those before t.
        """
        states: list[Tensor] = [torch.empty(0)] * len(windows)
        for length, group in batches([len(ids) for ids in windows]):
            batch = padded_batch([list(windows[index]) for index in group], length, self.backbone.start_id)
            with one_thread() if length <= ALONE else nullcontext():
                hidden = self.backbone.hidden(batch)
            for index, state in zip(group, hidden, strict=False):
                states[index] = state[: len(windows[index])]
        return states

    @torch.no_grad()
    def symbols(self, hidden: Tensor, ids: Sequence[int]) -> Tensor:
        """Return the symbol of each token.

        :param hidden: (n, H), hidden states that predict the tokens.
        :param ids: Their n ids.
        :return: (n,) on the CPU.
        """
        true = torch.tensor(ids, device=hidden.device)
        rows = torch.arange(len(true)).split(RANKED_ROWS)
        return torch.cat([self._rank(hidden[chunk], true[chunk]) for chunk in rows] or [true]).cpu()

    def _rank(self, hidden: Tensor, true: Tensor) -> Tensor:
        with one_thread() if len(true) <= ALONE else nullcontext():
            logits = self.backbone.logits(pad_rows(hidden))[: len(true)]
        own = logits.gather(1, true[:, None])
        above = _count(logits > own + self.settings.margin)
        near = _count(logits > own - self.settings.margin) - 1  # without the token itself
        return torch.where((near == above) & (above < LITERALS), above, LITERALS + true)


def _count(mask: Tensor) -> Tensor:
    """Count what is True in each row; on a CPU by numpy, which takes a tenth of torch's time for it."""
    return torch.from_numpy(np.count_nonzero(mask.numpy(), axis=1)) if mask.device.type == "cpu" else mask.sum(1)
