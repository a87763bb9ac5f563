"""A reader of LTSC's meta-tokens: the default backbone with a LoRA, and an embedding for each meta-token.

    token id t < V              E[t]            the backbone's own
    meta-token first + k        M[k]            (K, D), the extension of its vocabulary

It serves to measure LTSC as the paper does (arXiv 2506.00307): a passage is a dictionary and a body, as the baseline
"ltsc-tuned" writes them. It reads plain text as well, but no Z-tokens. A folder has

    config.json, meta_embedding.safetensors, adapter/    (the LoRA, in PEFT's form)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from zprompt.baselines.ltsc.sequences import READER_ALPHABET, READER_META_TOKENS
from zprompt.codec import shared_codec
from zprompt.errors import CheckpointError, ContextBudgetError, OptionError
from zprompt.llm import Backbone, LlamaDecoder, Lora, load_tensors, merge_copy, read_lora, write_lora
from zprompt.reader import (
    ADAPTER_FOLDER,
    Answer,
    BatchGenerator,
    Content,
    ContentTokenizer,
    GenerateOptions,
    Mark,
    PromptSize,
    ReaderConfig,
    Request,
    Usage,
    chat_template,
    find_reader,
    question_messages,
    read_reader_config,
)
from zprompt.zspan import escape_literal, unescape_literal

FORMAT = 1
EMBEDDING_FILE = "meta_embedding.safetensors"
_PLACEHOLDER = "\ufffc"  # Unicode's object replacement character, where a passage goes
_BATCH = 16  # prompts per batch

Passage: TypeAlias = Mapping[str, Any]
"""A dict with "title", which may be empty, and "text": a str, or token ids with meta-tokens among them."""


class MetaEmbedding(nn.Module):
    """The embeddings of meta-tokens, whose ids are consecutive from `first` on."""

    def __init__(self, count: int, hidden_size: int, first: int = READER_ALPHABET.first) -> None:
        """Create a table of `count` zero vectors."""
        super().__init__()
        self.first = first
        self.weight = nn.Parameter(torch.zeros(count, hidden_size))

    def forward(self, ids: Tensor) -> Tensor:
        """Embed the ids of meta-tokens, (N,), as (N, D)."""
        return self.weight[ids - self.first]


@dataclass(frozen=True, slots=True)
class LtscReaderConfig:
    """What an LTSC reader's folder says about it."""

    backbone: str  # its name, as `load_backbone` takes it
    backbone_fingerprint: str  # of the weights that it was trained on
    training: dict[str, Any]  # how it was trained, for information only


