"""Compression events for LlamaIndex's instrumentation: figures, never a text.

Whoever reads traces may not be allowed to read the documents, so neither event carries a node. Both events of a call
belong to its span, so a handler finds the figures beside the retrieval and the synthesis of the same query.
"""

from llama_index.core.instrumentation.events.base import BaseEvent


class ZCompressStartEvent(BaseEvent):
    """A component begins to compress nodes."""

    component: str  # the class of the component
    nodes: int  # that were passed to it
    query: str | None  # that the codec sees

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the event."""
        return "ZCompressStartEvent"


class ZCompressEndEvent(BaseEvent):
    """A component has compressed nodes."""

    component: str
    nodes: int  # that it returns, as many as were passed to it
    compressed: int  # nodes that the codec compressed
    ready: int  # nodes that had a Z-span already
    passed_through: int  # nodes whose text could not be compressed, or need not be
    source_tokens: int  # of all nodes, in tokens of the codec's backbone, or as text is counted (`count`)
    z_tokens: int  # positions that they take now, one for a Z-token or a token of text
    seconds: float
    codec: str | None  # fingerprint of the codec; None if none was needed

    @property
    def tokens_saved(self) -> int:
        """Return the positions of the context that were saved."""
        return self.source_tokens - self.z_tokens

    @property
    def ratio(self) -> float:
        """Return source tokens per position; 1 for no nodes."""
        return self.source_tokens / self.z_tokens if self.z_tokens else 1.0

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the event."""
        return "ZCompressEndEvent"
