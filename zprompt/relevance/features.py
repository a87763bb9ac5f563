"""Features that tell whether a unit of a passage answers a question: sixteen numbers per unit.

    meaning     cosine of the question with the unit, the unit in context, the title, and the better neighbour; of the
                unit with the best units of other passages, which a second hop needs
    words       share of the question's rare words in the unit with its title and neighbours, and in the passage
    form        whether the question asks for a number, a time or a name, and the unit has one that is not in the
                question; the unit's length; whether it opens its passage
    z-scores    of two cosines, of shared words and of BM25 over the units of the call: how a unit compares with the
                others, since a freely worded question has low scores everywhere

The embedding of a unit in context is a weighted sum of embeddings, which costs nothing:

    e(context) = e(unit) + 1/2 e(title) + 1/2 e(previous unit) + 1/4 e(next unit)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from zprompt.relevance.embedder import Vectors
from zprompt.relevance.units import STOP_WORDS, WORD, word_stems

Floats = NDArray[np.float64]

MEANING = ("cosine", "cosine_context", "cosine_title", "cosine_neighbour", "cosine_bridge", "z_cosine", "z_context")
WORDS = ("words_context", "words_passage", "z_words", "z_bm25")
FORM = ("number", "time", "name", "length", "opens")
NAMES = (*MEANING, *WORDS, *FORM)

K1, B = 1.2, 0.75  # BM25's usual constants
BRIDGES = 3  # number of best units to which others may be the second hop

_NUMBER = re.compile(r"\d|\b(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|hundred|million)\b")
_TIME = re.compile(
    r"\b(?:1\d{3}|20\d\d)\b|\b(?:January|February|March|April|May|June|July|August|September|October|November|December)\b"
    r"|\bcentury\b|\byears?\b"
)
_NAME = re.compile(r"(?<=[a-z,;:(\"'“] )[A-Z]\w+|(?<=[a-z,;:(\"'“] \()[A-Z]\w+")
_ASKS = {
    "number": (
        re.compile(r"\bhow (?:many|much|long|far|old|tall|high|large|big|often|fast)\b|\bwhat (?:number|percent)"),
        _NUMBER,
    ),
    "time": (re.compile(r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b"), _TIME),
    "name": (re.compile(r"\bwho\b|\bwhom\b|\bwhose\b|\bwhere\b|\bwhich\b|\bname\b"), _NAME),
}


@dataclass(frozen=True, slots=True)
class Units:
    """The units of all passages of a call, one after the other; each passage has at least one."""

    texts: Sequence[str]
    edges: Sequence[int]  # (p + 1,) index of the first unit of each passage, and the number of units
    titles: Sequence[str]  # of each passage; "" if it has none

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Return the range of units of each passage."""
        return list(pairwise(self.edges))


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The embeddings of a call, all of unit length."""

    question: Vectors  # (d,)
    units: Vectors  # (n, d)
    titles: Vectors  # (p, d); 0 where there is no title


def unit_features(question: str, units: Units, rarity: Mapping[str, float], embeddings: Embeddings | None) -> Floats:
    """Compute the features of all units.

    :param question: The question.
    :param units: The units.
    :param rarity: How rare each stem of the question is, in bits.
    :param embeddings: Their embeddings; None without an embedder: the features of meaning are 0 then.
    :return: (n, NAMES).
    """
    features = np.zeros((len(units.texts), len(NAMES)))
    column = {name: features[:, index] for index, name in enumerate(NAMES)}
    shared = _words(column, units, rarity)
    if embeddings:
        _meaning(column, units, embeddings)
    _form(column, units, question)
    if embeddings:
        _bridge(column, units, embeddings.units)
        column["z_cosine"][:], column["z_context"][:] = _z(column["cosine"]), _z(column["cosine_context"])
    column["z_words"][:], column["z_bm25"][:] = _z(shared), _z(column["z_bm25"])
    return features


def _meaning(column: Mapping[str, Floats], units: Units, embeddings: Embeddings) -> None:
    cosine = embeddings.units @ embeddings.question
    column["cosine"][:] = cosine
    for (first, end), title in zip(units.spans, embeddings.titles, strict=True):
        vectors = embeddings.units[first:end]
        context = vectors + title / 2
        context[1:] += vectors[:-1] / 2
        context[:-1] += vectors[1:] / 4
        context /= np.maximum(np.linalg.norm(context, axis=1, keepdims=True), 1e-6)
        column["cosine_context"][first:end] = context @ embeddings.question
        column["cosine_title"][first:end] = title @ embeddings.question
        padded = np.pad(cosine[first:end], 1, constant_values=-1.0)
        better = np.maximum(padded[:-2], padded[2:])
        column["cosine_neighbour"][first:end] = better if end - first > 1 else cosine[first:end]


def _bridge(column: Mapping[str, Floats], units: Units, vectors: Vectors) -> None:
    """Compare each unit with the best units of other passages."""
    best = np.argsort(-(column["cosine_context"] + column["words_context"]), kind="stable")[:BRIDGES]
    for first, end in units.spans:
        others = [index for index in best if not first <= index < end]
        if others:
            column["cosine_bridge"][first:end] = (vectors[first:end] @ vectors[others].T).max(1)


def _words(column: Mapping[str, Floats], units: Units, rarity: Mapping[str, float]) -> Floats:
    """Compare words; return the share of the question's words, by rarity, in each unit, (n,)."""
    counts = [Counter(word_stems(text)) for text in units.texts]
    shared = [frozenset(rarity.keys() & stems.keys()) for stems in counts]
    column["z_bm25"][:] = _bm25(counts, shared)
    for (first, end), text in zip(units.spans, units.titles, strict=True):
        title = frozenset(word_stems(text)) & rarity.keys()
        column["words_passage"][first:end] = _share(title.union(*shared[first:end]), rarity)
        for index in range(first, end):
            context = shared[max(first, index - 1) : min(end, index + 2)]
            column["words_context"][index] = _share(title.union(*context), rarity)
    return np.array([_share(stems, rarity) for stems in shared])


