"""Which sentences of some passages a question needs."""

from zprompt.relevance.embedder import Embedder, EmbeddingCache, MiniLM, fetch_minilm, open_embedder
from zprompt.relevance.features import FORM, NAMES, WORDS, Floats
from zprompt.relevance.focus import ELISION, NOTHING, Choice, Length, cost_as_text, elide
from zprompt.relevance.relevance import (
    WEIGHTS,
    LogisticWeights,
    Passage,
    Relevance,
    ScoredPassage,
    shared_relevance,
    write_weights,
)
from zprompt.relevance.selection import choose_covering, choose_nearest, choose_within
from zprompt.relevance.units import STOP_WORDS, WORD, sentences, word_places

__all__ = [
    "ELISION",
    "FORM",
    "NAMES",
    "NOTHING",
    "STOP_WORDS",
    "WEIGHTS",
    "WORD",
    "WORDS",
    "Choice",
    "Embedder",
    "EmbeddingCache",
    "Floats",
    "Length",
    "LogisticWeights",
    "MiniLM",
    "Passage",
    "Relevance",
    "ScoredPassage",
    "choose_covering",
    "choose_nearest",
    "choose_within",
    "cost_as_text",
    "elide",
    "fetch_minilm",
    "open_embedder",
    "sentences",
    "shared_relevance",
    "word_places",
    "write_weights",
]
