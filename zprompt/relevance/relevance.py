"""Score how likely each unit of some passages answers a question: the class behind `zprompt.compress(…, query=…)`.

    score = bias + sum over features of  w · (x - mean) / deviation        probability = 1 / (1 + exp(-score))

A logistic regression over 16 features (features.py), on one scale for all passages of a call; its weights are a
JSON file that `zprompt train relevance` writes. Without an embedder another regression is used, over words and form
alone. The second passage that a question of two hops needs is raised afterwards (second_hop.py).
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from zprompt.errors import BackboneError, BackboneNotFoundError, CheckpointError, ChecksumError, DownloadError
from zprompt.relevance.embedder import TOKENIZER, EmbeddingCache, open_embedder
from zprompt.relevance.features import FORM, NAMES, WORDS, Embeddings, Floats, Units, unit_features
from zprompt.relevance.second_hop import raise_named
from zprompt.relevance.units import content_stems, sentences

WEIGHTS = TOKENIZER.with_name("weights.json")
FORMAT = 1
RAREST = 20.0  # most bits of a word: one of many pieces is no better evidence than one of two
RETRY_AFTER = 300.0  # seconds from a failed download of the embedder to the next try
_UNKNOWN = 100  # id of the unknown token in MiniLM's vocabulary
_FIRST_WORD = 1996  # from this id on the vocabulary is sorted by frequency


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and its title."""

    text: str
    title: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPassage:
    """The units of a passage, and the score of each."""

    units: tuple[tuple[int, int], ...]  # character ranges, which cover the text
    scores: Floats  # (n,) log-odds that a unit answers the question

    @property
    def probabilities(self) -> Floats:
        """Return the probability that each unit answers the question, (n,), 0 to 1."""
        probabilities: Floats = 0.5 + 0.5 * np.tanh(self.scores / 2)
        return probabilities

    @property
    def relevance(self) -> float:
        """Return the probability of the best unit, 0 to 1; 0 for an empty text."""
        return float(self.probabilities.max(initial=0.0))


@dataclass(frozen=True, slots=True)
class LogisticWeights:
    """A logistic regression over named features."""

    names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    coverage: float  # share of exp(score) that chosen units need so that 95 % of the answers stay (selection.py)

    def scores(self, features: Floats) -> Floats:
        """Return the log-odds of units, (n,), from their features, (n, NAMES)."""
        selected = features[:, [NAMES.index(name) for name in self.names]]
        scaled = (selected - np.array(self.mean)) / np.array(self.deviation)
        # Rounded, so that units whose scores differ in the last bits only are in the same order on every machine.
        scores: Floats = np.round(scaled @ np.array(self.weights) + self.bias, 4)
        return scores


class Relevance:
    """Scores the units of passages against a question; thread-safe."""

    def __init__(
        self, with_embedder: LogisticWeights, words_only: LogisticWeights, embedder: EmbeddingCache | None
    ) -> None:
        """Build a scorer from its parts; `Relevance.from_pretrained` is for most uses.

        :param with_embedder: The weights with an embedder.
        :param words_only: The weights without one.
        :param embedder: The embedder; None: score by words and form alone.
        """
        self.embedder = embedder
        self.weights = with_embedder if embedder else words_only

    @classmethod
    def from_pretrained(cls, path: str | Path | None = None, *, embedder: object = "default") -> Relevance:
        """Load a scorer.

        :param path: A JSON file that `zprompt train relevance` wrote; None: the shipped one.
        :param embedder: Embeds texts: "default"; the folder of a sentence-transformers model; LangChain's
            `Embeddings`; LlamaIndex's `BaseEmbedding`; None for words alone.
        :return: The scorer.
        :raises CheckpointError: If this release cannot read the file.
        """
        with_embedder, words_only = read_weights(Path(path) if path else WEIGHTS)
        return cls(with_embedder, words_only, None if embedder is None else EmbeddingCache(open_embedder(embedder)))

    @property
    def name(self) -> str:
        """Return the embedder's name, or "words" without one."""
        return self.embedder.name if self.embedder else "words"

    def __repr__(self) -> str:
        return f"Relevance({self.name!r})"

    def score(self, question: str, passages: Sequence[Passage]) -> list[ScoredPassage]:
        """Score the units of passages, all on one scale.

        :param question: The question.
        :param passages: The passages; one of only white space has no units.
        :return: The scores of each passage.
        """
        units = [tuple(sentences(passage.text)) if passage.text.strip() else () for passage in passages]
        all_scores = self.weights.scores(self.features(question, passages, units))
        ends = accumulate(len(ranges) for ranges in units)
        scores = [all_scores[end - len(ranges) : end] for ranges, end in zip(units, ends, strict=True)]
        titled = [
            (passage.title, [passage.text[start:end] for start, end in ranges])
            for passage, ranges in zip(passages, units, strict=True)
        ]
        raised = raise_named(question, titled, scores)
        return [ScoredPassage(ranges, passage_scores) for ranges, passage_scores in zip(units, raised, strict=True)]

    def features(
        self, question: str, passages: Sequence[Passage], units: Sequence[Sequence[tuple[int, int]]]
    ) -> Floats:
        """Compute the features of all units of passages, (n, NAMES), given their character ranges."""
        filled = [(passage, ranges) for passage, ranges in zip(passages, units, strict=True) if ranges]
        texts = [passage.text[start:end].strip() for passage, ranges in filled for start, end in ranges]
        if not texts:
            return np.zeros((0, len(NAMES)))
        edges = [0, *np.cumsum([len(ranges) for _, ranges in filled]).tolist()]
        call_units = Units(texts, edges, [passage.title.strip() for passage, _ in filled])
        return unit_features(question, call_units, rarities(question), self._embed(question, call_units))

    def _embed(self, question: str, units: Units) -> Embeddings | None:
        if self.embedder is None:
            return None
        vectors = self.embedder.texts([*units.texts, *filter(None, units.titles)])
        titles = np.zeros((len(units.titles), vectors.shape[1]), np.float32)
        titles[[bool(title) for title in units.titles]] = vectors[len(units.texts) :]
        return Embeddings(self.embedder.question(question), vectors[: len(units.texts)], titles)


