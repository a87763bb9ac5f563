"""The readers that are compared, and their answers from passages in several forms.

    FOLDER/z  FOLDER/text  FOLDER/pruned  FOLDER/truncated  FOLDER/ltsc       by `zprompt train reader`

Without FOLDER/z or FOLDER/ltsc, the shipped reader is taken. A reader that is missing or does not fit is no error: what
needs it is listed with the reason. All answers come from the classes that users call: `Reader.answer` and
`LtscReader.answer`, or `Reader.complete` if a passage is not a text but a choice of its tokens.

    z            the passage's Z-tokens
    text         the passage
    pruned       the tokens of the highest surprisal, as many as there are Z-tokens
    truncated    the first tokens, as many as there are Z-tokens
    extracted    the sentences that the question needs (the baseline focus-text), about as many tokens as Z-tokens
    ltsc         all tokens, with LTSC's meta-tokens for what is repeated
"""

import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.common import compress
from zprompt import Codec
from zprompt.baselines.ltsc import READER_ALPHABET, LtscReader, find_any_reader, to_model_ids
from zprompt.baselines.ztokens import FocusText
from zprompt.errors import CheckpointError, TrainingDataError
from zprompt.eval import Question
from zprompt.llm import Backbone
from zprompt.reader import (
    PreparedPrompt,
    Reader,
    TextPiece,
    encode_messages,
    load_reader,
    question_messages,
)
from zprompt.zspan import escape_literal, find_spans, read_header

INPUTS = ("text", "z", "pruned", "truncated", "ltsc")  # what readers are trained on
ANSWER = 16  # tokens of an answer, at most
CHUNK = 16  # passages that are compressed together; a ratio is met over all of them


# Readers.


@dataclass(frozen=True, slots=True)
class FoundReader:
    """A reader, or why there is none."""

    input: str  # one of INPUTS
    folder: str | None
    steps: int | None = None  # of its training
    seed: int | None = None
    training: dict[str, object] | None = None  # what else its config.json says of it
    problem: str | None = None  # None: it can be measured


def find_readers(readers: Path | None, codec: Codec, inputs: Collection[str] = INPUTS) -> dict[str, FoundReader]:
    """Look for a reader of each kind of input.

    :param readers: A folder with a folder for each kind; None for shipped readers only.
    :param codec: The codec whose Z-tokens they are to read.
    :param inputs: The kinds of input that are wanted.
    :return: The readers by kind of input, each that cannot be measured with its problem.
    """
    unwanted = "left out of this run (--inputs)"
    return {
        kind: _find(kind, readers, codec) if kind in inputs else FoundReader(kind, None, problem=unwanted)
        for kind in INPUTS
    }


def _find(kind: str, readers: Path | None, codec: Codec) -> FoundReader:
    folder = readers / kind if readers else None
    name = str(folder) if folder and folder.is_dir() else {"z": codec.name, "ltsc": "ltsc"}.get(kind)
    if name is None:
        reason = f"no reader in {folder}" if folder else "no folder of readers was given (--readers)"
        return FoundReader(kind, None, problem=reason)
    try:
        return _describe(kind, name, codec)
    except CheckpointError as error:
        return FoundReader(kind, str(folder) if folder else None, problem=str(error))


def _describe(kind: str, name: str, codec: Codec) -> FoundReader:
    """Return how a reader was made, and whether it fits."""
    folder, config = find_any_reader(name)
    training = dict(config.training)
    steps, seed, trained_on = (training.pop(name, None) for name in ("steps", "seed", "input"))
    problem = None
    if trained_on != kind:
        problem = f"the reader in {folder} was trained on {trained_on!r}"
    elif config.backbone_fingerprint != codec.backbone.weights_fingerprint:
        problem = f"the reader in {folder} was trained on other weights, {config.backbone_fingerprint}"
    return FoundReader(kind, str(folder), steps, seed, training, problem)


def load_found(found: FoundReader, codec: Codec) -> Reader | LtscReader:
    """Load a reader; raise CheckpointError if it has a problem, or is damaged."""
    if found.folder is None or found.problem:
        raise CheckpointError(f"The reader {found.input!r} cannot be loaded: {found.problem}.")
    if found.input == "ltsc":
        return LtscReader.from_pretrained(found.folder, backbone=codec.backbone)
    return load_reader(found.folder, codec=codec)


