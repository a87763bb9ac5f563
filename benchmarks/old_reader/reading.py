"""A model that reads Z-tokens: a decoder, a Z-embedding, and the embeddings of tokens."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from zprompt.llm import Backbone, LlamaDecoder
from zprompt.reader import ZEmbedding, load_z_embedding, merged_decoder, read_reader_config
from benchmarks.old_reader.rows import Batch


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What turns positions into hidden states, and these into logits."""

    decoder: LlamaDecoder
    embedding: ZEmbedding
    vectors: Tensor  # (V, D), frozen
    head: Tensor  # (V, D), frozen

    def embed(self, ids: Tensor, gaps: Tensor, codes: Tensor) -> Tensor:
        """Embed positions.

        :param ids: (B, T).
        :param gaps: (B, T).
        :param codes: (B, T, M).
        :return: (B, T, D).
        """
        device = self.vectors.device
        ids, gaps, codes = ids.to(device), gaps.to(device), codes.to(device)
        embedded = self.vectors[ids]
        spans = gaps > 0  # few positions of a batch have any: the others need no values
        changed = self.embedding(embedded[spans], gaps[spans], codes[spans])
        return embedded.index_put((spans,), changed)

    def hidden(self, batch: Batch) -> Tensor:
        """Read a batch.

        :param batch: The batch.
        :return: (N, D), the hidden state that is to expect each target.
        """
        embedded = self.embed(batch.ids, batch.gaps, batch.codes)
        states = self.decoder.run(embedded, batch.tree)  # type: ignore[arg-type]  # a cache that keeps nothing
        return states[batch.rows.to(states.device), batch.places.to(states.device)]

    @torch.no_grad()
    def answer(self, batch: Batch, end_id: int, most: int) -> list[list[int]]:
        """Answer prompts greedily.

        :param batch: Rows of a trunk each, and no branches.
        :param end_id: The token that ends an answer.
        :param most: Tokens that an answer has at most.
        :return: The token ids of each answer, without the one that ends it.
        """
        lengths = batch.tree.positions.argmax(dim=1) + 1
        cache = self.decoder.new_cache(len(lengths))
        states = self.decoder.run(self.embed(batch.ids, batch.gaps, batch.codes), cache)
        cache.rollback(lengths)
        last = states[torch.arange(len(lengths)), lengths - 1]
        answers: list[list[int]] = [[] for _ in lengths]
        ended = [False] * len(lengths)
        for _ in range(most):
            ids = (last @ self.head.T).argmax(dim=1)
            for row, token in enumerate(cast(list[int], ids.tolist())):
                ended[row] = ended[row] or token == end_id
                if not ended[row]:
                    answers[row].append(token)
            if all(ended):
                break
            last = self.decoder.run(self.vectors[ids][:, None], cache)[:, 0]
        return answers


def load_reading(folder: Path, backbone: Backbone) -> Reading:
    """Load a reader's model, as it was written.

    :param folder: The reader's folder.
    :param backbone: The backbone that it was trained on.
    :return: The model.
    :raises CheckpointError: If it is damaged, or does not fit.
    """
    embedding = load_z_embedding(folder, read_reader_config(folder), backbone.hidden_size).to(backbone.device)
    return Reading(merged_decoder(folder, backbone), embedding, backbone.embeddings, backbone.output_embeddings)
