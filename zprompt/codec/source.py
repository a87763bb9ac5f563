"""A text on its way into Z-tokens, and Z-tokens laid back over their text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from zprompt.codec.compressor import TiledWindow
from zprompt.codec.importance import TokenImportance, token_importance
from zprompt.llm import Backbone
from zprompt.options import CompressOptions
from zprompt.results import ExplainedToken
from zprompt.zspan import Alphabet, OffsetMap, RankCode


@dataclass(frozen=True, slots=True)
class SourceText:
    """A text and its tokens."""

    text: str
    escaped: bool  # whether characters that the tokenizer would lose are escaped in the tokens
    ids: list[int]
    offsets: list[tuple[int, int]]  # of each token, in characters of `text`
    importance: list[TokenImportance] | None  # of each token; None: all are equally important


def read_source(text: str, backbone: Backbone, options: CompressOptions) -> SourceText:
    """Cut a text into tokens.

    :param text: The text.
    :param backbone: The LLM whose tokens they are.
    :param options: What was asked for, which decides how important each token is.
    :return: The text with its tokens.
    :raises InvalidTextError: If the text holds a lone surrogate, or does not survive the tokenizer in any form.
    """
    escaped = backbone.escape(text)
    ids, offsets = backbone.encode_with_offsets(escaped.text)
    if escaped.escaped:
        to_source = OffsetMap.of(escaped).to_source
        offsets = [(to_source(start), to_source(end)) for start, end in offsets]
    importance = None
    if options.has_length or options.query is not None or options.protect is not None:
        importance = token_importance(text, offsets, backbone.encode, query=options.query, protect=options.protection)
    return SourceText(text, escaped.escaped, ids, offsets, importance)


def explain_tokens(
    source: SourceText, windows: Sequence[TiledWindow], rank_code: RankCode, alphabet: Alphabet
) -> Iterator[ExplainedToken]:
    """Lay the Z-tokens of a text over it.

    :param source: The text.
    :param windows: Its Z-tokens.
    :param rank_code: What its residual is written in.
    :param alphabet: The codec's alphabet.
    :yields: Each Z-token with the piece of text that it stands for.
    """
    # Tokens may share a character (its bytes): it belongs to the first of them, and the others have none.
    edges = [0, *accumulate((end for _, end in source.offsets), max)]
    edges[-1] = len(source.text)
    bits = iter(rank_code.costs([symbol for window in windows for symbol in window.symbols]))
    start = 0
    for index, token in enumerate(token for window in windows for token in window.tokens):
        end = start + token.gap + 1
        residual_bits = sum(next(bits) for _ in range(token.gap))
        yield ExplainedToken(
            index=index,
            anchor=source.text[edges[start] : edges[start + 1]],
            start=edges[start],
            anchor_end=edges[start + 1],
            end=edges[end],
            gap=token.gap,
            code=token.code,
            residual_bits=residual_bits,
            cost=alphabet.bits_per_z_token + residual_bits,
        )
        start = end
