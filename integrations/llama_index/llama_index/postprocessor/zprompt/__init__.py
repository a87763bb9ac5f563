"""Shorten retrieved passages: as text for any LLM, as Z-spans for one that reads Z-tokens.

    index.as_query_engine(node_postprocessors=[ZPromptPostprocessor()])                  # at query time
    IngestionPipeline(transformations=[splitter, embed_model, ZPromptTransform()])       # Z-spans once, at ingestion

Reading order: `zprompt.rag` (what replaces texts, in all frameworks), `nodes` (how a node carries it),
`components` (both classes, and what they share), `splitting` (keeps Z-spans whole), `events`, `counting`.
"""

from llama_index.postprocessor.zprompt.components import ZPromptPostprocessor, ZPromptTransform
from llama_index.postprocessor.zprompt.counting import position_tokenizer
from llama_index.postprocessor.zprompt.events import ZCompressEndEvent, ZCompressStartEvent

__all__ = [
    "ZCompressEndEvent",
    "ZCompressStartEvent",
    "ZPromptPostprocessor",
    "ZPromptTransform",
    "position_tokenizer",
]
