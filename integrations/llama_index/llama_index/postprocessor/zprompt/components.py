"""The postprocessor and the transform, and what they share: options, codec, compressing and restoring.

A component holds the codec's name, not the codec: the codec is loaded when the first text is to be compressed, once per
process for all components, and a component that is pickled into a worker loads it there. `fingerprint` is a declared
field, and known whenever the component is serialised, since LlamaIndex's ingestion cache looks at declared fields only:
when another codec has the same name, the cache returns nothing stale.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from llama_index.core import Settings
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.bridge.pydantic import ConfigDict, Field, PrivateAttr, model_validator
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseComponent, BaseNode, NodeWithScore, QueryBundle, TransformComponent

from llama_index.postprocessor.zprompt.events import ZCompressEndEvent, ZCompressStartEvent
from llama_index.postprocessor.zprompt.nodes import (
    SPAN_KEY,
    body,
    is_compressed,
    is_escaped,
    untouched,
    whole_text,
    with_shorter,
    with_stored,
    with_text,
    without_marks,
)
from llama_index.postprocessor.zprompt.splitting import keep_spans_whole
from zprompt.counting import counter
from zprompt.documents import title_of
from zprompt.errors import OptionError, WrongCodecError
from zprompt.options import CompressOptions, OnError
from zprompt.probe import AdapterForm, reads_z_tokens
from zprompt.rag import (
    BATCH,
    CODEC_KEY,
    NO_QUESTION,
    CodecSpec,
    RagText,
    compress_texts,
    is_whole,
    reuse_spans,
    shorten_texts,
)

if TYPE_CHECKING:
    from zprompt import Codec

_dispatcher = get_dispatcher(__name__)


class ZPromptComponent(BaseComponent):
    """Options and codec of a component that compresses nodes."""

    model_config = ConfigDict(extra="forbid")  # a mistyped option must not be lost

    codec: str = Field(default="default", description="A causal LM, a shipped codec, or a codec's folder.")
    backbone: str | None = Field(default=None, description="The LLM, if it is not where the codec's folder says.")
    device: str = Field(default="auto", description="'auto', 'cpu' or 'cuda'.")
    quantization: str = Field(default="auto", description="'auto', 'none', 'nf4' or 'int8'; each is another codec.")
    fingerprint: str | None = Field(
        default=None, description="The codec's fingerprint; another codec is refused. None: whatever is loaded."
    )
    ratio: float | None = Field(
        default=None, description="Compression ratio over all nodes of a call: tokens before per token after."
    )
    max_tokens: int | None = Field(default=None, description="Tokens that all nodes of a call may take together.")
    protect: str | list[str] | None = Field(
        default=None, description="A regular expression, or literal strings, which stay word for word."
    )
    min_tokens: int | None = Field(default=None, description="Nodes with fewer tokens pass through.")
    on_error: OnError = Field(default="raise", description="What happens to texts that cannot be compressed.")
    batch_size: int = Field(default=BATCH, ge=1, description="Windows per batch of the LLM.")

    _loaded: Any = PrivateAttr(default=None)  # the Codec of from_codec; naming its type would load torch
    _declared: bool = PrivateAttr(default=False)  # the fingerprint is an option, not read from the codec

    @classmethod
    def from_codec(cls, codec: Codec, **options: Any) -> Self:  # noqa: ANN401 - the other fields
        """Make a component around a codec that is loaded already.

        :param codec: The codec. A component around one cannot be pickled.
        :param options: The other fields.
        :return: The component.
        """
        component = cls(codec=codec.name, fingerprint=codec.fingerprint, **options)
        component._loaded = codec
        return component

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Refuse options that no call could meet, now and not at the first query."""
        self._options(None)
        self._declared = self.fingerprint is not None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, and not the codec; raise OptionError if the component was made around a codec."""
        if self._loaded is not None:
            raise OptionError(
                f"A {self.class_name()} made with from_codec cannot be pickled, since the codec itself would have to "
                f"be pickled too. Name the codec, so that each process loads it: {self.class_name()}(codec=FOLDER)."
            )
        return super().__getstate__()

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's
        """Return the fields as a dict, which is part of the key of LlamaIndex's ingestion cache.

        If the fingerprint is not known yet, this loads the codec.

        :param kwargs: Passed to pydantic's `model_dump`.
        :return: The dict.
        """
        self._known_fingerprint()
        return super().to_dict(**kwargs)

    def load(self) -> Codec:
        """Return the codec, loaded once per process.

        :return: The codec.
        :raises WrongCodecError: If it has another fingerprint than the component names.
        """
        spec = CodecSpec(self.codec, self.backbone, self.device, self.quantization)
        codec = cast("Codec", self._loaded) if self._loaded is not None else spec.load()
        if self.fingerprint is None:
            self.fingerprint = codec.fingerprint
        if self.fingerprint != codec.fingerprint:
            raise WrongCodecError(
                f"The {self.class_name()} names the codec {self.fingerprint}, but {self.codec!r} is "
                f"{codec.fingerprint}. Its Z-spans would not be those that are stored: load the codec that wrote them "
                "(the same LLM, settings and quantization), or leave out fingerprint= and compress again."
            )
        return codec

    def restore(self, nodes: Sequence[NodeWithScore]) -> list[NodeWithScore]:
        """Restore the texts of retrieved nodes, for people to read: the sources of an answer, say.

        :param nodes: Nodes as the postprocessor returned them; others among them stay as they are.
        :return: Copies that are as the nodes were before.
        """
        restored = self.restore_nodes([item.node for item in nodes])
        return [item.model_copy(update={"node": node}) for item, node in zip(nodes, restored, strict=True)]

    def restore_nodes(self, nodes: Sequence[BaseNode]) -> list[BaseNode]:
        """Restore the texts of nodes.

        :param nodes: Nodes as the transform returned them; others among them stay as they are.
        :return: Copies that are as the nodes were before.
        """
        return [without_marks(node, text) for node, text in zip(nodes, self._whole_texts(nodes), strict=True)]

    def _whole_texts(self, nodes: Sequence[BaseNode]) -> list[str]:
        """Return the texts of nodes as they were before any component saw them."""
        for node in nodes:
            if CODEC_KEY in node.metadata:
                is_whole(body(node), self.on_error)
        changed = [is_compressed(node) or is_escaped(node) for node in nodes]
        texts = [body(node) for node, is_changed in zip(nodes, changed, strict=True) if is_changed]
        restored = iter(self.load().decompress(texts)) if texts else iter(())
        return [
            next(restored) if is_changed else whole_text(node) for node, is_changed in zip(nodes, changed, strict=True)
        ]

    def _compress(self, nodes: Sequence[BaseNode], query: str | None) -> list[RagText | None]:
        """Return the replacement of each node's text, None where it stays; send events."""
        _dispatcher.event(ZCompressStartEvent(component=self.class_name(), nodes=len(nodes), query=query))
        start = time.perf_counter()
        indices = [index for index, node in enumerate(nodes) if body(node) and not is_escaped(node)]
        items = dict(zip(indices, self._compress_texts([nodes[i] for i in indices], query), strict=True))
        seconds = time.perf_counter() - start
        _dispatcher.event(self._end_event(len(nodes), list(items.values()), seconds))
        return [items.get(index) for index in range(len(nodes))]

    def _compress_texts(self, nodes: Sequence[BaseNode], query: str | None) -> list[RagText]:
        """Compress nodes in one call of the codec; it is not loaded if all of them have Z-spans that it wrote."""
        if not nodes:
            return []
        texts = [body(node) for node in nodes]
        marked, stored = [CODEC_KEY in n.metadata for n in nodes], [n.metadata.get(SPAN_KEY) for n in nodes]
        if self._declared and self._loaded is None and self.fingerprint:
            reused = reuse_spans(self.fingerprint, texts, marked=marked, stored=stored)
            if reused is not None:
                return reused
        options = self._options(query)
        return compress_texts(self.load(), texts, options, marked=marked, stored=stored, batch_size=self.batch_size)

    def _replace(self, node: BaseNode, item: RagText | None) -> BaseNode:
        """Copy a node with its text replaced; splitters keep it whole if it is a Z-span."""
        if item is None:
            return untouched(node)
        if item.compressed:
            keep_spans_whole()
        return with_text(node, item, self._known_fingerprint())

    def _options(self, query: str | None) -> CompressOptions:
        return CompressOptions(self.ratio, self.max_tokens, query, self.protect, self.min_tokens, self.on_error)

    def _end_event(self, nodes: int, items: Sequence[RagText], seconds: float) -> ZCompressEndEvent:
        compressed = sum(item.new for item in items)
        ready = sum(item.compressed and not item.new for item in items)
        passed = sum(self._count_tokens(item.text) for item in items if not item.compressed)
        return ZCompressEndEvent(
            component=self.class_name(),
            nodes=nodes,
            compressed=compressed,
            ready=ready,
            passed_through=nodes - compressed - ready,
            source_tokens=sum(item.source_tokens for item in items) + passed,
            z_tokens=sum(item.z_tokens for item in items) + passed,
            seconds=seconds,
            codec=self.fingerprint,
        )

    def _count_tokens(self, text: str) -> int:
        return len(self.load().backbone.encode(text.encode("utf-8", "replace").decode()))

    def _known_fingerprint(self) -> str:
        """Return the fingerprint, loading the codec if it is not known yet."""
        return self.fingerprint or self.load().fingerprint


