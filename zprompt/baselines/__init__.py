"""What Z-tokens are compared with, behind one protocol: truncation, pruning, LTSC and other packages.

    zprompt.baselines.create("pruning").shorten(text, budget=200, query="Who …?")

`registry` finds a baseline by its name; nothing heavy is imported before one is created.
"""

from zprompt.baselines.protocol import (
    Baseline,
    JointBaseline,
    LosslessBaseline,
    Output,
    Shortened,
    Tokenizer,
    default_tokenizer,
)
from zprompt.baselines.registry import class_of, create, names, options_of, unavailable
from zprompt.baselines.words import split_words

__all__ = [
    "Baseline",
    "JointBaseline",
    "LosslessBaseline",
    "Output",
    "Shortened",
    "Tokenizer",
    "class_of",
    "create",
    "default_tokenizer",
    "names",
    "options_of",
    "split_words",
    "unavailable",
]
