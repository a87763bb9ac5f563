"""What kind of word each source token belongs to.

By rule, for any language that writes with capitals:

    number, name     as the codec sees them (codec/weights.py): a name is a capitalised word that is not just the first
                     of a sentence, or one with a capital inside
    function word    of a list: articles, pronouns, prepositions, conjunctions, auxiliaries
    other word, punctuation and symbols, white space

And for English, if TextBlob is installed, parts of speech: its pattern tagger's lexicon and rules come with the package
and need no network. It is right less often than a trained tagger (its accuracy was not measured here).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import TypeAlias

from zprompt.codec import SALIENT, token_weights
from zprompt.errors import MissingDependencyError

Classify: TypeAlias = Callable[[str, Sequence[tuple[int, int]]], list[str]]  # text, offsets → class of each token

NUMBER, NAME, FUNCTION, OTHER = "number", "name", "function word", "other word"
PUNCTUATION, SPACE = "punctuation, symbols", "white space"
CLASSES = (NUMBER, NAME, FUNCTION, OTHER, PUNCTUATION, SPACE)

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+(?:['’]\w+)?|[^\w\s]")
_APOSTROPHE = re.compile("['’]")
_SENTENCE_END = frozenset(".!?")
_FUNCTION_WORDS = frozenset(
    "a an the this that these those some any no every each either neither both all such what which whose another other "
    "i me my mine myself you your yours yourself he him his himself she her hers herself it its itself we us our ours "
    "ourselves they them their theirs themselves who whom whoever somebody someone something anybody anyone anything "
    "nobody none nothing everybody everyone everything one there here "
    "of in to for with on at from by about as into like through after over between out against during without before "
    "under around among within along across behind beyond near above below up down off since until upon toward towards "
    "per via despite onto beside besides except "
    "and or but nor so yet if because although though while whereas when where whether than unless how why "
    "be am is are was were been being have has had having do does did doing will would shall should can could may "
    "might must ought not".split()
)
_PARTS = {
    "NN": "noun",
    "NNP": "proper noun",
    "VB": "verb",
    "MD": "auxiliary",
    "JJ": "adjective",
    "RB": "adverb",
    "WRB": "adverb",
    "DT": "determiner",
    "WDT": "determiner",
    "PDT": "determiner",
    "PRP": "pronoun",
    "WP": "pronoun",
    "EX": "pronoun",
    "IN": "preposition",
    "TO": "to",
    "CC": "conjunction",
    "CD": "number",
}
_OTHER_PART = "other"
PARTS = (*dict.fromkeys(_PARTS.values()), _OTHER_PART, PUNCTUATION, SPACE)


def word_classes(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Give the class of each token by rule.

    :param text: The text.
    :param offsets: Character range of each token.
    :return: One of CLASSES for each.
    """
    function = [False] * len(text)
    for match in _WORD.finditer(text):
        if _is_function_word(match.group()):
            function[match.start() : match.end()] = [True] * (match.end() - match.start())
    salient = [weight >= SALIENT for weight in token_weights(text, offsets)]
    return [
        _class(text[start:end], is_salient, any(function[start:end]))
        for (start, end), is_salient in zip(offsets, salient, strict=True)
    ]


def parts_of_speech() -> Classify:
    """Load the English tagger.

    :return: What gives one of PARTS for each token.
    :raises MissingDependencyError: If TextBlob is not installed.
    """
    try:
        from textblob.en import tag
    except ImportError as error:
        raise MissingDependencyError("Parts of speech need TextBlob: pip install 'zprompt[analyze]'.") from error

    def classify(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
        parts: list[str | None] = [None] * len(text)
        for sentence in _sentences(text):
            with warnings.catch_warnings():  # it leaves its lexicon's file open, the first time
                warnings.simplefilter("ignore", ResourceWarning)
                tags = [name for _, name in tag(" ".join(match.group() for match in sentence), tokenize=False)]
            if len(tags) != len(sentence):  # it cut words: none of the sentence can be told
                tags = [""] * len(sentence)
            for match, name in zip(sentence, tags, strict=True):
                parts[match.start() : match.end()] = [_part(name)] * (match.end() - match.start())
        return [_part_of_token(text[start:end], parts[start:end]) for start, end in offsets]

    return classify


def _is_function_word(word: str) -> bool:
    """Look a word up; of "it's" and "didn't", what is before the apostrophe."""
    head, *tail = _APOSTROPHE.split(word.casefold())
    return head in _FUNCTION_WORDS or (bool(tail) and head.removesuffix("n") in _FUNCTION_WORDS)


def tagger_name() -> str:
    """Name the English tagger.

    :return: The package and its version.
    """
    return f"textblob {metadata.version('textblob')}, pattern tagger"


def _class(piece: str, salient: bool, function: bool) -> str:
    if not any(map(str.isalnum, piece)):
        return PUNCTUATION if piece.strip() else SPACE
    if salient:
        return NUMBER if any(map(str.isdigit, piece)) else NAME
    return FUNCTION if function else OTHER


def _sentences(text: str) -> list[list[re.Match[str]]]:
    """Cut a text into the words of its sentences."""
    sentences: list[list[re.Match[str]]] = [[]]
    for match in _WORD.finditer(text):
        sentences[-1].append(match)
        if match.group() in _SENTENCE_END:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _part(tag: str) -> str:
    """Give the part of speech of a tag of the Penn treebank: its most specific entry."""
    fits = [name for name in _PARTS if tag.startswith(name)]
    return _PARTS[max(fits, key=len)] if fits else _OTHER_PART


def _part_of_token(piece: str, parts: Sequence[str | None]) -> str:
    if not any(map(str.isalnum, piece)):
        return PUNCTUATION if piece.strip() else SPACE
    return next((part for part in parts if part is not None), _OTHER_PART)
