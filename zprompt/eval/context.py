"""The evaluation context: the codec, methods and readers of a run, each loaded when first used.

Three readers reply to shortened texts, each in a column of the report:

    reader             the reader of Z-tokens: Z-spans as Z-tokens, and text like any model
    LTSC's reader      tuned on text with meta-tokens (arXiv 2506.00307), and on questions only: it answers from the
                       output of "ltsc-tuned" and, if that is measured, from the full text for comparison
    untuned backbone   gets the same prompts, but reads text only, such as that of the method "focus-text"

All use the default codec's backbone on the CPU, not quantized, so that all times and answers are those of one model.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from zprompt import baselines
from zprompt.baselines import Baseline, Output, Shortened
from zprompt.errors import OptionError, UnreadableError, ZPromptError
from zprompt.eval.datasets import Sample
from zprompt.eval.metrics import LTSC_READER, READER, UNTUNED
from zprompt.zspan import find_spans, read_header, split_at_spans, verbatim_runs

if TYPE_CHECKING:
    from zprompt.baselines.ltsc import LtscReader
    from zprompt.codec import Codec
    from zprompt.llm import LlamaShape
    from zprompt.reader import Message, Reader

FULL = "full text"
LTSC_TUNED = "ltsc-tuned"  # the method that writes what LTSC's reader was tuned on
TEXT_READERS = (READER, UNTUNED)  # of prompts as text; the first also reads the Z-spans in them
SHIPPED_READERS = {"z": "default", "ltsc": "ltsc"}  # readers, by what they were tuned on
_TIMED = 1  # prompts on which the time to the first token is measured
_FLOAT_BYTES = 4


class FullText:
    """The method that leaves every text unchanged: the ceiling, with a row in every table."""

    name = FULL
    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "text"

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Return the text."""
        tokens = len(self._codec.backbone.encode(text))
        return Shortened(text, tokens, tokens, self.name)

    def restore(self, text: str) -> str:
        """Return the text."""
        return text


@dataclass(frozen=True, slots=True)
class Prediction:
    """A method's output for a sample."""

    sample: Sample
    shortened: tuple[Shortened, ...]  # one for each text
    restored: tuple[str, ...] | None  # by the method itself; None if it is not lossless, or the task needs none
    output: Output = "text"  # what the shortened texts are written in

    @property
    def final_texts(self) -> tuple[str, ...]:
        """Return the restored texts, or the shortened ones where nothing was restored."""
        return self.restored if self.restored is not None else tuple(shortened.text for shortened in self.shortened)

    @property
    def source_tokens(self) -> int:
        """Count the tokens of the sample's texts."""
        return sum(shortened.source_tokens for shortened in self.shortened)

    @property
    def positions(self) -> int:
        """Count the positions that the shortened texts take."""
        return sum(shortened.tokens for shortened in self.shortened)

    def require_text(self) -> None:
        """Raise UnreadableError if the shortened texts are token ids."""
        if self.output == "ids":
            raise UnreadableError(
                f"{self.shortened[0].baseline} writes ids with meta-tokens, which only a model tuned on them can "
                f"read; LTSC's reader reads those of {LTSC_TUNED}. ltsc-text can be read by any model."
            )


@dataclass(frozen=True, slots=True)
class Replies:
    """One reader's replies to prompts, or why it could not read them."""

    reader: str
    texts: tuple[str, ...] = ()
    seconds: float = 0.0  # for all prompts, in batches
    first_token_seconds: float | None = None  # of one prompt, alone
    kv_megabytes: tuple[float, ...] = ()  # of each prompt's keys and values
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ChosenReaders:
    """The names or folders of a run's readers."""

    z: str = SHIPPED_READERS["z"]
    ltsc: str = SHIPPED_READERS["ltsc"]

    @classmethod
    def of(cls, names: Sequence[str]) -> ChosenReaders:
        """Replace shipped readers by readers that were tuned on the same input.

        :param names: Names or folders, as `Reader.from_pretrained` takes them.
        :return: All readers of a run.
        :raises CheckpointError: If a name is of no reader.
        :raises OptionError: If two were tuned on the same input, or one on input that no method writes.
        """
        chosen: dict[str, str] = {}
        for name in names:
            kind, _ = _find_reader(name)
            if kind not in SHIPPED_READERS:
                raise OptionError(
                    f"The reader {name!r} was tuned on {kind!r}. A run takes one reader each for "
                    f"{', '.join(SHIPPED_READERS)}."
                )
            if kind in chosen:
                raise OptionError(
                    f"The readers {chosen[kind]!r} and {name!r} were both tuned on {kind!r}. Pass only one."
                )
            chosen[kind] = name
        return cls(**chosen)


