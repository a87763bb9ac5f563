r"""The text form of a grammar: a dictionary that a model can read in its context, and the text with short references.

    Dictionary:
    α= the North Atlantic Treaty Organization
    β= said on Tuesday that
    Text γ:
    The secretary ofα βα will meet …

An entry is everything between its `\nsign=` and the next one, spaces and line breaks included. Signs are free in the
source (see `signs`) and stand in their order, and so does the one before the text, γ here. Something that looks like
`\nsign=` and stands in the source can thus be told from an entry: entries only take signs that come after its sign. A
text that begins like a dictionary itself is written after a backslash, as is one that begins with such backslashes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zprompt.baselines.ltsc.expansion import expand
from zprompt.baselines.ltsc.grammar import Grammar
from zprompt.baselines.ltsc.signs import LETTERS, MARKS, SIGN, free_signs, rank
from zprompt.errors import DamagedSequenceError

FLAG = "\\"  # of a text that is left as it is, and begins as if it were not
_TITLE = "Dictionary:"
_DEFINITION = re.compile(f"\n(?=({SIGN})=|Text ({SIGN}):\n)")
_BEGINNING = re.compile(f"{_TITLE}(?=\n{SIGN}=)")
_FLAGGED = re.compile(f"[{re.escape(FLAG)}]*{_TITLE}\n{SIGN}=")


@dataclass(frozen=True, slots=True)
class TextDictionary:
    """Entries of a text, under their signs and in their order; an entry may hold the signs of those before it."""

    entries: Mapping[str, str]
    end: str  # the sign before the text

    def __str__(self) -> str:
        """Write the dictionary.

        :return: What stands before the text.
        """
        entries = "".join(f"\n{sign}={text}" for sign, text in self.entries.items())
        return f"{_TITLE}{entries}{_end(self.end)}"


def needs_flag(text: str) -> bool:
    """Say whether a text that is left as it is would be taken for another.

    :param text: A source text.
    :return: True if it needs the flag.
    """
    return _FLAGGED.match(text) is not None


def begins_with_dictionary(text: str) -> bool:
    """Say whether a text is a shortened one.

    :param text: A text.
    :return: True if it begins as a dictionary does.
    """
    return _BEGINNING.match(text) is not None


def usable_signs(source: str) -> list[str]:
    """List the signs that entries can have, and the text.

    :param source: All of the source.
    :return: The signs in their order.
    """
    lookalikes = [match[1] or match[2] for match in _DEFINITION.finditer(source)]
    return free_signs(source, max(lookalikes, key=rank, default=""))


def write_readable(
    grammar: Grammar, pieces: Sequence[str], signs: Sequence[str], end: str
) -> tuple[TextDictionary, list[str]]:
    """Write a grammar as text.

    :param grammar: The grammar; its literals are numbers of pieces.
    :param pieces: The texts that the numbers stand for.
    :param signs: Of each entry; an entry's comes after those of the entries that it uses.
    :param end: A sign after all of these.
    :return: The dictionary and the bodies.
    """
    written = [pieces[number] for number in grammar.literals]
    written += [""] * (grammar.base - len(written))  # ends of documents, which no entry and no body holds
    written += signs
    entries = ["".join(written[symbol] for symbol in entry) for entry in grammar.entries]
    bodies = ["".join(written[symbol] for symbol in body) for body in grammar.bodies]
    named = sorted(zip(signs, entries, strict=True), key=lambda entry: rank(entry[0]))
    return TextDictionary(dict(named), end), bodies


def read_dictionary(text: str) -> tuple[TextDictionary, str]:
    """Read the dictionary that a text begins with.

    :param text: The text.
    :return: The dictionary, and what follows it.
    :raises DamagedSequenceError: If the text does not begin with a dictionary, or that has no end.
    """
    if not begins_with_dictionary(text):
        raise DamagedSequenceError(
            f"The dictionary begins with {text[:24]!r}, expected is {_TITLE!r} and an entry in the next line. "
            "Pass the dictionary as it was returned."
        )
    entries: dict[str, str] = {}
    sign, start = "", 0
    for match in _DEFINITION.finditer(text, len(_TITLE)):
        following = match[1] or match[2]
        if sign and rank(following) <= rank(sign):
            continue  # something of the source that looks like an entry
        if sign:
            entries[sign] = text[start : match.start()]
        if match[2]:
            return TextDictionary(entries, following), text[match.start() + len(_end(following)) :]
        sign, start = following, match.end() + len(f"{following}=")
    raise DamagedSequenceError(
        f"The dictionary has no end: no line such as 'Text γ:' follows its entry {sign!r}. Pass the whole text."
    )


def expand_text(dictionary: TextDictionary, bodies: Sequence[str], limit: int) -> list[str]:
    """Write out the references in texts.

    :param dictionary: The dictionary.
    :param bodies: The texts.
    :param limit: Characters that all of them may have together, and all entries as well.
    :return: The texts as they were.
    :raises DamagedSequenceError: If a reference is unknown, an entry is never used, or there would be more characters.
    """
    signs = tuple(dictionary.entries)
    # Signs are free in the source: wherever their characters stand in the form of a sign, there is a reference.
    marks, letters = ("".join(set("".join(signs)) & set(kind)) for kind in (MARKS, LETTERS))
    reference = re.compile(f"([{marks}]*[{letters}])" if marks else f"([{letters}])")
    numbers = {sign: number for number, sign in enumerate(signs)}
    entries = []
    for number, entry in enumerate(dictionary.entries.values()):
        entries.append(_symbols(reference.split(entry), numbers, number))
    texts = [_symbols(reference.split(body), numbers, len(signs)) for body in bodies]
    _require_use(signs, {symbol for symbols in (*entries, *texts) for symbol in symbols if symbol < 0})
    return ["".join(map(chr, codes)) for codes in expand(entries, texts, limit)]


def _symbols(parts: Sequence[str], numbers: Mapping[str, int], known: int) -> list[int]:
    """Turn text between references and references, in turn, into symbols: code points, and ~i for entry i."""
    symbols: list[int] = []
    for place, part in enumerate(parts):
        if place % 2 == 0:
            symbols += map(ord, part)
        elif numbers.get(part, known) < known:
            symbols.append(~numbers[part])
        else:
            raise DamagedSequenceError(
                f"The reference {part!r} is used where the dictionary does not have it. "
                "Pass a text with the dictionary that it was shortened with, both unchanged."
            )
    return symbols


def _require_use(signs: Sequence[str], used: set[int]) -> None:
    """Refuse an entry that nothing uses: such are not written."""
    for number, sign in enumerate(signs):
        if ~number not in used:
            raise DamagedSequenceError(
                f"The dictionary explains {sign!r}, but it is never used. "
                "Pass all that was shortened with it, whole and unchanged."
            )


def _end(sign: str) -> str:
    """Write what stands between the dictionary and the text."""
    return f"\nText {sign}:\n"
