"""Texts in, shorter texts out, and back: what repeats is explained once, in a dictionary that any model can read.

    short = ltsc.shorten_text(text)
    ltsc.restore_text(short) == text

The tokenizer says where a repeat may begin and what is shorter; restoring needs none, and is exact for any string.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from zprompt.baselines.lengths import default_tokenizer
from zprompt.baselines.ltsc.discovery import Mode
from zprompt.baselines.ltsc.naming import write_texts
from zprompt.baselines.ltsc.pieces import Tokenizer, count_tokens
from zprompt.baselines.ltsc.readable import FLAG, begins_with_dictionary, expand_text, needs_flag, read_dictionary
from zprompt.documents import read_documents

MAX_CHARACTERS = 40_000_000  # that restoring gives for one call, unless it is told otherwise
READABLE_MODES = (Mode.FLAT,)  # entries that use entries are a strain on a reader that was not tuned for them


@dataclass(frozen=True, slots=True)
class SharedTexts:
    """Shortened documents, and the dictionary that they share."""

    dictionary: str  # goes before the documents, in a prompt; empty: they are as they were
    documents: Any  # one document or a list, as they were given
    source_tokens: int
    tokens: int  # of the dictionary and the documents


def shorten_text(text: str, tokenizer: Tokenizer | None = None, modes: Collection[Mode] = READABLE_MODES) -> str:
    """Shorten a text by a dictionary that stands before it.

    :param text: Any string.
    :param tokenizer: What counts; None: the default backbone's.
    :param modes: The modes to try, FLAT and HIERARCHICAL.
    :return: The shortened text, or the text itself where no dictionary pays; after a flag of one character if it
        begins as a shortened one does.
    """
    tokenizer = tokenizer or default_tokenizer()
    plain = FLAG + text if needs_flag(text) else text
    written = [f"{dictionary}{body}" for dictionary, [body] in write_texts([text], tokenizer, modes)]
    return min((plain, *written), key=lambda form: count_tokens(form, tokenizer))


def restore_text(text: str, max_characters: int = MAX_CHARACTERS) -> str:
    """Give a text back.

    :param text: What `shorten_text` returned.
    :param max_characters: Characters that the text may have: a forged one grows exponentially.
    :return: The source text.
    :raises DamagedSequenceError: If the dictionary is not one that `shorten_text` writes for this text.
    """
    if begins_with_dictionary(text):
        dictionary, body = read_dictionary(text)
        return expand_text(dictionary, [body], max_characters)[0]
    return text.removeprefix(FLAG) if needs_flag(text) else text


def shorten_documents(
    docs: Any,  # noqa: ANN401 - str, dict, LangChain and LlamaIndex documents, and sequences of them
    tokenizer: Tokenizer | None = None,
    modes: Collection[Mode] = READABLE_MODES,
) -> SharedTexts:
    """Shorten documents by one dictionary: what overlapping passages have in common is explained once.

    :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node.
    :param tokenizer: What counts; None: the default backbone's.
    :param modes: The modes to try, FLAT and HIERARCHICAL.
    :return: The dictionary and the documents; together they have fewer tokens than before, or are unchanged.
    """
    tokenizer = tokenizer or default_tokenizer()
    batch = read_documents(docs)
    forms = [("", list(batch.texts))]
    forms += [(str(dictionary), bodies) for dictionary, bodies in write_texts(batch.texts, tokenizer, modes)]
    lengths = [sum(count_tokens(text, tokenizer) for text in (head, *bodies)) for head, bodies in forms]
    best = lengths.index(min(lengths))
    head, bodies = forms[best]
    return SharedTexts(head, batch.with_texts(bodies), source_tokens=lengths[0], tokens=lengths[best])


def restore_documents(shared: SharedTexts, max_characters: int = MAX_CHARACTERS) -> Any:  # noqa: ANN401 - as given
    """Give documents back.

    :param shared: What `shorten_documents` returned.
    :param max_characters: Characters that all documents may have together.
    :return: The documents, of the same types and in the same order.
    :raises DamagedSequenceError: If the dictionary is not one that `shorten_documents` writes for these documents.
    """
    if not shared.dictionary:
        return shared.documents
    batch = read_documents(shared.documents)
    dictionary, _ = read_dictionary(shared.dictionary)
    return batch.with_texts(expand_text(dictionary, batch.texts, max_characters))
