"""Measure which words become anchors, and where in a window anchors are dense.

    python -m benchmarks.anchors [--codec NAME] [--wikipedia PATH] [--limit N] [--tokens N] [--ratios R ...]

    kept       share of a class's tokens that are anchors, at each ratio; that of all tokens is 1 / ratio
    density    anchors per source token along a window, whose first tokens have no context

A token has the class of its word, by rules for any language that writes with capitals: numbers and names as the codec
recognises them (zprompt/codec/importance.py), listed function words, other words, punctuation. In brackets the 95 %
interval of a bootstrap over texts, then the text with the least. Writes anchors.json to
benchmarks/results, and prints the tables.
"""

import argparse
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import zprompt
from benchmarks.common import (
    RESULTS,
    Ints,
    Row,
    TiledText,
    compress,
    figures,
    natural_documents,
    tile_text,
    wikipedia_file,
)
from zprompt import Codec
from zprompt.codec import SALIENT, token_weights
from zprompt.eval import Estimate, Ratio, RunRecord, estimate, write_json

RATIOS = (2.0, 4.0, 8.0)
STRETCHES = 16  # of a window

NUMBER, NAME, FUNCTION, OTHER = "number", "name", "function word", "other word"
PUNCTUATION, SPACE, ALL = "punctuation, symbols", "white space", "all tokens"
CLASSES = (NUMBER, NAME, FUNCTION, OTHER, PUNCTUATION, SPACE, ALL)

_WORD = re.compile(r"\d+(?:[.,:/-]\d+)*\w*|\w+(?:['’]\w+)?|[^\w\s]")
_APOSTROPHE = re.compile("['’]")
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


def measure(codec: Codec, texts: Sequence[str], ratios: Sequence[float | None], seed: int) -> dict[str, list[Row]]:
    """Tile texts at each ratio, and count the anchors of each class and in each stretch of a window."""
    classes: list[Row] = [{"class": name} for name in CLASSES]
    stretches: list[Row] = []
    for ratio in ratios:
        spans = compress(codec, list(texts), ratio=ratio).documents
        tiled = [text for text in map(tile_text, [codec] * len(texts), texts, spans) if text]
        column = "usual" if ratio is None else f"ratio {ratio:g}"
        for row, share in zip(classes, class_shares(tiled, seed), strict=True):
            row[column] = share
        stretches = stretches or density(tiled, codec.settings.window, seed)  # at the first ratio only
    return {"classes": classes, "density": stretches}


def class_shares(texts: Sequence[TiledText], seed: int) -> list[Estimate | None]:
    """Return the share of the tokens of each class that are anchors; None for a class that does not occur."""
    labels = [np.array([CLASSES.index(name) for name in word_classes(tiled.text, tiled.offsets)]) for tiled in texts]
    shares = _shares(texts, labels, len(CLASSES) - 1, seed)
    return [*shares, _shares(texts, [np.zeros_like(classes) for classes in labels], 1, seed)[0]]


def density(texts: Sequence[TiledText], window: int, seed: int) -> list[Row]:
    """Return anchors per source token along windows."""
    size = -(-window // STRETCHES)
    labels = [np.arange(len(tiled.ids)) % window // size for tiled in texts]
    shares = _shares(texts, labels, STRETCHES, seed)
    return [{"from token": index * size, "density": share} for index, share in enumerate(shares) if share]


def _shares(texts: Sequence[TiledText], labels: Sequence[Ints], count: int, seed: int) -> list[Estimate | None]:
    """Return anchors per token of each label."""
    tokens = [np.bincount(row, minlength=count) for row in labels]
    anchors = [np.bincount(row[tiled.starts], minlength=count) for tiled, row in zip(texts, labels, strict=True)]
    return [
        estimate([Ratio(float(kept[i]), float(total[i])) for kept, total in zip(anchors, tokens, strict=True)], seed)
        for i in range(count)
    ]


def word_classes(text: str, offsets: Sequence[tuple[int, int]]) -> list[str]:
    """Return the class of each token, one of CLASSES."""
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
    """Look up a word; of "it's" and "didn't", look up the part before the apostrophe."""
    head, *tail = _APOSTROPHE.split(word.casefold())
    return head in _FUNCTION_WORDS or (bool(tail) and head.removesuffix("n") in _FUNCTION_WORDS)


def main() -> None:
    """Measure, write `results/anchors.json`, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="an LLM, a shipped codec, or a codec's folder")
    parser.add_argument("--wikipedia", type=Path, default=wikipedia_file(), help="JSON lines with paragraphs")
    parser.add_argument("--limit", type=int, default=16, help="articles")
    parser.add_argument("--tokens", type=int, default=512, help="of each, at most")
    parser.add_argument("--ratios", type=float, nargs="+", default=RATIOS, help="beside the usual one")
    parser.add_argument("--seed", type=int, default=0)
    options, began = parser.parse_args(), time.time()
    codec = zprompt.load(options.codec)
    documents = natural_documents(
        options.wikipedia, options.limit, options.tokens, options.seed, lambda text: len(codec.backbone.encode(text))
    )
    tables = measure(codec, [document.text for document in documents], (None, *options.ratios), options.seed)
    write_json(
        RESULTS / "anchors.json", {"run": RunRecord.take(options.seed, began), "texts": len(documents), **tables}
    )
    for rows in tables.values():
        first, *shares = rows[0]
        print("\n".join(figures(rows, {first: "", **dict.fromkeys(shares, ".3f")})))


if __name__ == "__main__":
    main()
