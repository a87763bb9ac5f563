"""What compressing says to LlamaIndex's instrumentation: figures, and never a text.

A trace is read by other people than the documents are: neither event carries a node. Each pair belongs to the span of
the call it is about, so a handler finds the figures beside the retrieval and the synthesis of the same query.
"""

from llama_index.core.instrumentation.events.base import BaseEvent


class ZCompressStartEvent(BaseEvent):
    """A component begins to replace texts of nodes by Z-spans."""

    component: str  # the class that does it
    nodes: int  # that it was given
    query: str | None  # what the codec is told will be asked

    @classmethod
    def class_name(cls) -> str:
        """Name the event.

        :return: Its name.
        """
        return "ZCompressStartEvent"


class ZCompressEndEvent(BaseEvent):
    """A component has replaced texts of nodes by Z-spans."""

    component: str
    nodes: int  # that it gives back, as many as it was given
    compressed: int  # nodes that the codec compressed
    ready: int  # nodes that had a Z-span before
    passed_through: int  # nodes whose text could not be compressed, or need not be
    source_tokens: int  # of all nodes, in tokens of the codec's backbone
    z_tokens: int  # positions that they take now; a source token of a text that passed through takes one
    seconds: float
    codec: str | None  # fingerprint of the codec; None if none was needed

    @property
    def tokens_saved(self) -> int:
        """Say how many positions of the context were saved.

        :return: Source tokens less positions.
        """
        return self.source_tokens - self.z_tokens

    @property
    def ratio(self) -> float:
        """Say how many source tokens there were for each position; 1 for no nodes.

        :return: The ratio.
        """
        return self.source_tokens / self.z_tokens if self.z_tokens else 1.0

    @classmethod
    def class_name(cls) -> str:
        """Name the event.

        :return: Its name.
        """
        return "ZCompressEndEvent"
