"""How a node carries a Z-span: as its text, with a mark in its metadata, or in its metadata beside its text.

    text       node.text = Z-span     metadata += zprompt_codec, zprompt_source_tokens, zprompt_z_tokens
    metadata   node.text = text       metadata += zprompt_span
    escaped    node.text = text'      metadata += zprompt_escaped         (selection.py says when; hardly ever)

The values are str, int and bool, since vector stores take flat metadata only. All keys are excluded from what the LLM
and the embedding see. A mark, and not the look of a text, says that a node was compressed: documents are untrusted, and
anyone can write what looks like a Z-span.

No function here changes a node that it is given, and the copies share no metadata, list or relationship with it:
`model_copy` alone would share them all.
"""

import copy
from collections.abc import Mapping
from typing import Any

from llama_index.core.schema import BaseNode, MetadataMode, Node, NodeWithScore

from llama_index.postprocessor.zprompt.selection import Choice, is_escaped, span_header
from zprompt.rag import CODEC_KEY
from zprompt.zspan import SpanHeader

SOURCE_TOKENS_KEY = "zprompt_source_tokens"
Z_TOKENS_KEY = "zprompt_z_tokens"
ESCAPED_KEY = "zprompt_escaped"
SPAN_KEY = "zprompt_span"
KEYS = (CODEC_KEY, SOURCE_TOKENS_KEY, Z_TOKENS_KEY, ESCAPED_KEY, SPAN_KEY)


def body(node: BaseNode) -> str:
    """Read the text of a node, without its metadata.

    :param node: The node.
    :return: Its text; "" if it has none.
    """
    return node.get_content(metadata_mode=MetadataMode.NONE)


def compressed_header(node: BaseNode) -> SpanHeader | None:
    """Read the header of the Z-span that is a node's text.

    :param node: The node.
    :return: The header; None if the text is none that was put there by this package.
    """
    return span_header(body(node)) if CODEC_KEY in node.metadata else None


def is_done(node: BaseNode) -> bool:
    """Say whether a node was through this package before and is still as it came out.

    :param node: The node.
    :return: True if its text is a Z-span, or escaped.
    """
    return compressed_header(node) is not None or (ESCAPED_KEY in node.metadata and is_escaped(body(node)))


def stored_choice(node: BaseNode, fingerprint: str) -> Choice | None:
    """Find the Z-span that a node carries in its metadata.

    :param node: The node.
    :param fingerprint: The codec that it must be of.
    :return: The Z-span; None if there is none of this codec, or the text was changed since.
    """
    span = node.metadata.get(SPAN_KEY)
    header = span_header(span, fingerprint, body(node))
    return Choice(str(span), header) if header else None


def with_choice(node: BaseNode, choice: Choice) -> BaseNode:
    """Copy a node, with what takes the place of its text.

    :param node: The node.
    :param choice: A Z-span, or the text if it passes through.
    :return: The copy.
    """
    if choice.header:
        marks: dict[str, Any] = {
            CODEC_KEY: choice.header.fingerprint,
            SOURCE_TOKENS_KEY: choice.header.source_tokens,
            Z_TOKENS_KEY: choice.header.count,
        }
    else:
        marks = {ESCAPED_KEY: True} if choice.text != body(node) else {}
    return _copy(node, marks, choice.text)


def with_stored(node: BaseNode, choice: Choice) -> BaseNode:
    """Copy a node, with a Z-span in its metadata and its text as it is.

    :param node: The node.
    :param choice: A Z-span, or a text that passes through, which leaves nothing in the metadata.
    :return: The copy.
    """
    return _copy(node, {SPAN_KEY: choice.text} if choice.header else {}, body(node))


def without_marks(node: BaseNode, text: str) -> BaseNode:
    """Copy a node as it was before this package saw it.

    :param node: The node.
    :param text: The text that it had.
    :return: The copy.
    """
    return _copy(node, {}, text)


def untouched(node: BaseNode) -> BaseNode:
    """Copy a node as it is.

    :param node: The node.
    :return: The copy.
    """
    return node.model_copy(update=_containers(node))


def with_node(scored: NodeWithScore, node: BaseNode) -> NodeWithScore:
    """Copy a retrieved node, with another node in it.

    :param scored: The retrieved node.
    :param node: The other one.
    :return: The copy, with the score.
    """
    return scored.model_copy(update={"node": node})


def _copy(node: BaseNode, marks: Mapping[str, Any], text: str) -> BaseNode:
    """Copy a node with these marks and no others, and with this text."""
    copied = untouched(node)
    copied.metadata = {key: value for key, value in node.metadata.items() if key not in KEYS} | dict(marks)
    copied.excluded_llm_metadata_keys = _excluded(node.excluded_llm_metadata_keys, marks)
    copied.excluded_embed_metadata_keys = _excluded(node.excluded_embed_metadata_keys, marks)
    if text != body(node):
        if isinstance(copied, Node) and copied.text_resource:  # its set_content forgets the MIME type
            copied.text_resource = copied.text_resource.model_copy(update={"text": text})
        else:
            copied.set_content(text)
    return copied


def _excluded(keys: list[str], marks: Mapping[str, Any]) -> list[str]:
    return [key for key in keys if key not in KEYS] + list(marks)


def _containers(node: BaseNode) -> dict[str, Any]:
    return {name: copy.copy(value) for name, value in vars(node).items() if isinstance(value, dict | list)}
