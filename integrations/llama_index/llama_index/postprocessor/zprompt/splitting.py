"""Keep Z-spans whole in LlamaIndex's splitters, which would cut them: a cut Z-span can't be read.

Synthesizers pack nodes into the context window, `CitationQueryEngine` cuts them into sources, and a pipeline may have a
splitter after `ZPromptTransform`. All of these use `TokenTextSplitter` or `SentenceSplitter`, which measure text with a
tokenizer. To a tokenizer, a Z-span is base64 of many tokens, with no space to split at.

Therefore one method of these two classes is replaced. LlamaIndex has no other hook: a synthesizer takes its tokenizer
when it is made, often before the postprocessor is, and a node cannot say where it may be cut. The method is replaced
when the first Z-span takes the place of a text, or a transform that does so is made, and never in a process that sends
text only. Text without Z-spans is still split by LlamaIndex's own code.

While a text is split, a character that is not in it stands for each Z-span: nothing can cut it, and it counts as many
tokens as the Z-span has Z-tokens. A Z-span that is longer than a chunk may be gets a chunk of its own.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from llama_index.core.node_parser import SentenceSplitter, TokenTextSplitter

from llama_index.postprocessor.zprompt.counting import Z_TOKEN, Tokenizer
from zprompt.rag import span_header
from zprompt.zspan import find_spans

Splitter: TypeAlias = SentenceSplitter | TokenTextSplitter
SplitText: TypeAlias = Callable[[Any, str, int], list[str]]

_STAND_INS = range(0xF0000, 0xFFFFE)  # a plane for private use


@functools.cache
def keep_spans_whole() -> None:
    """Let the splitters of this process keep Z-spans whole from now on."""
    for splitter in (SentenceSplitter, TokenTextSplitter):  # patched twice by two threads, it still works
        splitter._split_text = _keep_spans(splitter._split_text)  # type: ignore[method-assign, assignment]


def _keep_spans(split_text: SplitText) -> SplitText:
    @functools.wraps(split_text)
    def split(self: Splitter, text: str, chunk_size: int) -> list[str]:
        replaced, spans = _stand_in(text)
        if not spans:
            return split_text(self, text, chunk_size)
        lengths = {sign: min(tokens, chunk_size) for sign, (_, tokens) in spans.items()}
        splitter = self.model_copy()  # other threads may be splitting with this one
        splitter._tokenizer = _counting(self._tokenizer, lengths)
        to_spans = str.maketrans({sign: span for sign, (span, _) in spans.items()})
        return [chunk.translate(to_spans) for chunk in split_text(splitter, replaced, chunk_size)]

    return split


def _stand_in(text: str) -> tuple[str, dict[str, tuple[str, int]]]:
    """Replace each Z-span by a character; return the text, and the Z-span and its length by character."""
    spans: dict[str, tuple[str, int]] = {}
    pieces, end = [], 0
    signs = _unused(text)
    for match in find_spans(text):
        if header := span_header(match.text):  # else it is damaged, and counts as text
            sign = next(signs)
            spans[sign] = match.text, header.count
            pieces += [text[end : match.start], sign]
            end = match.end
    return "".join([*pieces, text[end:]]), spans


def _unused(text: str) -> Iterator[str]:
    used = set(text)
    return (sign for sign in map(chr, _STAND_INS) if sign not in used)


def _counting(tokenizer: Tokenizer, lengths: dict[str, int]) -> Tokenizer:
    """Return a tokenizer that counts characters which stand for Z-spans as these lengths."""
    without = str.maketrans(dict.fromkeys(lengths, ""))

    def tokenize(text: str) -> list[Any]:
        tokens = sum(lengths.get(character, 0) for character in text)
        return [*tokenizer(text.translate(without)), *[Z_TOKEN] * tokens]

    return tokenize
