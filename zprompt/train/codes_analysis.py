"""What the codes of a reader mean: `zprompt analyze`.

    usage        entropy H = -Σ p log2 p of a code's values in bits, at most log2 V; share of values never used
    polysemy     different runs of tokens per value, and the share of a value's uses that its commonest run has
    consistency  mean cosine of all pairs of uses that share a value, without pairs of the same tokens, which are alike
                 anyway; each value weighted by its uses. The control shuffles the values within a slot

A use is one occurrence of a code, with the tokens that it stands for: those of its segment, or with paper A, which has
no segments, the t-th of K equal parts of the text. Its vector is the mean of the plain LLM's last hidden states over
these tokens, centred on the mean of all uses in the same slot, since hidden states lie in a narrow cone. The slot is
the index of a sub-code after its anchor.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zprompt.codec import Codec
from zprompt.errors import TrainingDataError
from zprompt.llm import Backbone
from zprompt.train.codes import CodesModel, SpanCodes, load_codes
from zprompt.train.corpus import read_texts
from zprompt.train.packing import Ints, PackedSequence, Positions, make_batch
from zprompt.train.passages import TiledPassage, cut_passages, tile_passage
from zprompt.train.reader_data import as_input

SHUFFLES = 10  # of the control
TOKENS = (64, 320)  # of a passage, at least and at most


@dataclass(frozen=True, slots=True)
class CodesAnalysis:
    """What codes mean."""

    passages: int
    uses: int
    ratio: float  # source tokens per position of the reader
    values: int  # V
    bits: float  # entropy of the values, mean over slots, each weighted by its uses
    unused: float  # share of the values that do not occur, likewise
    runs: float  # different runs of tokens of a value, mean over values
    commonest: float  # share of a value's uses that its commonest run has, mean over uses
    cosine: float  # of uses that share a value
    control: float  # the same with values shuffled within their slot

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """All n uses of codes."""

    values: Ints  # (n,)
    slots: Ints  # (n,) which sub-code; 0 for paper A
    runs: Ints  # (n,) a number for each run of tokens
    vectors: NDArray[np.float32]  # (n, D), centred and of length 1


def analyze_codes(
    folder: Path, sources: Sequence[str], *, passages: int = 100, codec_name: str = "default", seed: int = 0
) -> CodesAnalysis:
    """Compress passages with codes, and measure what these mean.

    :param folder: What `zprompt train reader --input codes` or `--input paper-a` wrote.
    :param sources: Text, as `read_texts` takes it.
    :param passages: How many passages of it, at most.
    :param codec_name: The codec that chooses the anchors.
    :param seed: Seed of the choice of passages and of the shuffles.
    :return: The figures.
    :raises TrainingDataError: If no passage has a code.
    """
    codec = Codec.from_pretrained(codec_name, quantization="none")
    model, backbone = load_codes(folder, codec.backbone), codec.backbone
    config = model.codes.config
    texts = cut_passages(read_texts(sources), backbone.encode_with_offsets, *TOKENS, passages, seed)
    spans = codec.compress(texts, ratio=config.ratio, on_error="passthrough").documents
    tiled = [tile for text, span in zip(texts, spans, strict=True) if (tile := tile_passage(text, span, codec))]
    passage_uses = [uses_in(model, backbone, passage) for passage in tiled]
    if not sum(len(values) for values, *_ in passage_uses):
        raise TrainingDataError("No passage has a code. Pass longer texts, in a language that the LLM knows.")
    uses = collect(passage_uses)
    positions = sum(size for *_, size in passage_uses)
    return measure(uses, config.codes, len(tiled), sum(len(passage.ids) for passage in tiled) / positions, seed)


# Values, slots, runs, vectors, and the positions that the reader has of the passage.
PassageUses = tuple[Ints, Ints, list[tuple[int, ...]], NDArray[np.float32], int]


@torch.no_grad()
def uses_in(model: CodesModel, backbone: Backbone, passage: TiledPassage) -> PassageUses:
    """List the uses of codes in a passage."""
    kind, start = model.codes.config.kind, Positions.of_ids([backbone.start_id])
    trunk = Positions.concatenate((start, Positions.of_pieces([as_input(passage, kind).piece])))
    ids = torch.from_numpy(trunk.ids)[None]
    embedded, states = model.vectors[ids.to(model.vectors.device)], backbone.hidden(ids)[0]
    if isinstance(model.codes, SpanCodes):
        batch = make_batch([PackedSequence("repetition", trunk, ())])
        segments = model.codes.segments(batch.gaps.to(embedded.device))
        values = (model.compress(batch, embedded)[segments.rows, segments.ends] @ model.codes.head.T).argmax(1)
        edges, slots = torch.stack((segments.firsts, segments.ends + 1), 1), segments.slots
        size = int((~segments.dropped).sum()) - 1
    else:
        inside = torch.ones(1, len(passage.ids), dtype=torch.bool, device=embedded.device)
        translation = model.codes.translate(model, embedded[:, 1:], inside, None)
        size = int(translation.lengths[0])
        values = translation.codes[0, :size]
        cuts = 1 + torch.arange(size + 1, device=values.device) * len(passage.ids) // size
        edges, slots = torch.stack((cuts[:-1], cuts[1:]), 1), torch.zeros_like(values)
    runs = [tuple(trunk.ids[first:end].tolist()) for first, end in edges.tolist()]
    return _numpy(values), _numpy(slots), runs, _means(states, edges), size


def _numpy(tensor: Tensor) -> Ints:
    return tensor.cpu().numpy().astype(np.int64)


def _means(states: Tensor, edges: Tensor) -> NDArray[np.float32]:
    """Average states, (T, D), between edges, (n, 2)."""
    means = [states[first:end].mean(0) for first, end in edges.tolist()]
    return torch.stack(means).cpu().numpy() if means else np.zeros((0, states.shape[1]), np.float32)


def collect(passage_uses: Sequence[PassageUses]) -> Uses:
    """Join the uses of all passages, and centre and normalise their vectors."""
    values, slots, vectors = (np.concatenate([uses[field] for uses in passage_uses]) for field in (0, 1, 3))
    numbers: dict[tuple[int, ...], int] = {}
    runs = np.array([numbers.setdefault(run, len(numbers)) for uses in passage_uses for run in uses[2]], np.int64)
    for slot in np.unique(slots):
        vectors[slots == slot] -= vectors[slots == slot].mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return Uses(values, slots, runs, vectors)


def measure(uses: Uses, size: int, passages: int, ratio: float, seed: int) -> CodesAnalysis:
    """Measure usage, polysemy and consistency.

    :param uses: The uses.
    :param size: Values of a code, V.
    :param passages: How many passages the uses are of.
    :param ratio: Source tokens per position.
    :param seed: Seed of the shuffles.
    :return: The figures.
    """
    groups = uses.slots * size + uses.values
    bits, unused = [], []
    for slot in np.unique(uses.slots):
        counts = np.bincount(uses.values[uses.slots == slot], minlength=size)
        shares = counts[counts > 0] / counts.sum()
        bits.append(-counts.sum() * (shares * np.log2(shares)).sum())
        unused.append(counts.sum() * (counts == 0).mean())
    group_runs, run_counts = np.unique(np.stack((groups, uses.runs), 1), axis=0, return_counts=True)
    _, group_index = np.unique(group_runs[:, 0], return_inverse=True)
    commonest = np.zeros(group_index.max() + 1)
    np.maximum.at(commonest, group_index, run_counts)
    random = np.random.default_rng(seed)
    control = [consistency(uses, _shuffled(groups, uses.slots, random)) for _ in range(SHUFFLES)]
    return CodesAnalysis(
        passages=passages,
        uses=len(groups),
        ratio=ratio,
        values=size,
        bits=float(sum(bits) / len(groups)),
        unused=float(sum(unused) / len(groups)),
        runs=float(np.bincount(group_index).mean()),
        commonest=float(commonest.sum() / len(groups)),
        cosine=consistency(uses, groups),
        control=float(np.mean(control)),
    )


def _shuffled(groups: Ints, slots: Ints, random: np.random.Generator) -> Ints:
    """Shuffle the groups of the uses within each slot."""
    shuffled = groups.copy()
    for slot in np.unique(slots):
        indices = np.flatnonzero(slots == slot)
        shuffled[indices] = groups[random.permutation(indices)]
    return shuffled


def consistency(uses: Uses, groups: Ints) -> float:
    """Return the mean cosine of pairs that share a group but not their tokens; 0 if there is no such pair."""
    sums, pairs = _pair_cosines(uses.vectors, groups)
    # Pairs of the same tokens are part of these: subtract them.
    _, same = np.unique(np.stack((groups, uses.runs), 1), axis=0, return_inverse=True)
    same_sums, same_pairs = _pair_cosines(uses.vectors, same.ravel())
    first = np.unique(same.ravel(), return_index=True)[1]
    group_index = np.unique(groups, return_inverse=True)[1][first]
    sums -= np.bincount(group_index, same_sums, len(sums))
    pairs -= np.bincount(group_index, same_pairs, len(pairs))
    counts = np.unique(groups, return_counts=True)[1]
    mask = pairs > 0.5
    return float((counts[mask] * sums[mask] / pairs[mask]).sum() / max(1, counts[mask].sum()))


def _pair_cosines(vectors: NDArray[np.float32], groups: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the cosines of the ordered pairs of each group, Σ_{i≠j} u_i·u_j = |Σ u_i|² - Σ |u_i|², and count them."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    totals = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(totals, group, vectors)
    squares = np.bincount(group, (vectors.astype(np.float64) ** 2).sum(1), len(counts))
    return (totals**2).sum(1) - squares, counts * (counts - 1.0)