def _share(stems: frozenset[str], rarity: Mapping[str, float]) -> float:
    """Return the share of the question's rarity, in bits, that some of its stems have."""
    return sum(rarity[stem] for stem in sorted(stems)) / (sum(rarity.values()) or 1.0)


def _bm25(counts: Sequence[Counter[str]], shared: Sequence[frozenset[str]]) -> list[float]:
    """Score the units of a call by BM25 (Robertson and Zaragoza, 2009).

    :param counts: The stems of each unit.
    :param shared: The question's stems in each unit.
    :return: (n,).
    """
    lengths = [sum(stems.values()) for stems in counts]
    mean = sum(lengths) / len(lengths) or 1.0
    frequency = Counter(stem for stems in shared for stem in stems)  # units with each stem
    idf = {stem: math.log(1 + (len(counts) - n + 0.5) / (n + 0.5)) for stem, n in frequency.items()}
    return [
        sum(idf[stem] * tf[stem] * (K1 + 1) / (tf[stem] + K1 * (1 - B + B * length / mean)) for stem in sorted(stems))
        for tf, stems, length in zip(counts, shared, lengths, strict=True)
    ]


def _form(column: Mapping[str, Floats], units: Units, question: str) -> None:
    folded = question.casefold()
    asked = {match.group().casefold() for match in WORD.finditer(question)} | STOP_WORDS
    for name, (asks, answer) in _ASKS.items():
        if asks.search(folded):
            column[name][:] = [any(m.group().casefold() not in asked for m in answer.finditer(t)) for t in units.texts]
    column["length"][:] = [math.log(1 + len(text.split())) for text in units.texts]
    column["opens"][list(units.edges[:-1])] = 1.0


def _z(values: Floats) -> Floats:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-9 else np.zeros_like(values)
