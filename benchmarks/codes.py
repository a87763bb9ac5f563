"""Measure what the codes of a codec mean, and where its Z-tokens go.

    python -m benchmarks.codes [--codec NAME] [--data PATH] [--limit N] [--tokens N] [--ratio R] [--parts-of-speech]

A sub-code's value depends on its segment of words and on its role alone (zprompt/codec/code_layout.py), so the same
words in the same role always have the same value. What can differ is which other words share it, and what the words
mean where they stand.

    usage          H(value) = -Σ p log2 p, bits that a use of a sub-code carries, of log2 K at most; from relative
                   frequencies, so too low where uses are few. Beside the values that do not occur stands how many equal
                   use would have left out, K (1 - 1/K)^n. A value is dead if no segment has it, which is known where
                   segments are single tokens: the code head classifies the whole vocabulary
    consistency    of a value: mean cosine of the embeddings of all pairs of its uses, without pairs of the same words,
                   which always share a value; mean over values, each weighted by its uses. The control is the same
                   with values shuffled within a role; pairs of the same words are measured beside it, since no code can
                   be more consistent than these
    placement      which words are anchors, and where they are dense (benchmarks/anchors.py)

Embeddings are those of the backbone, means over the segment's tokens: of the last layer's hidden states in the codec's
window (in context), and of the input embeddings (alone). Both lie in a narrow cone, where any two vectors are alike, so
each is centred on the mean of its role and scaled to length 1. Texts that pass through, or that had to be escaped, are
left out and counted. The same codec, texts and seed give the same figures. Writes codes.json and codes.md.
"""

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import zprompt
from benchmarks.anchors import (
    CLASSES,
    PARTS,
    ClassShare,
    Density,
    class_shares,
    density_over_text,
    density_over_window,
    parts_of_speech,
    word_classes,
)
from benchmarks.common import (
    PROSE,
    RESULTS,
    Floats,
    Ints,
    TiledText,
    describe_run,
    one_cell,
    read_paragraphs,
    tile_text,
    wikipedia_file,
)
from zprompt import Codec
from zprompt.codec import CodecHeads, CodecSettings, Layout, layout
from zprompt.errors import OptionError
from zprompt.eval import Estimate, Ratio, RunRecord, estimate, table, write_json
from zprompt.llm import Backbone

