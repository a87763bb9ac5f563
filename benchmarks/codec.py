"""Measure a codec: exactness, what a ratio costs in bits, speed and memory, and ablations.

    python -m benchmarks.codec [--codec NAME] [--wikipedia PATH] [--documents N] [--mutated N] [--short | --quick]
                               [--only TASK ...]

Each task is a module: exactness, rate_distortion, speed and ablation. The documents are passages of Wikipedia (or what
the project has of prose), long ones, texts that are hard to restore exactly (the files of tests/texts, this project's
own code, and strings made here), and one of over 20,000 tokens. Writes codec.json (all figures), codec.md and
codec-rate-distortion.png to benchmarks/results, and prints the tables. Takes an hour or more on 2 idle cores, mostly
for restoring in exactness; with --short a third of it, with --quick a few minutes, for trying things out. Timings need
an idle machine.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import zprompt
from benchmarks import ablation, exactness, rate_distortion, speed
from benchmarks.common import (
    PROSE,
    RESULTS,
    ROOT,
    WIKIPEDIA,
    Count,
    Document,
    Tables,
    describe_run,
    first_paragraphs,
    natural_documents,
    read_exactly,
    wikipedia_file,
)
from benchmarks.exactness import ExactnessPlan
from benchmarks.speed import SpeedPlan
from zprompt import Codec
from zprompt.eval import RunRecord, draw, write_json

SECTIONS: dict[str, Callable[[Tables], Iterator[str]]] = {
    "exactness": exactness.section,
    "rate_distortion": rate_distortion.section,
    "speed": speed.section,
    "ablation": ablation.section,
}
SENTENCE = "The first sentence of this note was compressed before the rest of it was written."
CODE = ("codec/tiling.py", "cli/files.py", "documents.py")  # in zprompt/
CODE_LINES = 30  # of each
RECORDS = 12  # of the JSON document
RANDOM_BYTES = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """Sample sizes of a run."""

    seed: int = 0  # of every choice, and of the bootstrap
    articles: int = 40  # Wikipedia articles; one passage each
    passage_tokens: int = 400  # whole paragraphs from the article's beginning, at most this many tokens, one at least
    long_articles: int = 1  # articles that are also taken as long documents ...
    long_tokens: int = 1500  # ... of about this many tokens
    huge_tokens: int = 20_000  # length that the huge document exceeds; 0: leave it out
    hard_characters: int | None = None  # of each hard text; None: all
    ratios: tuple[float, ...] = (2, 3, 4, 6, 8, 12, 18)
    curve_documents: int = 16  # passages that bits are measured on
    exactness: ExactnessPlan = field(default_factory=ExactnessPlan)
    speed: SpeedPlan = field(default_factory=SpeedPlan)


FULL = Plan()
SHORT = Plan(  # no huge document, fewer of each kind
    articles=16,
    passage_tokens=350,
    long_articles=0,
    huge_tokens=0,
    hard_characters=1500,
    exactness=ExactnessPlan(800, resealed=60),
)
QUICK = Plan(
    articles=6,
    passage_tokens=150,
    long_articles=0,
    huge_tokens=0,
    hard_characters=200,
    ratios=(4, 8),
    curve_documents=2,
    exactness=ExactnessPlan(300, focused=6, mutated=1000, resealed=4),
    speed=SpeedPlan(2, 250, 2, (50, 200), 20, 32, (1, 4), rounds=2, starts=1),
)


# Documents.


@dataclass(frozen=True, slots=True)
class Corpus:
    """The documents of a run."""

    passages: list[Document]
    others: list[Document]  # long, hard and huge ones
    note: str  # what they are


def gather(codec: Codec, wikipedia: Path | None, plan: Plan) -> Corpus:
    """Collect the documents; without a Wikipedia file, the passages are the project's own prose."""

    def count(text: str) -> int:
        return len(codec.backbone.encode(text))

    passages = natural_documents(wikipedia, plan.articles, plan.passage_tokens, plan.seed, count)
    long, huge = long_documents(wikipedia, plan, count), huge_document(plan.huge_tokens, count)
    hard = hard_documents(codec.compress(SENTENCE).documents, plan.hard_characters)
    note = f"{len(hard)} hard texts" + (f" and one of {count(huge[0].text):,} tokens" if huge else "")
    if wikipedia is None:
        note = f"no Wikipedia file; the examples' prose, and {note} of the project."
    else:
        note = (
            f"{wikipedia.name}: {len(passages)} articles (drawn with seed {plan.seed}; whole paragraphs from the "
            f"beginning, up to {plan.passage_tokens} tokens), {len(long)} of them also as long documents; {note} of "
            "the project."
        )
    return Corpus(passages, [*long, *hard, *huge], note)


