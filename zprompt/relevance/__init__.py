"""."""

from zprompt.relevance.shared_words import TokenIds, lost_bits, relevant_sentences
from zprompt.relevance.units import STOP_WORDS, WORD

__all__ = ["STOP_WORDS", "TokenIds", "WORD", "lost_bits", "relevant_sentences"]
