"""A reader without a model: it repeats the last message of its prompt, as slowly as a test wants, or fails."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field

from tests.cli.byte_codec import FINGERPRINT, ByteCodec
from zprompt.errors import ContextBudgetError, RatioWarning
from zprompt.options import CompressOptions
from zprompt.progress import Progress
from zprompt.reader.generate import GenerateOptions
from zprompt.reader.prompt import Message, PromptSize
from zprompt.reader.results import Delta, Generation, Usage
from zprompt.results import CompressionResult
from zprompt.zspan.span import read_header, require_codec, split_at_spans

FAULT = "break now"  # a prompt at which the model fails
PATIENCE = 20.0  # seconds until a test that hangs fails instead


class FakeCodec(ByteCodec):
    """A codec that counts its steps and takes as many as a test wants."""

    fingerprint = FINGERPRINT
    steps = 1
    steps_done = 0

    def compress_with(self, options: CompressOptions, docs: object, *, progress: Progress) -> CompressionResult:
        for step in range(self.steps):
            progress("compress", step, self.steps)
            self.steps_done += 1
            time.sleep(0.01 if self.steps > 1 else 0)
        given = {name: value for name, value in asdict(options).items() if value is not None}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)  # the stats report a missed ratio
            return super().compress(docs, **given)

    def decompress(self, documents: object, *, progress: Progress, **options: object) -> object:
        progress("decompress", 0, 1)
        return super().decompress(documents, **options)


@dataclass(frozen=True)
class FakePrompt:
    """A prompt that has been read."""

    prompt: str | Sequence[Message]
    size: PromptSize

    @property
    def texts(self) -> list[str]:
        return texts_of(self.prompt)


@dataclass
class FakeReader:
    """Repeats the last text of a prompt, one word per token."""

    max_positions: int = 1000
    seconds: float = 0.0  # per token
    codec: FakeCodec = field(default_factory=FakeCodec)
    batches: list[int] = field(default_factory=list)  # texts in each batch
    options: list[GenerateOptions] = field(default_factory=list)  # of each text
    prompts: list[str | Sequence[Message]] = field(default_factory=list)
    reads: int = 0  # prompts that were read
    steps: int = 0  # tokens generated
    begun: threading.Event = field(default_factory=threading.Event)  # a batch has begun
    gate: threading.Event = field(default_factory=threading.Event)  # while it is closed, nothing is generated

    def __post_init__(self) -> None:
        self.gate.set()

    def prepare(
        self, prompt: str | Sequence[Message] | FakePrompt, options: GenerateOptions | None = None
    ) -> FakePrompt:
        if not isinstance(prompt, FakePrompt):
            self.reads += 1
            prompt = FakePrompt(prompt, size_of(texts_of(prompt)))
        if options and prompt.size.positions + options.max_new_tokens > self.max_positions:
            raise ContextBudgetError(
                f"{prompt.size.positions} positions and {options.max_new_tokens} new tokens: too many."
            )
        return prompt

    def run(
        self,
        prompts: Sequence[FakePrompt],
        options: Sequence[GenerateOptions],
        batch_size: int,
        wanted: Callable[[int], bool],
    ) -> Generator[Delta]:
        sizes = [prompt.size for prompt in prompts]
        self.batches.append(len(prompts))
        self.options += options
        self.prompts += [prompt.prompt for prompt in prompts]
        self.begun.set()
        assert self.gate.wait(PATIENCE)
        words = [prompt.texts[-1].split() for prompt in prompts]
        if any(FAULT in " ".join(text_words) for text_words in words):
            raise RuntimeError("The secret of the machine is 42.")
        running = list(range(len(prompts)))
        step = 0
        while running:
            step += 1
            for index in list(running):
                if not wanted(index):
                    running.remove(index)
                    continue
                time.sleep(self.seconds)
                self.steps += 1
                text_words, limit = words[index], options[index].max_new_tokens
                text = text_words[step - 1] if step == 1 else f" {text_words[step - 1]}"
                generation = None
                if step == min(len(text_words), limit):
                    usage = Usage(sizes[index].positions, sizes[index].z_tokens, sizes[index].source_tokens, step)
                    generation = Generation(" ".join(text_words[:step]), "stop" if step < limit else "length", usage)
                    running.remove(index)
                yield Delta(index, text, generation)


def texts_of(prompt: str | Sequence[Message]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [message["content"] for message in prompt]


def size_of(texts: Sequence[str]) -> PromptSize:
    words = z_tokens = source_tokens = 0
    for piece in (piece for text in texts for piece in split_at_spans(text)):
        if isinstance(piece, str):
            words += len(piece.split())
        else:
            header = read_header(piece.text)
            require_codec(header, FINGERPRINT)
            z_tokens, source_tokens = z_tokens + header.count, source_tokens + header.source_tokens
    return PromptSize(words + z_tokens, z_tokens, source_tokens)
