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
from torch.nn import functional

from zprompt.codec.settings import CodecSettings
from zprompt.codec.tiling import Ints
from zprompt.llm import ALONE, Backbone, batches, join, one_thread, pad_rows, padded_batch
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
        joined = [index for index, ids in enumerate(windows) if len(ids) > ALONE] if self.backbone.llama else []
        if joined:
            row, planner = join([windows[index] for index in joined], self.backbone.start_id)
            lengths = [len(windows[index]) for index in joined]
            read = self.backbone.hidden(row, planner)[0, : sum(lengths)].split(lengths)
            for index, state in zip(joined, read, strict=True):
                states[index] = state
        rest = [index for index in range(len(windows)) if index not in joined]
        for length, group in batches([len(windows[index]) for index in rest]):
            own = [rest[place] for place in group]
            batch = padded_batch([list(windows[index]) for index in own], length, self.backbone.start_id)
            with one_thread() if length <= ALONE else nullcontext():
                hidden = self.backbone.hidden(batch)
            for index, state in zip(own, hidden, strict=False):
                states[index] = state[: len(windows[index])]
        return states

    def symbols(self, hidden: Sequence[Tensor], windows: Sequence[Sequence[int]]) -> list[Ints]:
        """Return the symbol of each token.

        :param hidden: (n, H) for each window, hidden states that predict the tokens.
        :param windows: Their n ids.
        :return: (n,) for each.
        """
        symbols: list[Ints] = [np.zeros(0, np.int64)] * len(windows)
        together = [index for index, ids in enumerate(windows) if len(ids) > ALONE]
        alone = [[index] for index, ids in enumerate(windows) if 0 < len(ids) <= ALONE]
        for group in filter(None, (together, *alone)):
            true = torch.tensor([token for index in group for token in windows[index]])
            found = self._rank(torch.cat([hidden[index] for index in group]), true)
            ends = np.cumsum([len(windows[index]) for index in group])[:-1]
            for index, own in zip(group, np.split(found.numpy(), ends), strict=True):
                symbols[index] = own
        return symbols

    @torch.no_grad()
    def _rank(self, hidden: Tensor, true: Tensor) -> Tensor:
        """Return the symbols of tokens, (n,) on the CPU, given what predicts them, (n, H)."""
        rows = pad_rows(hidden)
        own_ids = functional.pad(true, (0, len(rows) - len(true))).to(hidden.device)
        found = []
        with one_thread() if len(true) <= ALONE else nullcontext():
            for some, ids in zip(rows.split(RANKED_ROWS), own_ids.split(RANKED_ROWS), strict=True):
                logits = self.backbone.logits(some)
                own = logits.gather(1, ids[:, None])
                above = _count_above(logits, own + self.settings.margin)
                near = _count_above(logits, own - self.settings.margin) - 1  # without the token itself
                found.append(torch.where((near == above) & (above < LITERALS), above, LITERALS + ids))
        return torch.cat(found)[: len(true)].cpu()


def _count_above(logits: Tensor, least: Tensor) -> Tensor:
    """Count what is above (n, 1) in each row, (n,); on a CPU by numpy, which takes half of torch's time for it."""
    if logits.device.type == "cpu":
        return torch.from_numpy(np.count_nonzero(logits.numpy() > least.numpy(), axis=1))
    return (logits > least).sum(1)