def long_documents(path: Path | None, plan: Plan, count: Count) -> list[Document]:
    """Draw the beginnings of Wikipedia articles that are longer than a window."""
    if path is None or not plan.long_articles:
        return []
    articles = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    long = [article for article in articles if count("\n\n".join(article["paragraphs"])) > 2 * plan.long_tokens]
    return [
        Document(article["title"], "wikipedia, long", first_paragraphs(article["paragraphs"], plan.long_tokens, count))
        for article in draw(long, plan.long_articles, plan.seed)
    ]


def hard_documents(z_span: str, characters: int | None) -> list[Document]:
    """Return the texts that are hardest to restore; several domains have several.

    :param z_span: A Z-span of the codec that is measured, to be compressed as text.
    :param characters: Of each text; None for all.
    :return: The documents.
    """
    texts = ROOT / "tests" / "texts"
    files = [Document(file.name, file.name.split("-")[0], read_exactly(file)) for file in sorted(texts.glob("*-*.*"))]
    code = [
        Document(name, "code", "".join(read_exactly(ROOT / "zprompt" / name).splitlines(keepends=True)[:CODE_LINES]))
        for name in CODE
    ]
    generator = random.Random(0)
    noise = bytes(generator.randrange(256) for _ in range(RANDOM_BYTES)).decode("latin-1")
    records = [
        {"id": generator.getrandbits(32), "name": f"Café “{n}”", "on": n % 3 == 0, "at": generator.random(), "of": None}
        for n in range(RECORDS)
    ]
    spans = f"{z_span} is a Z-span, [z2:{z_span[4:40]} a cut one, [\\z2:{z_span[4:]} an escaped one. {z_span}{z_span}"
    folded = f"{exactness.fold(z_span)} is folded, {exactness.escape_html(z_span)} escaped, and &#91;z2: nothing."
    controls = "".join(map(chr, range(32))) + "\x7f" + "".join(map(chr, range(128, 160)))
    made = [
        Document("empty", "tiny", ""),
        Document("one character", "tiny", "x"),
        Document("one rare character", "tiny", "\U0001f9ff"),
        Document("white space", "white space", " \t\n\r\n  \u00a0\u2003\u200b\n\n\n   \t"),
        Document("only line breaks", "white space", "\n" * 50 + "\r\n" * 20),
        Document("control characters", "control", controls),
        Document(
            "control characters in prose", "control", "A\x00 line\x1b[31m in red\x07,\x06 torn\x04 by\x1d marks.\r"
        ),
        Document("records", "JSON", json.dumps(records, indent=1)),
        Document("records, escaped", "JSON", json.dumps(json.dumps(records, ensure_ascii=False))),
        Document("Z-spans of this codec", "zspans", spans),
        Document("Z-spans of this codec, folded and escaped", "zspans", folded),
        Document("random bytes", "bytes", noise),
    ]
    return [replace(document, text=document.text[:characters]) for document in (*code, *files, *made)]


def huge_document(tokens: int, count: Count) -> list[Document]:
    """Join this project's own files until they exceed `tokens` tokens; return no document for 0."""
    if not tokens:
        return []
    text = ""
    for file in [*sorted(PROSE.iterdir()), *sorted((ROOT / "zprompt" / "codec").glob("*.py"))]:
        text += read_exactly(file)
        if count(text) > tokens:
            break
    return [Document(f"over {tokens:,} tokens", "huge", text)]


