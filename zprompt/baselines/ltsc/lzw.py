"""The LZW mode: no dictionary is written, since reader and writer grow the same one.

Each code says the longest phrase that is known; the phrase and the id after it become the next entry. Later documents
go on with the entries of those before them.
"""

from __future__ import annotations

from collections.abc import Sequence

from zprompt.baselines.ltsc.alphabet import MetaAlphabet
from zprompt.errors import DamagedSequenceError


def write_lzw(documents: Sequence[Sequence[int]], alphabet: MetaAlphabet) -> list[list[int]]:
    """Write sequences with an implicit dictionary.

    :param documents: The ids of each.
    :param alphabet: The meta-tokens.
    :return: The body of each.
    """
    known: dict[tuple[int, int], int] = {}  # (phrase, next id) → phrase; a phrase is an id, or ~i for entry i
    most = alphabet.entries
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
                if most is None or len(known) < most:
                    known[phrase, token] = ~len(known)
                phrases.append(phrase)
                phrase = token
        if phrase is not None:
            phrases.append(phrase)
        bodies.append([token for phrase in phrases for token in _write(phrase, alphabet)])
    return bodies


def read_lzw(bodies: Sequence[Sequence[int]], alphabet: MetaAlphabet, limit: int) -> list[list[int]]:
    """Read sequences with an implicit dictionary.

    :param bodies: What `write_lzw` wrote.
    :param alphabet: The meta-tokens.
    :param limit: Ids that all may have together.
    :return: The ids of each.
    :raises DamagedSequenceError: If a body is no such, or there are more ids.
    """
    entries: list[list[int]] = []
    documents, left = [], limit
    for body in bodies:
        document: list[int] = []
        previous: list[int] | None = None
        place = 0
        while place < len(body):
            phrase, place = _read(body, place, entries, previous, alphabet)
            if previous is not None and (alphabet.entries is None or len(entries) < alphabet.entries):
                entries.append([*previous, phrase[0]])
            document += phrase
            previous = phrase
            if len(document) > left:
                raise DamagedSequenceError(
                    f"The sequence would expand to more than {limit:,} ids. "
                    "If you trust where it comes from, pass a larger max_tokens."
                )
        left -= len(document)
        documents.append(document)
    return documents


def _write(phrase: int, alphabet: MetaAlphabet) -> list[int]:
    """Write a phrase."""
    return [alphabet.first_entry + ~phrase] if phrase < 0 else alphabet.literal(phrase)


def _read(
    body: Sequence[int], place: int, entries: list[list[int]], previous: list[int] | None, alphabet: MetaAlphabet
) -> tuple[list[int], int]:
    """Read a phrase; give it and the place after it."""
    token = body[place]
    if token < alphabet.first:
        return [token], place + 1
    if token == alphabet.escape and place + 1 < len(body):
        return [body[place + 1]], place + 2
    entry = token - alphabet.first_entry
    if 0 <= entry < len(entries):
        return entries[entry], place + 1
    if entry == len(entries) and previous is not None and (alphabet.entries is None or entry < alphabet.entries):
        return [*previous, previous[0]], place + 1  # the entry that this very phrase completes
    raise DamagedSequenceError(
        f"The id {token} at position {place} stands for nothing that is known there. "
        "Pass what `compress` returned, whole, unchanged and in order."
    )
