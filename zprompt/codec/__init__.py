"""Text to Z-tokens and back.

The way of one passage: `codec` (documents in, documents out) → `compressor` → `candidates` (which spans could be
dropped) → `segmentation` (which are) → `layout` and `heads` (what a code says) → `residual` (what it leaves) →
`vocabulary` (the Z-token) → `zspan` (its text form) → `decompressor`.
"""
