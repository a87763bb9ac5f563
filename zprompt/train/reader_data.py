"""What a reader learns from: packed sequences of four tasks, drawn at random.

    continuation   passage in Z-tokens, cut anywhere ─► the text that follows, with the teacher's predictions
    questions      question, its gold passage and a few others ─► the answer; with input "z", in all forms that focusing
                   gives passages (focused_questions.py)
    cloze          passage in Z-tokens ─► what is missing in some of its sentences
    repetition     a short run of Z-tokens ─► the text that they stand for

The form that passages are given in is the condition of an experiment; only readers trained on "z" are for users.

    z            its Z-tokens
    text         its source tokens: the ceiling
    pruned       the source tokens of the highest surprisal, as many as there are Z-tokens
    truncated    the first source tokens, as many as there are Z-tokens
    ltsc         its source tokens, with LTSC's meta-tokens for what is repeated
    codes        its Z-tokens with learned codes; the sequence has its source tokens, and gaps at the anchors (codes.py)
    paper-a      codes alone; the sequence has its source tokens, and one gap over all of them
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zprompt.baselines.ltsc import READER_ALPHABET, read_dictionary, to_model_ids
from zprompt.codec import Codec
from zprompt.errors import OptionError, TrainingDataError
from zprompt.eval import Question, read_questions
from zprompt.reader import (
    ContentTokenizer,
    Piece,
    SpanPiece,
    TextPiece,
    chat_template,
    encode_messages,
    question_messages,
)
from zprompt.relevance import shared_relevance
from zprompt.train.cloze import cloze_questions
from zprompt.train.config import CODES, TASKS, ReaderTrainConfig
from zprompt.train.corpus import read_texts
from zprompt.train.focused_questions import FocusedQuestions
from zprompt.train.loop import Report
from zprompt.train.packing import Branch, Ints, PackedSequence, Positions, Source
from zprompt.train.passages import CountReport, PassageStore, TiledPassage, cut_passages
from zprompt.train.teacher import with_surprisals
from zprompt.zspan import ZToken, escape_literal

AGAIN = "\n\nThe same text again:\n\n"  # asks for a repetition
SHORTEST = 8  # tokens of a continuation, at least
CONTEXT = 128  # source tokens of the shortest context that is measured
OTHERS = 6000  # passages of the text that may be distractors of a question, if they are near it
TRIES = 100  # to make a sequence of a task


# Passages, as the reader sees them.


@dataclass(frozen=True, slots=True, eq=False)
class PassageInput:
    """A passage as the reader sees it."""

    piece: Piece
    places: Ints  # (z + 1,) positions of the piece before each anchor, then all of them


def as_input(passage: TiledPassage, kind: str) -> PassageInput:
    """Return a passage as the reader sees it.

    :param passage: The passage; for "pruned" it has surprisals.
    :param kind: One of INPUTS.
    :return: The input.
    :raises OptionError: If the kind is unknown, or what it needs is missing.
    """
    ids, count, edges = passage.ids.tolist(), len(passage.tokens), passage.edges
    if kind == "z":
        return PassageInput(SpanPiece(passage.tokens), np.arange(count + 1))
    if kind == "text":
        return PassageInput(TextPiece(tuple(ids)), edges)
    if kind in CODES:
        gaps = np.zeros(len(ids), np.int64)
        if kind == "codes":
            gaps[passage.starts] = [token.gap for token in passage.tokens]
        else:
            gaps[0] = len(ids) - 1
        return PassageInput(SpanPiece(tuple(map(ZToken, ids, gaps.tolist()))), edges)
    if kind == "truncated":
        return PassageInput(TextPiece(tuple(ids[:count])), np.arange(count + 1))
    if kind == "pruned" and passage.surprisal is not None:
        kept = np.sort(np.argsort(-passage.surprisal, kind="stable")[:count])
        return PassageInput(TextPiece(tuple(ids[index] for index in kept)), np.searchsorted(kept, edges))
    if kind == "ltsc":
        meta_ids, places = as_meta_tokens(passage)
        return PassageInput(TextPiece(tuple(meta_ids)), places)
    raise OptionError(f"This passage cannot be given as input {kind!r}.")


def as_meta_tokens(passage: TiledPassage) -> tuple[list[int], Ints]:
    """Write a passage with LTSC's meta-tokens for what is repeated.

    :param passage: The passage.
    :return: Ids, and the `places` of `PassageInput`; a meta-token that spans an anchor does not count as before it.
    """
    alphabet = READER_ALPHABET
    ids = to_model_ids(passage.ids.tolist(), alphabet)
    entries, body = read_dictionary(ids, alphabet) if ids[0] == alphabet.dictionary else ([], 0)
    sizes = [len(entries[token - alphabet.first_entry]) if token >= alphabet.first else 1 for token in ids[body:]]
    return ids, body + np.searchsorted(np.cumsum(sizes), passage.edges, side="right")


# Prompts, as zprompt/reader/prompt.py words them.


class TitledPassage(NamedTuple):
    """A passage and its title, which may be empty."""

    title: str
    passage: TiledPassage


@dataclass(frozen=True, slots=True, eq=False)
class TiledQuestion:
    """A question with its passages in Z-tokens."""

    question: str
    answers: tuple[str, ...]
    passages: tuple[TitledPassage, ...]


class Prompts:
    """Makes prompts of questions, with passages given as one kind of input."""

    def __init__(self, tokenizer: ContentTokenizer, kind: str) -> None:
        """Hold the reader's tokenizer, and one of INPUTS."""
        self.tokenizer, self.kind = tokenizer, kind
        ends = chat_template(tokenizer).end_ids
        self.end_id = min(ends) if ends else tokenizer.start_id

    def pieces(self, question: str, passages: Sequence[TitledPassage]) -> list[Piece]:
        """Return the prompt that asks a question about passages, if there are any."""
        plain = self.kind == "text"
        documents = [
            {"title": title, "text": escape_literal(passage.text) if plain else passage.span}
            for title, passage in passages
        ]
        contents = {} if plain else {passage.span: self._content(passage) for _, passage in passages}
        messages = question_messages(escape_literal(question), documents)
        return encode_messages(self.tokenizer, messages, contents.__getitem__)

    def _content(self, passage: TiledPassage) -> Sequence[ZToken] | TextPiece:
        piece = as_input(passage, self.kind).piece
        return piece.tokens if isinstance(piece, SpanPiece) else TextPiece(self.tokenizer.spell_out(piece.ids))

    def question(self, question: str, passages: Sequence[TitledPassage]) -> Positions:
        """Return the same prompt as positions."""
        return Positions.of_pieces(self.pieces(question, passages))

    def answer(self, answer: str) -> Ints:
        """Return the token ids of an answer, with the end token."""
        return np.array([*self.tokenizer.encode(answer.strip(" \n,;.")), self.end_id], np.int64)


