"""The results of compressing and explaining, as plain values: frozen, with a short `repr` and `to_dict()` for JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from zprompt.documents import read_documents

_SHOWN = 24  # characters of a text that a repr quotes


@dataclass(frozen=True, slots=True, repr=False)
class CompressionStats:
    """The figures of one call of `compress`, over all of its documents."""

    documents: int
    source_tokens: int
    z_tokens: int
    positions: int  # that the documents take now: Z-tokens, and source tokens of what passed through
    ratio: float  # source tokens per position
    bits_per_z_token: float  # of the compressed documents: Z-tokens and residual
    bits_per_source_token: float  # likewise of the compressed documents
    passed_through: int  # documents left as they are
    seconds: float  # without verifying
    missed: str | None = None  # why the requested ratio was missed by more than a tenth; None: it was not
    exact: float | None = None  # share of the documents that came back byte for byte, 0 to 1; None: not verified
    verbatim: float = 0.0  # share of the source tokens that the query keeps word for word; 0 without one
    relevance: str | None = (
        None  # what scored the sentences: an embedding model's name, or "words"; None without a query
    )

    def __repr__(self) -> str:
        exact = "" if self.exact is None else f"{self.exact:.1%} exact, "
        chosen = f"{self.verbatim:.1%} word for word by {self.relevance}, " if self.relevance else ""
        bits = (
            f"{self.bits_per_z_token:.1f} bits per Z-token, {self.bits_per_source_token:.2f} per source token, "
            if self.z_tokens
            else ""
        )
        length = f"{self.z_tokens:,} Z-tokens" if self.z_tokens else f"{self.positions:,} tokens"
        return (
            f"CompressionStats({self.documents:,} documents, {self.source_tokens:,} source tokens → {length}, "
            f"ratio {self.ratio:.2f}, {bits}{chosen}{exact}{self.passed_through:,} passed through, "
            f"{self.seconds:.2f} s)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON; a figure that is not finite is None."""
        return _plain(self)


@dataclass(frozen=True, slots=True)
class ScoredSentence:
    """A sentence of a text, how relevant it is to a question, and whether it stays word for word."""

    start: int  # character where it begins …
    end: int  # … and where it ends, with the white space after it
    relevance: float  # probability that it answers the question, 0 to 1
    kept: bool


@dataclass(frozen=True, slots=True)
class KeptText:
    """What stays of a text word for word for a question, and why."""

    ranges: tuple[tuple[int, int], ...]  # characters (start, end), from left to right, disjoint
    relevance: float  # probability that the text's best sentence answers the question, 0 to 1
    sentences: tuple[ScoredSentence, ...] = ()  # which cover the text, in order; empty if none was scored

    @classmethod
    def whole(cls, text: str) -> KeptText:
        """Keep the whole of a text that was not scored."""
        return cls(((0, len(text)),) if text else (), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        sentences = [asdict(sentence) for sentence in self.sentences]
        return {"ranges": [list(span) for span in self.ranges], "relevance": self.relevance, "sentences": sentences}


@dataclass(frozen=True, slots=True, repr=False)
class CompressionResult:
    """Compressed documents, and the figures of the call."""

    documents: Any  # one or a list, as passed; the text of each is a Z-span now, or what is kept of it
    stats: CompressionStats
    sources: tuple[str, ...]  # the text of each document as it was
    tokens: tuple[tuple[int, int], ...]  # of each document: source tokens, and positions now
    query: str | None = None
    kept: tuple[KeptText, ...] | None = None  # what of each document stays word for word; None without a query

    def __repr__(self) -> str:
        return f"CompressionResult({self.stats!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, with the documents' texts under "texts" and without the sources."""
        focus = {} if self.kept is None else {"query": self.query, "kept": [kept.to_dict() for kept in self.kept]}
        return {
            "texts": list(read_documents(self.documents).texts),
            "stats": self.stats.to_dict(),
            "tokens": [list(counts) for counts in self.tokens],
            **focus,
        }


@dataclass(frozen=True, slots=True, repr=False)
class ExplainedToken:
    """One Z-token, and the piece of text that it stands for."""

    index: int  # position in the tiling
    anchor: str  # text of the anchor
    start: int  # character offset in the source where the anchor begins …
    anchor_end: int  # … where it ends and the span begins …
    end: int  # … and where the span ends
    gap: int  # source tokens in the span
    code: tuple[int, ...]
    residual_bits: float  # what the code leaves open about the span
    cost: float  # bits of the Z-token itself and of its span in the residual

    def __repr__(self) -> str:
        return f"ExplainedToken({self.index}: {_quote(self.anchor)} + {self.gap}, {self.cost:.0f} bits)"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON; a cost that is not finite is None."""
        return _plain(self)


@dataclass(frozen=True, slots=True, repr=False)
class Explanation:
    """How a text was cut into Z-tokens."""

    text: str
    tokens: tuple[ExplainedToken, ...]
    stats: CompressionStats
    span: str  # the Z-span that carries these Z-tokens

    def __repr__(self) -> str:
        return f"Explanation({_quote(self.text)}, {len(self.tokens):,} Z-tokens, {self.stats!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON, the tokens as a list of dicts."""
        return {**_plain(self), "tokens": [token.to_dict() for token in self.tokens], "stats": self.stats.to_dict()}


def _plain(result: CompressionStats | ExplainedToken | Explanation) -> dict[str, Any]:
    """Return the fields of a result as values that JSON has: no tuples, no numbers that are not finite."""
    return {item.name: _jsonable(getattr(result, item.name)) for item in fields(result)}


def _jsonable(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value


def _quote(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
