"""Make passages shorter: what all framework packages share.

For an LLM that reads Z-tokens (zprompt/probe.py), by Z-spans where that is shorter:

    a text marked as compressed, of sound Z-spans    stays as it is
    a text with a stored Z-span of exactly itself    is replaced by that, at no cost
    all other texts                                  go to the codec in one call …
    … those whose Z-span is not shorter              stay text, with whatever looks like a Z-span escaped

Documents are untrusted, and anyone can write a sound Z-span: the reader would see what filters and people did not, and
a wrong hash would fail all documents that are restored together. So it is never the look of a text that says that it
was compressed, but a mark that the framework package leaves beside it (`CODEC_KEY` in the metadata): without a mark, a
Z-span is a text like any other. With one, two things are errors: a sound Z-span of another codec, which most likely was
stored before the codec was changed, and no reader here can read it; and a piece of a Z-span, which a splitter made.

For any other LLM, by leaving out what the question does not need: a text that was compressed is restored first, and no
Z-span is written.
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
BATCH = 8  # windows that the LLM reads at a time

NO_QUESTION = (
    "Text is shortened for a question, and there is none here: an LLM that is not known to read Z-tokens gets no "
    "Z-spans. Give the query; or, for an LLM that reads them, form='z' or reader=…."
)

_PIECE = re.compile(r"[0-9A-Za-z_:\[\]-]{16,}")  # of a Z-span, without its beginning: no prose has such words alone

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """Which codec to load; unlike the codec, it is light and can be pickled."""

    name: str = "default"  # a causal LM, a shipped codec, or a folder that `save_pretrained` wrote
    backbone: str | None = None  # if it lies elsewhere than a codec's folder says
    device: str = "auto"
    quantization: str = "auto"

    def load(self) -> Codec:
        """Return the codec, which is loaded once a process."""
        from zprompt.codec import shared_codec

        return shared_codec(self.name, backbone=self.backbone, device=self.device, quantization=self.quantization)


@dataclass(frozen=True, slots=True)
class RagText:
    """What takes the place of a text."""

    text: str
    z_tokens: int = 0  # of the Z-spans in it; 0: it is plain text
    source_tokens: int = 0  # that these stand for
    new: bool = False  # whether this call wrote its Z-span

    @property
    def compressed(self) -> bool:
        """Return whether the text has a Z-span, of this call or an earlier one."""
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
        on_error="passthrough", texts stay text also where a Z-span is of another codec or was cut, or max_tokens is
        too few.
    :param marked: For each text whether a mark beside it says that it was compressed; None: no text was.
    :param stored: For each text the Z-span that was stored with it, or None; used if it is of exactly this text.
    :param batch_size: As in `Codec.compress`.
    :return: What takes the place of each text, in order.
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
    """Replace texts by the Z-spans that they have already, without loading their codec.

    Only headers can be checked without the codec: fingerprint, hash of the text, and checksum. The reader checks the
    rest, and refuses Z-spans that were forged; `compress_texts` would compress such texts anew.

    :param fingerprint: The codec's.
    :param texts: The texts.
    :param marked: As in `compress_texts`.
    :param stored: As in `compress_texts`.
    :return: What takes the place of each text, in order; None if one of them needs the codec.
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
    """Leave out what a question does not need, as text for any LLM; without an LLM, but for texts that are marked.

    :param texts: The texts.
    :param options: As in `zprompt.compress`. Without a query texts stay as they are; with on_error="passthrough" also
        where max_tokens is too few.
    :param titles: Of the texts, "" for none; None: there are none.
    :param count: As in `zprompt.compress`.
    :param marked: As in `compress_texts`.
    :param restore: Restores those; needed if there are any.
    :return: What takes the place of each text, in order.
    """
    plain = list(texts)
    places = [place for place, is_marked in enumerate(marked or ()) if is_marked]
    places = [place for place in places if is_whole(plain[place], options.on_error)]
    if places and restore:
        for place, text in zip(places, restore([plain[place] for place in places]), strict=True):
            plain[place] = text
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
    """Return the header of a Z-span of any codec, or None if it is none."""
    try:
        return read_header(text) if isinstance(text, str) else None
    except SpanError:
        return None


def is_whole(text: str, on_error: OnError = "raise") -> bool:
    """Return whether a text that was marked as compressed is still whole, whether as Z-spans or as another text.

    :param text: The text.
    :param on_error: What happens if it is a piece of a Z-span; "passthrough" logs it.
    :return: Whether it is whole.
    :raises TruncatedSpanError: If it is not.
    """
    matches = list(find_spans(text))
    if not (any(map(_is_cut, matches)) if matches else _PIECE.fullmatch(text.strip())):
        return True
    error = TruncatedSpanError(
        f"A document that was compressed is a piece of a Z-span now, {text[:40]!r}: something split or shortened it "
        "since. Put splitters before what compresses, and compress the text again."
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
    """Return a stored Z-span; None if it is not one of exactly this text, by this codec."""
    try:
        parsed = codec.parse(span) if isinstance(span, str) else None
    except SpanError:
        return None
    if parsed is None or not _is_of(parsed.digest, text):
        return None
    return RagText(str(span), len(parsed.tokens), parsed.source_tokens)


def _marked_text(codec: Codec, text: str, options: CompressOptions) -> RagText | None:
    """Return a text that was compressed before, as it is; None if its Z-spans are not sound, or there are none."""
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
    """Compress texts, and keep those that did not get shorter."""
    try:
        result = codec.compress_with(options, texts, batch_size=batch_size, read_spans=False)
    except OptionError as error:  # the options were checked: these texts cannot be as short as max_tokens says
        if options.on_error == "raise":
            raise
        logger.warning("%d texts pass through: %s", len(texts), error)
        return [RagText(escape_literal(text)) for text in texts]
    if result.stats.missed:
        warnings.warn(result.stats.missed, RatioWarning, stacklevel=2)
    return [_shorter(text, written) for text, written in zip(texts, result.documents, strict=True)]


def _shorter(text: str, written: str) -> RagText:
    """Choose between a text and what the codec made of it."""
    header = span_header(written)
    if header is None:  # it passed through, escaped
        return RagText(written)
    if header.count >= header.source_tokens:
        return RagText(escape_literal(text))
    return RagText(written, header.count, header.source_tokens, new=True)
