"""The reader: an LLM that reads Z-tokens, each in one position, and answers from them.

Reading order: `embedding` (Z-tokens to input embeddings) → `adapter` (the LoRA) → `checkpoint` (both on disk).
"""
