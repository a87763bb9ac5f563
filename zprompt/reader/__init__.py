"""The reader: an LLM that reads Z-tokens, each in one position, and answers from them.

The way of one question: `loading` (from a name to a reader) → `reader` (prompt in, text out) → `prompt` (messages, of
`chat` template and `content`, to `pieces`) → `embedding` (Z-tokens to input embeddings) → `engine` (many texts at a
time, with a cache) → `sampling` (logits to tokens) → `streaming` (tokens to text) → `results`. Where a text is written
in Z-tokens: `writing` (gap and code of an anchor) → `expansion` (Z-tokens to text, one by one) → `zengine`. On disk:
`checkpoint`, `writer_file` and `export` (for other engines). The LoRA is backbone/adapter.py's.
"""