def readers_fingerprint(names: Sequence[str]) -> str:
    """Return a hash of readers' files; empty for no names, since shipped readers belong to the release."""
    if not names:
        return ""
    digest = hashlib.sha256()
    for _, folder in map(_find_reader, names):
        for file in sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def _find_reader(name: str) -> tuple[str, Path]:
    """Return what a reader was tuned on, and its folder; raise CheckpointError if there is no such reader."""
    from zprompt.baselines.ltsc import LtscReaderConfig, find_any_reader

    folder, config = find_any_reader(name)
    return "ltsc" if isinstance(config, LtscReaderConfig) else config.training.get("input", "z"), folder


class EvaluationContext:
    """The codec, the methods and the readers of a run."""

    def __init__(
        self,
        seed: int,
        codec: Codec | None = None,
        readers: dict[str, Reader] | None = None,
        make: Callable[[str], Baseline] | None = None,
        chosen: ChosenReaders | None = None,
        methods: Sequence[str] = (LTSC_TUNED,),
    ) -> None:
        """Set up a context, with nothing loaded yet.

        :param seed: Seed of every bootstrap.
        :param codec: The codec; None: the default one.
        :param readers: Text readers that are already loaded, by column.
        :param make: Creates a method by its name; None: from the registry.
        :param chosen: Which readers to load; None: the shipped ones.
        :param methods: The methods of the run; LTSC's reader reads the full text only if "ltsc-tuned" is one of them.
        """
        self.seed, self._chosen = seed, chosen or ChosenReaders()
        self._read_by_ltsc = (FULL, LTSC_TUNED) if LTSC_TUNED in methods else ()
        self._codec, self._readers, self._make = codec, dict(readers or {}), make or self._create
        self._methods: dict[str, Baseline] = {}
        self._warm: set[str] = set()
        self.cache: dict[Any, Any] = {}  # what tasks keep for the next cell, such as summaries of the full texts

    # Methods.

    @cached_property
    def codec(self) -> Codec:
        """Return the codec."""
        from zprompt.codec import shared_codec

        codec = copy(self._codec or shared_codec(device="cpu", quantization="none"))
        codec.cache = None  # else texts seen before would be timed as cache hits
        return codec

    def count(self, text: str) -> int:
        """Count the tokens of a text."""
        return len(self.codec.backbone.encode(text))

    def method(self, name: str) -> Baseline:
        """Return a method by its name, on this context's codec where it has one."""
        if name not in self._methods:
            self._methods[name] = FullText(self.codec) if name == FULL else self._make(name)
        return self._methods[name]

    def warm_up(self, method: Baseline, sample: Sample) -> None:
        """Shorten the beginning of a sample, once per method, so that it loads what it needs."""
        if method.name not in self._warm:
            method.shorten(sample.texts[0][:200], 20, sample.query)
            self._warm.add(method.name)

    def _create(self, name: str) -> Baseline:
        backbone = self.codec.backbone
        options = {"codec": self.codec, "backbone": backbone, "tokenizer": backbone.tokenizer, "seed": self.seed}
        taken = baselines.options_of(name)
        return baselines.create(name, **{option: value for option, value in options.items() if option in taken})

    # Words and bits of shortened texts.

    def words(self, prediction: Prediction) -> list[str]:
        """Return the shortened texts, with Z-spans replaced by the words of their anchors."""
        prediction.require_text()
        texts = [shortened.text for shortened in prediction.shortened]
        return [self._anchors(text) for text in texts] if prediction.output == "z" else texts

    def _anchors(self, text: str) -> str:
        """Replace the Z-spans of a text by their anchors; adjacent anchors are decoded together."""
        parts: list[str] = []
        for piece in split_at_spans(text):
            if isinstance(piece, str):
                parts.append(piece)
                continue
            for run in verbatim_runs(self.codec.parse(piece.text).tokens):
                parts.append(self.codec.backbone.decode([token.anchor for token in run]))
                parts.append(" " if run[-1].gap else "")
        return "".join(parts)

    def bits(self, shortened: Shortened) -> float:
        """Count the bits of a shortened text: those of its Z-spans, and log2(vocabulary size) for any other token."""
        headers = [read_header(match.text) for match in find_spans(shortened.text)]
        tokens = shortened.tokens - sum(header.count for header in headers)
        return sum(8 * header.stream_bytes for header in headers) + tokens * math.log2(self.codec.backbone.vocab_size)

    # Readers.

    def reader(self, column: str) -> Reader:
        """Return the reader of one of `TEXT_READERS`."""
        if column not in self._readers:
            self._readers[column] = self._load_reader() if column == READER else self._untuned_reader()
        return self._readers[column]

    def replies(
        self, predictions: Sequence[Prediction], prompts: Sequence[Sequence[Message]], max_new_tokens: int
    ) -> list[Replies]:
        """Let all `TEXT_READERS` reply to prompts.

        :param predictions: A method's prediction for each sample.
        :param prompts: The messages for each, with the shortened texts in them.
        :param max_new_tokens: Maximum length of a reply.
        :return: Each reader's replies, or the reason why it cannot read the method's output.
        """
        return [self._reply(column, predictions, prompts, max_new_tokens) for column in TEXT_READERS]

    def _reply(
        self, column: str, predictions: Sequence[Prediction], prompts: Sequence[Sequence[Message]], max_new_tokens: int
    ) -> Replies:
        try:
            for prediction in predictions:
                prediction.require_text()
                if column == UNTUNED and prediction.output == "z":
                    raise UnreadableError("The untuned backbone cannot read Z-tokens; use the method focus-text.")
            reader = self.reader(column)
            began = time.perf_counter()
            generations = reader.generate(list(prompts), max_new_tokens=max_new_tokens)
            seconds = time.perf_counter() - began
            began = time.perf_counter()
            reader.generate(list(prompts[:_TIMED]), max_new_tokens=1)
            return Replies(
                column,
                tuple(generation.text.strip() for generation in generations),
                seconds,
                time.perf_counter() - began,
                tuple(_kv_megabytes(reader.count(prompt).positions, reader.decoder.shape) for prompt in prompts),
            )
        except ZPromptError as error:
            return Replies(column, error=str(error))

    def answer_with_ltsc(self, predictions: Sequence[Prediction], max_new_tokens: int) -> Replies | None:
        """Let LTSC's reader answer the samples' questions.

        :param predictions: A method's prediction for each sample.
        :param max_new_tokens: Maximum length of an answer.
        :return: The answers, or why there are none; None if this reader is not measured on the method's output.
        """
        method = predictions[0].shortened[0].baseline
        if method not in self._read_by_ltsc:
            return None
        try:
            reader = self.ltsc_reader
            questions = [prediction.sample.query or "" for prediction in predictions]
            passages = [_ltsc_passages(prediction, method == LTSC_TUNED) for prediction in predictions]
            began = time.perf_counter()
            answers = reader.answer(questions, passages, max_new_tokens=max_new_tokens)
            seconds = time.perf_counter() - began
            positions = [reader.count(*prompt).positions for prompt in zip(questions, passages, strict=True)]
            return Replies(
                LTSC_READER,
                tuple(answer.text for answer in answers),
                seconds,
                kv_megabytes=tuple(_kv_megabytes(count, reader.decoder.shape) for count in positions),
            )
        except ZPromptError as error:
            return Replies(LTSC_READER, error=str(error))

    @cached_property
    def ltsc_reader(self) -> LtscReader:
        """Return the reader of LTSC's meta-tokens."""
        from zprompt.baselines.ltsc import LtscReader

        return LtscReader.from_pretrained(self._chosen.ltsc, backbone=self.codec.backbone)

    def _load_reader(self) -> Reader:
        from zprompt.reader import Reader

        return Reader.from_pretrained(self._chosen.z, codec=self.codec)

    def _untuned_reader(self) -> Reader:
        from zprompt.llm import llama_of
        from zprompt.reader import Reader, ZEmbedding

        backbone = self.codec.backbone
        z_embedding = ZEmbedding(backbone.hidden_size).to(backbone.device)  # never used: it reads no Z-tokens
        return Reader(self.codec, llama_of(backbone), z_embedding, "untuned")


def _ltsc_passages(prediction: Prediction, in_ids: bool) -> list[dict[str, Any]]:
    """Return titled passages, as text or as the ids that "ltsc-tuned" wrote."""
    from zprompt.baselines.ltsc import parse_ids

    pairs = zip(prediction.sample.all_titles, prediction.shortened, strict=True)
    return [
        {"title": title, "text": parse_ids(shortened.text) if in_ids else shortened.text} for title, shortened in pairs
    ]


def _kv_megabytes(positions: int, shape: LlamaShape) -> float:
    return 2 * shape.layers * shape.key_heads * shape.head_size * _FLOAT_BYTES * positions / 1e6
