r"""Shorten texts, and restore them: each repeat is defined once, in a dictionary that any model can read.

    Dictionary:
    α= the North Atlantic Treaty Organization
    β= said on Tuesday that
    Text γ:
    The secretary ofα βα will meet …

Repeats consist of pieces, which end where tokens end. The name of an entry is a sign, which most tokenizers encode in
few tokens:

    sign  =  0 to 2 marks, then a letter            α   в   §α   §†β

Only its last character is a letter, so signs can be adjacent. No character of a sign occurs in the source, so every
sign in the shortened text is a reference, and nothing needs an escape.

An entry is everything between its `\nsign=` and the next one, spaces and line breaks included. Signs are in order,
including the one before the text, γ here. Source text that looks like `\nsign=` can thus be told from an entry, since
all signs in use come after its sign. A text that itself begins like a dictionary gets a backslash before it, as does
one that begins with such backslashes.

The tokenizer decides where a repeat may begin and what is shorter; restoring needs no tokenizer, and is exact for any
string.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Protocol, TypeAlias, runtime_checkable

from zprompt.baselines.ltsc.grammar import Grammar, Price, count_uses, expand
from zprompt.baselines.ltsc.repeats import Mode, find_grammar
from zprompt.baselines.protocol import Tokenizer, default_tokenizer
from zprompt.documents import read_documents
from zprompt.errors import DamagedSequenceError, OptionError

MAX_CHARACTERS = 40_000_000  # that one call may restore by default
READABLE_MODES = (Mode.FLAT,)  # entries that use entries are hard to follow for a model that was not tuned on them

# Letters unlike any Latin one, each a single token for the default backbone and for OpenAI's models.
_LETTERS = "αβγδεζηθικλμπρστφχωΔбвгджзийклмнптфцчшщыьюя"
_MARKS = "§†¬±•→×°"
_MOST_MARKS = 2
_SIGN = f"[{_MARKS}]{{0,{_MOST_MARKS}}}[{_LETTERS}]"
_FEWEST_SIGNS = 2  # one for an entry, one for the text

_FLAG = "\\"  # before an unchanged text that would be taken for a shortened one
_TITLE = "Dictionary:"
_DEFINITION = re.compile(f"\n(?=({_SIGN})=|Text ({_SIGN}):\n)")
_BEGINNING = re.compile(f"{_TITLE}(?=\n{_SIGN}=)")
_FLAGGED = re.compile(f"[{re.escape(_FLAG)}]*{_TITLE}\n{_SIGN}=")

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\ufffd"
_WORD = re.compile(r" ?\w+|\s+|[^\w\s]")
_MOST_TOKENS = 8  # in one piece, where a character takes several

Rank: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SharedTexts:
    """Shortened documents and their dictionary."""

    dictionary: str  # goes before the documents in a prompt; empty: they are unchanged
    documents: Any  # one document or a list, like the input
    source_tokens: int
    tokens: int  # of the dictionary and the documents


def shorten_text(text: str, tokenizer: Tokenizer | None = None, modes: Collection[Mode] = READABLE_MODES) -> str:
    """Shorten a text by a dictionary before it.

    :param text: Any string.
    :param tokenizer: Counts tokens; None: the default backbone's.
    :param modes: The modes to try, FLAT and HIERARCHICAL.
    :return: The shortened text, or the text itself if no dictionary pays, after a one-character flag if it begins like
        a shortened one.
    """
    tokenizer = tokenizer or default_tokenizer()
    plain = _FLAG + text if needs_flag(text) else text
    written = [f"{dictionary}{body}" for dictionary, [body] in _write_texts([text], tokenizer, modes)]
    return min((plain, *written), key=lambda form: count_tokens(form, tokenizer))


def restore_text(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Restore a text.

    :param text: What `shorten_text` returned.
    :param max_characters: Maximum characters of the result: a forged text can grow exponentially.
    :return: The source.
    :raises DamagedSequenceError: If the dictionary is not one that `shorten_text` writes for this text.
    """
    if _BEGINNING.match(text):
        dictionary, body = _parse_dictionary(text)
        return _expand_texts(dictionary, [body], max_characters)[0]
    return text.removeprefix(_FLAG) if needs_flag(text) else text


def shorten_documents(
    docs: Any,  # noqa: ANN401 - str, dict, LangChain and LlamaIndex documents, and sequences of them
    tokenizer: Tokenizer | None = None,
    modes: Collection[Mode] = READABLE_MODES,
) -> SharedTexts:
    """Shorten documents by one dictionary: what overlapping passages have in common is defined once.

    :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
    :param tokenizer: Counts tokens; None: the default backbone's.
    :param modes: The modes to try, FLAT and HIERARCHICAL.
    :return: The dictionary and the documents; together they have fewer tokens than before, or are unchanged.
    """
    tokenizer = tokenizer or default_tokenizer()
    batch = read_documents(docs)
    forms = [("", list(batch.texts))]
    forms += [(str(dictionary), bodies) for dictionary, bodies in _write_texts(batch.texts, tokenizer, modes)]
    lengths = [sum(count_tokens(text, tokenizer) for text in (head, *bodies)) for head, bodies in forms]
    best = lengths.index(min(lengths))
    head, bodies = forms[best]
    return SharedTexts(head, batch.with_texts(bodies), source_tokens=lengths[0], tokens=lengths[best])


