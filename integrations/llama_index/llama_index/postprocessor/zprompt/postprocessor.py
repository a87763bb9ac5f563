"""Z-spans in place of retrieved passages, between the retriever and the synthesizer.

The synthesizer sends `node.get_content(MetadataMode.LLM)`: metadata stays text, and its body is the Z-span.
"""

from llama_index.core.bridge.pydantic import Field
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index.postprocessor.zprompt.component import ZPromptComponent, place
from llama_index.postprocessor.zprompt.marking import with_node


class ZPromptPostprocessor(ZPromptComponent, BaseNodePostprocessor):
    """Replaces the text of retrieved nodes by Z-spans; ids, scores, order, metadata and relationships stay.

    A Z-span that `ZPromptTransform` left in a node's metadata takes the text's place as it is. All other texts go
    through the codec in one call. Put it last: rerankers and other postprocessors want to read.
    """

    use_query: bool = Field(
        default=True, description="Keep the words that the query mentions as anchors; the Z-spans depend on it then."
    )

    @classmethod
    def class_name(cls) -> str:
        """Name the class in serialised components.

        :return: Its name.
        """
        return "ZPromptPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Compress the nodes; the base class runs this in a thread for `apostprocess_nodes`."""
        query = query_bundle.query_str if query_bundle and self.use_query else None
        choices = self._choose([item.node for item in nodes], query)
        return [with_node(item, place(item.node, choice)) for item, choice in zip(nodes, choices, strict=True)]