# Packed sequences.


@dataclass(frozen=True, slots=True)
class Continuation:
    """How continuations are made."""

    kind: str  # of input
    start_id: int  # the token that starts every text
    size: int  # tokens of a continuation

    def pack(self, passage: TiledPassage, cuts: Iterable[int], index: int | None = None) -> PackedSequence | None:
        """Pack a passage with the continuations that follow some cuts.

        :param passage: The passage.
        :param cuts: Source tokens before each cut; the next Z-token begins the continuation.
        :param index: Its index among the teacher's passages; None: it is not one of them.
        :return: The sequence; None if no cut leaves enough tokens.
        """
        context, edges = as_input(passage, self.kind), passage.edges
        branches = []
        if self.kind == "paper-a":
            cuts = list(cuts)[-1:]  # each cut would have codes of its own
        for edge in dict.fromkeys(int(np.searchsorted(edges, cut)) for cut in cuts):
            begin = int(edges[min(edge, len(passage.starts))])
            ids = passage.ids[begin : begin + self.size]
            if begin and len(ids) >= SHORTEST:
                source = None if index is None else Source(index, begin)
                branches.append(Branch(1 + int(context.places[edge]), ids, 0, source))
        if not branches:
            return None
        trunk = Positions.of_pieces((TextPiece((self.start_id,)), context.piece))
        return PackedSequence("continuation", trunk[: branches[-1].fork], tuple(branches))