SHUFFLES = 10  # of the control
VALUES, SEGMENTS, AROUND = 3, 8, 28  # shown: values of a role, segments of a value, characters beside a segment
CHUNK = 4096  # tokens that the code head classifies at a time

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the codes mean, and where Z-tokens go."""

    codec: str  # fingerprint
    texts: int
    left_out: int
    source_tokens: int
    z_tokens: int
    ratio: float
    without_code: float  # share of the Z-tokens that drop nothing, and have no code
    uses: int  # of sub-codes
    segments: int  # distinct ones
    usage_by_role: list["Usage"]
    usage_by_subcode: list["Usage"]
    in_context: list["Consistency"]  # uses that share a value, hidden states, without pairs of the same words
    alone: list["Consistency"]  # distinct segments that share a value, token embeddings
    same_words: list["Consistency"]  # uses of the same words, hidden states
    examples: list["CodeValue"]
    word_classes: list[ClassShare]
    parts_of_speech: list[ClassShare]  # empty if they were not asked for
    over_text: list[Density]
    over_window: list[Density]


def analyse(
    codec: Codec, texts: Sequence[str], tokens: int | None = None, ratio: float | None = None, tag: bool = False,
    seed: int = 0,
) -> Analysis:  # fmt: skip
    """Compress texts, and measure their codes and anchors.

    :param codec: The codec.
    :param texts: The texts.
    :param tokens: Source tokens of each text to look at, from its beginning; None for all.
    :param ratio: Source tokens per Z-token that all texts together are to reach; None for the usual exchange rate.
    :param tag: Tag parts of speech of English texts, too.
    :param seed: Seed of shuffles and intervals.
    :return: The figures.
    :raises OptionError: If no text can be analysed.
    """
    tiled = tile_beginnings(codec, texts, tokens, ratio)
    uses = find_uses(tiled, codec.settings)
    size, window = codec.settings.subcode_size, codec.settings.window
    vectors = centred(embed_in_context(codec.backbone, tiled, uses, window), uses.role)
    by_value = compare(Items(vectors, uses.codes(size), uses.words, uses.role), seed)
    same = uses.role * len(uses.segments) + uses.words
    by_words = compare(Items(vectors, same, np.arange(len(uses)), uses.role), seed)
    z_tokens, source_tokens = sum(len(one.tokens) for one in tiled), sum(len(one.ids) for one in tiled)
    return Analysis(
        codec=codec.fingerprint,
        texts=len(tiled),
        left_out=len(texts) - len(tiled),
        source_tokens=source_tokens,
        z_tokens=z_tokens,
        ratio=source_tokens / z_tokens,
        without_code=1 - len(uses) / (codec.settings.subcodes * z_tokens),
        uses=len(uses),
        segments=len(uses.segments),
        usage_by_role=usage_by_role(uses, size, reachable_values(codec.heads)),
        usage_by_subcode=usage_by_subcode(uses, codec.settings.subcodes, size),
        in_context=summarise(by_value, uses.roles, seed),
        alone=_consistency_alone(codec, uses, seed),
        same_words=summarise(by_words, uses.roles, seed),
        examples=most_used_values(codec, tiled, uses, vectors, by_value),
        word_classes=class_shares(tiled, word_classes, CLASSES, seed),
        parts_of_speech=class_shares(tiled, parts_of_speech, PARTS, seed) if tag else [],
        over_text=density_over_text(tiled, seed),
        over_window=density_over_window(tiled, window, seed),
    )


def tile_beginnings(codec: Codec, texts: Sequence[str], tokens: int | None, ratio: float | None) -> list[TiledText]:
    """Compress the beginnings of texts, and lay their Z-tokens over them."""
    texts = [_beginning(codec, text, tokens) for text in texts]
    spans = codec.compress(texts, ratio=ratio, on_error="passthrough").documents
    tiled = [tile_text(codec, text, span) for text, span in zip(texts, spans, strict=True)]
    found = [one for one in tiled if one is not None and len(one.ids)]
    if not found:
        raise OptionError(
            f"None of {len(texts)} texts can be analysed: they are empty, or their characters have to be escaped. "
            "Give texts that the backbone's tokenizer can write as they are."
        )
    return found


def _beginning(codec: Codec, text: str, tokens: int | None) -> str:
    if tokens is None:
        return text
    whole = text.encode("utf-8", "replace").decode()  # lone surrogates, which no tokenizer takes, as one character
    _, offsets = codec.backbone.encode_with_offsets(whole)
    return text if len(offsets) <= tokens else text[: offsets[tokens - 1][1]]


# What each sub-code stands for, each time that it is used.


@dataclass(frozen=True, slots=True, eq=False)
class Uses:
    """Every use of a sub-code, in the order of the texts; n of them."""

    document: Ints  # (n,)
    start: Ints  # (n,), first source token of the segment
    size: Ints  # (n,), its source tokens
    subcode: Ints  # (n,), which of the M sub-codes
    role: Ints  # (n,)
    value: Ints  # (n,), 0 to K - 1
    words: Ints  # (n,), which of `segments` it is
    segments: tuple[tuple[int, ...], ...]  # token ids of each distinct segment
    roles: tuple[str, ...]  # names

    def __len__(self) -> int:
        return len(self.value)

    def codes(self, subcode_size: int) -> Ints:
        """Return role * K + value, (n,): a number for each value of each role, since roles do not share values."""
        return self.role * subcode_size + self.value


def find_uses(texts: Sequence[TiledText], settings: CodecSettings) -> Uses:
    """List the uses of sub-codes; Z-tokens without a gap have no code."""
    cut = layout(settings.subcodes, settings.max_gap)
    parts = [_uses_in(one, index, cut) for index, one in enumerate(texts)]
    document, start, size, subcode, role, value = np.concatenate(parts, axis=1)
    known: dict[tuple[int, ...], int] = {}
    words = np.empty(len(value), np.int64)
    for i, (owner, first, length) in enumerate(zip(document, start, size, strict=True)):
        words[i] = known.setdefault(tuple(texts[owner].ids[first : first + length].tolist()), len(known))
    return Uses(document, start, size, subcode, role, value, words, tuple(known), role_names(settings))


def role_names(settings: CodecSettings) -> tuple[str, ...]:
    """Name the roles of sub-codes: "1 token", "1 token, code 2" for its second stage, "2 tokens" and so on."""
    stages = [f"1 token, code {stage + 1}" if stage else "1 token" for stage in range(settings.subcodes)]
    sizes = layout(settings.subcodes, settings.max_gap).sizes[settings.subcodes :]
    return (*stages, *(f"{size} tokens" for size in sizes))


def _uses_in(text: TiledText, index: int, cut: Layout) -> Ints:
    """List the uses in one text: (6, n)."""
    gaps = np.array([token.gap for token in text.tokens], np.int64)
    coded = gaps > 0
    gap = gaps[coded]
    role = cut.role[gap]  # (z, M)
    start = text.starts[coded][:, None] + 1 + cut.start[gap]
    value = np.array([token.code for token in text.tokens], np.int64).reshape(len(gaps), -1)[coded]
    size = np.array(cut.sizes, np.int64)[role]
    subcode = np.broadcast_to(np.arange(role.shape[1]), role.shape)
    document = np.full(role.shape, index)
    return np.stack([part.ravel() for part in (document, start, size, subcode, role, value)])


# Usage.


@dataclass(frozen=True, slots=True)
class Usage:
    """How fully one sub-code, or one role, is used."""

    name: str
    uses: int
    values: int  # K
    entropy_bits: float  # of the values
    unused: int  # values that do not occur
    unused_if_equal: float  # values that would not occur in so many uses if all were equally likely
    reachable: int | None  # values that some token of the vocabulary has; None where segments are not one token
    segments: int  # distinct segments
    segment_bits: float  # entropy of the segments; less entropy_bits, it is what a value leaves open about its words


def usage_by_role(uses: Uses, subcode_size: int, reachable: dict[int, int] | None = None) -> list[Usage]:
    """Measure each role that is used; `reachable` has the values that some segment has, by role, where it is known."""
    return list(_usages(uses, uses.role, uses.roles, subcode_size, reachable or {}))


def usage_by_subcode(uses: Uses, subcodes: int, subcode_size: int) -> list[Usage]:
    """Measure each of the M fields of a code as it is stored, whatever the role of its value."""
    return list(_usages(uses, uses.subcode, [f"sub-code {m + 1}" for m in range(subcodes)], subcode_size, {}))


def _usages(
    uses: Uses, part: Ints, names: Sequence[str], subcode_size: int, reachable: dict[int, int]
) -> Iterator[Usage]:
    for index, name in enumerate(names):
        value, words = uses.value[part == index], uses.words[part == index]
        if len(value):
            yield Usage(
                name=name,
                uses=len(value),
                values=subcode_size,
                entropy_bits=entropy(value),
                unused=subcode_size - len(np.unique(value)),
                unused_if_equal=subcode_size * math.pow(1 - 1 / subcode_size, len(value)),
                reachable=reachable.get(index),
                segments=len(np.unique(words)),
                segment_bits=entropy(words),
            )


@torch.no_grad()
def reachable_values(heads: CodecHeads) -> dict[int, int]:
    """Count the values that any token of the vocabulary has, by role, in the roles of one token."""
    found = {}
    for role in range(heads.settings.subcodes):
        values = [heads.code_head(role, tokens[:, None]).argmax(-1) for tokens in heads.embeddings.split(CHUNK)]
        found[role] = len(torch.cat(values).unique())
    return found


def entropy(labels: Ints) -> float:
    """Return the entropy of labels in bits; 0 if there are none."""
    share = np.unique(labels, return_counts=True)[1] / max(1, len(labels))
    return float(-(share * np.log2(share)).sum()) + 0.0  # not -0


# Embeddings.


def embed_in_context(backbone: Backbone, texts: Sequence[TiledText], uses: Uses, window: int) -> Vectors:
    """Embed each use of a sub-code where it stands, (n, D)."""
    vectors = np.zeros((len(uses), backbone.hidden_size), np.float32)
    for index, text in enumerate(texts):
        mine = uses.document == index
        states = _hidden_states(backbone, text.ids, window)
        sums = np.concatenate([np.zeros((1, states.shape[1])), np.cumsum(states, axis=0, dtype=np.float64)])
        start, size = uses.start[mine], uses.size[mine]
        vectors[mine] = (sums[start + size] - sums[start]) / size[:, None]
    return vectors


def embed_alone(backbone: Backbone, segments: Sequence[Sequence[int]]) -> Vectors:
    """Embed segments by their tokens alone, (segments, D)."""
    embeddings = backbone.embeddings.float().cpu().numpy()
    vectors = np.zeros((len(segments), embeddings.shape[1]), np.float32)
    for index, ids in enumerate(segments):
        vectors[index] = embeddings[list(ids)].mean(0)
    return vectors


def centred(vectors: Vectors, role: Ints) -> Vectors:
    """Centre (n, D) vectors on the mean of their role, and scale them to length 1, or 0 at the mean itself."""
    result = np.zeros_like(vectors)
    for one in np.unique(role):
        mine = role == one
        moved = vectors[mine] - vectors[mine].mean(0)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        result[mine] = np.divide(moved, length, out=np.zeros_like(moved), where=length > 1e-6)
    return result


def _hidden_states(backbone: Backbone, ids: Ints, window: int) -> Vectors:
    """Return the last hidden state at each token of a text, (T, D)."""
    states = []
    for first in range(0, len(ids), window):
        row = torch.tensor([[backbone.start_id, *ids[first : first + window].tolist()]])
        states.append(backbone.hidden(row)[0, 1:].float().cpu().numpy())
    return np.concatenate(states)


# Consistency. A sum over pairs needs no pairs: Σ_{i≠j} u_i·u_j = |Σ u_i|² - Σ |u_i|².


@dataclass(frozen=True, slots=True)
class Consistency:
    """How alike the items of a value are, in one role or in all."""

    role: str
    items: int  # in values that have a pair
    values: int  # that have a pair
    pairs: int
    cosine: Estimate
    control: Estimate
    difference: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """What is compared: n unit vectors in groups."""

    vectors: Vectors  # (n, D)
    group: Ints  # (n,): what they share, such as a value of a code
    words: Ints  # (n,): pairs of the same words do not count; if all differ, every pair does
    role: Ints  # (n,): the control shuffles within a role; a group lies in one role


@dataclass(frozen=True, slots=True, eq=False)
class GroupFigures:
    """The consistency of each group that has a pair."""

    group: Ints  # (g,)
    role: Ints  # (g,)
    items: Floats  # (g,)
    pairs: Floats  # (g,)
    cosine: Floats  # (g,)
    control: Floats  # (g,), over all shuffles; nan where none gave a pair


def compare(items: Items, seed: int) -> GroupFigures:
    """Measure each group, and its control."""
    count = int(items.group.max()) + 1 if len(items.group) else 0
    sums, pairs = _pairs(items, items.group, count)
    random = np.random.default_rng(seed)
    shuffled = [_pairs(items, _shuffle(items, random), count) for _ in range(SHUFFLES)]
    kept = np.flatnonzero(pairs)
    control_sums, control_pairs = (np.sum([part[i] for part in shuffled], axis=0)[kept] for i in range(2))
    role = np.zeros(count, np.int64)
    role[items.group] = items.role
    control = np.divide(control_sums, control_pairs, out=np.full(len(kept), np.nan), where=control_pairs > 0)
    sizes = np.bincount(items.group, minlength=count)[kept].astype(np.float64)
    return GroupFigures(kept, role[kept], sizes, pairs[kept] / 2, sums[kept] / pairs[kept], control)


def summarise(figures: GroupFigures, roles: Sequence[str], seed: int) -> list[Consistency]:
    """Average groups, with intervals over groups: of all roles together, and of each that has a pair."""
    usable = np.isfinite(figures.control)
    chosen = {"all": usable, **{name: usable & (figures.role == role) for role, name in enumerate(roles)}}
    return [_summary(figures, name, groups, seed) for name, groups in chosen.items() if groups.any()]


def _summary(figures: GroupFigures, name: str, groups: NDArray[np.bool_], seed: int) -> Consistency:
    items, cosine, control = figures.items[groups], figures.cosine[groups], figures.control[groups]

    def mean(values: Floats) -> Estimate:
        ratios = [Ratio(float(item * value), float(item)) for item, value in zip(items, values, strict=True)]
        found = estimate(ratios, seed)
        assert found
        return found

    pairs = int(figures.pairs[groups].sum())
    return Consistency(name, int(items.sum()), len(items), pairs, mean(cosine), mean(control), mean(cosine - control))


def _consistency_alone(codec: Codec, uses: Uses, seed: int) -> list[Consistency]:
    """Compare distinct segments by their tokens alone."""
    codes = uses.codes(codec.settings.subcode_size)
    _, first = np.unique(codes * len(uses.segments) + uses.words, return_index=True)  # one of each segment in each role
    role, words = uses.role[first], uses.words[first]
    vectors = centred(embed_alone(codec.backbone, uses.segments)[words], role)
    return summarise(compare(Items(vectors, codes[first], words, role), seed), uses.roles, seed)


def _shuffle(items: Items, random: np.random.Generator) -> Ints:
    """Assign the groups of items to other items of the same role."""
    group = items.group.copy()
    for role in np.unique(items.role):
        mine = np.flatnonzero(items.role == role)
        group[mine] = items.group[random.permutation(mine)]
    return group


def _pairs(items: Items, group: Ints, count: int) -> tuple[Floats, Floats]:
    """Sum the cosines of the ordered pairs of each group, and count them, without pairs of the same words."""
    sums, pairs = _all_pairs(items.vectors, group, count)
    labels, same = np.unique(group * (items.words.max(initial=0) + 1) + items.words, return_inverse=True)
    same_sums, same_pairs = _all_pairs(items.vectors, same, len(labels))
    owner = labels // (items.words.max(initial=0) + 1)
    sums -= np.bincount(owner, same_sums, count)
    pairs -= np.bincount(owner, same_pairs, count)
    return sums, pairs


def _all_pairs(vectors: Vectors, group: Ints, count: int) -> tuple[Floats, Floats]:
    """Sum the cosines of all ordered pairs of each group, and count them."""
    sizes = np.bincount(group, minlength=count)
    sums = np.zeros(count)
    several = np.flatnonzero(sizes > 1)
    if len(several):
        chosen = np.flatnonzero(sizes[group] > 1)
        vectors, group = vectors[chosen], group[chosen]
        first = np.cumsum(sizes[several]) - sizes[several]
        totals = np.add.reduceat(vectors[np.argsort(group, kind="stable")], first, axis=0, dtype=np.float64)
        squares = np.bincount(group, np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64), count)
        sums[several] = (totals**2).sum(1) - squares[several]
    return sums, (sizes * (sizes - 1)).astype(np.float64)


# Examples.


@dataclass(frozen=True, slots=True)
class Place:
    """A segment where it stands in a text."""

    before: str
    segment: str
    after: str


@dataclass(frozen=True, slots=True)
class CodeValue:
    """One value of a code."""

    role: str
    value: int
    uses: int
    distinct: int  # segments that it stands for
    segments: list[tuple[str, int]]  # the most frequent ones, each with its uses
    in_context: float | None  # mean cosine of its uses, without pairs of the same words; None if there are no others
    control: float | None  # of as many uses of any values
    nearest: Place  # to the mean of its uses in context
    farthest: Place


def most_used_values(
    codec: Codec, texts: Sequence[TiledText], uses: Uses, vectors: Vectors, figures: GroupFigures
) -> list[CodeValue]:
    """Show the most used values of each role, with the uses nearest to their mean and farthest from it."""
    codes, shown = uses.codes(codec.settings.subcode_size), []
    for role in range(len(uses.roles)):
        found, counts = np.unique(codes[uses.role == role], return_counts=True)
        most = found[np.argsort(-counts, kind="stable")][:VALUES]
        shown += [_code_value(codec, texts, uses, vectors, figures, np.flatnonzero(codes == code)) for code in most]
    return shown


def _code_value(
    codec: Codec, texts: Sequence[TiledText], uses: Uses, vectors: Vectors, figures: GroupFigures, mine: Ints
) -> CodeValue:
    """Describe the value that some uses share."""
    role, value = int(uses.role[mine[0]]), int(uses.value[mine[0]])
    group = np.flatnonzero(figures.group == role * codec.settings.subcode_size + value)
    words = Counter(uses.words[mine].tolist())
    nearness = vectors[mine] @ vectors[mine].mean(0)
    return CodeValue(
        role=uses.roles[role],
        value=value,
        uses=len(mine),
        distinct=len(words),
        segments=[(codec.backbone.decode(list(uses.segments[one])), n) for one, n in words.most_common(SEGMENTS)],
        in_context=_first(figures.cosine[group]),
        control=_first(figures.control[group]),
        nearest=_place(texts, uses, int(mine[nearness.argmax()])),
        farthest=_place(texts, uses, int(mine[nearness.argmin()])),
    )


def _first(found: Floats) -> float | None:
    return float(found[0]) if len(found) and np.isfinite(found[0]) else None


def _place(texts: Sequence[TiledText], uses: Uses, use: int) -> Place:
    text, first, size = texts[int(uses.document[use])], int(uses.start[use]), int(uses.size[use])
    start, end = text.offsets[first][0], text.offsets[first + size - 1][1]
    return Place(text.text[max(0, start - AROUND) : start], text.text[start:end], text.text[end : end + AROUND])


# The report, and the command.


def report(record: RunRecord, data: str, result: Analysis) -> str:
    """Write all tables as Markdown."""
    parts = {
        "Usage": _usage_table([*result.usage_by_role, *result.usage_by_subcode]),
        "Consistency in context, other words": _consistency_table(result.in_context),
        "Consistency alone, distinct segments": _consistency_table(result.alone),
        "Consistency in context, same words": _consistency_table(result.same_words),
        "Most used values": _examples_table(result.examples),
        "Anchors by class of words": _class_table(result.word_classes),
        "Anchors by part of speech": _class_table(result.parts_of_speech) if result.parts_of_speech else (),
        "Anchors along a text, from its beginning (0) to its end (1)": _density_table(result.over_text),
        "Anchors along a window, by source token": _density_table(result.over_window),
    }
    lines = [
        "# What the codes mean, and where Z-tokens go",
        "",
        describe_run(record),
        "",
        f"Codec {result.codec} on {data}: {result.texts} texts ({result.left_out} left out), {result.source_tokens:,} "
        f"source tokens in {result.z_tokens:,} Z-tokens, ratio {result.ratio:.2f}; {result.uses:,} uses of sub-codes. "
        "Intervals are 95 %.",
    ]
    for title, part in parts.items():
        lines += ["", f"## {title}", "", *part]
    return "\n".join(lines) + "\n"


def _usage_table(usages: Sequence[Usage]) -> Iterator[str]:
    head = ("", "uses", "bits", "of", "values used", "unused", "if equal", "reachable", "segments", "segments, bits")
    rows = [
        (
            *(one.name, f"{one.uses:,}", f"{one.entropy_bits:.2f}", f"{math.log2(one.values):g}"),
            *(str(one.values - one.unused), str(one.unused), f"{one.unused_if_equal:.1f}"),
            *("–" if one.reachable is None else str(one.reachable), str(one.segments), f"{one.segment_bits:.2f}"),
        )
        for one in usages
    ]
    return table(head, rows)


def _consistency_table(rows: Sequence[Consistency]) -> Iterator[str]:
    cells = [
        (one.role, f"{one.items:,}", str(one.values), *map(_cosine, (one.cosine, one.control, one.difference)))
        for one in rows
    ]
    return table(("role", "items", "values", "cosine", "shuffled", "difference"), cells)


def _examples_table(values: Sequence[CodeValue]) -> Iterator[str]:
    rows = []
    for one in values:
        shown = ", ".join(f"`{one_cell(repr(segment)[1:-1])}` {count}" for segment, count in one.segments)
        places = (one_cell(f"{p.before}[{p.segment}]{p.after}") for p in (one.nearest, one.farthest))
        cosine = "–" if one.in_context is None else f"{one.in_context:.3f}"
        rows.append((f"{one.role}: {one.value}", str(one.uses), str(one.distinct), cosine, shown, *places))
    return table(("role: value", "uses", "segments", "cosine", "most frequent", "nearest", "farthest"), rows)


def _class_table(shares: Sequence[ClassShare]) -> Iterator[str]:
    rows = [
        (one.name, f"{one.tokens:,}", f"{one.share_of_anchors:.1%}", f"{one.share_of_dropped:.1%}", _percent(one.kept))
        for one in shares
    ]
    return table(("class", "tokens", "of anchors", "of dropped", "kept as anchors"), rows)


def _density_table(stretches: Sequence[Density]) -> Iterator[str]:
    rows = [(f"{one.start:g}", f"{one.tokens:,}", _percent(one.density)) for one in stretches]
    return table(("from", "tokens", "anchors per 100 tokens"), rows)


def _cosine(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _percent(one: Estimate) -> str:
    return f"{100 * one.value:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"


def main() -> None:
    """Analyse, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="a shipped codec, or a codec's folder")
    parser.add_argument("--data", type=Path, help="text, or JSON lines; default: the Wikipedia file, or the examples")
    parser.add_argument("--limit", type=int, default=16, help="texts, from the first on")
    parser.add_argument("--tokens", type=int, default=512, help="source tokens of each text, from its beginning")
    parser.add_argument("--ratio", type=float, help="source tokens per Z-token; default: the usual exchange rate")
    parser.add_argument("--parts-of-speech", action="store_true", help="tag English texts with TextBlob")
    parser.add_argument("--seed", type=int, default=0, help="of shuffles and intervals")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options, began = parser.parse_args(), time.time()
    data = options.data or wikipedia_file()
    files = [data] if data else sorted(PROSE.glob("*.txt"))
    texts = ["\n\n".join(one) for file in files for one in read_paragraphs(file)][: options.limit]
    codec = zprompt.load(options.codec, device="cpu")
    print(f"{codec}, {len(texts)} texts", file=sys.stderr, flush=True)
    result = analyse(codec, texts, options.tokens, options.ratio, options.parts_of_speech, options.seed)
    record = RunRecord.take(options.seed, began)
    name = data.name if data else "the examples' prose"
    write_json(options.out / "codes.json", {"run": record, "data": name, "results": result})
    text = report(record, name, result)
    (options.out / "codes.md").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
