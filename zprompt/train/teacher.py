"""What the frozen LLM predicts for each token of a passage when it reads the plain text, computed once and stored.

For each token of each passage: the k most likely tokens with their log-probabilities, and the surprisal of the actual
token. The files grow passage by passage, so that an interrupted run continues where it stopped.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.llm import Backbone
from zprompt.train.packing import Ints, TopTokens
from zprompt.train.passages import CountReport, TiledPassage

BATCH = {"cpu": 8, "cuda": 64}  # passages at a time; a GPU needs many to be fast


class Teacher:
    """The predictions for passages, on disk."""

    def __init__(self, folder: Path, backbone: Backbone, passages: Sequence[Ints], top: int) -> None:
        """Open the files, or start them.

        :param folder: Where they are stored.
        :param backbone: The LLM.
        :param passages: The token ids of each passage.
        :param top: How many tokens to keep, k.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.backbone, self.passages, self.top = backbone, passages, min(top, backbone.vocab_size)
        digest = sha256(b"".join(len(ids).to_bytes(4) + ids.tobytes() for ids in passages)).hexdigest()
        self._key = [backbone.fingerprint, self.top, len(passages), digest]
        self._record = folder / "teacher.json"
        record = json.loads(self._record.read_text()) if self._record.is_file() else {}
        self.count = int(record["count"]) if record.get("key") == self._key else 0
        # Longest last, so that passages of a batch are of similar length; the files are in this order.
        self._order = np.argsort([len(ids) for ids in passages], kind="stable")
        ends = np.cumsum([len(passages[index]) for index in self._order])
        self._first = np.empty(len(passages), np.int64)
        self._first[self._order] = np.concatenate(([0], ends[:-1])) if len(passages) else ends
        total = int(ends[-1]) if len(passages) else 0
        mode = "r+" if self.count else "w+"
        self._ids = _open(folder / "ids.npy", mode, np.int32, (total, self.top))
        self._log = _open(folder / "log_probabilities.npy", mode, np.float16, (total, self.top))
        self._surprisal = _open(folder / "surprisal.npy", mode, np.float16, (total,))

    def ensure(self, report: CountReport | None = None) -> None:
        """Compute the missing predictions; `report` is called with passages done and passages in all."""
        while self.count < len(self.passages):
            chosen = self._order[self.count : self.count + BATCH[self.backbone.device.type]]
            self._compute(chosen)
            self.count += len(chosen)
            self._record.write_text(json.dumps({"key": self._key, "count": self.count}))
            if report:
                report(self.count, len(self.passages))

    def top_tokens(self, index: int, part: slice) -> TopTokens:
        """Return the predictions for some tokens of a passage."""
        rows = slice(self._first[index] + part.start, self._first[index] + part.stop)
        return TopTokens(self._ids[rows].astype(np.int64), self._log[rows].astype(np.float32))

    def surprisal(self, index: int) -> NDArray[np.float32]:
        """Return -log p of each token of a passage, (n,), in nats."""
        first = self._first[index]
        return self._surprisal[first : first + len(self.passages[index])].astype(np.float32)

    def _compute(self, chosen: Ints) -> None:
        """Compute the predictions for some passages, the longest of which is last."""
        longest = len(self.passages[chosen[-1]])
        ids = torch.full((len(chosen), longest), self.backbone.start_id)
        for row, index in enumerate(chosen):
            ids[row, : len(self.passages[index])] = torch.from_numpy(self.passages[index])
        start = torch.full((len(chosen), 1), self.backbone.start_id)
        hidden = self.backbone.hidden(torch.cat((start, ids[:, :-1]), 1))
        for states, index in zip(hidden, chosen, strict=True):
            self._store(states[: len(self.passages[index])], int(index))

    @torch.no_grad()
    def _store(self, hidden: Tensor, index: int) -> None:
        """Store the predictions for one passage from its hidden states, (n, D)."""
        log = self.backbone.logits(hidden).log_softmax(dim=1)
        targets = torch.from_numpy(self.passages[index]).to(log.device)
        top = log.topk(self.top, dim=1)
        rows = slice(self._first[index], self._first[index] + len(targets))
        self._ids[rows], self._log[rows] = top.indices.cpu().numpy(), top.values.cpu().numpy()
        self._surprisal[rows] = -log.gather(1, targets[:, None])[:, 0].cpu().numpy()


def with_surprisals(
    passages: Sequence[TiledPassage], folder: Path, backbone: Backbone, report: CountReport | None = None
) -> list[TiledPassage]:
    """Add the surprisals that pruning goes by to passages.

    :param passages: The passages.
    :param folder: Where surprisals are stored.
    :param backbone: The LLM.
    :param report: Called with passages done and passages in all.
    :return: The same passages, in order.
    """
    teacher = Teacher(folder, backbone, [passage.ids for passage in passages], 1)
    teacher.ensure(report)
    return [replace(passage, surprisal=teacher.surprisal(index)) for index, passage in enumerate(passages)]


def _open(path: Path, mode: str, dtype: type, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Map a file into memory."""
    opened: NDArray[np.generic] = np.lib.format.open_memmap(
        path, "r+" if mode == "r+" else "w+", None if mode == "r+" else dtype, None if mode == "r+" else shape
    )
    return opened
