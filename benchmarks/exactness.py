"""Measure whether every text comes back byte for byte, wherever it is restored, and how short it gets.

    positions ratio         source tokens / Z-tokens
    bits per Z-token        bits of Z-tokens and residual / Z-tokens
    bits per source token   bits per Z-token / positions ratio

Every document is compressed with the defaults and restored by `Codec.decompress`. Some are restored again with another
batch size, another number of threads, and in another process, which has the Z-spans and the codec's name alone.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

import zprompt
from benchmarks.common import Document
from zprompt import Codec
from zprompt.codec import DECOMPRESS_BATCH
from zprompt.errors import InvalidTextError, ZPromptError
from zprompt.eval import CorpusBleu, number, percent, table
from zprompt.zspan import read_header

OTHER_BATCH_SIZE = 3


@dataclass(frozen=True, slots=True)
class ExactDocument:
    """One document, compressed and restored."""

    name: str
    domain: str
    source_tokens: int
    z_tokens: int
    bits: int  # of Z-tokens and residual, in whole bytes
    ratio: float  # 1 for a text without tokens
    identical: bool  # came back byte for byte


@dataclass(frozen=True, slots=True)
class ExactDomain:
    """The documents of one kind."""

    domain: str
    documents: int
    source_tokens: int
    identical: float  # share of the documents
    ratio: float  # of all their tokens together
    mean_ratio: float  # of the documents' ratios
    median_ratio: float
    worst_ratio: float
    bits_per_z_token: float | None  # Z-tokens and residual; None: there are none
    bits_per_source_token: float | None
    bleu: float | None  # None: too short to have one


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Documents restored in another way than the rest."""

    way: str
    documents: int
    tokens: int
    identical: float  # share of the documents


@dataclass(frozen=True, slots=True)
class Exactness:
    """What comes back, and how short it was."""

    bits_per_z_token: float  # of all documents together, Z-tokens and residual
    bits_per_source_token: float
    domains: tuple[ExactDomain, ...]
    elsewhere: tuple[Elsewhere, ...]
    surrogates_refused: bool  # a lone surrogate is an InvalidTextError that says where it is
    compress_seconds: float
    decompress_seconds: float
    documents: tuple[ExactDocument, ...]


def measure(codec: Codec, documents: Sequence[Document], elsewhere_tokens: int, in_another_process: bool) -> Exactness:
    """Compress and restore documents.

    :param codec: The codec.
    :param documents: The documents.
    :param elsewhere_tokens: Tokens of the documents that are restored in other ways, too.
    :param in_another_process: Whether another process is one of these ways.
    :return: The findings.
    """
    began = time.perf_counter()
    result = codec.compress([document.text for document in documents])
    compressed, spans = time.perf_counter(), result.documents
    restored = restore_texts(codec, spans)
    done = time.perf_counter()
    rows = [_row(*item) for item in zip(documents, spans, restored, strict=True)]
    return Exactness(
        bits_per_z_token=result.stats.bits_per_z_token,
        bits_per_source_token=result.stats.bits_per_source_token,
        domains=tuple(_domains(documents, restored, rows)),
        elsewhere=tuple(_restore_elsewhere(codec, documents, spans, rows, elsewhere_tokens, in_another_process)),
        surrogates_refused=_refuses_surrogates(codec),
        compress_seconds=compressed - began,
        decompress_seconds=done - compressed,
        documents=tuple(rows),
    )


def _row(document: Document, span: str, restored: str | None) -> ExactDocument:
    header = read_header(span)
    ratio = header.source_tokens / header.count if header.count else 1.0
    identical = restored == document.text
    bits = 8 * header.body_bytes
    return ExactDocument(document.name, document.domain, header.source_tokens, header.count, bits, ratio, identical)


def _domains(
    documents: Sequence[Document], restored: Sequence[str | None], rows: Sequence[ExactDocument]
) -> list[ExactDomain]:
    found = []
    for domain in dict.fromkeys(document.domain for document in documents):
        chosen = [index for index, document in enumerate(documents) if document.domain == domain]
        ratios = [rows[index].ratio for index in chosen]
        source, z_tokens, bits = (
            sum(getattr(rows[index], name) for index in chosen) for name in ("source_tokens", "z_tokens", "bits")
        )
        bleu = CorpusBleu([documents[index].text for index in chosen], [restored[index] or "" for index in chosen])
        found.append(
            ExactDomain(
                domain=domain,
                documents=len(chosen),
                source_tokens=source,
                identical=statistics.mean(rows[index].identical for index in chosen),
                ratio=source / z_tokens if z_tokens else 1.0,
                mean_ratio=statistics.mean(ratios),
                median_ratio=statistics.median(ratios),
                worst_ratio=min(ratios),
                bits_per_z_token=bits / z_tokens if z_tokens else None,
                bits_per_source_token=bits / source if source else None,
                bleu=bleu.score(),
            )
        )
    return found


