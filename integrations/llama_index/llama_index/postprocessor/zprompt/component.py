"""What postprocessor and transform share: the options, the codec behind them, the one call, and the way back.

A component holds the codec's name, not the codec: it is loaded when the first text is to be compressed, once per
process for all components, and a component that is pickled into a worker loads it there. `fingerprint` is a declared
field, and known whenever the component is serialised, since LlamaIndex's ingestion cache looks at declared fields
alone: with another codec behind the same name, nothing stale comes out of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, model_validator
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.schema import BaseComponent, BaseNode, NodeWithScore

from llama_index.postprocessor.zprompt.events import ZCompressEndEvent, ZCompressStartEvent
from llama_index.postprocessor.zprompt.marking import (
    KEYS,
    body,
    compressed_header,
    is_done,
    stored_choice,
    untouched,
    with_choice,
    with_node,
    without_marks,
)
from llama_index.postprocessor.zprompt.selection import Choice, Selection, select
from zprompt.errors import OptionError, WrongCodecError
from zprompt.options import CompressOptions
from zprompt.rag import CodecSource

if TYPE_CHECKING:
    from zprompt import Codec

_dispatcher = get_dispatcher(__name__)


class ZPromptComponent(BaseComponent):
    """Options and codec of a component that compresses nodes."""

    model_config = ConfigDict(extra="forbid")  # a mistyped option must not be lost

    codec: str = Field(default="default", description="A shipped codec, or the folder of another one.")
    backbone: str | None = Field(default=None, description="The backbone, if it lies elsewhere than the codec says.")
    device: str = Field(default="auto", description="'auto', 'cpu' or 'cuda'.")
    quantization: str = Field(default="auto", description="'auto', 'none', 'nf4' or 'int8'; each is another codec.")
    fingerprint: str | None = Field(
        default=None, description="The codec's fingerprint; another codec is refused. None: whatever is loaded."
    )
    ratio: float | None = Field(default=None, description="Source tokens per Z-token, over all nodes of a call.")
    max_tokens: int | None = Field(default=None, description="Z-tokens that all nodes of a call may take together.")
    protect: str | list[str] | None = Field(
        default=None, description="A regular expression, or literal strings, whose tokens are all kept as anchors."
    )
    min_tokens: int | None = Field(default=None, description="Nodes with fewer tokens pass through.")
    on_error: Literal["raise", "passthrough"] = Field(
        default="raise", description="What happens to texts that cannot be compressed."
    )
    batch_size: int = Field(default=8, ge=1, description="Windows that the LLM reads at a time.")

    _given: Any = PrivateAttr(default=None)  # a Codec; naming its type would load torch

    @classmethod
    def from_codec(cls, codec: Codec, **options: Any) -> Self:  # noqa: ANN401 - the other fields
        """Make a component around a codec that is loaded already.

        :param codec: The codec. A component around one cannot be pickled.
        :param options: The other fields.
        :return: The component.
        """
        component = cls(codec=codec.name, fingerprint=codec.fingerprint, **options)
        component._given = codec
        return component

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Refuse options that no call could meet, now and not at the first query."""
        CompressOptions(self.ratio, self.max_tokens, None, self.protect, self.min_tokens, self.on_error)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Give what is pickled: the fields, and not the codec.

        :return: The state.
        :raises OptionError: If the component was made around a codec.
        """
        if self._given is not None:
            raise OptionError(
                f"A {self.class_name()} made with from_codec cannot be pickled, since the codec itself would have to "
                f"go along. Name it instead, so that each process loads it: {self.class_name()}(codec=FOLDER)."
            )
        return super().__getstate__()

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's
        """Turn the fields into a dict, which LlamaIndex's ingestion cache takes as part of its key.

        Without a given fingerprint this loads the codec to know it.

        :param kwargs: Of pydantic's `model_dump`.
        :return: The dict.
        """
        self._known_fingerprint()
        return super().to_dict(**kwargs)

    def load(self) -> Codec:
        """Load the codec, if no component of this process has.

        :return: The codec.
        :raises WrongCodecError: If it has another fingerprint than the component names.
        """
        codec = cast("Codec", self._given) if self._given is not None else self._load()
        if self.fingerprint is None:
            self.fingerprint = codec.fingerprint
        if self.fingerprint != codec.fingerprint:
            raise WrongCodecError(
                f"The {self.class_name()} names the codec {self.fingerprint}, but {self.codec!r} is "
                f"{codec.fingerprint}. Its Z-spans would not be those that are stored: load the codec that wrote them "
                "(the same heads, backbone and quantization), or leave out fingerprint= and compress again."
            )
        return codec

    def restore(self, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        """Give retrieved nodes their texts back, for people to read: the sources of an answer, say.

        :param nodes: Nodes as the postprocessor gave them; others among them stay as they are.
        :return: Copies that are as the nodes were before.
        """
        return [
            with_node(item, node) for item, node in zip(nodes, self.restore_nodes([n.node for n in nodes]), strict=True)
        ]

    def restore_nodes(self, nodes: Sequence[BaseNode]) -> list[BaseNode]:
        """Give nodes their texts back.

        :param nodes: Nodes as the transform gave them; others among them stay as they are.
        :return: Copies that are as the nodes were before.
        """
        done = [is_done(node) for node in nodes]
        texts = [body(node) for node, marked in zip(nodes, done, strict=True) if marked]
        restored = iter(self.load().decompress(texts)) if texts else iter(())
        return [
            without_marks(node, next(restored) if marked else body(node))
            if marked or _has_marks(node)
            else untouched(node)
            for node, marked in zip(nodes, done, strict=True)
        ]

    def _choose(self, nodes: Sequence[BaseNode], query: str | None) -> list[Choice | None]:
        """Choose what takes the place of each node's text, None where it is in place; and tell the instrumentation."""
        _dispatcher.event(ZCompressStartEvent(component=self.class_name(), nodes=len(nodes), query=query))
        began = time.perf_counter()
        choices = [self._ready(node) for node in nodes]
        wanted = [i for i, node in enumerate(nodes) if choices[i] is None and not is_done(node) and body(node)]
        selection = self._select([body(nodes[i]) for i in wanted], query)
        for i, choice in zip(wanted, selection.choices, strict=True):
            choices[i] = choice
        self._tell(nodes, choices, selection, time.perf_counter() - began)
        return choices

    def _ready(self, node: BaseNode) -> Choice | None:
        """Take the Z-span that a node brings along; the codec is only asked who it is if there is one."""
        has_one = any(key in node.metadata for key in KEYS) and not is_done(node)
        return stored_choice(node, self._known_fingerprint()) if has_one else None

    def _select(self, texts: Sequence[str], query: str | None) -> Selection:
        """Compress texts, all in one call; none need no codec."""
        if not texts:
            return Selection((), 0, 0)
        return select(
            self.load(),
            texts,
            ratio=self.ratio,
            max_tokens=self.max_tokens,
            query=query,
            protect=self.protect,
            min_tokens=self.min_tokens,
            on_error=self.on_error,
            batch_size=self.batch_size,
        )

    def _tell(
        self, nodes: Sequence[BaseNode], choices: Sequence[Choice | None], selection: Selection, seconds: float
    ) -> None:
        """Tell the instrumentation what was done; Z-spans that were there before count with their own figures."""
        fresh = {id(choice) for choice in selection.choices}
        there = [
            header
            for node, choice in zip(nodes, choices, strict=True)
            if id(choice) not in fresh and (header := choice.header if choice else compressed_header(node))
        ]
        _dispatcher.event(
            ZCompressEndEvent(
                component=self.class_name(),
                nodes=len(nodes),
                compressed=selection.compressed,
                ready=len(there),
                passed_through=len(nodes) - selection.compressed - len(there),
                source_tokens=selection.source_tokens + sum(header.source_tokens for header in there),
                z_tokens=selection.z_tokens + sum(header.count for header in there),
                seconds=seconds,
                codec=self.fingerprint,
            )
        )

    def _known_fingerprint(self) -> str:
        """Give the fingerprint, which is the codec's once it is loaded."""
        return self.fingerprint or self.load().fingerprint

    def _load(self) -> Codec:
        """Load the codec by its name, once per process."""
        return CodecSource(self.codec, self.backbone, self.device, self.quantization).load()


def place(node: BaseNode, choice: Choice | None) -> BaseNode:
    """Copy a node with what was chosen for it.

    :param node: The node.
    :param choice: What takes the place of its text; None: it stays.
    :return: The copy.
    """
    return untouched(node) if choice is None else with_choice(node, choice)


def _has_marks(node: BaseNode) -> bool:
    return any(key in node.metadata for key in KEYS)
