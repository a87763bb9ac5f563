"""One frozen causal language model that compresses, decompresses and reads.

`loading` turns a name into a `Backbone`, by `fetching` (cache, pip, hub), `gguf` (4-bit weights), and `llama` with
`cache` (our decoder) or `transformers_decoder` (any other architecture, through transformers).
"""

from zprompt.llm.backbone import Backbone
from zprompt.llm.batch_invariance import (
    ALONE,
    batches,
    join,
    one_thread,
    pad_rows,
    padded_batch,
    set_threads,
    thread_count,
)
from zprompt.llm.cache import Cache, KeyValueCache, Step
from zprompt.llm.fetching import pull
from zprompt.llm.llama import LlamaDecoder, LlamaShape
from zprompt.llm.loading import choose_device, choose_quantization, load_backbone
from zprompt.llm.lora import (
    TARGETS,
    Lora,
    llama_of,
    llama_shape,
    merge_copy,
    merge_in_bf16,
    new_lora,
    projections,
    read_lora,
    write_lora,
)
from zprompt.llm.onnx_llama import OnnxDecoder, merge_in_onnx
from zprompt.llm.packed import unpack
from zprompt.llm.tensors import load_tensors
from zprompt.llm.tokenizer import TextTokenizer
from zprompt.llm.transformers_decoder import as_transformers, quiet_transformers

__all__ = [
    "ALONE",
    "TARGETS",
    "Backbone",
    "Cache",
    "KeyValueCache",
    "LlamaDecoder",
    "LlamaShape",
    "Lora",
    "OnnxDecoder",
    "Step",
    "TextTokenizer",
    "as_transformers",
    "batches",
    "choose_device",
    "choose_quantization",
    "join",
    "llama_of",
    "llama_shape",
    "load_backbone",
    "load_tensors",
    "merge_copy",
    "merge_in_bf16",
    "merge_in_onnx",
    "new_lora",
    "one_thread",
    "pad_rows",
    "padded_batch",
    "projections",
    "pull",
    "quiet_transformers",
    "read_lora",
    "set_threads",
    "thread_count",
    "unpack",
    "write_lora",
]
