"""From files to what training draws from and measuring needs: passages in Z-tokens, questions, a teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zprompt.codec import Codec
from zprompt.eval import Question, read_questions
from zprompt.llm import llama_of
from zprompt.reader import ContentTokenizer, ZEmbedding
from zprompt.train.corpus import read_texts
from zprompt.train.reader.config import ReaderTrainConfig
from zprompt.train.reader.continuation import Continuation
from zprompt.train.reader.evaluation import Answers, Benefit, BenefitMeter, measure_answers
from zprompt.train.reader.examples import Asked, Examples
from zprompt.train.reader.passages import cut_passages
from zprompt.train.reader.prompts import Prompts, Titled
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.teacher import Teacher, surprised
from zprompt.train.reader.tiles import Tile, TileStore, chance

Figures = dict[str, float]
Report = Callable[[str, int, int, Figures], None]  # stage, step, steps, figures


@dataclass(frozen=True, slots=True)
class Sources:
    """What a reader is trained and measured on."""

    text: Sequence[str]  # files, folders, datasets, as corpus.py reads them
    questions: Sequence[str] = ()  # JSONL files, as questions.py reads them
    dev_text: Sequence[str] = ()  # without any, a part of the text is held out
    dev_questions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Development:
    """What a reader is measured with."""

    meters: dict[str, BenefitMeter]  # by ratio
    questions: dict[str, list[Asked]]
    prompts: Prompts
    decode: Callable[[list[int]], str]

    def benefit(self, reading: Reading) -> dict[str, Benefit]:
        """Measure the context benefit at each ratio.

        :param reading: The reader.
        :return: The figures by ratio.
        """
        return {ratio: meter.measure(reading) for ratio, meter in self.meters.items()}

    def answers(self, reading: Reading) -> dict[str, Answers]:
        """Let the reader answer at each ratio.

        :param reading: The reader.
        :return: The figures by ratio; none if there are no questions.
        """
        return {
            ratio: measure_answers(reading, self.prompts, asked, self.decode)
            for ratio, asked in self.questions.items()
            if asked
        }


class Materials:
    """Turns sources into what training and measuring need."""

    def __init__(self, codec: Codec, config: ReaderTrainConfig, cache: Path, report: Report | None) -> None:
        """Choose what passages are turned into, and how.

        :param codec: The codec.
        :param config: Which passages, at which ratios, as which input.
        :param cache: Where Z-tokens and expectations are kept.
        :param report: Called as work goes on.
        """
        self.codec, self.config, self.cache, self.report = codec, config, cache, report
        self.store = TileStore(cache / "tiles.jsonl", codec)
        tokenizer = ContentTokenizer(codec.backbone)
        self.prompts = Prompts(tokenizer, config.input, codec.settings.subcodes)
        self.continuation = Continuation(config.input, tokenizer.start_id, config.continued)
        self.question_tiles: list[Tile] = []
        self.held_out: list[str] = []

    def examples(self, sources: Sources) -> Examples:
        """Cut, tile and teach the training data.

        :param sources: The data.
        :return: What rows are drawn from.
        """
        config = self.config
        texts = self.passages(sources.text, config.passages + (0 if sources.dev_text else config.dev_passages))
        if not sources.dev_text:
            held = min(config.dev_passages, len(texts) // 2)
            self.held_out, texts = texts[:held], texts[held:]
        questions = read_questions(sources.questions)
        tiles = self.store.tiles(texts, config.ratios, self.say("tile"))
        asked = self.asked(questions, config.ratios, "tile questions", config.query_aware)
        self.question_tiles = list({p.tile.span: p.tile for one in asked for p in one.passages}.values())
        teacher = Teacher(self.cache / "teacher", self.codec.backbone, [tile.ids for tile in tiles], config.top)
        teacher.ensure(self.say("teach"))
        if config.input == "pruned":
            tiles = [replace(tile, surprisal=teacher.surprisal(index)) for index, tile in enumerate(tiles)]
            asked = self._surprised(asked, "questions")
        return Examples(config, self.prompts, tiles, asked, teacher)

    def development(self, sources: Sources) -> Development:
        """Cut and tile the development data, at each ratio.

        :param sources: The data.
        :return: What readers are measured with.
        """
        config, backbone = self.config, self.codec.backbone
        texts = self.passages(sources.dev_text, config.dev_passages) if sources.dev_text else self.held_out
        questions = read_questions(sources.dev_questions)[: config.dev_questions]
        untuned = Reading(
            llama_of(backbone),
            ZEmbedding(self.codec.settings, backbone.hidden_size).to(backbone.device),
            backbone.embeddings,
            backbone.output_embeddings,
        )
        meters, asked = {}, {}
        for ratio in config.dev_ratios:
            tiles = self.store.tiles(texts, (ratio,), self.say("tile development"))
            aware = 1.0 if config.query_aware else 0.0
            here = self.asked(questions, (ratio,), "tile development questions", aware)
            if config.input == "pruned":
                titled = [Titled("", tile) for tile in tiles]
                tiles = [p.tile for p in self._surprised([Asked("", ("",), tuple(titled))], "dev")[0].passages]
                here = self._surprised(here, "dev-questions")
            meters[f"{ratio:g}"] = BenefitMeter(untuned, tiles, self.continuation)
            asked[f"{ratio:g}"] = here
        return Development(meters, asked, self.prompts, backbone.decode)

    def passages(self, sources: Sequence[str], count: int) -> list[str]:
        """Cut passages out of texts.

        :param sources: Files, folders and datasets.
        :param count: Passages wanted.
        :return: The passages.
        """
        config = self.config
        least = config.shortest_context + config.continued
        encode = self.codec.backbone.encode_with_offsets
        return cut_passages(read_texts(sources), encode, least, config.passage_tokens, count, config.seed)

    def asked(
        self, questions: Sequence[Question], ratios: Sequence[float], stage: str, query_aware: float = 0.0
    ) -> list[Asked]:
        """Tile the passages of questions.

        :param questions: The questions.
        :param ratios: Source tokens per Z-token.
        :param stage: What this is called in reports.
        :param query_aware: Share of the questions whose passages are compressed with the question.
        :return: The questions; one that lacks a tile is left out.
        """
        blind = [one for one in questions if chance(one.question) >= query_aware]
        aware = [one for one in questions if chance(one.question) < query_aware]
        texts = [passage.text for one in blind for passage in one.passages]
        shared = {tile.text: tile for tile in self.store.tiles(texts, ratios, self.say(stage))}
        with_texts = [(one.question, [passage.text for passage in one.passages]) for one in aware]
        own = self.store.tiles_for(with_texts, ratios, self.say(f"{stage}, with them"))
        tiles = [*([shared] * len(blind)), *({tile.text: tile for tile in each} for each in own)]
        return [
            Asked(one.question, one.answers, tuple(Titled(p.title, known[p.text]) for p in one.passages))
            for one, known in zip([*blind, *aware], tiles, strict=True)
            if all(passage.text in known for passage in one.passages)
        ]

    def _surprised(self, asked: Sequence[Asked], name: str) -> list[Asked]:
        """Give the passages of questions their surprisals."""
        tiles = {p.tile.text: p.tile for one in asked for p in one.passages}
        if not tiles:
            return list(asked)
        folder, say = self.cache / f"surprisal-{name}", self.say("surprise")
        known = {tile.text: tile for tile in surprised(list(tiles.values()), folder, self.codec.backbone, say)}
        return [
            replace(one, passages=tuple(_as_surprising(passage, known) for passage in one.passages)) for one in asked
        ]

    def say(self, stage: str) -> Callable[[int, int], None]:
        """Give what reports the work of a stage.

        :param stage: What it is called.
        :return: A function of what is done and what is to be done.
        """
        return lambda done, total: self.report(stage, done, total, {}) if self.report else None


def _as_surprising(passage: Titled, known: Mapping[str, Tile]) -> Titled:
    """Give a passage the surprisals of another tile of the same text."""
    return Titled(passage.title, replace(passage.tile, surprisal=known[passage.tile.text].surprisal))
