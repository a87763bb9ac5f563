"""How much a question needs each sentence and word of a text."""

from zprompt.relevance.shared_words import TokenIds, relevant_sentences, word_penalties
from zprompt.relevance.units import STOP_WORDS, WORD, sentences

__all__ = ["STOP_WORDS", "WORD", "TokenIds", "relevant_sentences", "sentences", "word_penalties"]
