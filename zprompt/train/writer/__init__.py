"""How writers are made: heads with which a trained reader writes Z-tokens.

Reading order: `command` (the whole run) → `examples` (texts in Z-tokens that the reader is to have written) → `trainer`
→ `fit` (loss, and how good a writer is). Passages, questions and their Z-tokens come as they do for a reader
(train/reader/materials.py).
"""