# Questions, with the Z-spans of their passages.


class Setting(NamedTuple):
    """How passages are compressed."""

    ratio: float | None  # None: what `compress` gives without one
    query: bool = False  # whether the codec is told the question

    def __str__(self) -> str:
        ratio = "the usual ratio" if self.ratio is None else f"ratio {self.ratio:g}"
        return f"{ratio}, with the question" if self.query else ratio


@dataclass(frozen=True, slots=True)
class CompressedQuestion:
    """A question of a data set, with the Z-spans of its passages in several settings."""

    data_set: str
    question: Question
    spans: Mapping[Setting, Sequence[str]]  # of each passage

    @property
    def texts(self) -> list[str]:
        """Return the texts of its passages."""
        return [passage.text for passage in self.question.passages]


def compress_passages(
    questions: Mapping[str, Sequence[Question]], settings: Sequence[Setting], codec: Codec, cache: Path
) -> list[CompressedQuestion]:
    """Compress the passages of questions in each setting.

    All conditions must have the same questions, so a question with a passage that passed through or had to be escaped
    in any setting is left out.

    :param questions: The questions by data set.
    :param settings: The settings.
    :param codec: The codec.
    :param cache: Folder where Z-spans are kept for the next run.
    :return: The questions.
    :raises TrainingDataError: If all are left out.
    """
    flat = [(name, question) for name, group in questions.items() for question in group]
    store = SpanStore(cache, codec)
    spans = {setting: store.spans([question for _, question in flat], setting) for setting in settings}
    compressed = [
        CompressedQuestion(name, question, {setting: by_question[index] for setting, by_question in spans.items()})
        for index, (name, question) in enumerate(flat)
    ]
    kept = [
        question
        for question in compressed
        if all(_is_plain(span, codec) for passages in question.spans.values() for span in passages)
    ]
    if not kept:
        raise TrainingDataError(f"None of the {len(flat)} questions has passages that Z-tokens are made of.")
    return kept


def _is_plain(span: str, codec: Codec) -> bool:
    return next(find_spans(span), None) is not None and not codec.parse(span).escaped


