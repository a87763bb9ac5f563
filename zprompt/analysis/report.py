"""All figures of an analysis, and the function that makes them.

Everything is deterministic: the same codec, texts and seed give the same figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zprompt.analysis.consistency import Consistency, Items, compare, summarise
from zprompt.analysis.embeddings import EMBEDDINGS, centred, embed_alone, embed_in_context
from zprompt.analysis.examples import CodeValue, Material, most_used
from zprompt.analysis.placement import ClassShare, Density, class_shares, density_over_text, density_over_window
from zprompt.analysis.sample import Sample, take_sample
from zprompt.analysis.segments import Occurrences, find_occurrences
from zprompt.analysis.usage import Usage, reachable_values, usage_by_role, usage_by_subcode
from zprompt.analysis.words import CLASSES, PARTS, parts_of_speech, tagger_name, word_classes
from zprompt.codec import Codec
from zprompt.progress import Progress

DIGITS = 4  # after the point, in JSON: the last bits of a float differ between machines


@dataclass(frozen=True, slots=True)
class SampleFigures:
    """What was looked at."""

    codec: str  # fingerprint
    texts: int
    left_out: int
    tokens_of_a_text: int | None  # at most, from its beginning; None: all
    source_tokens: int
    z_tokens: int
    ratio: float
    wanted_ratio: float | None  # None: the usual exchange rate
    without_code: float  # share of the Z-tokens that drop nothing, and have no code
    uses: int  # of sub-codes
    segments: int  # distinct ones
    window: int  # source tokens
    tagger: str | None  # of parts of speech
    seed: int


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the codes mean, and where Z-tokens go."""

    sample: SampleFigures
    usage_by_role: tuple[Usage, ...]
    usage_by_subcode: tuple[Usage, ...]
    in_context: tuple[Consistency, ...]  # uses that share a value, hidden states, without pairs of the same words
    alone: tuple[Consistency, ...]  # distinct segments that share a value, token embeddings
    same_words: tuple[Consistency, ...]  # uses of the same words, hidden states
    examples: tuple[CodeValue, ...]
    word_classes: tuple[ClassShare, ...]
    parts_of_speech: tuple[ClassShare, ...]  # empty if they were not asked for
    over_text: tuple[Density, ...]
    over_window: tuple[Density, ...]

    def to_dict(self) -> dict[str, Any]:
        """Turn the figures into a dict for JSON.

        :return: The fields under their names, floats rounded to four digits after the point; and what the embeddings
            are.
        """
        rounded: dict[str, Any] = _rounded(asdict(self))
        return {**rounded, "embeddings": EMBEDDINGS}


def analyse(
    codec: Codec,
    texts: Sequence[str],
    *,
    ratio: float | None = None,
    tokens: int | None = None,
    with_parts_of_speech: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Analysis:
    """Compress texts, and say what the codes mean and where the Z-tokens go.

    :param codec: The codec.
    :param texts: The texts.
    :param ratio: Source tokens per Z-token; None: the usual exchange rate.
    :param tokens: Source tokens of each text to look at, from its beginning; None: all.
    :param with_parts_of_speech: Tag English texts; needs TextBlob.
    :param seed: Of controls and intervals.
    :param progress: Called with ("compress", windows done, windows in all), then ("read", texts done, texts in all).
    :return: The figures.
    """
    tagger = parts_of_speech() if with_parts_of_speech else None  # if it is missing, say so before the work
    sample = take_sample(codec, texts, ratio=ratio, tokens=tokens, progress=progress)
    occurrences = find_occurrences(sample, codec.settings)
    size = codec.settings.subcode_size
    in_context, examples = _in_context(codec, sample, occurrences, seed, progress)
    return Analysis(
        sample=SampleFigures(
            codec=codec.fingerprint,
            texts=len(sample.documents),
            left_out=sample.left_out,
            tokens_of_a_text=tokens,
            source_tokens=sample.source_tokens,
            z_tokens=sample.z_tokens,
            ratio=sample.source_tokens / sample.z_tokens,
            wanted_ratio=ratio,
            without_code=1 - len(occurrences) / (codec.settings.subcodes * sample.z_tokens),
            uses=len(occurrences),
            segments=len(occurrences.segments),
            window=codec.settings.window,
            tagger=tagger_name() if tagger else None,
            seed=seed,
        ),
        usage_by_role=usage_by_role(occurrences, size, reachable_values(codec.heads)),
        usage_by_subcode=usage_by_subcode(occurrences, codec.settings.subcodes, size),
        in_context=in_context[0],
        alone=_alone(codec, occurrences, seed),
        same_words=in_context[1],
        examples=examples,
        word_classes=class_shares(sample, word_classes, CLASSES, seed),
        parts_of_speech=class_shares(sample, tagger, PARTS, seed) if tagger else (),
        over_text=density_over_text(sample, seed),
        over_window=density_over_window(sample, codec.settings.window, seed),
    )


def _in_context(
    codec: Codec, sample: Sample, occurrences: Occurrences, seed: int, progress: Progress | None
) -> tuple[tuple[tuple[Consistency, ...], tuple[Consistency, ...]], tuple[CodeValue, ...]]:
    """Compare uses where they stand: by value, and by words; and show values."""
    vectors = centred(
        embed_in_context(codec.backbone, sample, occurrences, codec.settings.window, progress), occurrences.role
    )
    codes, role = occurrences.codes(codec.settings.subcode_size), occurrences.role
    by_value = compare(Items(vectors, codes, occurrences.words, role), seed)
    every_pair = np.arange(len(occurrences))
    same = role * len(occurrences.segments) + occurrences.words
    by_words = compare(Items(vectors, same, every_pair, role), seed)
    examples = most_used(Material(sample, occurrences, vectors, codes, by_value, codec.backbone.decode))
    roles = occurrences.roles
    return (summarise(by_value, roles, seed), summarise(by_words, roles, seed)), examples


def _alone(codec: Codec, occurrences: Occurrences, seed: int) -> tuple[Consistency, ...]:
    """Compare distinct segments by their tokens alone."""
    keys = occurrences.codes(codec.settings.subcode_size) * len(occurrences.segments) + occurrences.words
    _, first = np.unique(keys, return_index=True)  # one use of each segment in each role
    role, words = occurrences.role[first], occurrences.words[first]
    vectors = centred(embed_alone(codec.backbone, occurrences.segments)[words], role)
    figures = compare(Items(vectors, occurrences.codes(codec.settings.subcode_size)[first], words, role), seed)
    return summarise(figures, occurrences.roles, seed)


def _rounded(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    if isinstance(value, float):
        return round(value, DIGITS) + 0.0  # not -0
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
