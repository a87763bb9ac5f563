"""What several benchmarks share: texts and questions, Z-tokens laid over their text, and lines of a report.

Passages of Wikipedia are whole paragraphs from an article's beginning, as a retriever returns them. Their file is not
part of the project; without it, the prose of the examples is used. Nor are the questions, ../shared/data/*-dev.jsonl:
any files in the format of zprompt/eval/datasets.py will do. Machine texts, which are repetitive, are Python's standard
library, the JSON of packages, and logs of this machine.
"""

import json
import math
import re
import site
import statistics
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zprompt import Codec
from zprompt.baselines import Tokenizer
from zprompt.errors import RatioWarning
from zprompt.eval import (
    RESAMPLES,
    Estimate,
    Interval,
    Question,
    RunRecord,
    bootstrap,
    draw,
    holds_answer,
    read_questions,
    table,
)
from zprompt.results import CompressionResult
from zprompt.zspan import ZToken, find_spans

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PROSE = ROOT / "examples" / "texts"
DATA = ROOT.parent / "shared" / "data"
WIKIPEDIA = DATA / "wikipedia-dev.jsonl"
QUESTION_SETS = ("xquad", "nq", "hotpotqa", "musique")

LONG = 20_000  # tokens of a long input
MOST = 200_000  # tokens of a kind of machine texts, about

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Count = Callable[[str], int]  # tokens of a text
Row = dict[str, Any]  # of a table, by column
Documents = list[dict[str, Any]]  # with title and text
Tables = dict[str, list[Row]]  # the rows of a task, by table


# Natural texts.


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its origin."""

    name: str
    domain: str
    text: str


def wikipedia_file() -> Path | None:
    """Return the Wikipedia file, or None if it is not there."""
    return WIKIPEDIA if WIKIPEDIA.is_file() else None


def natural_documents(path: Path | None, articles: int, tokens: int, seed: int, count: Count) -> list[Document]:
    """Draw passages from Wikipedia, or take the project's own prose.

    :param path: The Wikipedia file; None if there is none.
    :param articles: Articles to draw.
    :param tokens: Tokens of a passage, at most; a passage has one paragraph at least.
    :param seed: Seed of the draw.
    :param count: Counts the tokens of a text.
    :return: The passages, in the file's order.
    """
    if path is None:
        return [Document(file.name, "prose", read_exactly(file)) for file in sorted(PROSE.glob("*.txt"))]
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Document(row["title"], "wikipedia", first_paragraphs(row["paragraphs"], tokens, count))
        for row in draw(rows, articles, seed)
    ]


def first_paragraphs(paragraphs: Sequence[str], tokens: int, count: Count) -> str:
    """Join whole paragraphs from the beginning, as many as fit and one at least."""
    taken = paragraphs[0]
    for paragraph in paragraphs[1:]:
        longer = f"{taken}\n\n{paragraph}"
        if count(longer) > tokens:
            break
        taken = longer
    return taken


def read_paragraphs(path: Path) -> list[list[str]]:
    """Return the paragraphs of each text of a file: plain text, or JSON lines with "paragraphs" or "text"."""
    text = path.read_text("utf-8")
    if path.suffix != ".jsonl":
        return [re.split(r"\n\s*\n", text.strip())]
    rows = [json.loads(line) for line in text.splitlines()]
    return [row.get("paragraphs") or re.split(r"\n\s*\n", row.get("text", "")) for row in rows]


def joined_prose(path: Path | None) -> str:
    """Join all articles of the Wikipedia file into one long text, or the project's prose if there is no file."""
    files = [path] if path else sorted(PROSE.glob("*.txt"))
    return "\n\n".join(paragraph for file in files for text in read_paragraphs(file) for paragraph in text)


def read_exactly(path: Path) -> str:
    """Read a text with its line ends as they are."""
    return path.read_bytes().decode("utf-8")