@dataclass(frozen=True, slots=True, eq=False)
class Contexts:
    """Continuations of development passages: one sequence a passage, its context as the reader sees it, and as text."""

    given: Sequence[PackedSequence]
    text: Sequence[PackedSequence]

    @classmethod
    def of(cls, passages: Sequence[TiledPassage], continuation: Continuation) -> "Contexts":
        """Cut continuations of passages; passages that are too short are left out."""
        plain, given, text = replace(continuation, kind="text"), [], []
        for passage in passages:
            cuts: Sequence[int] = range(CONTEXT, len(passage.ids), continuation.size)
            cuts = cuts[-1:] if continuation.kind == "paper-a" else cuts
            sequence, text_sequence = continuation.pack(passage, cuts), plain.pack(passage, cuts)
            if sequence and text_sequence:
                given.append(sequence)
                text.append(text_sequence)
        return cls(given, text)


class ReaderExamples:
    """Draws packed sequences."""

    def __init__(
        self,
        config: ReaderTrainConfig,
        prompts: Prompts,
        passages: Sequence[TiledPassage],
        questions: Sequence[TiledQuestion] | Sequence[Question],
        focused: FocusedQuestions | None = None,
    ) -> None:
        """Hold what sequences are made of.

        :param config: Shares and sizes.
        :param prompts: Makes the prompts.
        :param passages: Passages of text.
        :param questions: Questions; without any, their share goes to the other tasks.
        :param focused: Draws the questions instead; `questions` then only tells how many there are.
        :raises TrainingDataError: If there is nothing to learn from.
        """
        self.config, self.prompts, self.passages, self.focused = config, prompts, passages, focused
        self.questions: Sequence[Any] = questions
        self.start = TextPiece((prompts.tokenizer.start_id,))
        self.again = TextPiece(prompts.tokenizer.encode(AGAIN))
        self.continuation = Continuation(prompts.kind, prompts.tokenizer.start_id, config.continued)
        possible = {task: bool(questions) if task == "questions" else bool(passages) for task in TASKS}
        shares = np.array([config.shares[task] * possible[task] for task in TASKS])
        if not shares.sum():
            raise TrainingDataError("There is no text and no question to train on. Pass --data, --qa or both.")
        self.shares = shares / shares.sum()

    def draw(self, random: np.random.Generator) -> list[PackedSequence]:
        """Draw the sequences of one step, in which each task has its share as nearly as possible."""
        quantiles = (np.arange(self.config.batch) + random.random()) / self.config.batch
        tasks = np.searchsorted(self.shares.cumsum(), quantiles, side="right").clip(max=len(TASKS) - 1)
        return [self.draw_one(TASKS[task], random) for task in tasks]

    def draw_one(self, task: str, random: np.random.Generator) -> PackedSequence:
        """Draw one sequence of a task; raise TrainingDataError if none can be made."""
        draw = {
            "continuation": self._continuation,
            "questions": self._question,
            "cloze": self._cloze,
            "repetition": self._repetition,
        }[task]
        for _ in range(TRIES):
            sequence = draw(random)
            if sequence:
                return sequence
        raise TrainingDataError(f"The training text has nothing for the task {task!r}. Set its share to 0.")

    def _continuation(self, random: np.random.Generator) -> PackedSequence | None:
        index = int(random.integers(len(self.passages)))
        passage, size = self.passages[index], self.config.continued
        first = min(self.config.shortest_context + int(random.integers(size)), len(passage.ids) - size)
        return self.continuation.pack(passage, range(first, len(passage.ids), size), index)

    def _repetition(self, random: np.random.Generator) -> PackedSequence | None:
        passage = self.passages[int(random.integers(len(self.passages)))]
        edges = passage.edges
        latest = int(np.searchsorted(edges, len(passage.ids) - self.config.repeated))
        first = int(random.integers(max(1, latest)))
        last = int(np.searchsorted(edges, edges[first] + self.config.repeated, side="right")) - 1
        part = passage.part(first, max(last, first + 1))
        trunk = Positions.of_pieces((self.start, as_input(part, self.prompts.kind).piece, self.again))
        return PackedSequence("repetition", trunk, (Branch(len(trunk), part.ids, 0),))

    def _cloze(self, random: np.random.Generator) -> PackedSequence | None:
        passage = self.passages[int(random.integers(len(self.passages)))]
        clozes = cloze_questions(passage.text, self.config.cloze_questions, random)
        if not clozes:
            return None
        prompts = [self.prompts.question(cloze.question, [TitledPassage("", passage)]) for cloze in clozes]
        return _share_prefix("cloze", prompts, [self.prompts.answer(cloze.answer) for cloze in clozes])

    def focused_question(self, random: np.random.Generator, answered: bool | None = None) -> PackedSequence:
        """Draw questions in one of the forms of focused_questions.py; raise TrainingDataError if there are none."""
        if self.focused is None:
            raise TrainingDataError("There are no questions to focus passages on. Pass --qa.")
        drawn = self.focused.draw(self.config.distractors, random, answered)
        return _share_prefix("questions", drawn.prompts, [self.prompts.answer(answer) for answer in drawn.answers])

    def _question(self, random: np.random.Generator) -> PackedSequence | None:
        if self.focused:
            return self.focused_question(random)
        question = self.questions[int(random.integers(len(self.questions)))]
        count = int(random.integers(self.config.distractors + 1))
        others = [self.questions[i].passages[0] for i in random.integers(len(self.questions), size=count)]
        passages = list({titled.passage.span: titled for titled in (*question.passages, *others)}.values())
        prompt = self.prompts.question(question.question, [passages[i] for i in random.permutation(len(passages))])
        return _share_prefix("questions", [prompt], [self.prompts.answer(question.answers[0])])