class ZPromptPostprocessor(ZPromptComponent, BaseNodePostprocessor):
    """Shortens the text of retrieved nodes; ids, scores, order, metadata and relationships stay.

    For an LLM that is not known to read Z-tokens, the text loses what the query does not need. For one that reads them,
    texts become Z-spans: those that `ZPromptTransform` stored in the metadata, and for the others, new ones from one
    call of the codec. Put it last: rerankers and other postprocessors need whole texts. The synthesizer sends
    `node.get_content(MetadataMode.LLM)`: metadata as text, and what is written here as the body.
    """

    form: AdapterForm = Field(
        default="auto", description="'text', 'z', or 'auto': Z-spans if the reader says that it reads them, else text."
    )
    reader: str | BaseLLM | None = Field(  # not in the repr, where LLMs show their keys
        default=None,
        repr=False,
        description="What gets the nodes: a server's base URL, or an LLM; None: that of Settings, if set.",
    )
    count: str = Field(default="reader", description="How to count the tokens of text, as in zprompt.compress.")
    use_query: bool = Field(
        default=True,
        description="Keep what the query needs word for word in Z-spans, too; they depend on it then.",
    )

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        counter(self.count)
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in serialised components."""
        return "ZPromptPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Shorten the nodes; the base class runs this in a thread for `apostprocess_nodes`."""
        query, unscored = query_bundle.query_str if query_bundle else None, [scored.node for scored in nodes]
        if self.form_for() == "text":
            shorter = self._shorten(unscored, query)
        else:
            items = self._compress(unscored, query if self.use_query else None)
            shorter = [self._replace(node, item) for node, item in zip(unscored, items, strict=True)]
        return [scored.model_copy(update={"node": node}) for scored, node in zip(nodes, shorter, strict=True)]

    def form_for(self) -> Literal["text", "z"]:
        """Return the form that is written; "auto" asks the server, once."""
        if self.form != "auto":
            return self.form
        server = self.reader or getattr(Settings, "_llm", None)  # Settings.llm would create an OpenAI LLM
        return "z" if server is not None and reads_z_tokens(server, self._known_fingerprint) else "text"

    def _shorten(self, nodes: Sequence[BaseNode], query: str | None) -> list[BaseNode]:
        """Leave out what a query does not need, and send events."""
        if query is None and nodes:
            raise OptionError(NO_QUESTION)
        _dispatcher.event(ZCompressStartEvent(component=self.class_name(), nodes=len(nodes), query=query))
        start, count = time.perf_counter(), counter(self.count)
        whole = self._whole_texts(nodes)
        titles = [title_of(node) for node in nodes]
        shortened = shorten_texts(whole, self._options(query), titles=titles, count=self.count)
        changed = sum(text != short for text, short in zip(whole, shortened, strict=True))
        _dispatcher.event(
            ZCompressEndEvent(
                component=self.class_name(),
                nodes=len(nodes),
                compressed=changed,
                ready=0,
                passed_through=len(nodes) - changed,
                source_tokens=sum(map(count, whole)),
                z_tokens=sum(map(count, shortened)),
                seconds=time.perf_counter() - start,
                codec=None,
            )
        )
        return [with_shorter(node, short, text) for node, short, text in zip(nodes, shortened, whole, strict=True)]


