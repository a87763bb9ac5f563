"""Where a node carries a Z-span or a shorter text: in place of its text, with a mark in its metadata, or beside it.

    shorter    node.text = text'      metadata += zprompt_text            (the whole text)
    text       node.text = Z-span     metadata += zprompt_codec, zprompt_source_tokens, zprompt_z_tokens
    metadata   node.text = text       metadata += zprompt_span
    escaped    node.text = text'      metadata += zprompt_escaped         (a text that held what looks like a Z-span)

The values are str, int and bool, since vector stores take flat metadata only. All keys are excluded from what the LLM
and the embedding see. A mark, not the look of a text, says that a node was compressed (zprompt/rag.py says why).

No function here changes its node: each returns a copy that shares no metadata, list or relationship with it, while
`model_copy` alone would share them all.
"""

import copy
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, Node

from zprompt.rag import CODEC_KEY, RagText, span_header
from zprompt.relevance import ELISION, NOTHING
from zprompt.zspan import find_spans

SOURCE_TOKENS_KEY = "zprompt_source_tokens"
Z_TOKENS_KEY = "zprompt_z_tokens"
ESCAPED_KEY = "zprompt_escaped"
SPAN_KEY = "zprompt_span"
TEXT_KEY = "zprompt_text"
KEYS = (CODEC_KEY, SOURCE_TOKENS_KEY, Z_TOKENS_KEY, ESCAPED_KEY, SPAN_KEY, TEXT_KEY)


def body(node: BaseNode) -> str:
    """Return the text of a node without its metadata; "" if it has none."""
    return node.get_content(metadata_mode=MetadataMode.NONE)


def is_compressed(node: BaseNode) -> bool:
    """Return whether the text of a node is a Z-span that was put there by this package."""
    return CODEC_KEY in node.metadata and span_header(body(node)) is not None


def is_escaped(node: BaseNode) -> bool:
    """Return whether the text of a node was escaped by this package, and has not been replaced since."""
    return ESCAPED_KEY in node.metadata and next(find_spans(body(node)), None) is None


def whole_text(node: BaseNode) -> str:
    """Return the text that a node had before it was shortened, unless that has been replaced since."""
    whole, text = node.metadata.get(TEXT_KEY), body(node)
    if isinstance(whole, str) and (text == NOTHING or all(piece.strip() in whole for piece in text.split(ELISION))):
        return whole
    return text


def with_shorter(node: BaseNode, text: str, whole: str) -> BaseNode:
    """Copy a node with a shorter text; the whole text stays in the metadata."""
    return _copy(node, {TEXT_KEY: whole} if text != whole else {}, text)


def with_text(node: BaseNode, item: RagText, fingerprint: str) -> BaseNode:
    """Copy a node, its text replaced by a Z-span of the codec with this fingerprint, or by text that passes through."""
    marks: dict[str, Any] = {}
    if item.compressed:
        marks = {
            CODEC_KEY: fingerprint,
            SOURCE_TOKENS_KEY: item.source_tokens,
            Z_TOKENS_KEY: item.z_tokens,
        }
    elif item.text != body(node):
        marks = {ESCAPED_KEY: True}
    return _copy(node, marks, item.text)


def with_stored(node: BaseNode, item: RagText) -> BaseNode:
    """Copy a node, with a Z-span beside its text; text that passes through leaves nothing in the metadata."""
    if item.compressed and item.text == body(node):
        return untouched(node)  # it had a Z-span in place of its text
    return _copy(node, {SPAN_KEY: item.text} if item.compressed else {}, body(node))


def without_marks(node: BaseNode, text: str) -> BaseNode:
    """Copy a node as it was before this package saw it, with its original text."""
    return _copy(node, {}, text) if any(key in node.metadata for key in KEYS) else untouched(node)


def untouched(node: BaseNode) -> BaseNode:
    """Copy a node as it is."""
    containers = {name: copy.copy(value) for name, value in vars(node).items() if isinstance(value, dict | list)}
    return node.model_copy(update=containers)


def _copy(node: BaseNode, marks: Mapping[str, Any], text: str) -> BaseNode:
    """Copy a node with these marks and no others, and with this text."""
    copied = untouched(node)
    copied.metadata = {key: value for key, value in node.metadata.items() if key not in KEYS} | dict(marks)
    copied.excluded_llm_metadata_keys = _excluded(node.excluded_llm_metadata_keys, marks)
    copied.excluded_embed_metadata_keys = _excluded(node.excluded_embed_metadata_keys, marks)
    if text != body(node):
        if isinstance(copied, Node) and copied.text_resource:  # set_content would drop the MIME type
            copied.text_resource = copied.text_resource.model_copy(update={"text": text})
        else:
            copied.set_content(text)
    return copied


def _excluded(keys: list[str], marks: Mapping[str, Any]) -> list[str]:
    return [key for key in keys if key not in KEYS] + list(marks)
