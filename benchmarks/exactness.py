"""Measure whether every text comes back byte for byte, however it was compressed, carried and restored.

settings   all documents at the usual ratio, at 2 and 8, and with a query
kinds      the same by kind of text: identical counts all settings, the rest is of the usual ratio
ways       some of every kind again in other batches, on another number of threads and in another process, which has
           the Z-spans and the codec's name alone; and from Z-spans that were folded or HTML-escaped on their way
focus      Z-spans in which random sentences were put back word for word
damage     mutated Z-spans: each is to be refused, or to be read as text, or to restore the right text. With a new
           checksum only the text's hash can tell, so these few are restored, which takes long
"""

import base64
import hashlib
import json
import random
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

import zprompt
from benchmarks.common import Document, Row, Tables, compress, figures
from zprompt import Codec
from zprompt.codec import DECOMPRESS_BATCH
from zprompt.codec.source import read_source, unit_starts
from zprompt.errors import InvalidTextError, SpanError, ZPromptError
from zprompt.eval import Ratio, estimate
from zprompt.options import CompressOptions
from zprompt.zspan import ZSpan, find_spans, format_span, read_header

QUERY = "Who or what was the first of its kind, when and where?"
SETTINGS: dict[str, dict[str, object]] = {
    "usual": {},
    "ratio 2": {"ratio": 2},
    "ratio 8": {"ratio": 8},
    "query": {"query": QUERY},
}
BATCH_SIZES = (1, 3)
FOLD = 76  # characters of a line, as in mail
PUNCTUATION = {"[": "&#91;", "]": "&#x5D;", ":": "&colon;", "-": "&#45;", "_": "&#x5f;"}
LETTERS = "0123456789abcdefABCDEFghxyzXYZ-_:[]\\&#; \n\t.é"


@dataclass(frozen=True, slots=True)
class ExactnessPlan:
    """Sample sizes."""

    again_tokens: int = 1200  # of documents that are also compressed and restored in other ways
    in_another_process: bool = True
    focused: int = 200  # focused Z-spans ...
    focused_tokens: int = 450  # ... of documents of at most this many tokens
    mutated: int = 100_000
    resealed: int = 200  # mutated Z-spans with a new checksum
    mutated_tokens: int = 40  # of the texts whose Z-spans are mutated, at most


def measure(codec: Codec, documents: Sequence[Document], plan: ExactnessPlan, seed: int) -> Tables:
    """Compress and restore documents in all settings and ways."""
    texts = [document.text for document in documents]
    settings, spans, identical = [], [], [0] * len(texts)
    for name, options in SETTINGS.items():
        result = compress(codec, texts, **options)
        same = [back == text for back, text in zip(restore_texts(codec, result.documents), texts, strict=True)]
        identical = [count + equal for count, equal in zip(identical, same, strict=True)]
        spans = spans or result.documents  # those at the usual ratio
        settings.append({"setting": name, **_costs(result.documents), "identical": statistics.mean(same)})
    few = _some_of_each(documents, spans, plan.again_tokens)
    return {
        "settings": settings,
        "kinds": _kinds(documents, spans, identical, seed),
        "ways": _ways(codec, [texts[i] for i in few], [spans[i] for i in few], plan.in_another_process),
        "focus": [_focus(codec, texts, spans, plan, seed)],
        "damage": list(_damage(codec, texts, plan, seed)),
        "surrogates": [{"a text with a lone surrogate": _surrogates(codec)}],
    }


def restore_texts(codec: Codec, spans: Sequence[str], batch_size: int = DECOMPRESS_BATCH) -> list[str | None]:
    """Decompress as a user does, but return None for a document that is refused, which is a finding."""
    try:
        return list(codec.decompress(list(spans), batch_size=batch_size))
    except ZPromptError:
        return [_restore_one(codec, span) for span in spans]


def _restore_one(codec: Codec, span: str) -> str | None:
    try:
        return str(codec.decompress(span))
    except ZPromptError:
        return None


