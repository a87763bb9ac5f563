"""Rank each token of a window under the LLM: one pass, and ranks in the full vocabulary.

At every step the decompressor sees the text that the compressor saw, since everything that it has restored so far is
right. So it will compute the hidden states of this one pass, and no second pass is needed.

    symbol[t] = the number of tokens v with  E[v]·h[t] > E[x[t]]·h[t] + margin

is a valid rank only if no other logit is within `margin` of the true token's, since logits differ by about 1e-5 between
batch shapes, thread counts and machines; otherwise, and from rank 256 on, the symbol is the token itself. So what is
written is what comes back.
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

RANKED_ROWS = 256  # rows of logits, each over the full vocabulary, in memory at a time


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
            hidden = self.backbone.hidden(row, planner)[0, : sum(lengths)]
            for index, state in zip(joined, hidden.split(lengths), strict=True):
                states[index] = state
        padded = [index for index in range(len(windows)) if index not in joined]
        for length, group in batches([len(windows[index]) for index in padded]):
            indices = [padded[row_index] for row_index in group]
            batch = padded_batch([list(windows[index]) for index in indices], length, self.backbone.start_id)
            with one_thread() if length <= ALONE else nullcontext():
                hidden = self.backbone.hidden(batch)
            for index, state in zip(indices, hidden, strict=False):  # rows may be added to the batch
                states[index] = state[: len(windows[index])]
        return states

    def symbols(self, hidden: Sequence[Tensor], windows: Sequence[Sequence[int]]) -> list[Ints]:
        """Return the symbol of each token.

        :param hidden: (n, H) for each window, hidden states that predict the tokens.
        :param windows: The n token ids of each.
        :return: (n,) for each.
        """
        symbols: list[Ints] = [np.zeros(0, np.int64)] * len(windows)
        together = [index for index, ids in enumerate(windows) if len(ids) > ALONE]
        alone = [[index] for index, ids in enumerate(windows) if 0 < len(ids) <= ALONE]
        for group in filter(None, (together, *alone)):
            ids = torch.tensor([token for index in group for token in windows[index]])
            ranked = self._rank(torch.cat([hidden[index] for index in group]), ids)
            ends = np.cumsum([len(windows[index]) for index in group])[:-1]
            for index, window_symbols in zip(group, np.split(ranked.numpy(), ends), strict=True):
                symbols[index] = window_symbols
        return symbols

    @torch.no_grad()
    def _rank(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """Return the symbols of tokens, (n,) on the CPU, given their ids, (n,), and what predicts them, (n, H)."""
        rows = pad_rows(hidden)
        padded_ids = functional.pad(ids, (0, len(rows) - len(ids))).to(hidden.device)
        symbols = []
        with one_thread() if len(ids) <= ALONE else nullcontext():
            for chunk, chunk_ids in zip(rows.split(RANKED_ROWS), padded_ids.split(RANKED_ROWS), strict=True):
                logits = self.backbone.logits(chunk)
                true_logits = logits.gather(1, chunk_ids[:, None])
                rank = _count_above(logits, true_logits + self.settings.margin)
                above = _count_above(logits, true_logits - self.settings.margin) - 1  # without the token itself
                symbols.append(torch.where((above == rank) & (rank < LITERALS), rank, LITERALS + chunk_ids))
        return torch.cat(symbols)[: len(ids)].cpu()


def _count_above(logits: Tensor, bound: Tensor) -> Tensor:
    """Count the logits of each row above its bound, (n, 1) to (n,)."""
    if logits.device.type == "cpu":  # numpy takes half of torch's time
        return torch.from_numpy(np.count_nonzero(logits.numpy() > bound.numpy(), axis=1))
    return (logits > bound).sum(1)
