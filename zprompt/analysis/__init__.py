"""What the codes of a codec mean, and where its Z-tokens go, measured on texts.

Reading order: `sample` (texts and their Z-tokens), `segments` (what each sub-code stands for), `usage` (entropy, values
that are not used), `embeddings` and `consistency` (do segments of one value mean the same?), `examples` (values with
their segments), `words` and `placement` (which words are anchors, and where they are dense), `report` (all of it),
`charts` (drawn as SVG). `intervals` is shared.
"""