class LtscReader:
    """Answers questions from passages in text or meta-tokens."""

    def __init__(self, backbone: Backbone, decoder: LlamaDecoder, meta_embedding: MetaEmbedding) -> None:
        """Assemble a reader; most callers use `from_pretrained`.

        :param backbone: The backbone: its tokenizer and its output head.
        :param decoder: Its decoder, with the reader's LoRA merged.
        :param meta_embedding: The embeddings of meta-tokens.
        """
        self.backbone, self.decoder, self.meta_embedding = backbone, decoder, meta_embedding
        self._tokenizer = ContentTokenizer(backbone)
        self._template = chat_template(self._tokenizer)
        end_ids = backbone.end_ids | self._template.end_ids | {backbone.start_id}
        self._generator = BatchGenerator(decoder, backbone.logits, self._decode, end_ids)

    @classmethod
    def from_pretrained(
        cls, name_or_path: str = "ltsc", *, backbone: Backbone | None = None, device: str = "auto"
    ) -> LtscReader:
        """Load a reader.

        :param name_or_path: "ltsc", which is shipped, or the folder of a reader.
        :param backbone: The backbone; None: the default codec's, loaded once per process.
        :param device: "auto" (a GPU if there is one), "cpu" or "cuda"; a given backbone stays where it is.
        :return: The reader.
        :raises CheckpointError: If there is no such reader, it is damaged, or it was trained on another backbone.
        """
        folder = find_reader(name_or_path, EMBEDDING_FILE)
        config = read_ltsc_config(folder)
        backbone = backbone or shared_codec(device=device, quantization="none").backbone
        advice = "Give that one: backbone=…."
        backbone.require_weights(config.backbone_fingerprint, config.backbone, f"The reader in {folder}", advice)
        meta_embedding = load_meta_embedding(folder, backbone.hidden_size).to(backbone.device).requires_grad_(False)
        decoder = merge_copy(read_lora(folder / ADAPTER_FOLDER), backbone).eval().requires_grad_(False)
        return cls(backbone, decoder, meta_embedding)

    def answer(
        self, questions: Sequence[str], passages: Sequence[Sequence[Passage]], max_new_tokens: int = 64
    ) -> list[Answer]:
        """Answer questions greedily.

        :param questions: The questions.
        :param passages: The passages of each question.
        :param max_new_tokens: Maximum tokens of an answer.
        :return: An answer to each question.
        :raises ContextBudgetError: If a prompt and its answer could exceed the model's context.
        :raises OptionError: If the numbers of questions and passages differ, or an id is not that of a token.
        """
        if len(questions) != len(passages):
            raise OptionError(
                f"Got {len(questions)} questions but passages for {len(passages)}; "
                "pass one set of passages per question."
            )
        options = GenerateOptions(max_new_tokens)
        prompts = list(map(self._encode, questions, passages))
        self._check_context(max(map(len, prompts), default=0), max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        answers: dict[int, Answer] = {}
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            texts = [""] * len(batch)
            requests = [Request(self.embed(prompts[index]), options) for index in batch]
            for advance in self._generator.run(requests):
                texts[advance.row] += advance.text
                if advance.finish_reason:
                    index = batch[advance.row]
                    usage = Usage(len(prompts[index]), 0, 0, advance.generated_tokens)
                    text = texts[advance.row].strip()
                    answers[index] = Answer(questions[index], text, advance.finish_reason, usage)
        return [answers[index] for index in range(len(questions))]

    def count(self, question: str, passages: Sequence[Passage]) -> PromptSize:
        """Count the positions of a prompt."""
        return PromptSize(len(self._encode(question, passages)), 0, 0)

    @torch.no_grad()
    def embed(self, ids: Sequence[int]) -> Tensor:
        """Embed the ids of tokens and meta-tokens, (T, D); raise OptionError for any other id."""
        meta, first = self.meta_embedding, self.meta_embedding.first
        vocab_size = self.backbone.vocab_size
        for token in ids:
            if not (0 <= token < vocab_size or first <= token < first + len(meta.weight)):
                raise OptionError(
                    f"Id {token} is neither a token (below {vocab_size}) nor a meta-token ({first} to "
                    f"{first + len(meta.weight) - 1}). Pass the ids that the baseline 'ltsc-tuned' wrote."
                )
        tokens = torch.tensor(ids, device=meta.weight.device)
        is_meta = tokens >= first
        embedded: Tensor = self.decoder.embed_tokens(tokens.masked_fill(is_meta, 0))
        return embedded.index_put((is_meta,), meta(tokens[is_meta]))

    def _check_context(self, positions: int, max_new_tokens: int) -> None:
        excess = positions + max_new_tokens - self.decoder.shape.max_positions
        if excess > 0:
            raise ContextBudgetError(
                f"The prompt takes {positions} positions, which with max_new_tokens={max_new_tokens} is {excess} more "
                f"than the {self.decoder.shape.max_positions} positions of the model's context. Leave passages out."
            )

    def _encode(self, question: str, passages: Sequence[Passage]) -> list[int]:
        """Return the ids of a prompt up to where the answer begins; adjacent texts are tokenized together."""
        ids: list[int] = []
        text = ""
        for part in (*self._parts(question, passages), ()):
            if isinstance(part, str):
                text += part
            else:
                ids += [*self._tokenizer.encode(text), *part]
                text = ""
        return ids

    def _parts(self, question: str, passages: Sequence[Passage]) -> Iterator[str | Sequence[int]]:
        """Yield the texts and token ids of a prompt, worded like the prompts of the Z-token reader."""
        documents = [{"title": passage["title"], "text": _PLACEHOLDER} for passage in passages]
        system, user = question_messages(escape_literal(question), documents)
        between = user["content"].split(_PLACEHOLDER)
        if len(between) != len(passages) + 1:
            raise OptionError(
                f"Questions and titles must not contain the character U+{ord(_PLACEHOLDER):X}. Remove it."
            )
        for segment in self._template.render([system, user], reply=True):
            if isinstance(segment, Mark):
                yield (segment.token_id,)
            elif segment == Content(user["content"]):
                for text, passage in zip(between, passages, strict=False):
                    yield unescape_literal(text)
                    content = passage["text"]
                    yield content if isinstance(content, str) else self._tokenizer.spell_out(content)
                yield unescape_literal(between[-1])
            else:
                yield segment.text if isinstance(segment, Content) else segment

    def _decode(self, ids: list[int]) -> str:
        text: str = self.backbone.tokenizer.backend.decode(ids, skip_special_tokens=True)
        return text


def find_any_reader(name: str) -> tuple[Path, ReaderConfig | LtscReaderConfig]:
    """Find a reader of meta-tokens or of Z-tokens.

    :param name: The name of a shipped reader, or a path.
    :return: Its folder and config.
    :raises CheckpointError: If there is none.
    """
    try:
        folder = find_reader(name, EMBEDDING_FILE)
    except CheckpointError:
        folder = find_reader(name)
        return folder, read_reader_config(folder)
    return folder, read_ltsc_config(folder)


def read_ltsc_config(folder: Path) -> LtscReaderConfig:
    """Read a reader's config.json; raise CheckpointError if it has another format."""
    path = folder / "config.json"
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT:
            raise CheckpointError(
                f"{path} has format {values['format']}, but this release reads {FORMAT}. Update zprompt."
            )
        return LtscReaderConfig(values["backbone"], values["backbone_fingerprint"], values.get("training", {}))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is not an LTSC reader config: {error!r}. Fetch or train the reader again."
        ) from error


def load_meta_embedding(folder: Path, hidden_size: int) -> MetaEmbedding:
    """Load the embeddings of meta-tokens in fp32; raise CheckpointError if they do not fit the backbone."""
    path = folder / EMBEDDING_FILE
    weight, shape = load_tensors(path).get("weight"), (READER_META_TOKENS, hidden_size)
    if weight is None or weight.shape != shape:
        actual = "no embeddings" if weight is None else f"embeddings of the shape {tuple(weight.shape)}"
        raise CheckpointError(f"{path} has {actual}, expected {shape}. Fetch or train the reader again.")
    embedding = MetaEmbedding(*shape)
    embedding.load_state_dict({"weight": weight.float()})
    return embedding


def write_ltsc_reader(folder: Path, config: LtscReaderConfig, meta_embedding: MetaEmbedding, lora: Lora) -> None:
    """Write a reader to a folder, which is created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {"format": FORMAT, **asdict(config)}
    (folder / "config.json").write_text(json.dumps(values, indent=2) + "\n", "utf-8")
    save_file({"weight": meta_embedding.weight.detach().float().cpu().contiguous()}, folder / EMBEDDING_FILE)
    write_lora(folder / ADAPTER_FOLDER, lora, config.backbone)
