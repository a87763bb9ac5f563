"""The reader: an LLM that reads Z-tokens, each in one position, and answers from them.

The way of one question: `reader` (the class `Reader`: questions in, answers out) → `prompt` (messages to pieces of text
and Z-tokens) → `embedding` (pieces to input embeddings) → `generate` (the generation loop) → `results`. On disk:
`checkpoint`, and `export` for other engines.
"""

from zprompt.reader.checkpoint import (
    ADAPTER_FOLDER,
    EMBEDDING_FILE,
    ReaderConfig,
    find_reader,
    load_z_embedding,
    merged_decoder,
    read_reader_config,
    write_reader,
)
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.export import export_reader
from zprompt.reader.generate import BatchGenerator, GenerateOptions, Request, Sampling
from zprompt.reader.prompt import (
    Content,
    ContentTokenizer,
    Mark,
    Message,
    Piece,
    PreparedPrompt,
    PromptSize,
    SpanPiece,
    TextPiece,
    chat_template,
    encode_messages,
    question_messages,
)
from zprompt.reader.reader import Prompt, Reader, load_reader
from zprompt.reader.results import NOT_FOUND, Answer, Calibration, Delta, Generation, Usage, log_odds

__all__ = [
    "ADAPTER_FOLDER",
    "EMBEDDING_FILE",
    "NOT_FOUND",
    "Answer",
    "BatchGenerator",
    "Calibration",
    "Content",
    "ContentTokenizer",
    "Delta",
    "GenerateOptions",
    "Generation",
    "Mark",
    "Message",
    "Piece",
    "PreparedPrompt",
    "Prompt",
    "PromptSize",
    "Reader",
    "ReaderConfig",
    "Request",
    "Sampling",
    "SpanPiece",
    "TextPiece",
    "Usage",
    "ZEmbedding",
    "chat_template",
    "encode_messages",
    "export_reader",
    "find_reader",
    "load_reader",
    "load_z_embedding",
    "log_odds",
    "merged_decoder",
    "question_messages",
    "read_reader_config",
    "write_reader",
]