def _restore_elsewhere(
    codec: Codec,
    documents: Sequence[Document],
    spans: Sequence[str],
    rows: Sequence[ExactDocument],
    most_tokens: int,
    in_another_process: bool,
) -> list[Elsewhere]:
    """Restore some documents of every kind in other ways."""
    chosen = _some_of_each(rows, most_tokens)
    texts, given = [documents[index].text for index in chosen], [spans[index] for index in chosen]
    ways: dict[str, Callable[[], list[str | None]]] = {
        f"batch size {OTHER_BATCH_SIZE}": lambda: restore_texts(codec, given, OTHER_BATCH_SIZE),
        f"{_other_threads()} thread(s)": lambda: _with_other_threads(codec, given),
    }
    if in_another_process:
        ways["another process"] = lambda: _restore_in_another_process(codec.name, given)
    tokens = sum(rows[index].source_tokens for index in chosen)
    found = []
    for way, restore in ways.items():
        same = [text == back for text, back in zip(texts, restore(), strict=True)]
        found.append(Elsewhere(way, len(chosen), tokens, statistics.mean(same)))
    return found


def _other_threads() -> int:
    """Return another number of threads than torch has now: 1, or 2 if it is 1."""
    return 1 if torch.get_num_threads() > 1 else 2


def _with_other_threads(codec: Codec, spans: Sequence[str]) -> list[str | None]:
    usual = torch.get_num_threads()
    torch.set_num_threads(_other_threads())
    try:
        return restore_texts(codec, spans)
    finally:
        torch.set_num_threads(usual)


def restore_texts(codec: Codec, spans: Sequence[str], batch_size: int = DECOMPRESS_BATCH) -> list[str | None]:
    """Decompress as a user does, but return None for a document that is refused, which is a finding."""
    try:
        return list(codec.decompress(list(spans), batch_size=batch_size))
    except ZPromptError:
        return [_restore_one(codec, span, batch_size) for span in spans]


def _restore_one(codec: Codec, span: str, batch_size: int) -> str | None:
    try:
        return str(codec.decompress(span, batch_size=batch_size))
    except ZPromptError:
        return None


def _restore_in_another_process(codec_name: str, spans: Sequence[str]) -> list[str | None]:
    command = [sys.executable, "-m", "benchmarks.exactness", codec_name]
    given = json.dumps(list(spans))
    texts: list[str | None] = json.loads(
        subprocess.run(command, input=given, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return texts


def _some_of_each(rows: Sequence[ExactDocument], tokens: int) -> list[int]:
    """Take the shortest document of each kind, then further ones while there is room."""
    order = sorted(range(len(rows)), key=lambda index: rows[index].source_tokens)
    first = {rows[index].domain: index for index in reversed(order)}
    chosen: list[int] = []
    for index in dict.fromkeys([*sorted(first.values(), key=order.index), *order]):
        if sum(rows[i].source_tokens for i in chosen) + rows[index].source_tokens <= tokens:
            chosen.append(index)
    return sorted(chosen)


def _refuses_surrogates(codec: Codec) -> bool:
    """Return whether a text that no encoding has is refused, with the place of its surrogate."""
    try:
        codec.compress("half a pair: \ud83d, and on")
    except InvalidTextError as error:
        return "13" in str(error)
    return False


def section(result: Exactness) -> Iterator[str]:
    """Write the tables of domains and of other ways, line by line."""
    yield from ("## What comes back, and how short it is", "")
    yield (
        f"{result.bits_per_z_token:.1f} bits per Z-token, {result.bits_per_source_token:.2f} per source token, over "
        "all documents. Ratio: source tokens per Z-token, over all tokens of a domain."
    )
    yield ""
    yield from table(
        (
            *("domain", "documents", "tokens", "identical", "ratio", "mean", "median", "worst"),
            *("bits per Z-token", "bits per token", "BLEU-4"),
        ),
        (
            (
                domain.domain,
                str(domain.documents),
                f"{domain.source_tokens:,}",
                percent(domain.identical),
                f"**{domain.ratio:.2f}**",
                f"{domain.mean_ratio:.2f}",
                f"{domain.median_ratio:.2f}",
                f"{domain.worst_ratio:.2f}",
                number(domain.bits_per_z_token, 1),
                number(domain.bits_per_source_token, 1),
                number(domain.bleu, 2),
            )
            for domain in result.domains
        ),
    )
    yield from ("", "The same Z-spans restored in other ways:", "")
    rows = [(way.way, str(way.documents), f"{way.tokens:,}", percent(way.identical)) for way in result.elsewhere]
    yield from table(("restored with", "documents", "tokens", "identical"), rows)
    yield ""
    refused = "refused, with an error that says where it is" if result.surrogates_refused else "NOT refused"
    yield f"A text with a lone surrogate is {refused}."


if __name__ == "__main__":  # the other process
    print(json.dumps(restore_texts(zprompt.load(sys.argv[1], device="cpu"), json.load(sys.stdin))))
