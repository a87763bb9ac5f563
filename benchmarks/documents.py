"""The texts that the codec is measured on.

wikipedia   passages of wikipedia-dev: whole paragraphs from each article's beginning, as a retriever would have them.
            The file is not part of the project; without it, the examples' prose takes its place, under its own name
hard texts  what exactness must survive: the files of `tests/texts`, this project's own code, and strings made here
huge        the project's own files, joined until they exceed 20,000 tokens
"""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.plan import Plan
from zprompt.eval import draw

ROOT = Path(__file__).parents[1]
WIKIPEDIA = ROOT.parent / "shared" / "data" / "wikipedia-dev.jsonl"
TEXTS = ROOT / "tests" / "texts"
PROSE = ROOT / "examples" / "texts"
CODE = ("codec/segmentation.py", "cli/files.py", "documents.py")  # in zprompt/
CODE_LINES = 30  # of each
RANDOM_BYTES = 200

Count = Callable[[str], int]  # tokens of a text


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from."""

    name: str
    domain: str
    text: str


def natural_documents(path: Path | None, plan: Plan, count: Count) -> list[Document]:
    """Give Wikipedia passages, or what the project has of prose.

    :param path: The Wikipedia file; None: there is none.
    :param plan: How many, and how long.
    :param count: Counts the tokens of a text.
    :return: The passages, in the file's order.
    """
    if path is None:
        return [Document(file.name, "prose", file.read_text("utf-8")) for file in sorted(PROSE.glob("*.txt"))]
    articles = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    chosen = draw(articles, plan.articles, plan.seed)
    return [
        Document(article["title"], "wikipedia", passage(article["paragraphs"], plan.passage_tokens, count))
        for article in chosen
    ]


def long_documents(path: Path | None, plan: Plan, count: Count) -> list[Document]:
    """Give the beginnings of long Wikipedia articles.

    :param path: The Wikipedia file; None: there is none.
    :param plan: How many, and how long.
    :param count: Counts the tokens of a text.
    :return: Documents that are longer than a window.
    """
    if path is None or not plan.long_articles:
        return []
    articles = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    long = [article for article in articles if count("\n\n".join(article["paragraphs"])) > 2 * plan.long_tokens]
    return [
        Document(article["title"], "wikipedia, long", passage(article["paragraphs"], plan.long_tokens, count))
        for article in draw(long, plan.long_articles, plan.seed)
    ]


def joined(path: Path | None) -> str:
    """Join all articles, or what the project has of prose.

    :param path: The Wikipedia file; None: there is none.
    :return: One long text.
    """
    if path is None:
        return "\n\n".join(read(file) for file in sorted(PROSE.glob("*.txt")))
    articles = (json.loads(line)["paragraphs"] for line in path.read_text("utf-8").splitlines())
    return "\n\n".join(paragraph for article in articles for paragraph in article)


def hard_documents(z_span: str, plan: Plan) -> list[Document]:
    """Give the texts that are hardest to carry.

    :param z_span: A Z-span of the codec that is measured, to be compressed as text.
    :param plan: How much of each.
    :return: The documents; several domains have several.
    """
    files = [Document(file.name, file.name.split("-")[0], read(file)) for file in sorted(TEXTS.glob("*-*.*"))]
    code = [
        Document(name, "code", "".join(read(ROOT / "zprompt" / name).splitlines(keepends=True)[:CODE_LINES]))
        for name in CODE
    ]
    generator = random.Random(0)
    noise = bytes(generator.randrange(256) for _ in range(RANDOM_BYTES)).decode("latin-1")
    spans = f"{z_span} is a Z-span, [z1:{z_span[4:40]} a broken one, [z\\1: an escaped one. {z_span}{z_span}"
    made = [
        Document("empty", "tiny", ""),
        Document("one character", "tiny", "x"),
        Document("one rare character", "tiny", "\U0001f9ff"),
        Document("white space", "tiny", " \t\n\r\n  \u00a0\u2003\u200b\n\n\n   \t"),
        Document(
            "control characters", "control", "".join(map(chr, range(32))) + "\x7f" + "".join(map(chr, range(128, 160)))
        ),
        Document(
            "control characters in prose", "control", "A\x00 line\x1b[31m in red\x07,\x06 torn\x04 by\x1d marks.\r"
        ),
        Document("Z-spans of this codec", "zspans", spans),
        Document("random bytes", "bytes", noise),
    ]
    return [replace(document, text=document.text[: plan.hard_characters]) for document in (*code, *files, *made)]


def huge_document(plan: Plan, count: Count) -> Document | None:
    """Join this project's own files until they are long enough.

    :param plan: How long.
    :param count: Counts the tokens of a text.
    :return: The document; None if the plan has none.
    """
    if not plan.huge_tokens:
        return None
    files = [*sorted(PROSE.iterdir()), *sorted((ROOT / "zprompt" / "codec").glob("*.py"))]
    text = ""
    for file in files:
        text += read(file)
        if count(text) > plan.huge_tokens:
            break
    return Document(f"over {plan.huge_tokens:,} tokens", "huge", text)


def passage(paragraphs: Sequence[str], tokens: int, count: Count) -> str:
    """Take whole paragraphs from the beginning, one at least.

    :param paragraphs: The article's.
    :param tokens: Tokens that they may have together.
    :param count: Counts the tokens of a text.
    :return: The passage.
    """
    taken = paragraphs[0]
    for paragraph in paragraphs[1:]:
        longer = f"{taken}\n\n{paragraph}"
        if count(longer) > tokens:
            break
        taken = longer
    return taken


def read(path: Path) -> str:
    """Read a text as it is, line ends included.

    :param path: The file.
    :return: The text.
    """
    return path.read_bytes().decode("utf-8")