def rarities(question: str) -> dict[str, float]:
    """Return how rare the words of a question are in English, in bits, by stem."""
    tokenizer = _tokenizer()
    pieces = {stem: tokenizer.encode(stem, add_special_tokens=False).ids for stem in content_stems(question)}
    return {stem: min(RAREST, sum(map(_piece_rarity, ids))) for stem, ids in pieces.items()}


def _piece_rarity(piece: int) -> float:
    """Estimate how rare a word piece is, in bits, from its rank by frequency; an unknown one is `RAREST`."""
    return RAREST if piece == _UNKNOWN else math.log2(max(2, piece - _FIRST_WORD + 1))


@cache
def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    return tokenizer


def read_weights(path: Path) -> tuple[LogisticWeights, LogisticWeights]:
    """Read the weights with an embedder and those without; raise CheckpointError if the file has none."""
    try:
        data = json.loads(path.read_text("utf-8"))
        if data["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {data['format']}, but this release reads {FORMAT}. Train it again."
            )
        with_embedder, words_only = (_weights_of(data[kind]) for kind in ("with_embedder", "words_only"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has no weights of a relevance model ({error}).") from error
    unknown = {*with_embedder.names, *words_only.names} - set(NAMES)
    if unknown or set(words_only.names) - {*WORDS, *FORM}:
        raise CheckpointError(f"{path} has weights for features that this release does not know. Train it again.")
    return with_embedder, words_only


def _weights_of(data: dict[str, Any]) -> LogisticWeights:
    lists = {name: tuple(data[name]) for name in ("names", "mean", "deviation", "weights")}
    if len({len(values) for values in lists.values()}) != 1:
        raise ValueError("its lists differ in length")
    return LogisticWeights(**lists, bias=float(data["bias"]), coverage=float(data["coverage"]))


def write_weights(
    path: Path, with_embedder: LogisticWeights, words_only: LogisticWeights, training: dict[str, Any]
) -> None:
    """Write the weights, and how they were made, as JSON."""
    data = {
        "format": FORMAT,
        "with_embedder": asdict(with_embedder),
        "words_only": asdict(words_only),
        "training": training,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n", "utf-8")


_shared: dict[str, Relevance] = {}
_lock = threading.Lock()
_retry_at = math.inf  # on the monotonic clock


def shared_relevance() -> Relevance:
    """Return the default scorer, loaded once per process; without its embedder if that is unavailable, as `name` tells.

    A failed download is retried every few minutes, in the background: a server may outlive the failure.
    """
    global _retry_at
    with _lock:  # two threads must not load it twice
        if "default" not in _shared:
            try:
                _shared["default"] = Relevance.from_pretrained()
            except ChecksumError:
                raise
            except (
                BackboneNotFoundError,
                DownloadError,
                OSError,
            ) as error:  # offline and never fetched, or no cache
                _shared["default"] = Relevance.from_pretrained(embedder=None)
                if not isinstance(error, BackboneNotFoundError):  # else the network is forbidden, and stays so
                    _retry_at = time.monotonic() + RETRY_AFTER
        elif time.monotonic() >= _retry_at:
            _retry_at = time.monotonic() + RETRY_AFTER
            threading.Thread(target=_retry, daemon=True).start()  # pip may take minutes to give up
        return _shared["default"]


def _retry() -> None:
    """Load the default scorer with its embedder, if that is available now."""
    global _retry_at
    with suppress(BackboneError, OSError):
        _shared["default"] = Relevance.from_pretrained()
        _retry_at = math.inf
