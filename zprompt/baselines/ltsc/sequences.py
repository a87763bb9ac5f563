"""Shorten sequences of token ids by meta-tokens, and restore them.

All modes are tried and the shortest result wins; if none is shorter, the sequences stay unchanged:

    FLAT          the paper's: repeats, longest first; entries of literals
    HIERARCHICAL  entries that use entries
    LZW           no written dictionary: encoder and decoder build the same one

    DICTIONARY  entry 0, its symbols …  entry 1, its symbols …  END   body        FLAT and HIERARCHICAL
    LZW  body                                                                     LZW
    RAW  ids                                                                      ids that begin with a control token

An entry begins with its own meta-token, which is new there, so it needs no length; it may use the entries before it.
Ids of the input that are meta-tokens themselves follow ESCAPE. Several documents share one dictionary, so that
overlapping passages of a prompt share entries.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from zprompt.baselines.ltsc.grammar import Grammar, expand
from zprompt.baselines.ltsc.repeats import ALL_MODES, Mode, find_grammar
from zprompt.baselines.protocol import Tokenizer, default_tokenizer
from zprompt.errors import DamagedSequenceError, OptionError
from zprompt.zspan import escape, unescape

MAX_TOKENS = 10_000_000  # that one decompression may return by default
_CONTROLS = 5
_LAST_ID = 2**62  # ids are held in int64


@dataclass(frozen=True, slots=True)
class MetaAlphabet:
    """The ids that are meta-tokens: all from `first` on, five control tokens and then one for each entry.

    By default `first` is above every vocabulary. For a model that is given meta-tokens as new ids, it is the size of
    its vocabulary.
    """

    first: int = 1 << 20  # above the vocabulary of every model that we know
    entries: int | None = None  # how many entries have a token; None: as many as pay

    def __post_init__(self) -> None:
        if not 0 <= self.first < _LAST_ID:
            raise OptionError(f"first, the id of the first meta-token, must be at least 0, got {self.first}.")
        if self.entries is not None and self.entries < 0:
            raise OptionError(f"entries must be at least 0, got {self.entries}. Leave it out for no limit.")

    @property
    def raw(self) -> int:
        """Return the flag of a sequence that is unchanged."""
        return self.first

    @property
    def dictionary(self) -> int:
        """Return the token that begins a dictionary, the paper's `<Dict>`."""
        return self.first + 1

    @property
    def end(self) -> int:
        """Return the token that ends a dictionary, the paper's `</Dict>`."""
        return self.first + 2

    @property
    def lzw(self) -> int:
        """Return the flag of a sequence whose dictionary is implicit."""
        return self.first + 3

    @property
    def escape(self) -> int:
        """Return the token after which an id is literal."""
        return self.first + 4

    @property
    def first_entry(self) -> int:
        """Return the token of entry 0."""
        return self.first + _CONTROLS

    @property
    def vocabulary_size(self) -> int | None:
        """Return the vocabulary size of a model with these meta-tokens; None if the number of entries is not fixed."""
        return None if self.entries is None else self.first_entry + self.entries

    def literal(self, token: int) -> list[int]:
        """Write an id of the input, after ESCAPE if it is a meta-token's."""
        return [self.escape, token] if token >= self.first else [token]


DEFAULT_ALPHABET = MetaAlphabet()
_READER_ENTRIES = 11  # few pay in a passage
READER_ALPHABET = MetaAlphabet(entries=_READER_ENTRIES)
READER_META_TOKENS = _CONTROLS + _READER_ENTRIES


@dataclass(frozen=True, slots=True)
class SharedSequences:
    """Shortened documents and their dictionary."""

    head: tuple[int, ...]  # the dictionary, or the flag of the implicit one; empty: the documents are unchanged
    bodies: tuple[tuple[int, ...], ...]
    mode: Mode | None  # None: no mode made them shorter

    @property
    def tokens(self) -> int:
        """Return the number of ids of the head and all bodies."""
        return len(self.head) + sum(map(len, self.bodies))


def compress(
    ids: Sequence[int], alphabet: MetaAlphabet = DEFAULT_ALPHABET, modes: Collection[Mode] = ALL_MODES
) -> list[int]:
    """Shorten a sequence.

    :param ids: Token ids, at least 0.
    :param alphabet: The meta-tokens; ids of the input may be among them.
    :param modes: The modes to try.
    :return: The shortened sequence; one id longer than the input at worst, if that begins with a control token.
    """
    shared = compress_documents([ids], alphabet, modes)
    body = list(shared.bodies[0])
    if shared.head:
        return [*shared.head, *body]
    controls = (alphabet.raw, alphabet.dictionary, alphabet.lzw)
    return [alphabet.raw, *body] if body and body[0] in controls else body


