"""Hand retrieved passages to a Z-aware LLM as Z-spans.

    index.as_query_engine(node_postprocessors=[ZPromptPostprocessor()])                  # compress at query time
    IngestionPipeline(transformations=[splitter, embed_model, ZPromptTransform()])       # or once, at ingestion

Read in this order: `selection` (which texts become Z-spans; knows nothing of LlamaIndex), `marking` (how a node carries
one), `component` (what both classes share), `postprocessor` and `transform`, `events`, `counting`.
"""

from llama_index.postprocessor.zprompt.counting import position_tokenizer
from llama_index.postprocessor.zprompt.events import ZCompressEndEvent, ZCompressStartEvent
from llama_index.postprocessor.zprompt.postprocessor import ZPromptPostprocessor
from llama_index.postprocessor.zprompt.transform import ZPromptTransform

__all__ = [
    "ZCompressEndEvent",
    "ZCompressStartEvent",
    "ZPromptPostprocessor",
    "ZPromptTransform",
    "position_tokenizer",
]
