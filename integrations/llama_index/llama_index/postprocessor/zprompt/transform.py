"""Z-spans made once, at ingestion, so that query time pays nothing.

store="metadata"    text, embedding, reranking and keyword search as ever; ZPromptPostprocessor swaps the Z-span in
store="text"        the Z-span is the text: after the embedding, and where nothing else reads the text
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, TransformComponent

from llama_index.postprocessor.zprompt.component import ZPromptComponent, place
from llama_index.postprocessor.zprompt.marking import untouched, with_stored


class ZPromptTransform(ZPromptComponent, TransformComponent):
    """Compresses nodes in an `IngestionPipeline`, after the splitter; all nodes of a call in one call of the codec."""

    store: Literal["metadata", "text"] = Field(
        default="metadata", description="Where the Z-span goes: beside the text, or in its place."
    )

    @classmethod
    def class_name(cls) -> str:
        """Name the class in serialised components, and so in the keys of the ingestion cache.

        :return: Its name.
        """
        return "ZPromptTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ANN401 - the framework's
        """Compress nodes.

        :param nodes: The nodes, which stay as they are.
        :param kwargs: What the pipeline was run with; none of it matters here.
        :return: Copies, in the same order.
        """
        choices = self._choose(nodes, None)
        if self.store == "text":
            return [place(node, choice) for node, choice in zip(nodes, choices, strict=True)]
        return [
            untouched(node) if choice is None else with_stored(node, choice)
            for node, choice in zip(nodes, choices, strict=True)
        ]

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ANN401
        """Compress nodes in a thread: the base class would block the event loop.

        :param nodes: The nodes, which stay as they are.
        :param kwargs: What the pipeline was run with.
        :return: Copies, in the same order.
        """
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)
