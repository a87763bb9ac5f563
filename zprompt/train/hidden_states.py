"""A cache of the frozen LLM's hidden states of the training windows, in half precision on disk.

The LLM is frozen, so its hidden states never change: training passes over them many times at the price of one pass.
The file grows while training runs, so training need not wait for all of it.
"""

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.llm import Backbone

BATCH = 8  # windows at a time


class HiddenStateCache:
    """Hidden states of the first `count` windows of a corpus."""

    def __init__(self, folder: Path, backbone: Backbone, windows: NDArray[np.int32], dtype: torch.dtype) -> None:
        """Open the cache, or start it anew if it is of another backbone, precision or text.

        :param folder: Where it is kept.
        :param backbone: The LLM.
        :param windows: (N, T), token ids.
        :param dtype: The precision that the LLM computes in.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.windows, self.backbone, self.dtype = windows, backbone, dtype
        self._record = folder / "hidden_states.json"
        self._key = [backbone.fingerprint, str(dtype), list(windows.shape), sha256(windows.tobytes()).hexdigest()]
        record = json.loads(self._record.read_text()) if self._record.is_file() else {}
        self.count = int(record["count"]) if record.get("key") == self._key else 0
        self._states = np.lib.format.open_memmap(
            folder / "hidden_states.npy",
            mode="r+" if self.count else "w+",
            dtype=np.float16,
            shape=None if self.count else (*windows.shape, backbone.hidden_size),
        )
        self._decoder: Any = None

    def ensure(self, count: int) -> None:
        """Compute hidden states until there are those of at least `count` windows, or of all."""
        count = min(count, len(self.windows))
        while self.count < count:
            rows = slice(self.count, min(self.count + BATCH, len(self.windows)))
            self._states[rows] = self._compute(self.windows[rows])
            self.count = rows.stop
            self._record.write_text(json.dumps({"key": self._key, "count": self.count}))

    def __getitem__(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the hidden states of windows, (B, T, H) in fp32."""
        return torch.from_numpy(self._states[rows].astype(np.float32))

    @torch.no_grad()
    def _compute(self, windows: NDArray[np.int32]) -> NDArray[np.float16]:
        if self._decoder is None:
            same = self.dtype == torch.float32 or self.backbone.quantization != "none"
            self._decoder = self.backbone.decoder if same else copy.deepcopy(self.backbone.decoder).to(self.dtype)  # type: ignore[attr-defined]
        ids = torch.from_numpy(windows.astype(np.int64))
        hidden = self._decoder(shift_right(ids, self.backbone.start_id).to(self.backbone.device))
        # Far beyond what a normalised state holds; half precision would make it infinite.
        result: NDArray[np.float16] = hidden.float().clamp(-6e4, 6e4).half().cpu().numpy()
        return result


def shift_right(ids: Tensor, start_id: int) -> Tensor:
    """Return windows as the LLM reads them, (B, T): after the start token, and without the last token."""
    start = torch.full((len(ids), 1), start_id, dtype=ids.dtype, device=ids.device)
    return torch.cat((start, ids[:, :-1]), 1)
