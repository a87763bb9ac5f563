"""Restore documents by free decoding: Z-spans in, nothing else known, token ids and texts out."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from zprompt import Codec
from zprompt.codec import DECOMPRESS_BATCH, Decompressor, KnownWindow, split_windows
from zprompt.errors import ZPromptError
from zprompt.zspan import RankCode, ZSpan, parse_span, unescape


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back of one document."""

    text: str
    ids: list[int]
    symbols: list[int]  # of the dropped tokens (residual.py); 0: the decompressor's first guess was right


def source_ids(codec: Codec, text: str) -> list[int]:
    """Give the token ids that a text is compressed as.

    :param codec: The codec.
    :param text: The text.
    :return: Token ids, of the escaped text where the tokenizer cannot escape the text itself.
    """
    return codec.backbone.encode(codec.backbone.escape(text).text)


def restore_ids(codec: Codec, documents: Sequence[str], batch_size: int = DECOMPRESS_BATCH) -> list[Restored]:
    """Decompress, and keep the token ids, which `Codec.decompress` does not give.

    :param codec: The codec.
    :param documents: Z-spans, one each.
    :param batch_size: Windows that are decoded at a time.
    :return: What came back, hashes unchecked.
    """
    spans = [parse_span(text, codec.alphabet, codec.fingerprint) for text in documents]
    windows = [_known_windows(codec, span) for span in spans]
    flat = [window for document in windows for window in document]
    rows = iter(Decompressor(codec.backbone, codec.heads).restore(flat, batch_size))
    restored = []
    for span, document in zip(spans, windows, strict=True):
        ids = [token for _ in document for token in next(rows)]
        text = codec.backbone.decode(ids)
        symbols = [symbol for window in document for symbol in window.symbols]
        restored.append(Restored(unescape(text) if span.escaped else text, ids, symbols))
    return restored


def restore_texts(codec: Codec, documents: Sequence[str], batch_size: int = DECOMPRESS_BATCH) -> list[str | None]:
    """Decompress as a user does; a document that is refused is a finding, not the end of the run.

    :param codec: The codec.
    :param documents: Documents with Z-spans.
    :param batch_size: Windows that are decoded at a time.
    :return: The texts; None where decompression refused.
    """
    try:
        return list(codec.decompress(list(documents), batch_size=batch_size))
    except ZPromptError:
        return [_restore_one(codec, document, batch_size) for document in documents]


def restore_in_another_process(codec_name: str, documents: Sequence[str]) -> list[str | None]:
    """Decompress in a process that knows nothing but the Z-spans and the codec's name.

    :param codec_name: The codec.
    :param documents: Documents with Z-spans.
    :return: The texts; None where decompression refused.
    """
    command = [sys.executable, "-m", "benchmarks.restoring", codec_name]
    given = json.dumps(list(documents))
    texts: list[str | None] = json.loads(
        subprocess.run(command, input=given, check=True, stdout=subprocess.PIPE, text=True).stdout
    )
    return texts


def _known_windows(codec: Codec, span: ZSpan) -> list[KnownWindow]:
    """Cut a Z-span into its windows."""
    code = RankCode(codec.backbone.vocab_size, codec.settings.rank_table)
    symbols = iter(code.decode(span.residual, sum(token.gap for token in span.tokens)))
    return [
        KnownWindow(tokens, [next(symbols) for token in tokens for _ in range(token.gap)])
        for tokens in split_windows(span)
    ]


def _restore_one(codec: Codec, document: str, batch_size: int) -> str | None:
    """Decompress one document; None if it is refused."""
    try:
        return str(codec.decompress(document, batch_size=batch_size))
    except ZPromptError:
        return None


if __name__ == "__main__":
    import zprompt

    loaded = zprompt.load(sys.argv[1], device="cpu")
    print(json.dumps(restore_texts(loaded, json.load(sys.stdin))))