def decompress(
    ids: Sequence[int], alphabet: MetaAlphabet = DEFAULT_ALPHABET, max_tokens: int = MAX_TOKENS
) -> list[int]:
    """Restore a sequence.

    :param ids: What `compress` returned.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Maximum ids of the result: a forged sequence can grow exponentially.
    :return: The ids.
    :raises DamagedSequenceError: If `compress` writes no such sequence, or the result would be too long.
    """
    ids = list(ids)
    start = 0
    if ids and ids[0] == alphabet.raw:
        return ids[1:]
    if ids and ids[0] == alphabet.lzw:
        start = 1
    elif ids and ids[0] == alphabet.dictionary:
        _, start = read_dictionary(ids, alphabet)
    shared = SharedSequences(tuple(ids[:start]), (tuple(ids[start:]),), None)
    return decompress_documents(shared, alphabet, max_tokens)[0]


def compress_documents(
    documents: Sequence[Sequence[int]],
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    modes: Collection[Mode] = ALL_MODES,
) -> SharedSequences:
    """Shorten documents that may have repeats in common.

    :param documents: The ids of each document, at least 0.
    :param alphabet: The meta-tokens; ids of the documents may be among them.
    :param modes: The modes to try.
    :return: The shortest form, in all never longer than the documents.
    :raises OptionError: If an id is negative.
    """
    plain = [[operator.index(token) for token in document] for document in documents]
    if lowest := min((token for document in plain for token in document if token < 0), default=0):
        raise OptionError(f"Token ids must be at least 0, got {lowest}. Remove padding and labels.")
    best = SharedSequences((), tuple(map(tuple, plain)), None)
    for mode in ALL_MODES:
        if mode in modes:
            if mode is Mode.LZW:
                head, bodies = [alphabet.lzw], _write_lzw(plain, alphabet)
            else:
                head, bodies = _write_grammar(find_grammar(plain, mode, alphabet.entries), alphabet)
            if len(head) + sum(map(len, bodies)) < best.tokens:
                best = SharedSequences(tuple(head), tuple(map(tuple, bodies)), mode)
    return best


def decompress_documents(
    shared: SharedSequences, alphabet: MetaAlphabet = DEFAULT_ALPHABET, max_tokens: int = MAX_TOKENS
) -> list[list[int]]:
    """Restore documents.

    :param shared: What `compress_documents` returned.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Maximum ids of all documents together.
    :return: The ids of each document.
    :raises DamagedSequenceError: If `compress_documents` writes no such form, or there would be too many ids.
    """
    if not shared.head:
        return [list(body) for body in shared.bodies]
    if shared.head == (alphabet.lzw,):
        return _read_lzw(shared.bodies, alphabet, max_tokens)
    if shared.head[0] != alphabet.dictionary:
        raise DamagedSequenceError(
            f"The head begins with id {shared.head[0]}, expected {alphabet.dictionary} or {alphabet.lzw}. "
            "Pass the alphabet that the documents were compressed with."
        )
    entries, _ = read_dictionary(shared.head, alphabet)
    return expand(entries, [_read_body(body, len(entries), alphabet) for body in shared.bodies], max_tokens)


def encode_text(
    text: str,
    tokenizer: Tokenizer | None = None,
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    modes: Collection[Mode] = ALL_MODES,
) -> list[int]:
    """Turn a text into ids with meta-tokens; what the tokenizer would lose is escaped.

    :param text: Any text.
    :param tokenizer: A tokenizer that adds no special tokens; None: the default backbone's.
    :param alphabet: The meta-tokens.
    :param modes: The modes to try.
    :return: The ids.
    :raises InvalidTextError: If the text holds lone surrogates, or the tokenizer cannot write an escape.
    """
    return compress(_escaped_ids(text, tokenizer or default_tokenizer()), alphabet, modes)


