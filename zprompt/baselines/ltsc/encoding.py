"""Text to ids with meta-tokens and back, for a model that was tuned to read them; exact for any valid Unicode.

What the tokenizer would lose is escaped as in the codec. Nothing says whether anything was, so a text in which
something looks like such an escape is escaped as well: then undoing it is always right.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zprompt.baselines.lengths import default_tokenizer
from zprompt.baselines.ltsc.alphabet import DEFAULT_ALPHABET, MetaAlphabet
from zprompt.baselines.ltsc.discovery import ALL_MODES, Mode
from zprompt.baselines.ltsc.pieces import Tokenizer
from zprompt.baselines.ltsc.sequences import MAX_TOKENS, compress, decompress
from zprompt.errors import DamagedSequenceError
from zprompt.zspan import escape, unescape


def encode_text(
    text: str,
    tokenizer: Tokenizer | None = None,
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    modes: Collection[Mode] = ALL_MODES,
) -> list[int]:
    """Turn a text into ids with meta-tokens.

    :param text: The text.
    :param tokenizer: A tokenizer that adds no special tokens; None: the default backbone's.
    :param alphabet: The meta-tokens.
    :param modes: The modes to try.
    :return: The ids.
    :raises InvalidTextError: If the text holds lone surrogates, or the tokenizer cannot escape it.
    """
    return compress(_carried_ids(text, tokenizer or default_tokenizer()), alphabet, modes)


def decode_text(
    ids: Sequence[int],
    tokenizer: Tokenizer | None = None,
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    max_tokens: int = MAX_TOKENS,
) -> str:
    """Give the text back.

    :param ids: What `encode_text` returned.
    :param tokenizer: The tokenizer that it was given.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Tokens that the text may have.
    :return: The text.
    :raises DamagedSequenceError: If `encode_text` does not write such.
    """
    tokenizer = tokenizer or default_tokenizer()
    tokens = decompress(ids, alphabet, max_tokens)
    text = unescape(tokenizer.decode(tokens))
    if _carried_ids(text, tokenizer) != tokens:  # unknown ids decode to nothing
        raise DamagedSequenceError(
            f"The sequence expands to {len(tokens):,} ids that are no text of this tokenizer. "
            "Pass what `encode_text` returned, with the tokenizer and alphabet that it was given."
        )
    return text


def _carried_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Encode a text, with an escape for what the tokenizer would lose."""

    def survives(piece: str) -> bool:
        # A text with something like an escape in it must not stay as it is, for `unescape` would change it.
        return tokenizer.decode(tokenizer.encode(piece)) == piece and (piece != text or unescape(text) == text)

    return tokenizer.encode(escape(text, survives).text)
