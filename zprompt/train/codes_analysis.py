"""What the codes of a reader mean: `zprompt analyze`.

    usage        H = -Σ p log2 p of a code's values, in bits, of log2 V at most; values that no text here has
    polysemy     how many different runs of tokens share a value, and the share of a value's uses that its commonest has
    consistency  mean cosine of all pairs of uses that share a value, but for pairs of the same tokens, which are alike
                 anyway; each value weighted by its uses. The control shuffles the values within a place

A use is a code where it stands, with the tokens that it stands for: those of its segment, or with paper A, whose codes
have none, the t-th of K equal parts of the text. Its vector is the mean of the plain LLM's last states over these,
centred on the mean of all uses in the same place (sub-code), since hidden states lie in a narrow cone.
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
    ratio: float  # source tokens for each position that a reader has
    values: int  # V
    bits: float  # entropy of the values, mean over places, each weighted by its uses
    unused: float  # share of the values that do not occur, likewise
    runs: float  # different runs of tokens of a value, mean over values
    commonest: float  # share of a value's uses that its commonest run has, mean over uses
    cosine: float  # of uses that share a value
    control: float  # the same with values shuffled within their place

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """Every use of a code; n of them."""

    values: Ints  # (n,)
    places: Ints  # (n,) which sub-code; 0 for paper A
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
    :param seed: Decides which passages, and shuffles.
    :return: The figures.
    :raises TrainingDataError: If no passage has a code.
    """
    codec = Codec.from_pretrained(codec_name, quantization="none")
    model, backbone = load_codes(folder, codec.backbone), codec.backbone
    config = model.codes.config
    texts = cut_passages(read_texts(sources), backbone.encode_with_offsets, *TOKENS, passages, seed)
    spans = codec.compress(texts, ratio=config.ratio, on_error="passthrough").documents
    tiled = [own for text, span in zip(texts, spans, strict=True) if (own := tile_passage(text, span, codec))]
    found = [uses_in(model, backbone, passage) for passage in tiled]
    if not sum(len(values) for values, *_ in found):
        raise TrainingDataError("No passage has a code. Give longer texts, of a language that the LLM knows.")
    uses = collect(found)
    positions = sum(size for *_, size in found)
    return measure(uses, config.codes, len(tiled), sum(len(one.ids) for one in tiled) / positions, seed)


FoundUses = tuple[Ints, Ints, list[tuple[int, ...]], NDArray[np.float32], int]  # ..., and positions that a reader has


@torch.no_grad()
def uses_in(model: CodesModel, backbone: Backbone, passage: TiledPassage) -> FoundUses:
    """List values, places, tokens and vectors of the codes of a passage."""
    kind, start = model.codes.config.kind, Positions.of_ids([backbone.start_id])
    trunk = Positions.concatenate((start, Positions.of_pieces([as_input(passage, kind).piece])))
    ids = torch.from_numpy(trunk.ids)[None]
    embedded, states = model.vectors[ids.to(model.vectors.device)], backbone.hidden(ids)[0]
    if isinstance(model.codes, SpanCodes):
        batch = make_batch([PackedSequence("repetition", trunk, ())])
        at = model.codes.segments(batch.gaps.to(embedded.device))
        values = (model.compress(batch, embedded)[at.rows, at.ends] @ model.codes.head.T).argmax(1)
        edges, places, size = torch.stack((at.firsts, at.ends + 1), 1), at.slots, int((~at.dropped).sum()) - 1
    else:
        inside = torch.ones(1, len(passage.ids), dtype=torch.bool, device=embedded.device)
        written = model.codes.translate(model, embedded[:, 1:], inside, None)
        size = int(written.lengths[0])
        values = written.codes[0, :size]
        cuts = 1 + torch.arange(size + 1, device=values.device) * len(passage.ids) // size
        edges, places = torch.stack((cuts[:-1], cuts[1:]), 1), torch.zeros_like(values)
    runs = [tuple(trunk.ids[first:end].tolist()) for first, end in edges.tolist()]
    return _numpy(values), _numpy(places), runs, _means(states, edges), size


def _numpy(tensor: Tensor) -> Ints:
    return tensor.cpu().numpy().astype(np.int64)