def _costs(spans: Sequence[str]) -> Row:
    """Return the total length of Z-spans, as ratio and bits."""
    headers = [read_header(span) for span in spans]
    source, z_tokens, size = (
        sum(getattr(header, name) for header in headers) for name in ("source_tokens", "count", "stream_bytes")
    )
    return {
        "documents": len(spans),
        "tokens": source,
        "ratio": source / z_tokens if z_tokens else 1.0,
        "bits per Z-token": 8 * size / z_tokens if z_tokens else None,
        "bits per token": 8 * size / source if source else None,
    }


def _kinds(documents: Sequence[Document], spans: Sequence[str], identical: Sequence[int], seed: int) -> list[Row]:
    rows = []
    for kind in dict.fromkeys(document.domain for document in documents):
        indices = [index for index, document in enumerate(documents) if document.domain == kind]
        headers = [read_header(spans[index]) for index in indices]
        ratios = [Ratio(header.source_tokens, header.count) for header in headers]
        quotients = [ratio.numerator / ratio.denominator for ratio in ratios if ratio.denominator]
        rows.append(
            {
                "kind": kind,
                **_costs([spans[index] for index in indices]),
                "ratio": estimate(ratios, seed),
                "median": statistics.median(quotients) if quotients else None,
                "identical": sum(identical[index] for index in indices) / len(indices) / len(SETTINGS),
            }
        )
    return rows


# Other ways to compress, carry and restore.


def _some_of_each(documents: Sequence[Document], spans: Sequence[str], tokens: int) -> list[int]:
    """Take the shortest document of each kind, then further ones within a budget of tokens."""
    lengths = [read_header(span).source_tokens for span in spans]
    order = sorted(range(len(spans)), key=lengths.__getitem__)
    first = {documents[index].domain: index for index in reversed(order)}
    chosen: list[int] = []
    for index in dict.fromkeys([*sorted(first.values(), key=order.index), *order]):
        if sum(lengths[i] for i in chosen) + lengths[index] <= tokens:
            chosen.append(index)
    return sorted(chosen)


def _ways(codec: Codec, texts: Sequence[str], spans: Sequence[str], in_another_process: bool) -> list[Row]:
    def row(way: str, again: Sequence[str] | None, back: Sequence[str | None]) -> Row:
        return {
            "way": way,
            "documents": len(texts),
            "same Z-spans": None if again is None else _share(again, spans),
            "same texts": _share(back, texts),
        }

    rows = []
    for size in BATCH_SIZES:
        again = codec.compress(list(texts), batch_size=size).documents
        rows.append(row(f"batch size {size}", again, restore_texts(codec, spans, size)))
    usual = torch.get_num_threads()
    other = 1 if usual > 1 else 2
    torch.set_num_threads(other)
    try:
        again = codec.compress(list(texts)).documents
        rows.append(row(f"{other} thread(s)", again, restore_texts(codec, spans)))
    finally:
        torch.set_num_threads(usual)
    if in_another_process:
        command = [sys.executable, "-m", "benchmarks.exactness", codec.name]
        done = subprocess.run(command, input=json.dumps(list(spans)), check=True, stdout=subprocess.PIPE, text=True)
        rows.append(row("another process", None, json.loads(done.stdout)))
    for way, change in (("folded", fold), ("HTML-escaped", escape_html), ("both", lambda s: escape_html(fold(s)))):
        changed = [f"Before {change(span)} after." for span in spans]
        back = [text and text.removeprefix("Before ").removesuffix(" after.") for text in restore_texts(codec, changed)]
        rows.append(row(way, None, back))
    return rows


def _share(results: Sequence[str | None], expected: Sequence[str]) -> float:
    """Return the share of the results that are as expected."""
    return statistics.mean(result == text for result, text in zip(results, expected, strict=True))


def fold(span: str) -> str:
    """Break a Z-span into lines, as mail and YAML do."""
    return "\r\n ".join(span[start : start + FOLD] for start in range(0, len(span), FOLD))


