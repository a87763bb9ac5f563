"""Nodes with every field that compression has to keep."""

from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode


def text_node(number: int, text: str) -> TextNode:
    """Make a node with every field that compression has to keep."""
    return TextNode(
        text=text,
        id_=f"node-{number}",
        metadata={"file": f"{number}.txt", "secret": f"s{number}"},
        excluded_llm_metadata_keys=["secret"],
        excluded_embed_metadata_keys=["file"],
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{number}")},
        embedding=[0.25, float(number)],
        start_char_idx=number,
        end_char_idx=number + len(text),
    )