def _means(states: Tensor, edges: Tensor) -> NDArray[np.float32]:
    """Average states, (T, D), between edges, (n, 2)."""
    means = [states[first:end].mean(0) for first, end in edges.tolist()]
    return torch.stack(means).cpu().numpy() if means else np.zeros((0, states.shape[1]), np.float32)


def collect(found: Sequence[FoundUses]) -> Uses:
    """Put the uses of all passages together."""
    values, places, vectors = (np.concatenate([one[part] for one in found]) for part in (0, 1, 3))
    numbers: dict[tuple[int, ...], int] = {}
    runs = np.array([numbers.setdefault(run, len(numbers)) for one in found for run in one[2]], np.int64)
    for place in np.unique(places):
        vectors[places == place] -= vectors[places == place].mean(0)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
    return Uses(values, places, runs, vectors)


def measure(uses: Uses, size: int, passages: int, ratio: float, seed: int) -> CodesAnalysis:
    """Measure usage, polysemy and consistency.

    :param uses: The uses.
    :param size: Values of a code, V.
    :param passages: How many passages they are of.
    :param ratio: Source tokens per position.
    :param seed: Of the shuffles.
    :return: The figures.
    """
    groups = uses.places * size + uses.values
    bits, unused = [], []
    for place in np.unique(uses.places):
        counts = np.bincount(uses.values[uses.places == place], minlength=size)
        share = counts[counts > 0] / counts.sum()
        bits.append(-counts.sum() * (share * np.log2(share)).sum())
        unused.append(counts.sum() * (counts == 0).mean())
    pairs, uses_of_pairs = np.unique(np.stack((groups, uses.runs), 1), axis=0, return_counts=True)
    _, owner = np.unique(pairs[:, 0], return_inverse=True)
    commonest = np.zeros(owner.max() + 1)
    np.maximum.at(commonest, owner, uses_of_pairs)
    random = np.random.default_rng(seed)
    control = [consistency(uses, _shuffled(groups, uses.places, random)) for _ in range(SHUFFLES)]
    return CodesAnalysis(
        passages=passages,
        uses=len(groups),
        ratio=ratio,
        values=size,
        bits=float(sum(bits) / len(groups)),
        unused=float(sum(unused) / len(groups)),
        runs=float(np.bincount(owner).mean()),
        commonest=float(commonest.sum() / len(groups)),
        cosine=consistency(uses, groups),
        control=float(np.mean(control)),
    )


def _shuffled(groups: Ints, places: Ints, random: np.random.Generator) -> Ints:
    """Give the values of uses to other uses in the same place."""
    shuffled = groups.copy()
    for place in np.unique(places):
        mine = np.flatnonzero(places == place)
        shuffled[mine] = groups[random.permutation(mine)]
    return shuffled


def consistency(uses: Uses, groups: Ints) -> float:
    """Return the mean cosine of pairs that share a group and not their tokens; 0 if there is no such pair."""
    sums, pairs = _pairs(uses.vectors, groups)
    # Pairs of the same tokens are within a group, too.
    _, same = np.unique(np.stack((groups, uses.runs), 1), axis=0, return_inverse=True)
    same_sums, same_pairs = _pairs(uses.vectors, same.ravel())
    first = np.unique(same.ravel(), return_index=True)[1]
    owner = np.unique(groups, return_inverse=True)[1][first]
    sums -= np.bincount(owner, same_sums, len(sums))
    pairs -= np.bincount(owner, same_pairs, len(pairs))
    counts = np.unique(groups, return_counts=True)[1]
    some = pairs > 0.5
    return float((counts[some] * sums[some] / pairs[some]).sum() / max(1, counts[some].sum()))


def _pairs(vectors: NDArray[np.float32], groups: Ints) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum the cosines of the ordered pairs of each group, Σ_{i≠j} u_i·u_j = |Σ u_i|² - Σ |u_i|², and count them."""
    _, group, counts = np.unique(groups, return_inverse=True, return_counts=True)
    totals = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(totals, group, vectors)
    squares = np.bincount(group, (vectors.astype(np.float64) ** 2).sum(1), len(counts))
    return (totals**2).sum(1) - squares, counts * (counts - 1.0)