def restore_documents(shared: SharedTexts, max_characters: int = MAX_CHARACTERS) -> Any:  # noqa: ANN401 - as given
    """Restore documents.

    :param shared: What `shorten_documents` returned.
    :param max_characters: Maximum characters of all documents together.
    :return: The documents, of the same types and in the same order.
    :raises DamagedSequenceError: If the dictionary is not one that `shorten_documents` writes for these documents.
    """
    if not shared.dictionary:
        return shared.documents
    batch = read_documents(shared.documents)
    dictionary, _ = _parse_dictionary(shared.dictionary)
    return batch.with_texts(_expand_texts(dictionary, batch.texts, max_characters))


def needs_flag(text: str) -> bool:
    """Return whether a source text would be taken for a shortened one, or for one with a flag."""
    return _FLAGGED.match(text) is not None


def count_tokens(text: str, tokenizer: Tokenizer) -> int:
    """Count the tokens of any string; a lone surrogate counts as the replacement character."""
    return len(tokenizer.encode(_SURROGATE.sub(_REPLACEMENT, text)))


# Writing: texts → pieces → grammar → dictionary and bodies


def _write_texts(
    texts: Sequence[str], tokenizer: Tokenizer, modes: Collection[Mode]
) -> Iterator[tuple[_TextDictionary, list[str]]]:
    """Yield the texts with a dictionary, in every way that could be the shortest."""
    if not {Mode.FLAT, Mode.HIERARCHICAL}.issuperset(modes):
        raise OptionError(
            f"For a text, modes must be among 'flat' and 'hierarchical', got {sorted(mode.value for mode in modes)}: "
            "'lzw' has no readable dictionary. For 'lzw', pass ids to ltsc.compress."
        )
    signs = _usable_signs("".join(texts))
    if len(signs) < _FEWEST_SIGNS:
        return
    numbers: dict[str, int] = {}  # of the pieces, in order of first occurrence
    documents = [[numbers.setdefault(piece, len(numbers)) for piece in cut(text, tokenizer)] for text in texts]
    for mode in modes:
        for grammar in _grammars(documents, mode, signs, tokenizer):
            uses = count_uses(grammar)
            # Where the order is free, the most used entries get the shortest signs.
            order = sorted(range(len(uses)), key=lambda entry: -uses[entry] if mode is Mode.FLAT else entry)
            named = dict(zip(order, signs, strict=False))
            names = [named[entry] for entry in range(len(uses))]
            yield _write_grammar(grammar, list(numbers), names, signs[len(names)])


def _grammars(
    documents: Sequence[Sequence[int]], mode: Mode, signs: Sequence[str], tokenizer: Tokenizer
) -> Iterator[Grammar]:
    """Yield a grammar at the price of the first sign and, if that is higher, one at the price of the last.

    The price of an entry depends on its sign; longer signs are needed the more entries pay, which depends on the price.
    """
    limit = len(signs) - 1
    first = _price(signs[0], tokenizer)
    grammar = find_grammar(documents, mode, limit, first)
    if not grammar.entries:
        return
    yield grammar
    last = _price(signs[len(grammar.entries) - 1], tokenizer)
    if last.name > first.name and (grammar := find_grammar(documents, mode, limit, last)).entries:
        yield grammar


def _price(sign: str, tokenizer: Tokenizer) -> Price:
    """Return the price of an entry in tokens: of its sign, and of what separates it from other entries."""
    name = count_tokens(sign, tokenizer)
    return Price(name, max(0, count_tokens(f"\n{sign}=", tokenizer) - name))


def _write_grammar(
    grammar: Grammar, pieces: Sequence[str], signs: Sequence[str], end: str
) -> tuple[_TextDictionary, list[str]]:
    """Write a grammar as text; its literals are numbers of pieces.

    :param grammar: The grammar.
    :param pieces: The text of each number.
    :param signs: The sign of each entry, which comes after those of the entries that it uses.
    :param end: A sign after all of these, for the text.
    :return: The dictionary and the bodies.
    """
    written = [pieces[number] for number in grammar.literals]
    written += [""] * (grammar.base - len(written))  # ends of documents, which are in no entry and no body
    written += signs
    entries = ["".join(written[symbol] for symbol in entry) for entry in grammar.entries]
    bodies = ["".join(written[symbol] for symbol in body) for body in grammar.bodies]
    named = sorted(zip(signs, entries, strict=True), key=lambda entry: _rank(entry[0]))
    return _TextDictionary(dict(named), end), bodies


def _rank(sign: str) -> Rank:
    """Return the sort key of a sign; shorter signs sort first."""
    return (len(sign), *map(_MARKS.index, sign[:-1]), _LETTERS.index(sign[-1]))


