"""Hidden states of the training windows, computed once and kept in a file.

The LLM is frozen, so its hidden states never change: training passes over them many times for the price of one. The
file grows while training runs, so that training need not wait for it.
"""

import copy
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.llm import Backbone

BATCH = 8  # windows at a time


class FeatureStore:
    """Hidden states of the first windows of a corpus, in half precision, on disk."""

    def __init__(self, folder: Path, backbone: Backbone, windows: NDArray[np.int32], dtype: torch.dtype) -> None:
        """Open the file, or start it.

        :param folder: Where it is kept.
        :param backbone: The LLM.
        :param windows: (N, T), token ids.
        :param dtype: What the LLM computes in.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.windows, self.backbone, self.dtype = windows, backbone, dtype
        self._record = folder / "features.json"
        key = [backbone.fingerprint, str(dtype), list(windows.shape), sha256(windows.tobytes()).hexdigest()]
        record = json.loads(self._record.read_text()) if self._record.is_file() else {}
        self.count = int(record["count"]) if record.get("key") == key else 0
        self._key = key
        path, shape = folder / "features.npy", (*windows.shape, backbone.hidden_size)
        self._states = np.lib.format.open_memmap(
            path, "r+" if self.count else "w+", np.float16, None if self.count else shape
        )
        self._decoder: Any = None

    def ensure(self, count: int) -> None:
        """Compute hidden states until there are enough.

        :param count: Windows whose states are wanted.
        """
        count = min(count, len(self.windows))
        while self.count < count:
            rows = slice(self.count, min(self.count + BATCH, len(self.windows)))
            self._states[rows] = self._compute(self.windows[rows])
            self.count = rows.stop
            self._record.write_text(json.dumps({"key": self._key, "count": self.count}))

    def __getitem__(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Read hidden states.

        :param rows: (B,), indices of windows.
        :return: (B, T, H) in fp32.
        """
        return torch.from_numpy(self._states[rows].astype(np.float32))

    @torch.no_grad()
    def _compute(self, windows: NDArray[np.int32]) -> NDArray[np.float16]:
        if self._decoder is None:
            same = self.dtype == torch.float32 or self.backbone.quantization != "none"
            self._decoder = self.backbone.decoder if same else copy.deepcopy(self.backbone.decoder).to(self.dtype)  # type: ignore[attr-defined]
        ids = torch.from_numpy(windows.astype(np.int64))
        start = torch.full((len(ids), 1), self.backbone.start_id)
        hidden = self._decoder(torch.cat((start, ids[:, :-1]), 1).to(self.backbone.device))
        # Far beyond what a normalised state holds; half precision would make it infinite.
        result: NDArray[np.float16] = hidden.float().clamp(-6e4, 6e4).half().cpu().numpy()
        return result