def decode_text(
    ids: Sequence[int],
    tokenizer: Tokenizer | None = None,
    alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    max_tokens: int = MAX_TOKENS,
) -> str:
    """Restore a text.

    :param ids: What `encode_text` returned.
    :param tokenizer: The tokenizer that it was given.
    :param alphabet: The meta-tokens that it was given.
    :param max_tokens: Maximum tokens of the text.
    :return: The text.
    :raises DamagedSequenceError: If `encode_text` writes no such ids.
    """
    tokenizer = tokenizer or default_tokenizer()
    tokens = decompress(ids, alphabet, max_tokens)
    text = unescape(tokenizer.decode(tokens))
    if _escaped_ids(text, tokenizer) != tokens:  # unknown ids decode to nothing
        raise DamagedSequenceError(
            f"The sequence expands to {len(tokens):,} ids that this tokenizer cannot decode to text. "
            "Pass what `encode_text` returned, with the tokenizer and alphabet that it was given."
        )
    return text


def to_model_ids(ids: Sequence[int], alphabet: MetaAlphabet, modes: Collection[Mode] = (Mode.FLAT,)) -> list[int]:
    """Shorten a sequence to ids within the fixed vocabulary of a model, to tune it on them.

        alphabet = MetaAlphabet(first=len(tokenizer), entries=500)
        model.resize_token_embeddings(alphabet.vocabulary_size)
        inputs = to_model_ids(ids, alphabet)

    The paper's mode is the default: each meta-token is defined before it is used. LZW defines nothing, and entries that
    use other entries are harder for the model.

    :param ids: Token ids of the model without meta-tokens.
    :param alphabet: The meta-tokens; `entries` must be fixed.
    :param modes: The modes to try.
    :return: Ids below `alphabet.vocabulary_size`, no more than in the input; `decompress` restores it.
    :raises OptionError: If the number of entries is not fixed, or an id is not below the first meta-token's.
    """
    if alphabet.entries is None:
        raise OptionError(
            "The alphabet has no limit on its entries, but a model's vocabulary needs one. "
            f"Set one: MetaAlphabet(first={alphabet.first}, entries=500)."
        )
    highest = max(ids, default=-1)
    if highest >= alphabet.first:
        raise OptionError(
            f"Id {highest} is not below that of the first meta-token, {alphabet.first}. "
            "Set `first` to the size of the tokenizer's vocabulary, added tokens included."
        )
    return compress(ids, alphabet, modes)


def read_dictionary(ids: Sequence[int], alphabet: MetaAlphabet) -> tuple[list[list[int]], int]:
    """Read the dictionary that a sequence begins with.

    :param ids: Ids, of which the first is the dictionary token.
    :param alphabet: The meta-tokens.
    :return: The symbols of each entry, ids and ~i where entry i is used; and the position at which the body begins.
    :raises DamagedSequenceError: If the dictionary is malformed.
    """
    entries: list[list[int]] = []
    position = 1
    while position < len(ids) and ids[position] != alphabet.end:
        symbol, position = _read_symbol(ids, position, alphabet)
        if symbol == ~len(entries):
            entries.append([])
            continue
        if not entries:
            raise DamagedSequenceError(
                f"The dictionary begins with id {ids[1]}, expected that of the first entry, {alphabet.first_entry}. "
                "Pass what `compress` returned, with the alphabet that it was given."
            )
        # Entries that use themselves or later ones could never be expanded.
        _require_known(symbol, len(entries) - 1)
        entries[-1].append(symbol)
    if position == len(ids):
        raise DamagedSequenceError(
            f"The dictionary has no end: id {alphabet.end} is missing in {len(ids)} ids. Pass the whole sequence."
        )
    return entries, position + 1


def _read_body(ids: Sequence[int], entries: int, alphabet: MetaAlphabet) -> list[int]:
    """Read the symbols of a body: ids, and ~i where entry i is used."""
    symbols, position = [], 0
    while position < len(ids):
        symbol, position = _read_symbol(ids, position, alphabet)
        _require_known(symbol, entries)
        symbols.append(symbol)
    return symbols


def _read_symbol(ids: Sequence[int], position: int, alphabet: MetaAlphabet) -> tuple[int, int]:
    """Read one symbol; return it and the position after it."""
    token = ids[position]
    if token < alphabet.first:
        return token, position + 1
    if token >= alphabet.first_entry:
        return ~(token - alphabet.first_entry), position + 1
    if token != alphabet.escape or position + 1 == len(ids):
        raise DamagedSequenceError(
            f"Id {token} at position {position} is a control token that is not allowed there. "
            "Pass what `compress` returned, whole and unchanged."
        )
    return ids[position + 1], position + 2


