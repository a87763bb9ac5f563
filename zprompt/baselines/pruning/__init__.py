"""Pruning after LLMLingua (arXiv 2310.05736) and LongLLMLingua (arXiv 2310.06839), with the backbone that reads.

    method = Pruning()
    method.shorten(text, budget=200, query="Who …?")
    method.shorten_documents(passages, budget=200, query="Who …?")    # ids, metadata and order stay

The way of a text: `method` → `source` (words and passages) → `coarse` (which passages) → `fine` (which words) → the
budget is met exactly (`zprompt.baselines.fitting`). `surprise` is what both ask the language model.
"""

from zprompt.baselines.pruning.method import PrunedDocuments, Pruning

__all__ = ["PrunedDocuments", "Pruning"]
