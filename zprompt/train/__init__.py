"""How codec heads are made.

Reading order: `codec` (the whole run) → `corpus` (text to windows) → `features` (the frozen LLM's hidden states) →
`masks` (which spans to drop) → `objective` (the loss) → `trainer` (the steps) → `evaluation` → `lora` (the optional
third stage).
"""