def escape_html(span: str) -> str:
    """Write a Z-span's punctuation as HTML may."""
    return "".join(PUNCTUATION.get(letter, letter) for letter in span)


def _surrogates(codec: Codec) -> str:
    try:
        codec.compress("half a pair: \ud83d, and on")
    except InvalidTextError as error:
        return "refused, with its place" if "13" in str(error) else "refused"
    return "NOT refused"


# Focus.


def _focus(codec: Codec, texts: Sequence[str], spans: Sequence[str], plan: ExactnessPlan, seed: int) -> Row:
    """Put random sentences back into random Z-spans, and restore them."""
    generator = random.Random(seed)
    pairs = [
        (text, codec.parse(span))
        for text, span in zip(texts, spans, strict=True)
        if 0 < read_header(span).source_tokens <= plan.focused_tokens
    ]
    sources, focused, whole, kept = [], [], 0, 0
    for _ in range(plan.focused):
        text, span = generator.choice(pairs)
        sentences = token_sentences(codec, text)
        chosen = generator.sample(sentences, generator.randint(1, len(sentences)))
        focused.append(span.focus(chosen))
        sources.append(text)
        starts = {start: token.anchor for start, token in _starts(focused[-1])}
        whole += all(starts.get(start + i) == token for start, ids in chosen for i, token in enumerate(ids))
        kept += len(chosen)
    back = restore_texts(codec, [format_span(span) for span in focused])
    return {
        "Z-spans": len(focused),
        "sentences": kept,
        "ratio": sum(span.source_tokens for span in focused) / sum(len(span.tokens) for span in focused),
        "word for word": whole / len(focused),
        "identical": _share(back, sources),
    }


def token_sentences(codec: Codec, text: str) -> list[tuple[int, list[int]]]:
    """Return each sentence of a text: the index of its first token, and its token ids."""
    source = read_source(text, codec.backbone, CompressOptions())
    edges = sorted({0, *unit_starts(text, source.offsets), len(source.ids)})
    return [(start, source.ids[start:end]) for start, end in pairwise(edges)]


def _starts(span: ZSpan) -> Iterator[tuple[int, object]]:
    start = 0
    for token in span.tokens:
        yield start, token
        start += token.gap + 1


# Damage.


def _replace(span: str, random: random.Random) -> str:
    at = random.randrange(len(span))
    return span[:at] + random.choice(LETTERS) + span[at + 1 :]


def _insert(span: str, random: random.Random) -> str:
    at = random.randrange(len(span) + 1)
    return span[:at] + random.choice(LETTERS) + span[at:]


def _cut_out(span: str, random: random.Random) -> str:
    start, end = sorted(random.sample(range(len(span) + 1), 2))
    return span[:start] + span[end:]


def _swap(span: str, random: random.Random) -> str:
    at = random.randrange(len(span) - 1)
    return span[:at] + span[at + 1] + span[at] + span[at + 2 :]


def _repeat(span: str, random: random.Random) -> str:
    start, end = sorted(random.sample(range(len(span) + 1), 2))
    return span[:end] + span[start:]


def _space(span: str, random: random.Random) -> str:
    at = random.randrange(1, len(span))
    return span[:at] + random.choice((" ", "\n", "\r\n  ", "&#32;", "&nbsp;")) + span[at:]


def _several(span: str, random: random.Random) -> str:
    for _ in range(random.randint(2, 6)):
        span = random.choice((_replace, _insert, _swap))(span, random)
    return span


def reseal(span: str, random: random.Random) -> str:
    """Flip a bit of a Z-span's payload, and make its checksum fit."""
    head, payload = span[1:-1].rpartition(":")[0].rsplit(":", 1)
    data = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    sealed = f"{head}:{base64.urlsafe_b64encode(data).decode().rstrip('=')}"
    return f"[{sealed}:{hashlib.sha256(sealed.encode()).hexdigest()[:8]}]"


