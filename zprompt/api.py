"""The module-level functions, which share one default codec and one default relevance, each loaded once.

The codec, and torch with it, is loaded only when needed: `form="text"` does without.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from zprompt.counting import Count, counter
from zprompt.documents import DocumentBatch
from zprompt.errors import OptionError, RatioWarning
from zprompt.options import CompressOptions, OnError, Protect
from zprompt.progress import Progress
from zprompt.relevance import Relevance, shared_relevance
from zprompt.results import CompressionResult
from zprompt.text_form import shorten

if TYPE_CHECKING:
    from zprompt.codec import Codec

Form: TypeAlias = Literal["z", "text"]
"""Z-spans, for a Z-aware reader and to restore; or text with what is left out marked, for any LLM."""


def load(
    name: str = "default", *, backbone: str | None = None, device: str = "auto", quantization: str = "auto"
) -> Codec:
    """Load a codec; the short form of `Codec.from_pretrained`.

    :param name: An LLM ("default", the folder of a causal LM, or its name on the Hugging Face hub), a shipped codec, or
        a folder that `save_pretrained` wrote.
    :param backbone: The LLM, if it is not where the codec's folder says: a path or a Hugging Face name.
    :param device: "auto" (a GPU if there is one), "cpu" or "cuda".
    :param quantization: "auto" ("nf4" on a GPU, else "none"), "none", "nf4" or "int8".
    :return: The codec.
    """
    from zprompt.codec import Codec

    return Codec.from_pretrained(name, backbone=backbone, device=device, quantization=quantization)


def compress(
    docs: Any,  # noqa: ANN401 - str, dict, LangChain and LlamaIndex documents, and sequences of them
    *,
    query: str | None = None,
    form: Form = "z",
    ratio: float | None = None,
    max_tokens: int | None = None,
    count: Count = "reader",
    protect: Protect | None = None,
    min_tokens: int | None = None,
    on_error: OnError = "raise",
    relevance: Relevance | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    verify: bool = False,
) -> CompressionResult:
    """Make documents shorter: exactly as Z-spans, or for a question as text.

    :param docs: A document or a sequence of them: str, dict with "text", LangChain Document, LlamaIndex node. With a
        query, Z-spans of the default codec are focused.
    :param query: What will be asked: the most relevant sentences of all documents stay word for word, as many as the
        ratio or max_tokens allows; without either, as many as 95 % of the answers need.
    :param form: "z": the text of each document becomes a Z-span, which restores it, and which a Z-aware reader reads.
        "text": irrelevant sentences are left out and marked by "[…]", for any LLM; this loads no LLM.
    :param ratio: Tokens before per token after, over all documents together; None without a query: the
        harder the texts are to predict, the lower. If it cannot be met, a RatioWarning and `stats.missed` say why.
    :param max_tokens: Tokens that all documents may take together.
    :param count: What counts the tokens of the text form: "reader", the default LLM's; "tiktoken:o200k_base" or another
        encoding; or a function. Z-spans are counted in Z-tokens.
    :param protect: A regex, or a sequence of literal strings and compiled regexes, whose tokens (in text: sentences)
        are all kept.
    :param min_tokens: Texts with fewer tokens pass through unchanged.
    :param on_error: "raise", or "passthrough" to leave texts that cannot be compressed as they are.
    :param relevance: What chooses the sentences; None: the default, by all-MiniLM-L6-v2.
    :param batch_size: For Z-spans: windows per pass of the LLM; the result does not depend on it.
    :param progress: For Z-spans: called with ("compress", windows done, windows in all).
    :param verify: Restore every Z-span and compare; `stats.exact` is then the share that came back byte for byte.
    :return: The documents, of the same types and in the same order, the figures of the call, and with a query what is
        kept of each document.
    :raises OptionError: If an option has a value that is not allowed or is for the other form, or the text form is
        asked for without a query.
    """
    options = CompressOptions(ratio, max_tokens, query, protect, min_tokens, on_error)
    if form not in ("z", "text"):
        raise OptionError(f"form must be 'z' or 'text', got {form!r}.")
    if form == "text":
        if not options.query:
            raise OptionError("form='text' needs a question to know what to leave out. Pass query=…, or form='z'.")
        if verify:
            raise OptionError("verify=True applies to Z-spans only; form='text' cannot be restored. Leave it out.")
        result = shorten(options, docs, relevance or shared_relevance(), counter(count), _original_texts)
    else:
        if count != "reader":
            raise OptionError(
                f"count={count!r} applies to form='text' only; Z-spans are counted in Z-tokens. Leave it out."
            )
        from zprompt.codec import COMPRESS_BATCH, shared_codec

        result = shared_codec().compress_with(
            options,
            docs,
            batch_size=COMPRESS_BATCH if batch_size is None else batch_size,
            progress=progress,
            verify=verify,
            relevance=relevance,
        )
    if result.stats.missed:
        warnings.warn(result.stats.missed, RatioWarning, stacklevel=2)
    return result


def _original_texts(batch: DocumentBatch, on_error: OnError) -> list[str]:
    from zprompt.codec import shared_codec

    return shared_codec().original_texts(batch, on_error)


def decompress(
    docs: Any,  # noqa: ANN401 - as compress
    *,
    on_error: OnError = "raise",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Any:  # noqa: ANN401 - as it was given
    """Put the text back in place of every Z-span of documents, with the default codec.

    :param docs: A document or a sequence of them, as `compress` takes and returns them.
    :param on_error: "raise", or "passthrough" to leave documents that cannot be restored as they are, with a warning in
        the log for each.
    :param batch_size: Windows decoded at a time; the result does not depend on it.
    :param progress: Called with ("decompress", windows done, windows in all).
    :return: The documents, of the same types and in the same order.
    """
    from zprompt.codec import DECOMPRESS_BATCH, shared_codec

    size = DECOMPRESS_BATCH if batch_size is None else batch_size
    return shared_codec().decompress(docs, on_error=on_error, batch_size=size, progress=progress)
