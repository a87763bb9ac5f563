"""Replace texts by Z-spans where that is worth it: what all framework packages share.

    text that is marked as Z-spans, and is           stays as it is: it has been compressed before
    text with a stored Z-span of exactly this text  is replaced by that, at no cost
    any other text                                  goes to the codec, all of them in one call …
    … of which no Z-span is shorter                 stays text, with whatever looks like a Z-span escaped

Documents are untrusted, and anyone can write a sound Z-span: what a filter or a person did not see would then be read,
and one whose hash is wrong would fail all documents that are restored with it. So the mark that a package leaves beside
a text says that it was compressed (`CODEC_KEY` in a document's metadata), and never the text's look: without a mark, a
Z-span is a text like any other. With one, a sound Z-span of another codec is an error: most likely it was stored before
the codec was changed, and nobody here reads it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.errors import OptionError, SpanError, WrongCodecError
from zprompt.options import CompressOptions, OnError
from zprompt.zspan import escape_literal, find_spans, parse_span, read_header, text_digest

if TYPE_CHECKING:
    from zprompt.codec import Codec

CODEC_KEY = "zprompt_codec"  # metadata key of documents whose text is a Z-span: the fingerprint of its codec

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodecSource:
    """Where a codec comes from; unlike the codec, it is light, and it pickles."""

    name: str = "default"  # a shipped codec, or the folder of one
    backbone: str | None = None  # if it lies elsewhere than the codec says
    device: str = "auto"
    quantization: str = "auto"

    def load(self) -> Codec:
        """Load the codec, unless this process has it.

        :return: The codec that all sources with these fields share.
        """
        from zprompt.codec import shared_codec

        return shared_codec(self.name, backbone=self.backbone, device=self.device, quantization=self.quantization)


@dataclass(frozen=True, slots=True)
class Adapted:
    """A text that goes on in the place of another."""

    text: str
    z_tokens: int = 0  # of the Z-spans in it; 0: it is plain text
    source_tokens: int = 0  # that these stand for
    new: bool = False  # this call wrote its Z-span

    @property
    def compressed(self) -> bool:
        """Say whether the text holds a Z-span.

        :return: True if it does, whoever wrote it.
        """
        return self.z_tokens > 0


def adapt(
    codec: Codec,
    texts: Sequence[str],
    options: CompressOptions | None = None,
    *,
    marked: Sequence[bool] | None = None,
    stored: Sequence[str | None] | None = None,
    batch_size: int = 8,
) -> list[Adapted]:
    """Replace texts by Z-spans where these are shorter, with one call of the codec.

    :param codec: The codec.
    :param texts: The texts.
    :param options: As in `Codec.compress`; ratio and max_tokens count for the texts that are compressed now. With
        on_error="passthrough", texts stay as they are also where a Z-span is of another codec or max_tokens is too few.
    :param marked: For each text whether a mark beside it says that it was compressed; None: no text was.
    :param stored: For each text the Z-span that was kept for it, or None; it is used if it is of exactly this text.
    :param batch_size: As in `Codec.compress`.
    :return: What is to take the place of each text, in order.
    """
    options = options or CompressOptions()
    known = [
        _known(codec, text, mark, span, options.on_error)
        for text, mark, span in zip(texts, marked or [False] * len(texts), stored or [None] * len(texts), strict=True)
    ]
    open_texts = [text for text, done in zip(texts, known, strict=True) if done is None]
    written = iter(_compress(codec, open_texts, options, batch_size) if open_texts else [])
    return [done or next(written) for done in known]


def is_stored_span(codec: Codec, span: object, text: str) -> bool:
    """Say whether something is a Z-span of this very text, by this codec.

    :param codec: The codec.
    :param span: What was kept, from wherever.
    :param text: The text as it is now.
    :return: False for a Z-span of an older text or of another codec, and for anything else.
    """
    if not isinstance(span, str) or not span:
        return False
    try:
        parsed = parse_span(span, codec.alphabet, codec.fingerprint)
        return parsed.window == codec.settings.window and parsed.digest == text_digest(text)
    except (SpanError, UnicodeEncodeError):  # lone surrogates have no hash
        return False


def _known(codec: Codec, text: str, marked: bool, span: str | None, on_error: OnError) -> Adapted | None:
    """Adapt a text without the codec's work, or None if there is work to do."""
    if span is not None and is_stored_span(codec, span, text):
        header = read_header(span)
        return Adapted(span, header.count, header.source_tokens)
    if not marked:
        return None
    try:
        counts = _spans(codec, text)
    except WrongCodecError as error:
        if on_error == "raise":
            raise
        logger.warning("A text passes through as text: %s", error)
        return Adapted(escape_literal(text))
    return None if counts is None else Adapted(text, *counts)


def _spans(codec: Codec, text: str) -> tuple[int, int] | None:
    """Count Z-tokens and what they stand for in a text whose candidates are all Z-spans of the codec, else None."""
    z_tokens = source_tokens = 0
    try:
        for match in find_spans(text):
            span = parse_span(match.text, codec.alphabet, codec.fingerprint)
            if span.window != codec.settings.window:
                return None
            z_tokens += len(span.tokens)
            source_tokens += span.source_tokens
    except WrongCodecError:
        raise
    except SpanError:
        return None
    return (z_tokens, source_tokens) if z_tokens else None


def _compress(codec: Codec, texts: Sequence[str], options: CompressOptions, batch_size: int) -> list[Adapted]:
    """Compress texts, and take back what did not get shorter."""
    try:
        result = codec.compress(
            texts,
            ratio=options.ratio,
            max_tokens=options.max_tokens,
            query=options.query,
            protect=options.protect,
            min_tokens=options.min_tokens,
            on_error=options.on_error,
            batch_size=batch_size,
        )
    except OptionError as error:  # the options were checked: these texts cannot be as short as max_tokens says
        if options.on_error == "raise":
            raise
        logger.warning("%d texts pass through: %s", len(texts), error)
        return [Adapted(escape_literal(text)) for text in texts]
    return [_shorter(text, written) for text, written in zip(texts, result.documents, strict=True)]


def _shorter(text: str, written: str) -> Adapted:
    """Choose between a text and what the codec made of it."""
    if next(find_spans(written), None) is None:  # it passed through, escaped
        return Adapted(written)
    header = read_header(written)
    if header.count >= header.source_tokens:
        return Adapted(escape_literal(text))
    return Adapted(written, header.count, header.source_tokens, new=True)
