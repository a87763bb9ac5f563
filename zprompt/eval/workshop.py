"""What cells are measured with: the codec, the readers and the methods, each made when it is asked for first.

All are of the default codec's backbone, on the CPU and not quantized, so that times and answers are those of one model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zprompt import baselines as methods
from zprompt.baselines.protocol import Baseline, Shortened
from zprompt.codec import Codec
from zprompt.eval.full_text import FULL, FullText
from zprompt.eval.readers import READER, ChosenReaders
from zprompt.eval.reading import has_z_tokens, require_words
from zprompt.eval.tokens import ApiTokens
from zprompt.reader import Reader
from zprompt.zspan import find_spans, read_header

if TYPE_CHECKING:
    from zprompt.eval.samples import Sample
    from zprompt.train.reader.reading import Reading


class Workshop:
    """Holds what has been loaded."""

    def __init__(
        self,
        seed: int,
        codec: Codec | None = None,
        readers: dict[str, Reader] | None = None,
        make: Callable[[str], Baseline] | None = None,
        chosen: ChosenReaders | None = None,
    ) -> None:
        """Load nothing yet.

        :param seed: Of every bootstrap.
        :param codec: The codec; None: the default one.
        :param readers: Readers of text that are loaded already, by their column.
        :param make: Makes a method; None: as the registry does.
        :param chosen: Which readers to load; None: the shipped ones.
        """
        self.seed, self._chosen = seed, chosen or ChosenReaders()
        self._codec, self._readers, self._make = codec, dict(readers or {}), make or self._create
        self._methods: dict[str, Baseline] = {}
        self._warm: set[str] = set()
        self.memory: dict[Any, Any] = {}  # what tasks keep for the next cell, such as summaries of the full texts
        self.api_tokens = ApiTokens()

    @cached_property
    def codec(self) -> Codec:
        """Give the codec.

        :return: The codec.
        """
        from zprompt.codec import shared_codec

        return self._codec or shared_codec(device="cpu", quantization="none")

    def count(self, text: str) -> int:
        """Count the tokens of a text.

        :param text: The text.
        :return: Tokens of the backbone.
        """
        return len(self.codec.backbone.encode(text))

    def method(self, name: str) -> Baseline:
        """Give a method.

        :param name: `FULL`, or one of `zprompt.baselines.names()`.
        :return: The method, on this workshop's codec where it has one.
        """
        if name not in self._methods:
            self._methods[name] = FullText(self.codec) if name == FULL else self._make(name)
        return self._methods[name]

    def warm_up(self, method: Baseline, sample: Sample) -> None:
        """Let a method load what it needs, and compute something small; once.

        :param method: The method.
        :param sample: Something that it can shorten.
        """
        if method.name not in self._warm:
            method.shorten(sample.texts[0][:200], 20, sample.query)
            self._warm.add(method.name)

    def reader(self, name: str) -> Reader:
        """Give a reader.

        :param name: One of `reading.TEXT_READERS`.
        :return: The reader.
        """
        if name not in self._readers:
            self._readers[name] = self._tuned() if name == READER else self._untuned()
        return self._readers[name]

    @cached_property
    def ltsc_reading(self) -> Reading:
        """Give the model that reads LTSC's meta-tokens.

        :return: The model.
        :raises CheckpointError: If there is none, or it is of another codec.
        """
        from zprompt.reader import find_reader, require_codec_of
        from zprompt.train.reader.reading import load_reading

        folder = find_reader(self._chosen.ltsc)
        require_codec_of(folder, self.codec)
        return load_reading(folder, self.codec.backbone)

    def words(self, shortened: Shortened) -> str:
        """Write a shortened text in words.

        :param shortened: The text.
        :return: The text, with Z-spans as the words of their anchors.
        """
        require_words(shortened)
        return self.codec.shorthand(shortened.text) if has_z_tokens(shortened.text) else shortened.text

    def bits(self, shortened: Shortened) -> float:
        """Count what a shortened text says at most.

        :param shortened: The text.
        :return: Bits: of Z-tokens with their residual, and log2 of the vocabulary for each token.
        """
        headers = [read_header(match.text) for match in find_spans(shortened.text)]
        tokens = shortened.tokens - sum(header.count for header in headers)
        return sum(8 * header.body_bytes for header in headers) + tokens * math.log2(self.codec.backbone.vocab_size)

    def _create(self, name: str) -> Baseline:
        """Make a method on this codec, and from this seed."""
        backbone = self.codec.backbone
        ours = {"codec": self.codec, "backbone": backbone, "tokenizer": backbone.tokenizer, "seed": self.seed}
        return methods.create(name, **{option: ours[option] for option in methods.options_of(name) if option in ours})

    def _tuned(self) -> Reader:
        from zprompt.reader import load_reader

        return load_reader(self._chosen.z, codec=self.codec)

    def _untuned(self) -> Reader:
        from zprompt.llm import llama_of
        from zprompt.reader import ZEmbedding

        backbone = self.codec.backbone
        silent = ZEmbedding(self.codec.settings, backbone.hidden_size).to(backbone.device)
        return Reader(self.codec, llama_of(backbone), silent, "untuned")