MUTATIONS: dict[str, Callable[[str, random.Random], str]] = {
    "character replaced": _replace,
    "character inserted": _insert,
    "piece cut out": _cut_out,
    "neighbours swapped": _swap,
    "piece repeated": _repeat,
    "white space inserted": _space,
    "several": _several,
}
OUTCOMES = ("refused", "refused when restored", "read as text", "right", "wrong", "other exceptions")


def _damage(codec: Codec, texts: Sequence[str], plan: ExactnessPlan, seed: int) -> Iterator[Row]:
    """Mutate Z-spans of short texts in all ways, one after the other."""
    generator = random.Random(seed)
    short = [text for text in dict.fromkeys(map(_first_line, texts)) if text]
    short = [text for text in short if len(codec.backbone.encode(text)) <= plan.mutated_tokens]
    spans = codec.compress(short).documents
    known: dict[ZSpan, str | None] = {}

    def outcomes(mutate: Callable[[str, random.Random], str], count: int) -> Counter[str]:
        drawn = (generator.randrange(len(short)) for _ in range(count))
        return Counter(outcome(codec, mutate(spans[index], generator), short[index], known) for index in drawn)

    ways = {name: (mutate, -(-plan.mutated // len(MUTATIONS))) for name, mutate in MUTATIONS.items()}
    for name, (mutate, count) in {**ways, "bit flipped, new checksum": (reseal, plan.resealed)}.items():
        counts = outcomes(mutate, count)
        yield {"mutation": name, "Z-spans": counts.total()} | {result: counts[result] for result in OUTCOMES}


def _first_line(text: str) -> str:
    """Return the first 100 characters of a text's first line."""
    return text.split("\n", 1)[0][:100]


def outcome(codec: Codec, mutated: str, text: str, known: dict[ZSpan, str | None]) -> str:
    """Read and restore a mutated Z-span.

    :param codec: The codec.
    :param mutated: The mutated Z-span.
    :param text: The text of the Z-span before the mutation.
    :param known: Cache of restored texts; None: refused.
    :return: One of OUTCOMES.
    """
    match = next(find_spans(mutated), None)
    if match is None:
        return "read as text"
    try:
        span = codec.parse(match.text)
        if span not in known:
            known[span] = _restore_one(codec, format_span(span))
    except SpanError:
        return "refused"
    except Exception:  # noqa: BLE001 - there should be none; they are counted
        return "other exceptions"
    if known[span] is None:
        return "refused when restored"
    return "right" if known[span] == text else "wrong"


# The report.

COSTS = {"ratio": ".2f", "bits per Z-token": ".1f", "bits per token": ".2f"}


def section(tables: Tables) -> Iterator[str]:
    """Write the tables, line by line."""
    yield from ("## What comes back", "")
    yield from figures(tables["settings"], {"setting": "", "documents": "", "tokens": ",", **COSTS, "identical": ".1%"})
    yield from (
        "",
        "By kind of text; ratio: of all tokens, in brackets 95 % over documents, and the worst document.",
        "",
    )
    kinds = {"kind": "", "documents": "", "tokens": ",", "identical": ".1%", **COSTS, "median": ".2f"}
    yield from figures(tables["kinds"], kinds)
    yield from ("", "Some of each kind, compressed and restored again in other ways:", "")
    yield from figures(tables["ways"], {"way": "", "documents": "", "same Z-spans": ".1%", "same texts": ".1%"})
    yield from ("", "Random sentences put back word for word:", "")
    focus = {"Z-spans": ",", "sentences": ",", "ratio": ".2f", "word for word": ".1%", "identical": ".1%"}
    yield from figures(tables["focus"], focus)
    yield from ("", "Mutated Z-spans:", "")
    yield from figures(tables["damage"], {"mutation": "", "Z-spans": ","} | dict.fromkeys(OUTCOMES, ","))
    yield from ("", *(f"{what.capitalize()}: {how}." for row in tables["surrogates"] for what, how in row.items()))


if __name__ == "__main__":  # the other process
    print(json.dumps(restore_texts(zprompt.load(sys.argv[1], device="cpu"), json.load(sys.stdin))))
