"""Questions and conversations in, text out: the object behind `zprompt.load_reader`.

A prompt becomes pieces (prompt.py), is measured against the context, and becomes input embeddings:

    token id                 E[id]
    Z-token (a, g, code)     E[a] + what gap and code say (embedding.py)

with which the engine writes. Everything that can be wrong with a prompt is found before the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, Unpack, overload

import torch
from torch import Tensor

from zprompt.codec import Codec
from zprompt.errors import ContextBudgetError, OptionError
from zprompt.llm import LlamaDecoder
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.generate import Advance, Engine, GenerateOptions, Options, Request
from zprompt.reader.prompt import (
    ContentTokenizer,
    Message,
    Piece,
    PromptSize,
    TextPiece,
    chat_template,
    encode_messages,
    encode_text,
    question_messages,
    size_of,
)
from zprompt.reader.results import Answer, Delta, Generation, TextStream, Usage
from zprompt.reader.z_decoding import ZEngine, ZWriter
from zprompt.zspan import ZToken, parse_span

Prompt: TypeAlias = str | Sequence[Message]
"""A bare text to go on with, or the messages of a conversation to reply to; either may hold Z-spans anywhere."""

BATCH = 16  # texts that are written together
ANSWER_TOKENS = 64


class Reader:
    """An LLM that reads Z-tokens, each in one position; may be used from several threads at a time."""

    def __init__(
        self,
        codec: Codec,
        decoder: LlamaDecoder,
        z_embedding: ZEmbedding,
        name: str = "custom",
        writer: ZWriter | None = None,
    ) -> None:
        """Put a reader together; `zprompt.load_reader` does it for most uses.

        :param codec: The codec whose Z-spans it reads.
        :param decoder: The codec's backbone with the reader's LoRA merged in.
        :param z_embedding: What gaps and codes say to it.
        :param name: What the reader is called.
        :param writer: What it writes Z-tokens with, if it does.
        """
        self.name, self.codec, self.backbone = name, codec, codec.backbone
        self.decoder, self.z_embedding = decoder, z_embedding
        self.max_positions = decoder.shape.max_positions
        self.tokenizer = ContentTokenizer(self.backbone)
        self.template = chat_template(self.tokenizer)
        # The token that starts a text says, where the model writes it, that another text would begin.
        self.end_ids = self.backbone.end_ids | self.template.end_ids | {self.backbone.start_id}
        self._engine = Engine(decoder, self.backbone.output_embeddings, self._decode, self.end_ids)
        self._z_engine = writer and ZEngine(codec, decoder, z_embedding, writer, self._decode, self.end_ids)

    def __repr__(self) -> str:
        """Name the reader.

        :return: A short description.
        """
        return f"Reader({self.name!r}, {self.max_positions} positions, {self.codec!r})"

    @property
    def has_writer(self) -> bool:
        """Say whether the reader can write Z-tokens.

        :return: True if `space="z"` works.
        """
        return self._z_engine is not None

    @overload
    def answer(self, question: str, passages: Any, **options: Unpack[Options]) -> Answer: ...  # noqa: ANN401

    @overload
    def answer(self, question: Sequence[str], passages: Sequence[Any], **options: Unpack[Options]) -> list[Answer]: ...

    def answer(
        self,
        question: str | Sequence[str],
        passages: Any,
        **options: Unpack[Options],
    ) -> Answer | list[Answer]:
        """Answer a question from passages.

        :param question: The question, or a list of questions.
        :param passages: A document or a sequence of them, as `zprompt.compress` takes and gives them: texts, Z-spans
            or both; for a list of questions, such passages for each.
        :param options: max_new_tokens (64), temperature, top_p, top_k, stop, seed and space, as in `generate`.
        :return: The answer, or one for each question.
        :raises OptionError: If there are not as many passages as questions.
        """
        if isinstance(question, str):
            return self.answer([question], [passages], **options)[0]
        if len(question) != len(passages):
            raise OptionError(f"There are {len(question)} questions, but passages for {len(passages)}. Give one each.")
        prompts = [question_messages(one, own) for one, own in zip(question, passages, strict=True)]
        options.setdefault("max_new_tokens", ANSWER_TOKENS)
        wanted = GenerateOptions.of(**options)
        return [
            Answer(one, said.text.strip(), said.finish_reason, said.usage)
            for one, said in zip(question, self._write(prompts, wanted), strict=True)
        ]

    @overload
    def generate(
        self, messages: Sequence[Message], *, stream: Literal[False] = False, **options: Unpack[Options]
    ) -> Generation: ...

    @overload
    def generate(
        self, messages: Sequence[Sequence[Message]], *, stream: Literal[False] = False, **options: Unpack[Options]
    ) -> list[Generation]: ...

    @overload
    def generate(
        self, messages: Sequence[Message], *, stream: Literal[True], **options: Unpack[Options]
    ) -> TextStream: ...

    def generate(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        *,
        stream: bool = False,
        **options: Unpack[Options],
    ) -> Generation | list[Generation] | TextStream:
        """Reply to a conversation.

        :param messages: Dicts with "role" and "content", which may hold Z-spans anywhere; or a list of conversations.
        :param stream: Give the text while it is written.
        :param options: max_new_tokens (256), temperature (0, which is greedy), top_p, top_k, stop, a string or several,
            seed, which makes a text repeatable whatever else is written beside it, and space ("text"): "z" writes
            Z-tokens, which the codec's decompressor expands (zengine.py says what the other options mean there).
        :return: The reply, one for each conversation, or the pieces of the reply while it is written.
        :raises OptionError: If a text is given.
        """
        if isinstance(messages, str):
            raise OptionError('generate takes messages such as [{"role": "user", "content": "…"}]; complete a text.')
        single = not messages or isinstance(messages[0], Mapping)
        return self._give([messages] if single else messages, single, stream, GenerateOptions.of(**options))

    @overload
    def complete(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self, prompt: str, *, stream: Literal[False] = False, **options: Unpack[Options]
    ) -> Generation: ...

    @overload
    def complete(
        self, prompt: Sequence[str], *, stream: Literal[False] = False, **options: Unpack[Options]
    ) -> list[Generation]: ...

    @overload
    def complete(self, prompt: str, *, stream: Literal[True], **options: Unpack[Options]) -> TextStream: ...

    def complete(
        self, prompt: str | Sequence[str], *, stream: bool = False, **options: Unpack[Options]
    ) -> Generation | list[Generation] | TextStream:
        """Go on with a text.

        :param prompt: The text, which may hold Z-spans anywhere, or a list of texts.
        :param stream: Give what comes while it is written.
        :param options: As in `generate`.
        :return: What comes after the text, after each, or its pieces while it is written.
        """
        single = isinstance(prompt, str)
        return self._give([prompt] if single else prompt, single, stream, GenerateOptions.of(**options))

    def run(
        self,
        prompts: Sequence[Prompt],
        options: GenerateOptions | Sequence[GenerateOptions],
        batch_size: int = BATCH,
        wanted: Callable[[int], bool] = lambda _: True,
    ) -> Generator[Delta]:
        """Write many texts together, each with its own options, and give all pieces as they come.

        :param prompts: Texts to go on with, and conversations to reply to.
        :param options: What is asked for, of all or of each.
        :param batch_size: Texts that are written at a time; more of them are written longest prompt first.
        :param wanted: Says, after each token, whether the text at this index is to go on. One that is not leaves the
            batch without a last piece, and the others go on without it.
        :return: Pieces of all texts, in any order; the last one of each has the whole.
        :raises OptionError: If there are not as many options as prompts, the batch size is below 1, or Z-tokens are to
            be written and the reader has no writer.
        """
        asked = [options] * len(prompts) if isinstance(options, GenerateOptions) else list(options)
        if len(asked) != len(prompts):
            raise OptionError(f"There are {len(prompts)} prompts, but options for {len(asked)}. Give one for each.")
        if batch_size < 1:
            raise OptionError(f"batch_size must be at least 1, got {batch_size}.")
        if not self.has_writer and any(own.space == "z" for own in asked):
            raise OptionError(
                f'space="z" needs a reader with a writer, which {self.name!r} does not have. Train one with '
                "`zprompt train writer --reader FOLDER`, or leave space out."
            )
        pieces = [self._read(prompt) for prompt in prompts]
        for prompt, own in zip(pieces, asked, strict=True):
            self._check_budget(size_of(prompt), own.max_new_tokens)
        return self._deltas(pieces, asked, batch_size, wanted)

    def count(self, prompt: Prompt) -> PromptSize:
        """Count the positions that a prompt takes.

        :param prompt: A text to go on with, or a conversation to reply to.
        :return: Its size.
        """
        return size_of(self._read(prompt))

    def embed(self, prompt: Prompt) -> Tensor:
        """Give a prompt's input embeddings, for other engines that run the exported model.

        :param prompt: A text to go on with, or a conversation to reply to.
        :return: (T, D).
        """
        return self._embed(self._read(prompt))

    def _read(self, prompt: Prompt) -> list[Piece]:
        if isinstance(prompt, str):
            return encode_text(self.tokenizer, prompt, self._parse)
        return encode_messages(self.tokenizer, prompt, self._parse)

    def _parse(self, span: str) -> Sequence[ZToken]:
        return parse_span(span, self.codec.alphabet, self.codec.fingerprint).tokens

    def _decode(self, ids: list[int]) -> str:
        """Give the text of tokens; special ones have none."""
        text: str = self.backbone.tokenizer.backend.decode(ids, skip_special_tokens=True)
        return text

    def _check_budget(self, size: PromptSize, max_new_tokens: int) -> None:
        """Refuse what does not fit into the context, before anything runs."""
        excess = size.positions + max_new_tokens - self.max_positions
        if excess > 0:
            raise ContextBudgetError(
                f"The prompt takes {size.positions} positions ({size.positions - size.z_tokens} of text, "
                f"{size.z_tokens} of Z-tokens that stand for {size.source_tokens} tokens), and {max_new_tokens} new "
                f"tokens are asked for: {excess} more than the {self.max_positions} positions of the model's context. "
                "Compress the passages, or at a higher ratio, leave some out, or lower max_new_tokens."
            )

    @torch.no_grad()
    def _embed(self, pieces: Sequence[Piece]) -> Tensor:
        """Give input embeddings, (T, D)."""
        return torch.cat([self._embed_piece(piece) for piece in pieces])

    def _embed_piece(self, piece: Piece) -> Tensor:
        device = self.backbone.device
        if isinstance(piece, TextPiece):
            embedded: Tensor = self.decoder.embed_tokens(torch.tensor(piece.ids, device=device))
            return embedded
        anchors = self.decoder.embed_tokens(torch.tensor([token.anchor for token in piece.tokens], device=device))
        gaps = torch.tensor([token.gap for token in piece.tokens], device=device)
        codes = torch.tensor([token.code for token in piece.tokens], device=device)
        read: Tensor = self.z_embedding(anchors, gaps, codes)
        return read

    def _give(
        self, prompts: Sequence[Any], single: bool, stream: bool, options: GenerateOptions
    ) -> Generation | list[Generation] | TextStream:
        """Write texts and give them in the form that was asked for."""
        if stream and not single:
            raise OptionError("stream=True takes one prompt. For several, take their pieces from Reader.run.")
        if stream:
            return TextStream(self.run(prompts, options))
        written = self._write(prompts, options)
        return written[0] if single else written

    def _write(self, prompts: Sequence[Prompt], options: GenerateOptions) -> list[Generation]:
        """Write texts to their ends."""
        done = {delta.index: delta.generation for delta in self.run(prompts, options) if delta.generation}
        return [done[index] for index in range(len(prompts))]

    def _deltas(
        self,
        prompts: Sequence[Sequence[Piece]],
        options: Sequence[GenerateOptions],
        batch_size: int,
        wanted: Callable[[int], bool],
    ) -> Generator[Delta]:
        """Write texts, batch after batch of one space and similar lengths."""
        sizes = [size_of(prompt) for prompt in prompts]
        for engine, order in self._orders(sizes, options):
            for first in range(0, len(order), batch_size):
                batch = [index for index in order[first : first + batch_size] if wanted(index)]
                if not batch:
                    continue
                texts = dict.fromkeys(batch, "")
                requests = [self._request(prompts[index], options[index]) for index in batch]
                goes_on = [partial(wanted, index) for index in batch]
                for advance in engine.run(requests, goes_on):
                    index = batch[advance.row]
                    texts[index] += advance.text
                    if advance.finish_reason:
                        whole = Generation(texts[index], advance.finish_reason, _usage(sizes[index], advance))
                        yield Delta(index, advance.text, whole)
                    elif advance.text:
                        yield Delta(index, advance.text)

    def _orders(
        self, sizes: Sequence[PromptSize], options: Sequence[GenerateOptions]
    ) -> Iterator[tuple[Engine | ZEngine, list[int]]]:
        """Say which engine writes which texts, longest prompt first."""
        order = sorted(range(len(sizes)), key=lambda index: -sizes[index].positions)
        yield self._engine, [index for index in order if options[index].space == "text"]
        if self._z_engine:
            yield self._z_engine, [index for index in order if options[index].space == "z"]

    def _request(self, prompt: Sequence[Piece], options: GenerateOptions) -> Request:
        return Request(self._embed(prompt), options.max_new_tokens, options.sampling, options.stops)


def _usage(size: PromptSize, advance: Advance) -> Usage:
    """Say what a text took, from the last advance."""
    return Usage(
        size.positions,
        size.z_tokens,
        size.source_tokens,
        advance.generated_tokens,
        advance.z_tokens,
        advance.passes,
        advance.expansion_passes,
    )
