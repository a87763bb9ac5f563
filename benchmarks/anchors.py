"""Where Z-tokens go: which words are kept as anchors, and where in a text anchors are dense.

    kept       share of a class's tokens that are anchors; that of all tokens is 1 / ratio
    density    anchors per source token, along a text (in tenths) and along a window (its first tokens have no context)

Intervals are over texts. A token has the class of the word that it belongs to, by rule, for any language that writes
with capitals:

    number, name     as the codec sees them (zprompt/codec/importance.py): a name is a capitalised word that is not just
                     the first of a sentence, or one with a capital inside
    function word    of a list: articles, pronouns, prepositions, conjunctions, auxiliaries
    other word, punctuation and symbols, white space

or, for English, its part of speech, if TextBlob is installed: the lexicon and rules of its pattern tagger come with the
package and need no network. It is right less often than a trained tagger (its accuracy was not measured here).
"""

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.common import Ints, TiledText
from zprompt.codec import SALIENT, token_weights
from zprompt.eval import Estimate, Ratio, estimate

TENTHS = 10  # of a text
BINS = 16  # of a window

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
_PARTS = {  # beginnings of the tags of the Penn treebank; the longest that fits counts
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

Classify = Callable[[str, Sequence[tuple[int, int]]], list[str]]  # text, offsets → class of each token


@dataclass(frozen=True, slots=True)
class ClassShare:
    """How many tokens of one class of words are kept."""

    name: str
    tokens: int
    share_of_tokens: float
    share_of_anchors: float
    share_of_dropped: float
    kept: Estimate


@dataclass(frozen=True, slots=True)
class Density:
    """Anchors per source token in one stretch."""

    start: float  # share of the text, or source token of the window
    tokens: int
    density: Estimate


def class_shares(texts: Sequence[TiledText], classify: Classify, names: Sequence[str], seed: int) -> list[ClassShare]:
    """Count anchors and dropped tokens of each class; classes that do not occur are left out."""
    place = {name: index for index, name in enumerate(names)}
    labels = [np.array([place[name] for name in classify(one.text, one.offsets)], np.int64) for one in texts]
    tokens, anchors = _count(texts, labels, len(names))
    dropped = tokens - anchors
    return [
        ClassShare(
            name=name,
            tokens=int(tokens[:, i].sum()),
            share_of_tokens=float(tokens[:, i].sum() / tokens.sum()),
            share_of_anchors=float(anchors[:, i].sum() / anchors.sum()),
            share_of_dropped=float(dropped[:, i].sum() / max(1, dropped.sum())),
            kept=kept,
        )
        for i, name in enumerate(names)
        if (kept := _share(anchors[:, i], tokens[:, i], seed)) is not None
    ]


def density_over_text(texts: Sequence[TiledText], seed: int) -> list[Density]:
    """Measure the density in each tenth of the texts."""
    labels = [np.arange(len(one.ids)) * TENTHS // len(one.ids) for one in texts]
    return _densities(texts, labels, TENTHS, 1 / TENTHS, seed)


def density_over_window(texts: Sequence[TiledText], window: int, seed: int) -> list[Density]:
    """Measure the density along windows of `window` source tokens."""
    size = -(-window // BINS)
    labels = [np.arange(len(one.ids)) % window // size for one in texts]
    return _densities(texts, labels, BINS, size, seed)


def _densities(texts: Sequence[TiledText], labels: Sequence[Ints], count: int, step: float, seed: int) -> list[Density]:
    tokens, anchors = _count(texts, labels, count)
    return [
        Density(round(i * step, 6), int(tokens[:, i].sum()), density)
        for i in range(count)
        if (density := _share(anchors[:, i], tokens[:, i], seed)) is not None
    ]


def _count(texts: Sequence[TiledText], labels: Sequence[Ints], count: int) -> tuple[Ints, Ints]:
    """Count tokens and anchors of each label in each text, (texts, count) each."""
    tokens = [np.bincount(own, minlength=count) for own in labels]
    anchors = [np.bincount(own[one.starts], minlength=count) for one, own in zip(texts, labels, strict=True)]
    return np.array(tokens), np.array(anchors)


def _share(anchors: Ints, tokens: Ints, seed: int) -> Estimate | None:
    ratios = [Ratio(float(one), float(of)) for one, of in zip(anchors, tokens, strict=True)]
    return estimate(ratios, seed)


# Classes of words.


def word_classes(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Return the class of each token by rule, one of CLASSES."""
    function = [False] * len(text)
    for match in _WORD.finditer(text):
        if _is_function_word(match.group()):
            function[match.start() : match.end()] = [True] * (match.end() - match.start())
    salient = [weight >= SALIENT for weight in token_weights(text, offsets)]
    return [
        _class_of(text[start:end], is_salient, any(function[start:end]))
        for (start, end), is_salient in zip(offsets, salient, strict=True)
    ]


def _class_of(piece: str, salient: bool, function: bool) -> str:
    if not any(map(str.isalnum, piece)):
        return PUNCTUATION if piece.strip() else SPACE
    if salient:
        return NUMBER if any(map(str.isdigit, piece)) else NAME
    return FUNCTION if function else OTHER


def _is_function_word(word: str) -> bool:
    """Look a word up; of "it's" and "didn't", the part before the apostrophe."""
    head, *tail = _APOSTROPHE.split(word.casefold())
    return head in _FUNCTION_WORDS or (bool(tail) and head.removesuffix("n") in _FUNCTION_WORDS)


def parts_of_speech(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Return the part of speech of each token, one of PARTS; needs TextBlob."""
    from textblob.en import tag

    parts: list[str | None] = [None] * len(text)
    for sentence in _sentences(text):
        with warnings.catch_warnings():  # it leaves its lexicon's file open, the first time
            warnings.simplefilter("ignore", ResourceWarning)
            tags = [name for _, name in tag(" ".join(match.group() for match in sentence), tokenize=False)]
        if len(tags) != len(sentence):  # it cut words, so tags and words cannot be aligned
            tags = [""] * len(sentence)
        for match, name in zip(sentence, tags, strict=True):
            parts[match.start() : match.end()] = [_part_of(name)] * (match.end() - match.start())
    return [_part_of_token(text[start:end], parts[start:end]) for start, end in offsets]


def _sentences(text: str) -> list[list[re.Match[str]]]:
    sentences: list[list[re.Match[str]]] = [[]]
    for match in _WORD.finditer(text):
        sentences[-1].append(match)
        if match.group() in _SENTENCE_END:
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _part_of(tag: str) -> str:
    fits = [name for name in _PARTS if tag.startswith(name)]
    return _PARTS[max(fits, key=len)] if fits else _OTHER_PART


def _part_of_token(piece: str, parts: Sequence[str | None]) -> str:
    if not any(map(str.isalnum, piece)):
        return PUNCTUATION if piece.strip() else SPACE
    return next((part for part in parts if part is not None), _OTHER_PART)