def _usable_signs(source: str) -> list[str]:
    """List the signs whose characters are not in the source, and that come after any which look like entries there."""
    characters = set(source)
    letters = [letter for letter in _LETTERS if letter not in characters]
    marks = [mark for mark in _MARKS if mark not in characters]
    free = ["".join(sign) for count in range(_MOST_MARKS + 1) for sign in product(*[marks] * count, letters)]
    lookalikes = [_rank(match[1] or match[2]) for match in _DEFINITION.finditer(source)]
    return [sign for sign in free if not lookalikes or _rank(sign) > max(lookalikes)]


# Pieces


@runtime_checkable
class _OffsetTokenizer(Protocol):
    """A tokenizer that also returns the offsets of its tokens."""

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]: ...


def cut(text: str, tokenizer: Tokenizer) -> list[str]:
    """Cut a text into pieces of one token each, or of a few that share a character; joined, they are the text.

    What a tokenizer drops or normalises only changes the size of pieces, never the text.
    """
    valid = _SURROGATE.sub(_REPLACEMENT, text)
    if isinstance(tokenizer, _OffsetTokenizer):
        ends = [end for _, end in tokenizer.encode_with_offsets(valid)[1]]
    else:
        ends = _find_ends(valid, tokenizer)
    edges = sorted({0, len(text), *ends})
    return [text[start:end] for start, end in pairwise(edges)]


def _find_ends(text: str, tokenizer: Tokenizer) -> list[int]:
    """Find where tokens end by decoding them; where that fails, cut the rest into words."""
    ids = tokenizer.encode(text)
    ends: list[int] = []
    position = first = 0
    while first < len(ids):
        for last in range(first + 1, first + 1 + _MOST_TOKENS):
            piece = tokenizer.decode(ids[first:last])
            if piece and _REPLACEMENT not in piece and text.startswith(piece, position):
                break
        else:
            return ends + [match.end() for match in _WORD.finditer(text, position)]
        position += len(piece)
        ends.append(position)
        first = last
    return ends


# Reading: dictionary and bodies → texts


@dataclass(frozen=True, slots=True)
class _TextDictionary:
    """Entries by their signs, in order; an entry may contain the signs of earlier ones."""

    entries: Mapping[str, str]
    end: str  # the sign before the text

    def __str__(self) -> str:
        entries = "".join(f"\n{sign}={text}" for sign, text in self.entries.items())
        return f"{_TITLE}{entries}{_text_line(self.end)}"


def _text_line(sign: str) -> str:
    return f"\nText {sign}:\n"


def _parse_dictionary(text: str) -> tuple[_TextDictionary, str]:
    """Read the dictionary that a text begins with; return it and what follows it."""
    if not _BEGINNING.match(text):
        raise DamagedSequenceError(
            f"The dictionary begins with {text[:24]!r}, expected {_TITLE!r} and an entry on the next line. "
            "Pass the dictionary as it was returned."
        )
    entries: dict[str, str] = {}
    sign, start = "", 0
    for match in _DEFINITION.finditer(text, len(_TITLE)):
        following = match[1] or match[2]
        if sign and _rank(following) <= _rank(sign):
            continue  # source text that looks like an entry
        if sign:
            entries[sign] = text[start : match.start()]
        if match[2]:
            return _TextDictionary(entries, following), text[match.start() + len(_text_line(following)) :]
        sign, start = following, match.end() + len(f"{following}=")
    raise DamagedSequenceError(
        f"The dictionary has no end: no line such as 'Text γ:' follows its entry {sign!r}. Pass the whole text."
    )


def _expand_texts(dictionary: _TextDictionary, bodies: Sequence[str], limit: int) -> list[str]:
    """Expand the references in texts, up to `limit` characters."""
    signs = tuple(dictionary.entries)
    # The source has no characters of signs: whatever looks like a sign is a reference.
    marks, letters = ("".join(set("".join(signs)) & set(characters)) for characters in (_MARKS, _LETTERS))
    reference = re.compile(f"([{marks}]*[{letters}])" if marks else f"([{letters}])")
    numbers = {sign: number for number, sign in enumerate(signs)}
    entries = [
        _symbols(reference.split(entry), numbers, number) for number, entry in enumerate(dictionary.entries.values())
    ]
    texts = [_symbols(reference.split(body), numbers, len(signs)) for body in bodies]
    used = {symbol for symbols in (*entries, *texts) for symbol in symbols if symbol < 0}
    for number, sign in enumerate(signs):
        if ~number not in used:
            raise DamagedSequenceError(
                f"The dictionary defines {sign!r}, but nothing uses it. "
                "Pass everything that was shortened with it, whole and unchanged."
            )
    return ["".join(map(chr, codes)) for codes in expand(entries, texts, limit)]


def _symbols(parts: Sequence[str], numbers: Mapping[str, int], known: int) -> list[int]:
    """Convert parts, alternately text and references, to symbols: code points, and ~i for entry i below `known`."""
    symbols: list[int] = []
    for index, part in enumerate(parts):
        if index % 2 == 0:
            symbols += map(ord, part)
        elif numbers.get(part, known) < known:
            symbols.append(~numbers[part])
        else:
            raise DamagedSequenceError(
                f"The reference {part!r} is used where the dictionary does not define it. "
                "Pass a text with the dictionary that it was shortened with, both unchanged."
            )
    return symbols