# The run.


def run(codec: Codec, corpus: Corpus, plan: Plan, tasks: Sequence[str]) -> Iterator[tuple[str, Tables]]:
    """Run some tasks, yield each with its tables, and print to stderr how long it took."""
    curve = draw(corpus.passages, plan.curve_documents, plan.seed)
    documents = [*corpus.passages, *corpus.others]
    measures: dict[str, Callable[[], Tables]] = {
        "exactness": lambda: exactness.measure(codec, documents, plan.exactness, plan.seed),
        "rate_distortion": lambda: rate_distortion.measure(codec, curve, plan.ratios, plan.seed),
        "speed": lambda: speed.measure(codec, corpus.passages, plan.speed),
        "ablation": lambda: ablation.measure(codec, curve, plan.ratios),
    }
    for task in tasks:
        began = time.perf_counter()
        yield task, measures[task]()
        print(f"{task}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)


def save(
    folder: Path, record: RunRecord, codec: Codec, corpus: Corpus, plan: Plan, results: Mapping[str, Tables]
) -> str:
    """Write JSON, Markdown and the plot, and return the Markdown."""
    about = {"name": codec.name, "fingerprint": codec.fingerprint, "settings": codec.settings.to_dict()}
    values = {"run": record, "codec": about, "data": corpus.note, "plan": plan, "results": dict(results)}
    write_json(folder / "codec.json", values)
    lines = [
        "# What the codec does",
        "",
        f"{describe_run(record)} Raw figures: `codec.json`.",
        "",
        f"Codec: {codec}.",
        f"Data: {corpus.note}",
        "",
        "The decompressor sees the Z-span and nothing else. Bits are those of Z-tokens and residual.",
    ]
    for task, tables in results.items():
        lines += ["", *SECTIONS[task](tables)]
    text = "\n".join(lines) + "\n"
    (folder / "codec.md").write_text(text, encoding="utf-8")
    if "rate_distortion" in results:
        rate_distortion.plot(results["rate_distortion"], folder / "codec-rate-distortion.png")
    return text


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="default", help="an LLM, a shipped codec, or a codec's folder")
    parser.add_argument(
        "--wikipedia", type=Path, help=f"JSON lines with paragraphs; default: {WIKIPEDIA}, if it is there"
    )
    parser.add_argument("--documents", type=int, help=f"Wikipedia articles; default: {FULL.articles}")
    parser.add_argument("--mutated", type=int, help=f"mutated Z-spans; default: {FULL.exactness.mutated}")
    parser.add_argument("--short", action="store_true", help="smaller samples")
    parser.add_argument("--quick", action="store_true", help="small samples, to see that everything runs")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), metavar="TASK", help=", ".join(SECTIONS)
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results")
    options = parser.parse_args()
    if options.wikipedia and not options.wikipedia.is_file():
        parser.error(f"There is no file {options.wikipedia}. Leave --wikipedia out to use the project's own texts.")
    return options


def main() -> None:
    """Measure, write and print."""
    options, began = parse(), time.time()
    plan = QUICK if options.quick else SHORT if options.short else FULL
    if options.documents:
        plan = replace(plan, articles=options.documents)
    if options.mutated is not None:
        plan = replace(plan, exactness=replace(plan.exactness, mutated=options.mutated))
    codec = zprompt.load(options.codec, device="cpu")
    codec.cache = None  # each measurement asks the LLM anew
    corpus = gather(codec, options.wikipedia or wikipedia_file(), plan)
    print(f"{codec}\n{corpus.note}", file=sys.stderr, flush=True)
    results: dict[str, Tables] = {}
    for task, tables in run(codec, corpus, plan, options.only):
        results[task] = tables  # saved one by one: the next may fail, or be stopped
        text = save(options.out, RunRecord.take(plan.seed, began), codec, corpus, plan, results)
    print(text)


if __name__ == "__main__":
    main()
