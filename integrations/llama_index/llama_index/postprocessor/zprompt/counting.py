"""Count a prompt in positions of the reader's context, where a Z-span takes as many as it has Z-tokens.

LlamaIndex measures prompts with a tokenizer for text, in which a Z-span's base85 is several times longer than the
passage was. Synthesizers that pack or truncate (`compact` is the default) would then cut Z-spans in the middle, and a
cut Z-span cannot be read. This tokenizer measures Z-spans right, so that they are only cut where they do not fit:

    Settings.tokenizer = position_tokenizer(Settings.tokenizer)         # everywhere
    PromptHelper.from_llm_metadata(llm.metadata, tokenizer=position_tokenizer(tokenizer))        # or in one place
"""

from collections.abc import Callable
from typing import Any

from zprompt.errors import SpanError
from zprompt.zspan import find_spans, read_header

Tokenizer = Callable[[str], list[Any]]
Z_TOKEN = -1  # stands for a Z-token in the list: no tokenizer has this id


def position_tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    """Make a tokenizer whose lists are as long as a text with Z-spans is in positions.

    :param tokenizer: What cuts the text between Z-spans into tokens: the model's own tokenizer, if you have it.
    :return: The tokenizer; its ids are for counting, not for a model.
    """

    def tokenize(text: str) -> list[Any]:
        ids: list[Any] = []
        end = 0
        for match in find_spans(text):
            count = _z_tokens(match.text)
            if count is not None:
                ids += tokenizer(text[end : match.start])
                ids += [Z_TOKEN] * count
                end = match.end
        return ids + tokenizer(text[end:])

    return tokenize


def _z_tokens(span: str) -> int | None:
    """Count the Z-tokens of a Z-span; None if it is none, so that it counts as the text that it is."""
    try:
        return read_header(span).count
    except SpanError:
        return None
