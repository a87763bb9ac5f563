"""Decide which texts of a call become Z-spans; all of them go through the codec in one call.

    text ── fewer than min_tokens, or not compressible (on_error="passthrough") ──► the text, escaped
         ── as many Z-tokens as source tokens, or more ───────────────────────────► the text, escaped
         ── else ─────────────────────────────────────────────────────────────────► its Z-span

*Escaped*: what looks like a Z-span in a text that passes through is changed so that nobody reads it as one. Hardly any
text has that; where it has, `Choice.text` differs from the source, and decompressing gives the source back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zprompt.errors import SpanError, ZPromptError
from zprompt.zspan import SpanHeader, escape_literal, find_spans, read_header, text_digest

if TYPE_CHECKING:
    from zprompt import Codec

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """What takes the place of a text."""

    text: str  # a Z-span, or the source text, escaped
    header: SpanHeader | None  # of the Z-span; None: the text passes through


@dataclass(frozen=True, slots=True)
class Selection:
    """What takes the places of all texts of a call."""

    choices: tuple[Choice, ...]
    source_tokens: int
    z_tokens: int  # positions: a source token of a text that passes through takes one

    @property
    def compressed(self) -> int:
        """Count the Z-spans.

        :return: How many there are.
        """
        return sum(choice.header is not None for choice in self.choices)


def select(codec: Codec, texts: Sequence[str], **options: Any) -> Selection:  # noqa: ANN401 - as in Codec.compress
    """Compress the texts for which it pays.

    :param codec: The codec.
    :param texts: The texts.
    :param options: Of `Codec.compress`. With on_error="passthrough", a call that fails as a whole (as one whose
        max_tokens cannot be met does) lets all texts pass through, with a warning in the log.
    :return: What takes their places.
    """
    if not texts:
        return Selection((), 0, 0)
    try:
        result = codec.compress(list(texts), **options)
    except ZPromptError as error:
        if options.get("on_error") != "passthrough":
            raise
        _log.warning("%d texts pass through as they are: %s", len(texts), error)
        tokens = sum(len(codec.backbone.encode(text.encode("utf-8", "replace").decode())) for text in texts)
        return Selection(tuple(_passed(text) for text in texts), tokens, tokens)
    choices = tuple(_choose(text, written) for text, written in zip(texts, result.documents, strict=True))
    headers = [choice.header for choice in choices if choice.header]
    saved = sum(header.source_tokens - header.count for header in headers)
    return Selection(choices, result.stats.source_tokens, result.stats.source_tokens - saved)


def span_header(text: object, fingerprint: str | None = None, source: str | None = None) -> SpanHeader | None:
    """Read the header of a Z-span; it takes no codec.

    :param text: What may be a Z-span.
    :param fingerprint: The codec that it must be of; None: any.
    :param source: The text that it must be of; None: any.
    :return: Its header; None if it is no Z-span, or one of another codec or text.
    """
    if not isinstance(text, str) or not text.startswith("[z"):
        return None
    try:
        header = read_header(text)
        if fingerprint not in (None, header.fingerprint) or (
            source is not None and text_digest(source) != header.digest
        ):
            return None
    except (SpanError, UnicodeEncodeError):  # a lone surrogate: no Z-span stands for such a text
        return None
    return header


def is_escaped(text: str) -> bool:
    """Say whether nothing in a text would be read as a Z-span.

    :param text: The text.
    :return: True if so.
    """
    return next(find_spans(text), None) is None


def _choose(text: str, written: str) -> Choice:
    """Take the codec's word, unless it takes as many positions as the text."""
    header = span_header(written)
    if header is None or header.count >= header.source_tokens:
        return _passed(text)
    return Choice(written, header)


def _passed(text: str) -> Choice:
    return Choice(escape_literal(text), None)
