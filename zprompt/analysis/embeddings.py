"""Two embeddings of a segment, as the backbone sees it.

    in context    mean of the last layer's hidden states at the segment's tokens, read in the codec's window
    alone         mean of the backbone's input embeddings of the segment's tokens

Both lie in a narrow cone, where any two vectors are alike, so each is centred on the mean of its role and brought to
length 1. The last layer's states say what comes next as much as what was said: they are what the backbone offers, and
no embedding model.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from zprompt.analysis.intervals import Ints
from zprompt.analysis.sample import Sample
from zprompt.analysis.segments import Occurrences
from zprompt.llm import Backbone
from zprompt.progress import Progress

EMBEDDINGS = {
    "in_context": "mean of the backbone's last hidden states at the tokens, centred on the mean of the role",
    "alone": "mean of the backbone's input embeddings of the tokens, centred on the mean of the role",
    "same_words": "as in_context",
}

Vectors = NDArray[np.float32]


def embed_in_context(
    backbone: Backbone, sample: Sample, occurrences: Occurrences, window: int, progress: Progress | None = None
) -> Vectors:
    """Embed each use of a sub-code where it stands.

    :param backbone: The LLM.
    :param sample: The texts.
    :param occurrences: The uses.
    :param window: Source tokens of a window.
    :param progress: Called with ("read", texts done, texts in all).
    :return: (n, D).
    """
    vectors = np.zeros((len(occurrences), backbone.hidden_size), np.float32)
    for index, document in enumerate(sample.documents):
        mine = occurrences.document == index
        states = _states(backbone, document.tile.ids, window)
        vectors[mine] = _means(states, occurrences.start[mine], occurrences.size[mine])
        if progress:
            progress("read", index + 1, len(sample.documents))
    return vectors


def embed_alone(backbone: Backbone, segments: tuple[tuple[int, ...], ...]) -> Vectors:
    """Embed segments by their tokens alone.

    :param backbone: The LLM.
    :param segments: Token ids of each.
    :return: (segments, D).
    """
    table = backbone.embeddings.float().cpu().numpy()
    vectors = np.zeros((len(segments), table.shape[1]), np.float32)
    for index, ids in enumerate(segments):
        vectors[index] = table[list(ids)].mean(0)
    return vectors


def centred(vectors: Vectors, role: Ints) -> Vectors:
    """Centre vectors on the mean of their role, and give them length 1.

    :param vectors: (n, D).
    :param role: (n,).
    :return: (n, D); a vector that is its role's mean becomes 0.
    """
    result = np.zeros_like(vectors)
    for one in np.unique(role):
        mine = role == one
        moved = vectors[mine] - vectors[mine].mean(0)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        result[mine] = np.divide(moved, length, out=np.zeros_like(moved), where=length > 1e-6)
    return result


def _states(backbone: Backbone, ids: Ints, window: int) -> Vectors:
    """Give the hidden state at each token of a text: (n, D)."""
    states = []
    for first in range(0, len(ids), window):
        row = torch.tensor([[backbone.start_id, *ids[first : first + window].tolist()]])
        states.append(backbone.hidden(row)[0, 1:].float().cpu().numpy())
    return np.concatenate(states)


def _means(states: Vectors, start: Ints, size: Ints) -> Vectors:
    """Average the states of segments: (n, D)."""
    sums = np.concatenate([np.zeros((1, states.shape[1])), np.cumsum(states, axis=0, dtype=np.float64)])
    means: Vectors = ((sums[start + size] - sums[start]) / size[:, None]).astype(np.float32)
    return means
