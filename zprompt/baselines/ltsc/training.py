"""What a model with meta-tokens is tuned on: ids within a vocabulary of a fixed size.

    alphabet = MetaAlphabet(first=len(tokenizer), entries=500)
    model.resize_token_embeddings(alphabet.vocabulary_size)
    inputs = to_model_ids(ids, alphabet)

The paper's mode is the default: each meta-token is explained before it is used. LZW explains nothing, and entries that
use entries ask more of the model.

LTSC's reader (train/reader/meta_tokens.py) has `READER_ALPHABET`: a passage has few entries that pay.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from zprompt.baselines.ltsc.alphabet import MetaAlphabet
from zprompt.baselines.ltsc.discovery import Mode
from zprompt.baselines.ltsc.sequences import compress
from zprompt.errors import OptionError

READER_ALPHABET = MetaAlphabet(1 << 20, entries=11)  # above all token ids; 16 meta-tokens with those of LTSC's form


def to_model_ids(ids: Sequence[int], alphabet: MetaAlphabet, modes: Collection[Mode] = (Mode.FLAT,)) -> list[int]:
    """Shorten a sequence to ids that a model of a fixed vocabulary has.

    :param ids: Token ids of the model without meta-tokens.
    :param alphabet: The meta-tokens; `entries` says how many there are.
    :param modes: The modes to try.
    :return: Ids below `alphabet.vocabulary_size`; no more than were given. `ltsc.decompress` gives these back.
    :raises OptionError: If the number of entries is not fixed, or an id is not below the first meta-token's.
    """
    if alphabet.entries is None:
        raise OptionError(
            "The alphabet has no fixed number of entries, but a model's vocabulary has. "
            f"Give it one: MetaAlphabet(first={alphabet.first}, entries=500)."
        )
    highest = max(ids, default=-1)
    if highest >= alphabet.first:
        raise OptionError(
            f"The id {highest} is not below the first meta-token's, {alphabet.first}. "
            "Let `first` be the size of the tokenizer's vocabulary, added tokens included."
        )
    return compress(ids, alphabet, modes)
