"""The reader: an LLM that reads Z-tokens, each in one position, and answers from them.

The way of one question: `loading` (from a name to a reader) → `reader` (prompt in, text out) → `prompt` (messages, of
`chat` template and `content`, to `pieces`) → `embedding` (Z-tokens to input embeddings) → `engine` (many texts at a
time, with a cache) → `sampling` (logits to tokens) → `streaming` (tokens to text) → `results`. Where a text is written
in Z-tokens: `writing` (gap and code of an anchor) → `expansion` (Z-tokens to text, one by one) → `zengine`. On disk:
`checkpoint`, `writer_file` and `export` (for other engines). The LoRA is backbone/adapter.py's.
"""

from zprompt.reader.checkpoint import (
    ADAPTER_FOLDER,
    EMBEDDING_FILE,
    INPUTS,
    WRITER_FILE,
    ReaderConfig,
    find_reader,
    load_writer,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    reader_fingerprint,
    reader_weights,
    require_codec_of,
    write_reader,
    write_writer,
)
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.export import export_reader
from zprompt.reader.generate import GenerateOptions, Space
from zprompt.reader.loading import load_reader
from zprompt.reader.prompt import (
    ContentTokenizer,
    Message,
    Piece,
    PromptSize,
    TextPiece,
    chat_template,
    encode_messages,
    question_messages,
)
from zprompt.reader.reader import Reader
from zprompt.reader.results import Answer, Delta, Generation, Usage
from zprompt.reader.z_decoding import ZWriter

__all__ = [
    "ADAPTER_FOLDER",
    "Answer",
    "ContentTokenizer",
    "Delta",
    "EMBEDDING_FILE",
    "GenerateOptions",
    "Generation",
    "INPUTS",
    "Message",
    "Piece",
    "PromptSize",
    "Reader",
    "ReaderConfig",
    "Space",
    "TextPiece",
    "Usage",
    "WRITER_FILE",
    "ZEmbedding",
    "ZWriter",
    "chat_template",
    "encode_messages",
    "export_reader",
    "find_reader",
    "load_reader",
    "load_writer",
    "load_z_embedding",
    "merged_decoder",
    "question_messages",
    "read_reader_config",
    "reader_fingerprint",
    "reader_weights",
    "require_codec_of",
    "write_reader",
    "write_writer",
]
