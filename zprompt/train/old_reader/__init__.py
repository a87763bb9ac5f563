"""How readers are made.

Reading order: `command` (the whole run) → `materials` (from files to what it needs) → `passages` and `questions`
(training text) → `tiles` (Z-tokens, made once) → `inputs` (what the reader sees of a passage) → `rows` (many targets on
one passage) → `continuation`, `cloze` and `examples` (what it learns to do) → `teacher` (the frozen LLM's expectations,
computed once) → `meaning` (where the Z-embedding starts) → `lora` → `objective` → `trainer` → `evaluation`.
"""