class ZPromptTransform(ZPromptComponent, TransformComponent):
    """Compresses nodes in an `IngestionPipeline`, after the splitter, so that query time costs nothing.

    store="metadata"    text, embedding, reranking and keyword search stay; ZPromptPostprocessor swaps the Z-span in
    store="text"        the Z-span is the text: after the embedding, and where nothing else reads the text
    """

    store: Literal["metadata", "text"] = Field(
        default="metadata", description="Where the Z-span goes: beside the text, or in its place."
    )

    @model_validator(mode="after")
    def _prepare_splitters(self) -> Self:
        """Prepare the splitters now: a pipeline that has this step in its cache does not call it."""
        if self.store == "text":
            keep_spans_whole()
        return self

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the class in serialised components, and so in the keys of the ingestion cache."""
        return "ZPromptTransform"

    def __call__(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ANN401 - the framework's
        """Compress nodes, in one call of the codec.

        :param nodes: The nodes, which stay as they are.
        :param kwargs: What the pipeline was run with; none of it matters here.
        :return: Copies, in the same order.
        """
        items = self._compress(nodes, None)
        if self.store == "text":
            return [self._replace(node, item) for node, item in zip(nodes, items, strict=True)]
        return [
            untouched(node) if item is None else with_stored(node, item)
            for node, item in zip(nodes, items, strict=True)
        ]

    async def acall(self, nodes: Sequence[BaseNode], **kwargs: Any) -> Sequence[BaseNode]:  # noqa: ANN401
        """Compress nodes in a thread: the base class would block the event loop.

        :param nodes: The nodes, which stay as they are.
        :param kwargs: What the pipeline was run with.
        :return: Copies, in the same order.
        """
        return await asyncio.to_thread(self.__call__, nodes, **kwargs)