class SpanStore:
    """Z-spans of passages, kept in a file of JSON lines: compressing takes longer than answering."""

    def __init__(self, folder: Path, codec: Codec) -> None:
        """Read the file of a codec, without a last line that a stopped run cut off."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._codec = folder / f"spans-{codec.fingerprint}.jsonl", codec
        lines = self._path.read_text("utf-8").splitlines(keepends=True) if self._path.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        self._spans = {(text, ratio, query): span for text, ratio, query, span in rows}
        self._path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")

    def spans(self, questions: Sequence[Question], setting: Setting) -> list[list[str]]:
        """Return the Z-spans of the passages of each question."""
        groups: list[tuple[list[str], str | None]]
        if setting.query:  # compressed together and with the question, as an app does
            groups = [([passage.text for passage in each.passages], each.question) for each in questions]
        else:
            texts = list(dict.fromkeys(passage.text for question in questions for passage in question.passages))
            groups = [(texts[start : start + CHUNK], None) for start in range(0, len(texts), CHUNK)]
        for number, (texts, query) in enumerate(groups, 1):
            self._compress(texts, setting.ratio, query)
            print(f"compress at {setting}: {number}/{len(groups)}", file=sys.stderr, flush=True)
        return [
            [self._spans[p.text, setting.ratio, each.question if setting.query else None] for p in each.passages]
            for each in questions
        ]

    def _compress(self, texts: Sequence[str], ratio: float | None, query: str | None) -> None:
        """Compress passages and append them to the file, unless it has all of them."""
        texts = list(dict.fromkeys(texts))
        if all((text, ratio, query) in self._spans for text in texts):
            return
        spans = compress(self._codec, texts, ratio=ratio, query=query, on_error="passthrough").documents
        with self._path.open("a", encoding="utf-8") as file:
            for text, span in zip(texts, spans, strict=True):
                self._spans[text, ratio, query] = span
                file.write(json.dumps([text, ratio, query, span]) + "\n")


# Answers.


@dataclass(frozen=True, slots=True)
class PassageInput:
    """The passages of a question as a reader gets them."""

    question: Question
    kind: str  # one of the forms above, or "nothing"
    passages: Sequence[str | list[int]]  # texts, Z-spans or token ids
    spans: Sequence[str]  # the Z-spans that token ids replace
    positions: int  # that the passages take; titles, question and template are not counted


def make_input(asked: CompressedQuestion, setting: Setting, kind: str, codec: Codec) -> PassageInput:
    """Return the passages of a question in one of the forms above, as short as the Z-spans of a setting."""
    spans, texts, encode = asked.spans[setting], asked.texts, codec.backbone.encode
    counts = [read_header(span).count for span in spans]
    if kind == "nothing":
        return PassageInput(asked.question, kind, (), (), 0)
    if kind == "z":
        return PassageInput(asked.question, kind, spans, spans, sum(counts))
    if kind == "extracted":
        baseline = FocusText(tokenizer=codec.backbone.tokenizer)
        shortened = baseline.shorten_together(texts, sum(counts), asked.question.question)
        texts = [short.text for short in shortened]
    ids = [encode(text) for text in texts]
    if kind in ("text", "extracted"):
        return PassageInput(asked.question, kind, texts, spans, sum(map(len, ids)))
    if kind == "truncated":
        ids = [tokens[:count] for tokens, count in zip(ids, counts, strict=True)]
    elif kind == "pruned":
        ids = [_most_surprising(codec.backbone, tokens, count) for tokens, count in zip(ids, counts, strict=True)]
    else:
        ids = [to_model_ids(tokens, READER_ALPHABET) for tokens in ids]
    return PassageInput(asked.question, kind, ids, spans, sum(map(len, ids)))


@torch.no_grad()
def _most_surprising(backbone: Backbone, ids: Sequence[int], count: int) -> list[int]:
    """Return the `count` tokens of the highest -log p(x[t] | x[<t]), in their order."""
    inputs = torch.tensor([[backbone.start_id, *ids[:-1]]])
    log = (backbone.hidden(inputs)[0] @ backbone.output_embeddings.T).log_softmax(1)  # (T, V)
    surprisal = -log.gather(1, torch.tensor(ids, device=log.device)[:, None])[:, 0]
    kept = surprisal.argsort(descending=True, stable=True)[:count].sort().values
    return [ids[index] for index in kept.tolist()]


def answer(reader: Reader | LtscReader, inputs: Sequence[PassageInput]) -> list[str]:
    """Answer questions greedily; all have their passages in the same form."""
    questions = [question.question.question for question in inputs]
    if isinstance(reader, LtscReader):
        passages = [_documents(question, question.passages) for question in inputs]
        return [answer.text for answer in reader.answer(questions, passages, max_new_tokens=ANSWER)]
    if inputs[0].kind in ("pruned", "truncated"):
        prompts = [_prompt_of_ids(reader, question) for question in inputs]
        return [completion.text.strip() for completion in reader.complete(prompts, max_new_tokens=ANSWER)]
    if inputs[0].kind == "z":
        passages = [_documents(question, question.spans) for question in inputs]
    else:
        passages = [
            _documents(question, [escape_literal(str(text)) for text in question.passages]) for question in inputs
        ]
    return [
        answer.text for answer in reader.answer(questions, passages, max_passage_tokens=None, max_new_tokens=ANSWER)
    ]


def _documents(question: PassageInput, contents: Sequence[str | list[int]]) -> list[dict[str, object]]:
    titles = [passage.title for passage in question.question.passages][: len(contents)]
    return [{"title": title, "text": content} for title, content in zip(titles, contents, strict=True)]


def _prompt_of_ids(reader: Reader, question: PassageInput) -> PreparedPrompt:
    """Put token ids in the place of Z-spans, so that they are not tokenized anew."""
    pieces = {
        span: TextPiece(reader.tokenizer.spell_out(ids))
        for span, ids in zip(question.spans, question.passages, strict=True)
        if not isinstance(ids, str)
    }
    messages = question_messages(question.question.question, _documents(question, question.spans))
    return PreparedPrompt.of(encode_messages(reader.tokenizer, messages, pieces.__getitem__))