# Questions.


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its passages."""

    set: str
    question: str
    answers: list[str]
    passages: Documents

    @property
    def gold(self) -> Documents:
        """Return the passages that hold an answer."""
        return [passage for passage in self.passages if holds_answer(passage["text"], self.answers)]

    @property
    def others(self) -> Documents:
        """Return the passages that do not."""
        return [passage for passage in self.passages if not holds_answer(passage["text"], self.answers)]


def question_files() -> list[Path]:
    """List the files of QUESTION_SETS that exist."""
    return [path for name in QUESTION_SETS if (path := DATA / f"{name}-dev.jsonl").is_file()]


def draw_questions(files: Sequence[Path], limit: int, seed: int = 0) -> dict[str, list[Question]]:
    """Draw `limit` questions from each file, in its order; return them by the name of their data set."""
    return {path.stem.removesuffix("-dev"): draw(read_questions([str(path)]), limit, seed) for path in files}


# Texts of this machine.


def machine_files() -> dict[str, list[Path]]:
    """List the texts of each kind, none of them empty."""
    library = Path(sysconfig.get_paths()["stdlib"])
    packages = Path(site.getsitepackages()[0])
    logs = [*Path("/var/log").rglob("*.log"), *(ROOT / "tests" / "texts").glob("*.log")]
    kinds = {"code": library.glob("*.py"), "JSON": packages.rglob("*.json"), "logs": logs}
    return {kind: sorted(path for path in paths if path.stat().st_size) for kind, paths in kinds.items()}


def machine_ids(paths: Sequence[Path], tokenizer: Tokenizer) -> list[int]:
    """Concatenate the token ids of files; of a large file, those of its beginning."""
    ids: list[int] = []
    for path in paths:
        try:
            text = path.read_text("utf-8")[: 60 * LONG // len(paths) + LONG]
        except (OSError, UnicodeDecodeError):
            continue  # a log that only root may read, say
        ids += tokenizer.encode(text)
        if len(ids) > MOST:
            break
    return ids


def draw_inputs(ids: Sequence[int], tokens: int, limit: int, seed: int) -> list[list[int]]:
    """Cut ids into inputs of `tokens` ids, and draw `limit` of them, in their order."""
    starts = range(0, len(ids) - tokens + 1, tokens)
    return [list(ids[start : start + tokens]) for start in draw(starts, limit, seed)]


# Z-tokens over their text.


@dataclass(frozen=True, slots=True, eq=False)
class TiledText:
    """A text with its Z-tokens laid over its source tokens."""

    text: str
    ids: Ints  # (n,) source tokens
    offsets: tuple[tuple[int, int], ...]  # of each, in characters of the text
    tokens: tuple[ZToken, ...]

    @property
    def starts(self) -> Ints:
        """Return the index of each anchor in ids, (z,)."""
        lengths = np.array([token.gap + 1 for token in self.tokens], np.int64)
        return np.cumsum(lengths) - lengths


def tile_text(codec: Codec, text: str, span: str) -> TiledText | None:
    """Lay the Z-tokens of a Z-span over its text; None if the text passed through, or had to be escaped."""
    if next(find_spans(span), None) is None:
        return None
    parsed = codec.parse(span)
    if parsed.escaped:
        return None
    ids, offsets = codec.backbone.encode_with_offsets(text)
    return TiledText(text, np.array(ids, np.int64), tuple(offsets), parsed.tokens)


def compress(codec: Codec, docs: Any, **options: Any) -> CompressionResult:  # noqa: ANN401 - as Codec.compress
    """Compress without warnings about ratios out of reach: the tables have those that were reached."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RatioWarning)
        return codec.compress(docs, **options)


# Reports.


@dataclass(frozen=True, slots=True)
class Range:
    """A figure with a lower and an upper bound."""

    value: float
    low: float
    high: float

    @classmethod
    def of_rounds(cls, values: Iterable[float]) -> "Range":
        """Return the median of some rounds, with the lowest and the highest."""
        rounds = list(values)
        return cls(statistics.median(rounds), min(rounds), max(rounds))

    @classmethod
    def of_mean(cls, values: Floats) -> "Range":
        """Return a mean with its 95 % interval, by a bootstrap."""
        interval = mean_interval(values)
        return cls(float(values.mean()), interval.low, interval.high)

    @classmethod
    def of_quotient(cls, above: Floats, below: Floats, seed: int) -> "Range":
        """Return a quotient of sums with its 95 % interval, by a paired bootstrap."""
        drawn = np.random.default_rng(seed).integers(0, len(above), (RESAMPLES, len(above)))
        with np.errstate(divide="ignore", invalid="ignore"):  # NaN or infinite if the divisor is 0
            low, high = np.percentile(above[drawn].sum(1) / below[drawn].sum(1), (2.5, 97.5))
            return cls(float(np.divide(above.sum(), below.sum())), float(low), float(high))


def figures(rows: Sequence[Row], formats: Mapping[str, str]) -> Iterator[str]:
    """Write rows as a Markdown table.

    :param rows: The rows.
    :param formats: The format spec of each column; estimates are written with interval and worst case, medians with the
        lowest and the highest.
    :yields: The lines.
    """
    cells = [tuple(_cell(row[column], spec) for column, spec in formats.items()) for row in rows]
    yield from table(tuple(formats), cells)


def _cell(value: object, spec: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, Range | Estimate):
        if not all(map(math.isfinite, (value.value, value.low, value.high))):
            return "–"
        worst = f", {value.worst:{spec}}" if isinstance(value, Estimate) else ""
        return f"**{value.value:{spec}}** [{value.low:{spec}}, {value.high:{spec}}]{worst}"
    return format(value, spec)


def mean_interval(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Return the 95 % interval of a mean."""
    return bootstrap(lambda drawn: float(values[drawn].mean()), len(values), resamples, seed)


def describe_run(record: RunRecord) -> str:
    """Return where, when and how a benchmark ran, in sentences."""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return (
        f"`{record.command}` at commit {record.commit}, {record.started}, {record.seconds / 60:.1f} minutes, "
        f"seed {record.seed}. Machine: {record.machine}, {record.cores} cores, {record.memory_gigabytes:.0f} GB, "
        f"{record.threads} threads, load average {record.load_average:.1f}; {versions}."
    )


def one_cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
