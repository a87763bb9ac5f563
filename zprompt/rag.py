"""Shorten passages: what all framework adapters share.

For an LLM that reads Z-tokens (zprompt/probe.py), passages become Z-spans where these are shorter:

    a text marked as compressed, of sound Z-spans    stays as it is
    a text with a stored Z-span of exactly itself    is replaced by that, at no cost
    all other texts                                  go to the codec in one call …
    … those whose Z-span is not shorter              stay text, with whatever looks like a Z-span escaped

Documents are untrusted, and anyone can write a sound Z-span: the reader would see what filters and people did not, and
a wrong hash would fail all documents that are restored together. So a text counts as compressed not by its look but by
a mark that the framework adapter leaves beside it (`CODEC_KEY` in the metadata); without a mark, a Z-span is text like
any other. In a marked text, two things are errors: a sound Z-span of another codec, which no reader here can read (most
likely the codec was changed since), and a piece of a Z-span, left by a splitter.

For any other LLM, what the question does not need is left out: compressed texts are restored first, and no Z-span is
written.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.counting import Count, counter
from zprompt.errors import OptionError, RatioWarning, SpanError, TruncatedSpanError, WrongCodecError
from zprompt.options import CompressOptions, OnError
from zprompt.relevance import shared_relevance
from zprompt.text_form import shorten
from zprompt.zspan import SpanHeader, SpanMatch, escape_literal, find_spans, read_header, split_at_spans, text_digest

if TYPE_CHECKING:
    from zprompt.codec import Codec

CODEC_KEY = "zprompt_codec"  # metadata key of documents whose text is a Z-span: the fingerprint of its codec
BATCH = 8  # windows per pass of the LLM

NO_QUESTION = (
    "Shortening as text needs a question, and there is none; an LLM that is not known to read Z-tokens gets no "
    "Z-spans. Pass the query or, for an LLM that reads them, form='z' or reader=…."
)

_PIECE = re.compile(r"[0-9A-Za-z_:\[\]-]{16,}")  # of a Z-span, without its beginning; no prose is one such word alone

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """Which codec to load; unlike a codec, light and picklable."""

    name: str = "default"  # a causal LM, a shipped codec, or a folder that `save_pretrained` wrote
    backbone: str | None = None  # if it is not where the codec's folder says
    device: str = "auto"
    quantization: str = "auto"

    def load(self) -> Codec:
        """Return the codec, loaded once per process."""
        from zprompt.codec import shared_codec

        return shared_codec(self.name, backbone=self.backbone, device=self.device, quantization=self.quantization)


@dataclass(frozen=True, slots=True)
class RagText:
    """The replacement of a text."""

    text: str
    z_tokens: int = 0  # in its Z-spans; 0: it is plain text
    source_tokens: int = 0  # that the Z-tokens stand for
    new: bool = False  # whether this call wrote its Z-span

    @property
    def compressed(self) -> bool:
        """Return whether the text has Z-spans, of this call or an earlier one."""
        return self.z_tokens > 0


def compress_texts(
    codec: Codec,
    texts: Sequence[str],
    options: CompressOptions | None = None,
    *,
    marked: Sequence[bool] | None = None,
    stored: Sequence[object] | None = None,
    batch_size: int = BATCH,
) -> list[RagText]:
    """Replace texts by Z-spans where these are shorter, with one call of the codec.

    :param codec: The codec.
    :param texts: The texts.
    :param options: As in `Codec.compress`; ratio and max_tokens apply to the texts that are compressed now. With
        on_error="passthrough", texts also stay text if a Z-span is of another codec or was cut, or max_tokens is too
        few.
    :param marked: Whether each text is marked as compressed; None: no text is.
    :param stored: The Z-span stored with each text, or None; used if it is of exactly this text.
    :param batch_size: As in `Codec.compress`.
    :return: The replacement of each text, in order.
    """
    options = options or CompressOptions()
    marked, stored = marked or [False] * len(texts), stored or [None] * len(texts)
    reused = [
        _stored_text(codec, span, text) or (_marked_text(codec, text, options) if is_marked else None)
        for text, is_marked, span in zip(texts, marked, stored, strict=True)
    ]
    rest = [text for text, item in zip(texts, reused, strict=True) if item is None]
    written = iter(_compress(codec, rest, options, batch_size) if rest else [])
    return [item or next(written) for item in reused]


def reuse_spans(
    fingerprint: str, texts: Sequence[str], *, marked: Sequence[bool], stored: Sequence[object]
) -> list[RagText] | None:
    """Replace texts by the Z-spans that they already have, without loading the codec.

    Without the codec, only headers can be checked: fingerprint, hash of the text, and checksum. The reader checks the
    rest, and refuses forged Z-spans; `compress_texts` would compress such texts anew.

    :param fingerprint: The fingerprint of the codec.
    :param texts: The texts.
    :param marked: As in `compress_texts`.
    :param stored: As in `compress_texts`.
    :return: The replacement of each text, in order; None if any text needs the codec.
    """
    reused = []
    for text, is_marked, span in zip(texts, marked, stored, strict=True):
        header = span_header(span)
        if header is None or not _is_of(header.digest, text):
            span, header = text, span_header(text) if is_marked else None
        if header is None or header.fingerprint != fingerprint:
            return None
        reused.append(RagText(str(span), header.count, header.source_tokens))
    return reused


def shorten_texts(
    texts: Sequence[str],
    options: CompressOptions,
    *,
    titles: Sequence[str] | None = None,
    count: Count = "reader",
    marked: Sequence[bool] | None = None,
    restore: Callable[[list[str]], Sequence[str]] | None = None,
) -> list[str]:
    """Leave out what a question does not need, for any LLM; no LLM is loaded except to restore marked texts.

    :param texts: The texts.
    :param options: As in `zprompt.compress`. Without a query texts stay as they are; with on_error="passthrough" also
        where max_tokens is too few.
    :param titles: The title of each text, "" for none; None: no text has one.
    :param count: As in `zprompt.compress`.
    :param marked: As in `compress_texts`.
    :param restore: Restores marked texts; needed if there are any.
    :return: The replacement of each text, in order.
    """
    plain = list(texts)
    indices = [index for index, is_marked in enumerate(marked or ()) if is_marked]
    indices = [index for index in indices if is_whole(plain[index], options.on_error)]
    if indices and restore:
        for index, text in zip(indices, restore([plain[index] for index in indices]), strict=True):
            plain[index] = text
    if not options.query:
        return plain
    documents = [{"text": text, "title": title} for text, title in zip(plain, titles or [""] * len(plain), strict=True)]
    try:
        result = shorten(options, documents, shared_relevance(), counter(count))
    except OptionError as error:
        if options.on_error == "raise":
            raise
        logger.warning("%d texts pass through: %s", len(plain), error)
        return plain
    if result.stats.missed:
        warnings.warn(result.stats.missed, RatioWarning, stacklevel=2)
    return [document["text"] for document in result.documents]


def span_header(text: object) -> SpanHeader | None:
    """Return the header of a Z-span of any codec, or None if the text is no Z-span."""
    try:
        return read_header(text) if isinstance(text, str) else None
    except SpanError:
        return None


def is_whole(text: str, on_error: OnError = "raise") -> bool:
    """Return whether a text marked as compressed is anything but a piece of a Z-span.

    :param text: The text.
    :param on_error: "raise", or "passthrough" to log a piece and return False.
    :return: Whether it is whole.
    :raises TruncatedSpanError: If it is a piece, and on_error is "raise".
    """
    matches = list(find_spans(text))
    if not (any(map(_is_cut, matches)) if matches else _PIECE.fullmatch(text.strip())):
        return True
    error = TruncatedSpanError(
        f"A compressed document is now a piece of a Z-span, {text[:40]!r}: something split or shortened it after "
        "compression. Split before compressing, and compress the text again."
    )
    if on_error == "raise":
        raise error
    logger.warning("A text passes through as text: %s", error)
    return False


def _is_cut(match: SpanMatch) -> bool:
    try:
        read_header(match.text)
    except TruncatedSpanError:
        return True
    except SpanError:
        return False
    return False


def _is_of(digest: bytes, text: str) -> bool:
    try:
        return digest == text_digest(text)
    except UnicodeEncodeError:  # lone surrogates: no Z-span stands for such a text
        return False


def _stored_text(codec: Codec, span: object, text: str) -> RagText | None:
    """Return a stored Z-span; None if it is not of exactly this text, by this codec."""
    try:
        parsed = codec.parse(span) if isinstance(span, str) else None
    except SpanError:
        return None
    if parsed is None or not _is_of(parsed.digest, text):
        return None
    return RagText(str(span), len(parsed.tokens), parsed.source_tokens)


def _marked_text(codec: Codec, text: str, options: CompressOptions) -> RagText | None:
    """Return a text marked as compressed as it is; None if it has no Z-spans, or unsound ones."""
    if not is_whole(text, options.on_error):
        return RagText(escape_literal(text))
    try:
        spans = [codec.parse(piece.text) for piece in split_at_spans(text) if isinstance(piece, SpanMatch)]
    except WrongCodecError as error:
        if options.on_error == "raise":
            raise
        logger.warning("A text passes through as text: %s", error)
        return RagText(escape_literal(text))
    except SpanError:
        return None
    z_tokens = sum(len(span.tokens) for span in spans)
    return RagText(text, z_tokens, sum(span.source_tokens for span in spans)) if z_tokens else None


def _compress(codec: Codec, texts: Sequence[str], options: CompressOptions, batch_size: int) -> list[RagText]:
    """Compress texts, except those that do not get shorter."""
    try:
        result = codec.compress_with(options, texts, batch_size=batch_size, read_spans=False)
    except OptionError as error:  # options were checked before, so max_tokens is too few for these texts
        if options.on_error == "raise":
            raise
        logger.warning("%d texts pass through: %s", len(texts), error)
        return [RagText(escape_literal(text)) for text in texts]
    if result.stats.missed:
        warnings.warn(result.stats.missed, RatioWarning, stacklevel=2)
    return [_shorter(text, written) for text, written in zip(texts, result.documents, strict=True)]


def _shorter(text: str, written: str) -> RagText:
    """Return a text's Z-span if it has fewer Z-tokens than the text has tokens, else the text."""
    header = span_header(written)
    if header is None:  # passed through, escaped
        return RagText(written)
    if header.count >= header.source_tokens:
        return RagText(escape_literal(text))
    return RagText(written, header.count, header.source_tokens, new=True)
