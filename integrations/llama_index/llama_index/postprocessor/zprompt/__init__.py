"""Pass retrieved passages to a Z-aware LLM as Z-spans.

    index.as_query_engine(node_postprocessors=[ZPromptPostprocessor()])                  # compress at query time
    IngestionPipeline(transformations=[splitter, embed_model, ZPromptTransform()])       # or once, at ingestion

Reading order: `zprompt.rag` (which texts become Z-spans, for all frameworks), `nodes` (how a node carries one),
`components` (both classes, and what they share), `events`, `counting`.
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