def _require_known(symbol: int, entries: int) -> None:
    if symbol < 0 and ~symbol >= entries:
        raise DamagedSequenceError(
            f"Entry {~symbol} is used where only the first {entries} are known. "
            "Pass the bodies with the dictionary that they were written with."
        )


def _write_grammar(grammar: Grammar, alphabet: MetaAlphabet) -> tuple[list[int], list[list[int]]]:
    """Write a grammar as ids: the dictionary, and the bodies."""
    written = [alphabet.literal(token) for token in grammar.literals]
    written += [[0]] * (grammar.base - len(grammar.literals))  # ends of documents, which are in no entry and no body
    written += [[alphabet.first_entry + i] for i in range(len(grammar.entries))]

    def write(sequence: Sequence[int]) -> list[int]:
        return [token for symbol in sequence for token in written[symbol]]

    head = [alphabet.dictionary]
    for i, entry in enumerate(grammar.entries):
        head += [alphabet.first_entry + i, *write(entry)]
    return [*head, alphabet.end], [write(body) for body in grammar.bodies]


def _write_lzw(documents: Sequence[Sequence[int]], alphabet: MetaAlphabet) -> list[list[int]]:
    """Write sequences with an implicit dictionary.

    Each code is the longest known phrase; the phrase and the id after it become the next entry. Documents continue with
    the entries of those before them.
    """
    known: dict[tuple[int, int], int] = {}  # (phrase, next id) → phrase; a phrase is an id, or ~i for entry i
    limit = alphabet.entries
    bodies = []
    for document in documents:
        phrases: list[int] = []
        phrase: int | None = None
        for token in document:
            if phrase is None:
                phrase = token
            elif (longer := known.get((phrase, token))) is not None:
                phrase = longer
            else:
                if limit is None or len(known) < limit:
                    known[phrase, token] = ~len(known)
                phrases.append(phrase)
                phrase = token
        if phrase is not None:
            phrases.append(phrase)
        first = alphabet.first_entry
        bodies.append(
            [token for code in phrases for token in ([first + ~code] if code < 0 else alphabet.literal(code))]
        )
    return bodies


def _read_lzw(bodies: Sequence[Sequence[int]], alphabet: MetaAlphabet, limit: int) -> list[list[int]]:
    """Read what `_write_lzw` wrote, up to `limit` ids."""
    entries: list[list[int]] = []
    documents, room = [], limit
    for body in bodies:
        document: list[int] = []
        previous: list[int] | None = None
        position = 0
        while position < len(body):
            phrase, position = _read_phrase(body, position, entries, previous, alphabet)
            if previous is not None and (alphabet.entries is None or len(entries) < alphabet.entries):
                entries.append([*previous, phrase[0]])
            document += phrase
            previous = phrase
            if len(document) > room:
                raise DamagedSequenceError(
                    f"The sequence would expand to more than {limit:,} ids. If you trust its source, raise max_tokens."
                )
        room -= len(document)
        documents.append(document)
    return documents


def _read_phrase(
    body: Sequence[int], position: int, entries: list[list[int]], previous: list[int] | None, alphabet: MetaAlphabet
) -> tuple[list[int], int]:
    """Read a phrase; return it and the position after it."""
    token = body[position]
    if token < alphabet.first:
        return [token], position + 1
    if token == alphabet.escape and position + 1 < len(body):
        return [body[position + 1]], position + 2
    entry = token - alphabet.first_entry
    if 0 <= entry < len(entries):
        return entries[entry], position + 1
    if entry == len(entries) and previous is not None and (alphabet.entries is None or entry < alphabet.entries):
        return [*previous, previous[0]], position + 1  # the entry that this phrase itself completes
    raise DamagedSequenceError(
        f"Id {token} at position {position} is not defined there. "
        "Pass what `compress` returned, whole, unchanged and in order."
    )


def _escaped_ids(text: str, tokenizer: Tokenizer) -> list[int]:
    """Encode a text, with escapes for what the tokenizer would lose.

    Nothing records whether a text was escaped, so text that looks like an escape is escaped as well: `unescape` is then
    always right.
    """

    def round_trips(piece: str) -> bool:
        return tokenizer.decode(tokenizer.encode(piece)) == piece and (piece != text or unescape(text) == text)

    return tokenizer.encode(escape(text, round_trips).text)
