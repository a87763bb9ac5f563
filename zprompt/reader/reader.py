"""Answer questions and continue conversations and texts: the class behind `zprompt.load_reader`.

A prompt is read once into pieces (prompt.py), measured against the context, and embedded:

    token id                 E[id]
    Z-token (a, g)           E[a] + what the gap adds (embedding.py)

From these the generator writes text (generate.py). All errors in a prompt are found before the model runs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, Unpack, get_args, overload

import torch
from torch import Tensor

from zprompt.codec import Codec, shared_codec
from zprompt.documents import Document, DocumentBatch, read_documents
from zprompt.errors import ContextBudgetError, OptionError
from zprompt.llm import LlamaDecoder, Lora, OnnxDecoder, llama_shape, merge_copy, merge_in_bf16, merge_in_onnx
from zprompt.options import check_batch_size, whole_number
from zprompt.reader.checkpoint import (
    ReaderConfig,
    find_reader,
    load_lora,
    load_z_embedding,
    read_reader_config,
    write_reader,
)
from zprompt.reader.embedding import ZEmbedding
from zprompt.reader.focus import PassageFocus
from zprompt.reader.generate import BatchGenerator, GenerateKeywords, GenerateOptions, Request
from zprompt.reader.prompt import (
    ContentTokenizer,
    Message,
    Piece,
    PreparedPrompt,
    PromptSize,
    TextPiece,
    chat_template,
    encode_messages,
    encode_text,
    is_telling,
    question_messages,
)
from zprompt.reader.results import NOT_FOUND, Answer, Calibration, Delta, Generation, TextStream, Usage
from zprompt.relevance import NOTHING
from zprompt.zspan import ZToken, read_header, require_no_surrogates, split_at_spans

Prompt: TypeAlias = str | Sequence[Message] | PreparedPrompt
"""A bare text to continue, or the messages of a conversation to reply to; either may hold Z-spans anywhere."""

EngineName: TypeAlias = Literal["fp32", "onnx", "bf16"]
"""What runs the model, and in what: see `Reader.from_pretrained`."""

BATCH = 16  # texts generated together
ANSWER_TOKENS = 64
PASSAGE_TOKENS = 192  # most tokens of passages that a question is answered from


class Reader:
    """An LLM that reads Z-tokens, each in one position; thread-safe."""

    def __init__(
        self,
        codec: Codec,
        decoder: LlamaDecoder | OnnxDecoder,
        z_embedding: ZEmbedding,
        name: str = "custom",
        *,
        lora: Callable[[], Lora] | None = None,
        training: Mapping[str, Any] | None = None,
        calibration: Calibration | None = None,
        head: Tensor | None = None,
    ) -> None:
        """Put a reader together; `Reader.from_pretrained` does it for most uses.

        :param codec: The codec whose Z-spans it reads.
        :param decoder: The codec's backbone with the reader's LoRA in it.
        :param z_embedding: What gaps add to their anchors.
        :param name: The reader's name.
        :param lora: Loads the LoRA, which `save_pretrained` needs.
        :param training: How the reader was trained, for people.
        :param calibration: Of the confidence of its answers; None: none, so confidence follows from the odds.
        :param head: (V, D), the LM head; None: the backbone's.
        """
        self.name, self.codec, self.backbone = name, codec, codec.backbone
        self.decoder, self.z_embedding = decoder, z_embedding
        self.lora, self.training = lora, dict(training or {})
        self.calibration = calibration or Calibration()
        self.max_positions = decoder.shape.max_positions
        self.tokenizer = ContentTokenizer(self.backbone)
        self.template = chat_template(self.tokenizer)
        # A model that writes the start token begins another text: this one has ended.
        self.end_ids = self.backbone.end_ids | self.template.end_ids | {self.backbone.start_id}
        # The head on the left: it stays in the layout of the embeddings, whose memory it may share, and with a few
        # hidden states oneDNN takes a third less time than the other way round.
        logits = self.backbone.logits if head is None else lambda hidden: (head @ hidden.T).T
        self._generator = BatchGenerator(decoder, logits, self._decode, self.end_ids)

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str = "default",
        *,
        codec: Codec | str | None = None,
        device: str = "auto",
        engine: str = "fp32",
    ) -> Reader:
        """Load a reader.

        :param name_or_path: A shipped reader, or a reader's folder.
        :param codec: The codec whose Z-spans it is to read, or a name that `zprompt.load` takes; None: the LLM that the
            reader was trained on, as it is. A codec that was loaded before is reused.
        :param device: "auto" (a GPU if there is one), "cpu" or "cuda"; a codec passed in stays where it is.
        :param engine: "fp32": computes as the codec does, with weights beside the codec's. "onnx": the same by ONNX
            Runtime, on the CPU, in half of the memory, since 4-bit weights stay 4-bit; needs `zprompt[onnx]`. "bf16":
            weights and products in bfloat16, in half of the memory, and in half of the time on CPUs that multiply it
            (AMX, AVX-512 BF16); an answer may then differ between a batch and alone. With these two, the codec's LLM is
            loaded only when a text is compressed or restored.
        :return: The reader.
        :raises CheckpointError: If there is no such reader, or it was trained on other weights than the codec's.
        """
        if engine not in get_args(EngineName):
            raise OptionError(f"engine must be one of {get_args(EngineName)}, got {engine!r}.")
        folder = find_reader(name_or_path)
        config = read_reader_config(folder)
        if not isinstance(codec, Codec):
            # Not quantized: a LoRA merges into plain weights, and other weights would be another codec.
            device = "cpu" if engine == "onnx" and device == "auto" else device
            codec = shared_codec(codec or config.backbone, device=device, quantization="none")
        backbone = codec.backbone
        if engine == "onnx" and backbone.device.type != "cpu":
            raise OptionError(
                f"engine='onnx' runs on the CPU, but the model is on {backbone.device}. Use device='cpu'."
            )
        llama_shape(backbone)  # raises for an unsupported LLM, before all other errors
        lora = load_lora(folder, config, backbone)
        z_embedding = load_z_embedding(folder, config, backbone.hidden_size).to(backbone.device)
        decoder: LlamaDecoder | OnnxDecoder
        head = None
        if engine == "onnx":
            decoder, head = merge_in_onnx(lora, backbone)
        elif engine == "bf16":
            decoder, head = merge_in_bf16(lora, backbone)
        else:
            decoder = merge_copy(lora, backbone).eval().requires_grad_(False)
        return cls(
            codec,
            decoder,
            z_embedding,
            name_or_path,
            lora=partial(load_lora, folder, config, backbone),
            training=config.training,
            calibration=config.calibration,
            head=head,
        )

    def save_pretrained(self, folder: Path | str) -> None:
        """Write the reader to a folder that `from_pretrained` loads.

        :param folder: The folder, which is created if it is missing.
        :raises OptionError: If the reader was built without its LoRA.
        """
        if self.lora is None:
            raise OptionError("This reader was made without its LoRA, so it cannot be saved. Make it with lora=….")
        backbone, max_gap = self.backbone, self.z_embedding.max_gap
        fingerprint = backbone.weights_fingerprint
        config = ReaderConfig(backbone.name, fingerprint, max_gap, self.training, self.calibration)
        write_reader(Path(folder), config, self.z_embedding, self.lora())

    def __repr__(self) -> str:
        return f"Reader({self.name!r}, {self.max_positions} positions, {self.codec!r})"

    @overload
    def answer(
        self,
        question: str,
        passages: Any,  # noqa: ANN401
        *,
        max_passage_tokens: int | None = PASSAGE_TOKENS,
        **options: Unpack[GenerateKeywords],
    ) -> Answer: ...

    @overload
    def answer(
        self,
        question: Sequence[str],
        passages: Sequence[Any],
        *,
        max_passage_tokens: int | None = PASSAGE_TOKENS,
        **options: Unpack[GenerateKeywords],
    ) -> list[Answer]: ...

    def answer(
        self,
        question: str | Sequence[str],
        passages: Any,
        *,
        max_passage_tokens: int | None = PASSAGE_TOKENS,
        **options: Unpack[GenerateKeywords],
    ) -> Answer | list[Answer]:
        """Answer a question from passages.

        :param question: The question, or a list of questions.
        :param passages: A document or a sequence of them, as `zprompt.compress` takes and returns them: texts, Z-spans
            or both; for a list of questions, such passages for each.
        :param max_passage_tokens: Most tokens of the passages to read: the sentences that the question needs
            (focus.py). None: all is read as it is, Z-tokens between what stays word for word included.
        :param options: max_new_tokens (64), temperature, top_p, top_k, stop and seed, as in `generate`.
        :return: The answer, or one for each question.
        :raises OptionError: If there are not as many passages as questions, or an option is not allowed.
        :raises SpanError: If a Z-span is damaged, or of another codec; the message names its position.
        :raises InvalidTextError: If a passage has a lone surrogate; likewise.
        """
        if isinstance(question, str):
            return self.answer([question], [passages], max_passage_tokens=max_passage_tokens, **options)[0]
        if not isinstance(question, Sequence) or not all(isinstance(text, str) for text in question):
            raise OptionError(f"question must be a str or a sequence of str, got {question!r}.")
        if len(question) != len(passages):
            raise OptionError(
                f"Got {len(question)} questions but passages for {len(passages)}; "
                "pass one set of passages per question."
            )
        options.setdefault("max_new_tokens", ANSWER_TOKENS)
        generate_options = replace(GenerateOptions.of(**options), watched=self.tokenizer.encode(NOT_FOUND)[0])
        if max_passage_tokens is not None and whole_number("max_passage_tokens", max_passage_tokens) < 1:
            raise OptionError(f"max_passage_tokens must be at least 1, got {max_passage_tokens}. None means no limit.")
        batches = [read_documents(documents) for documents in passages]
        for batch in batches:
            self._check_passages(batch)
        answerable = [index for index, batch in enumerate(batches) if any(map(self._has_content, batch.texts))]
        window = self.codec.settings.window
        prompts = [
            question_messages(question[index], self._read(question[index], batches[index], max_passage_tokens), window)
            for index in answerable
        ]
        generations = self._generate_all(prompts, generate_options)
        nothing = Generation(NOT_FOUND, "stop", Usage(0, 0, 0, 0), 1.0)  # the reply to passages without content
        replies = [nothing] * len(question)
        for index, generation in zip(answerable, generations, strict=True):
            replies[index] = generation
        return [
            Answer(text, reply.text.strip(), reply.finish_reason, reply.usage, self._confidence(reply))
            for text, reply in zip(question, replies, strict=True)
        ]

    @overload
    def generate(
        self, messages: Sequence[Message], *, stream: Literal[False] = False, **options: Unpack[GenerateKeywords]
    ) -> Generation: ...

    @overload
    def generate(
        self,
        messages: Sequence[Sequence[Message]],
        *,
        stream: Literal[False] = False,
        **options: Unpack[GenerateKeywords],
    ) -> list[Generation]: ...

    @overload
    def generate(
        self, messages: Sequence[Message], *, stream: Literal[True], **options: Unpack[GenerateKeywords]
    ) -> TextStream: ...

    def generate(
        self,
        messages: Sequence[Message] | Sequence[Sequence[Message]],
        *,
        stream: bool = False,
        **options: Unpack[GenerateKeywords],
    ) -> Generation | list[Generation] | TextStream:
        """Reply to a conversation.

        :param messages: Dicts with "role" and "content", which may hold Z-spans anywhere; or a list of conversations.
        :param stream: Return the pieces of the reply as they are generated.
        :param options: max_new_tokens (256), temperature (0, which is greedy), top_p, top_k, stop, a string or several,
            and seed, which makes a text reproducible whatever is generated beside it.
        :return: The reply, one for each conversation, or its pieces.
        :raises OptionError: If it is a text, or an option is not allowed.
        """
        if isinstance(messages, str):
            raise OptionError(
                'generate takes messages such as [{"role": "user", "content": "…"}]; complete takes a text.'
            )
        single = not messages or isinstance(messages[0], Mapping)
        return self._generate([messages] if single else messages, single, stream, options)

    @overload
    def complete(  # type: ignore[overload-overlap]  # a str is a sequence of str, too
        self, prompt: str | PreparedPrompt, *, stream: Literal[False] = False, **options: Unpack[GenerateKeywords]
    ) -> Generation: ...

    @overload
    def complete(
        self,
        prompt: Sequence[str | PreparedPrompt],
        *,
        stream: Literal[False] = False,
        **options: Unpack[GenerateKeywords],
    ) -> list[Generation]: ...

    @overload
    def complete(
        self, prompt: str | PreparedPrompt, *, stream: Literal[True], **options: Unpack[GenerateKeywords]
    ) -> TextStream: ...

    def complete(
        self,
        prompt: str | PreparedPrompt | Sequence[str | PreparedPrompt],
        *,
        stream: bool = False,
        **options: Unpack[GenerateKeywords],
    ) -> Generation | list[Generation] | TextStream:
        """Continue a text.

        :param prompt: The text, which may hold Z-spans anywhere, or what `prepare` returned; or a list of these.
        :param stream: Return the pieces of the continuation as they are generated.
        :param options: As in `generate`.
        :return: The continuation, one for each text, or its pieces.
        """
        if isinstance(prompt, str | PreparedPrompt):
            return self._generate([prompt], True, stream, options)
        return self._generate(prompt, False, stream, options)

    def prepare(self, prompt: Prompt, options: GenerateOptions | None = None) -> PreparedPrompt:
        """Read a prompt, and find all its errors before the model runs.

        The result is accepted wherever a prompt is, here too, and is not read again: a server prepares a prompt,
        chooses max_new_tokens by its size, checks it with these options by another `prepare`, and runs it.

        :param prompt: A text to continue, a conversation to reply to, or a prepared prompt.
        :param options: The options of generation; None checks the prompt alone.
        :return: The prompt, read.
        :raises SpanError: If a Z-span is damaged, or of another codec.
        :raises ContextBudgetError: If it does not fit into the context with as many new tokens as the options allow.
        :raises OptionError: If its messages are not a conversation.
        """
        if isinstance(prompt, PreparedPrompt):
            prepared = prompt
        elif isinstance(prompt, str):
            prepared = PreparedPrompt.of(encode_text(self.tokenizer, prompt, self._parse))
        else:
            prepared = PreparedPrompt.of(encode_messages(self.tokenizer, prompt, self._parse))
        if options:
            self._check_budget(prepared.size, options.max_new_tokens)
        return prepared

    def run(
        self,
        prompts: Sequence[Prompt],
        options: GenerateOptions | Sequence[GenerateOptions],
        batch_size: int = BATCH,
        wanted: Callable[[int], bool] = lambda _: True,
    ) -> Generator[Delta]:
        """Generate many texts together, each with its own options, and yield pieces as they come.

        :param prompts: Texts to continue, conversations to reply to, and prepared prompts.
        :param options: The options, one for all or one for each.
        :param batch_size: Texts generated at a time; those with the longest prompts come first.
        :param wanted: Called after each step with the index of a text: whether it is to go on. If not, it leaves the
            batch without a last piece, and the others go on.
        :return: Pieces of all texts, in any order; the last piece of each has the whole text.
        :raises OptionError: If there are not as many options as prompts, or the batch size is below 1.
        """
        each = [options] * len(prompts) if isinstance(options, GenerateOptions) else list(options)
        if len(each) != len(prompts):
            raise OptionError(
                f"Got {len(prompts)} prompts but options for {len(each)}; pass one set of options per prompt."
            )
        batch_size = check_batch_size(batch_size)
        prepared = [self.prepare(prompt, prompt_options) for prompt, prompt_options in zip(prompts, each, strict=True)]
        return self._deltas(prepared, each, batch_size, wanted)

    def count(self, prompt: Prompt) -> PromptSize:
        """Count the positions that a prompt takes."""
        return self.prepare(prompt).size

    @torch.no_grad()
    def embed(self, prompt: Prompt) -> Tensor:
        """Return the input embeddings of a prompt, (T, D), for other engines that run the exported model."""
        return torch.cat([self._embed_piece(piece) for piece in self.prepare(prompt).pieces])

    def _read(self, question: str, batch: DocumentBatch, most: int | None) -> Sequence[Document]:
        """Choose what to read of passages."""
        if most is None:
            return batch.documents
        focus = PassageFocus(self._parse, self._decode, lambda text: len(self.backbone.encode(text)))
        return focus.choose(question, batch, most)

    def _check_passages(self, batch: DocumentBatch) -> None:
        """Raise the error of the first passage that cannot be read, with its position."""
        for index, text in enumerate(batch.texts):
            with batch.naming(index):
                require_no_surrogates(text)
                for piece in split_at_spans(text):
                    if not isinstance(piece, str):
                        self._parse(piece.text)

    def _has_content(self, text: str) -> bool:
        """Return whether a passage is more than white space, also in the anchors of a Z-span that drops nothing."""
        if not is_telling(text, self.codec.settings.window):
            return False
        for piece in split_at_spans(text):
            if isinstance(piece, str):
                if piece.strip() not in ("", NOTHING):
                    return True
                continue
            header = read_header(piece.text)
            if header.count < header.source_tokens:
                return True
            if self._decode([token.anchor for token in self._parse(piece.text)]).strip():
                return True
        return False

    def _confidence(self, reply: Generation) -> float:
        not_found = reply.watched or 0.0
        return 0.0 if not_found == 1.0 else self.calibration.confidence(not_found)

    def _parse(self, span: str) -> Sequence[ZToken]:
        return self.codec.parse(span).tokens

    def _decode(self, ids: list[int]) -> str:
        """Return the text of tokens, without special tokens."""
        text: str = self.backbone.tokenizer.backend.decode(ids, skip_special_tokens=True)
        return text

    def _check_budget(self, size: PromptSize, max_new_tokens: int) -> None:
        excess = size.positions + max_new_tokens - self.max_positions
        if excess > 0:
            raise ContextBudgetError(
                f"The prompt takes {size.positions} positions ({size.positions - size.z_tokens} of text, "
                f"{size.z_tokens} of Z-tokens for {size.source_tokens} source tokens), which with "
                f"max_new_tokens={max_new_tokens} is {excess} more than the {self.max_positions} positions of the "
                "model's context. Compress the passages (more), leave some out, or lower max_new_tokens."
            )

    def _embed_piece(self, piece: Piece) -> Tensor:
        if isinstance(piece, TextPiece):
            return self._embed_tokens(piece.ids)
        anchors = self._embed_tokens([token.anchor for token in piece.tokens])
        gaps = torch.tensor([token.gap for token in piece.tokens], device=self.backbone.device)
        embedded: Tensor = self.z_embedding(anchors, gaps)
        return embedded

    def _embed_tokens(self, ids: Sequence[int]) -> Tensor:
        embedded: Tensor = self.decoder.embed_tokens(torch.tensor(ids, device=self.backbone.device))
        return embedded.float()

    def _generate(
        self, prompts: Sequence[Any], single: bool, stream: bool, keywords: GenerateKeywords
    ) -> Generation | list[Generation] | TextStream:
        """Generate one text or several, whole or in pieces."""
        options = GenerateOptions.of(**keywords)
        if stream and not single:
            raise OptionError("stream=True takes a single prompt. For several, iterate over Reader.run.")
        if stream:
            return TextStream(self.run(prompts, options))
        generations = self._generate_all(prompts, options)
        return generations[0] if single else generations

    def _generate_all(self, prompts: Sequence[Prompt], options: GenerateOptions) -> list[Generation]:
        """Generate whole texts."""
        done = {delta.index: delta.generation for delta in self.run(prompts, options) if delta.generation}
        return [done[index] for index in range(len(prompts))]

    def _deltas(
        self,
        prompts: Sequence[PreparedPrompt],
        options: Sequence[GenerateOptions],
        batch_size: int,
        wanted: Callable[[int], bool],
    ) -> Generator[Delta]:
        """Generate texts in batches of similar lengths, longest prompts first."""
        order = sorted(range(len(prompts)), key=lambda index: -prompts[index].size.positions)
        for first in range(0, len(order), batch_size):
            batch = [index for index in order[first : first + batch_size] if wanted(index)]
            if batch:
                yield from self._batch_deltas(batch, prompts, options, wanted)

    def _batch_deltas(
        self,
        batch: Sequence[int],
        prompts: Sequence[PreparedPrompt],
        options: Sequence[GenerateOptions],
        wanted: Callable[[int], bool],
    ) -> Generator[Delta]:
        """Generate the texts of one batch."""
        texts = [""] * len(batch)
        requests = [Request(self.embed(prompts[index]), options[index]) for index in batch]
        for advance in self._generator.run(requests, lambda row: wanted(batch[row])):
            index = batch[advance.row]
            texts[advance.row] += advance.text
            if advance.finish_reason:
                size = prompts[index].size
                usage = Usage(size.positions, size.z_tokens, size.source_tokens, advance.generated_tokens)
                generation = Generation(texts[advance.row], advance.finish_reason, usage, advance.watched)
                yield Delta(index, advance.text, generation)
            elif advance.text:
                yield Delta(index, advance.text)


def load_reader(
    name: str = "default", codec: Codec | str | None = None, device: str = "auto", engine: str = "fp32"
) -> Reader:
    """Load a reader; the short form of `Reader.from_pretrained`, with the same arguments."""
    return Reader.from_pretrained(name, codec=codec, device=device, engine=engine)
