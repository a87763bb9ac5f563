"""Count a prompt in positions of the reader's context, where a Z-span takes as many as it has Z-tokens.

A text tokenizer sees a Z-span as base64 and counts several times as many tokens. LlamaIndex's own packing and splitting
count correctly already (splitting.py); this is for counts that you keep yourself:

    TokenCountingHandler(tokenizer=position_tokenizer(Settings.tokenizer))
"""

from collections.abc import Callable
from typing import Any

from zprompt.rag import span_header
from zprompt.zspan import split_at_spans

Tokenizer = Callable[[str], list[Any]]
Z_TOKEN = -1  # counted in place of each Z-token: no tokenizer has this id


def position_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer that gives one id for each position of a text with Z-spans.

    :param tokenizer: Tokenizes the text between Z-spans: the model's own tokenizer, if you have it.
    :return: The tokenizer; its ids are for counting, not for a model.
    """

    def tokenize(prompt: str) -> list[Any]:
        ids: list[Any] = []
        text = ""
        for piece in split_at_spans(prompt):
            if isinstance(piece, str):
                text += piece
            elif header := span_header(piece.text):
                ids += tokenizer(text) + [Z_TOKEN] * header.count
                text = ""
            else:  # damaged: it counts as text
                text += piece.text
        return ids + tokenizer(text)

    return tokenize