def _share_prefix(task: str, prompts: Sequence[Positions], answers: Sequence[Ints]) -> PackedSequence:
    """Pack prompts that share a prefix, each with its answer; what follows the prefix has no Z-tokens."""
    shared = min((prompts[0].common_prefix(prompt) for prompt in prompts), default=0)
    branches = tuple(
        Branch(shared, np.concatenate((prompt.ids[shared:], answer)), len(prompt) - shared)
        for prompt, answer in zip(prompts, answers, strict=True)
    )
    return PackedSequence(task, prompts[0][:shared], branches)


# From files to passages and questions in Z-tokens.


@dataclass(frozen=True, slots=True)
class Sources:
    """What a reader is trained and measured on."""

    text: Sequence[str]  # files, folders, datasets, as corpus.py reads them
    questions: Sequence[str] = ()  # JSONL files, as `zprompt.eval.read_questions` reads them
    dev_text: Sequence[str] = ()  # without any, some of the text is held out
    dev_questions: Sequence[str] = ()


class ReaderData:
    """Cuts and compresses what training and evaluation need."""

    def __init__(self, codec: Codec, config: ReaderTrainConfig, cache: Path, report: Report | None) -> None:
        """Open the store of Z-tokens, and prepare the prompts.

        :param codec: The codec.
        :param config: Which passages, at which ratios, as which input.
        :param cache: Folder for Z-tokens and the teacher's predictions.
        :param report: Called as work goes on.
        """
        self.codec, self.config, self.cache, self.report = codec, config, cache, report
        self.store = PassageStore(cache / "tiles.jsonl", codec)
        self.prompts = Prompts(ContentTokenizer(codec.backbone), config.input)

    def examples(self, texts: Sequence[str], sources: Sources) -> ReaderExamples:
        """Compress training passages and those of questions."""
        config, questions = self.config, read_questions(sources.questions)
        passages = self.store.tile(texts, config.ratios, self.count_report("tile"))
        if config.input == "z":
            focused = self._focused(questions, sources) if questions else None
            return ReaderExamples(config, self.prompts, passages, questions, focused)
        tiled = self.tile_questions(questions, config.ratios, "tile questions")
        if config.input == "pruned":
            passages = self.with_surprisals(passages, "train")
            tiled = self.questions_with_surprisals(tiled, "questions")
        return ReaderExamples(config, self.prompts, passages, tiled)

    def development(self, texts: Sequence[str]) -> dict[str, Contexts]:
        """Compress development passages at each ratio, and cut continuations of them."""
        config = self.config
        continuation = Continuation(config.input, self.codec.backbone.start_id, config.continued)
        contexts = {}
        for ratio in config.dev_ratios:
            passages = self.store.tile(texts, (ratio,), self.count_report("tile development"))
            if config.input == "pruned":
                passages = self.with_surprisals(passages, "dev")
            contexts[f"{ratio:g}"] = Contexts.of(passages, continuation)
        return contexts

    def _focused(self, questions: Sequence[Question], sources: Sources) -> FocusedQuestions:
        others = self._cut(sources.text, OTHERS) if sources.text else []
        encode = self.codec.backbone.encode_with_offsets
        return FocusedQuestions(questions, others, shared_relevance(), self.prompts.tokenizer, encode)

    def split(self, sources: Sources) -> tuple[list[str], list[str]]:
        """Cut passages to train on and to measure on; without development text, some of the passages are held out."""
        config = self.config
        if sources.dev_text:
            texts = self._cut(sources.text, config.passages) if sources.text else []
            return texts, self._cut(sources.dev_text, config.dev_passages)
        texts = self._cut(sources.text, config.passages + config.dev_passages) if sources.text else []
        held = min(config.dev_passages, len(texts) // 2)
        return texts[held:], texts[:held]

    def _cut(self, sources: Sequence[str], count: int) -> list[str]:
        config, encode = self.config, self.codec.backbone.encode_with_offsets
        least = config.shortest_context + config.continued
        return cut_passages(read_texts(sources), encode, least, config.passage_tokens, count, config.seed)

    def tile_questions(self, questions: Sequence[Question], ratios: Sequence[float], stage: str) -> list[TiledQuestion]:
        """Compress the passages of questions.

        :param questions: The questions.
        :param ratios: Source tokens per Z-token.
        :param stage: The name of this stage in reports.
        :return: The questions; one that has a passage without Z-tokens is left out.
        """
        texts = [passage.text for question in questions for passage in question.passages]
        tiled = {passage.text: passage for passage in self.store.tile(texts, ratios, self.count_report(stage))}
        return [
            TiledQuestion(
                question.question,
                question.answers,
                tuple(TitledPassage(passage.title, tiled[passage.text]) for passage in question.passages),
            )
            for question in questions
            if all(passage.text in tiled for passage in question.passages)
        ]

    def development_questions(self, questions: Sequence[Question]) -> dict[str, list[TiledQuestion]]:
        """Compress the passages of development questions, by ratio; a ratio that no passage reaches is left out."""
        by_ratio = {}
        for ratio in self.config.dev_ratios:
            tiled = self.tile_questions(questions, (ratio,), "tile development questions")
            if self.config.input == "pruned":
                tiled = self.questions_with_surprisals(tiled, "dev-questions")
            if tiled:
                by_ratio[f"{ratio:g}"] = tiled
        return by_ratio

    def with_surprisals(self, passages: Sequence[TiledPassage], name: str) -> list[TiledPassage]:
        """Add surprisals, which are cached under a name, to passages; passages of the same text share theirs."""
        if not passages:
            return []
        distinct = list({passage.text: passage for passage in passages}.values())
        folder, report = self.cache / f"surprisal-{name}", self.count_report("surprisals")
        measured = with_surprisals(distinct, folder, self.codec.backbone, report)
        surprisals = {passage.text: passage.surprisal for passage in measured}
        return [replace(passage, surprisal=surprisals[passage.text]) for passage in passages]

    def questions_with_surprisals(self, questions: Sequence[TiledQuestion], name: str) -> list[TiledQuestion]:
        """Add surprisals to the passages of questions."""
        passages = [titled.passage for question in questions for titled in question.passages]
        measured = iter(self.with_surprisals(passages, name))
        return [
            replace(question, passages=tuple(TitledPassage(title, next(measured)) for title, _ in question.passages))
            for question in questions
        ]

    def count_report(self, stage: str) -> CountReport:
        """Return a function that reports the progress of a stage."""
        return lambda done, total: self.report(stage, done, total, {}) if self.report else None
