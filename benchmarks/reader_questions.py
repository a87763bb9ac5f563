"""Make the question files that the shipped reader was trained on, from public data that is not part of the project.

    qamr.jsonl           QAMR (uwnlp/qamr, MIT): questions of crowd workers about single sentences of Wikipedia and
                         Wikinews, whose two validators found the same answer; 1 to 6 sentences make a passage
    selqa.jsonl          SelQA (emorynlp/selqa, Apache-2.0): questions for a time, a number or a name whose answering
                         sentence has one of that kind, and it is not in the question
    squad.jsonl          SQuAD's training file, 1.1 or 2.0 (CC BY-SA 4.0): questions that have an answer
    qed.jsonl            QED (google-research-datasets/QED, text CC BY-SA 3.0): questions of Natural Questions' training
                         set, with the paragraph that answers

    python -m benchmarks.reader_questions --out FOLDER [--data FOLDER] [--qamr FOLDER] [--squad FILE] [--qed FOLDER]

FOLDER of QAMR is its `data`: filtered/dev.tsv, filtered/test.tsv, wiki-sentences.tsv; that of QED has
nq-train-*-qed.jsonlines. Of SQuAD and QED, articles of the development files are left out.
"""

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import DATA

SIZES = (1, 2, 3, 4, 6)  # sentences of a passage
LONGEST = 8  # words of an answer

_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_NUMBERS = "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred"
_KINDS = (
    (
        re.compile(r"\bwhen\b|(?:what|which) year|what date|what day|what month"),
        re.compile(rf"(?:\d{{1,2}} )?(?:{_MONTH})(?: \d{{1,2}})?(?:,? \d{{4}})?|\b1\d\d\d\b|\b20[012]\d\b"),
    ),
    (
        re.compile(r"how (?:many|much|old|long|far|tall|large)|what (?:percent|number)"),
        re.compile(rf"(?<![\w.,])\d[\d,.]*\d|\b\d\b|\b(?:{_NUMBERS})\b"),
    ),
    (
        re.compile(
            r"\bwho\b|\bwhom\b|\bwhere\b|(?:what|which) (?:city|country|state|name|company|person|team|river|"
            r"university|album|band|actor|actress|director|author)"
        ),
        re.compile(r"(?<![.!?“\"] )(?<!^)\b[A-Z][\w’'-]+(?: (?:of |the |de |von |and )?[A-Z][\w’'-]+)*"),
    ),
)

Row = dict[str, Any]


def qamr_rows(folder: Path, chance: random.Random) -> Iterator[Row]:
    """Yield questions about passages of a few sentences, each sentence in passages of several sizes."""
    lines = (folder / "wiki-sentences.tsv").read_text("utf-8").splitlines()
    sentences = {name: text.split() for name, text in (line.split("\t") for line in lines)}
    asked: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for part in ("dev", "test"):
        for line in (folder / "filtered" / f"{part}.tsv").read_text("utf-8").splitlines():
            fields = line.split("\t")
            answer = [int(index) for index in fields[6].split()]
            validated = [set(map(int, field.split(":")[1].split())) for field in fields[7:9] if field[-1:].isdigit()]
            agreed = len(validated) == 2 and all(indices & set(answer) for indices in validated)
            whole = answer == list(range(answer[0], answer[-1] + 1)) and len(answer) <= LONGEST
            if fields[0] in sentences and whole and agreed:
                question = f"{fields[5].strip()[0].upper()}{fields[5].strip()[1:].rstrip('?')}?"
                words = _spaced([sentences[fields[0]][index] for index in answer])
                asked[fields[0]].setdefault(question.lower(), (question, words))
    names = sorted(asked)
    for size in SIZES:
        chance.shuffle(names)
        for first in range(0, len(names), size):
            group = names[first : first + size]
            text = " ".join(_spaced(sentences[name]) for name in group)
            for name in group:
                pairs = list(asked[name].values())
                chance.shuffle(pairs)
                yield from (_row(question, answer, "", text) for question, answer in pairs[: max(3, 16 // size)])


def _spaced(tokens: Sequence[str]) -> str:
    """Join tokens of the Penn Treebank into text."""
    text = " ".join(tokens)
    for mark, written in (("-LRB-", "("), ("-RRB-", ")"), ("-LSB-", "["), ("-RSB-", "]"), ("``", '"'), ("''", '"')):
        text = text.replace(mark, written)
    text = re.sub(r" ([.,;:?!%)\]])", r"\1", re.sub(r"([(\[$#]) ", r"\1", text))
    text = re.sub(r" ('s|'re|'ve|'ll|'d|'m|n't|')\b", r"\1", text)
    return re.sub(r'" ([^"]*?) "', r'"\1"', text).replace(" -- ", " – ").strip()


def selqa_rows(path: Path, chance: random.Random) -> Iterator[Row]:
    """Yield questions whose answering sentence has just one match of the kind that is asked for."""
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        kind = next((answer for asks, answer in _KINDS if asks.search(row["question"].lower())), None)
        if kind is None or len(row["answer_sentences"]) != 1:
            continue
        index, sentences = row["answer_sentences"][0], [sentence.strip() for sentence in row["sentences"]]
        question_words = set(_words(row["question"]))
        answers = {match.group().strip(" ,.") for match in kind.finditer(sentences[index])}
        answers = {answer for answer in answers if not set(_words(answer)) <= question_words}
        if len(answers) == 1:
            first, last = max(0, index - chance.randint(0, 4)), index + 1 + chance.randint(0, 4)
            yield _row(row["question"], answers.pop(), row["title"], " ".join(sentences[first:last]))


def squad_rows(path: Path) -> Iterator[Row]:
    """Yield the questions of a file in SQuAD's format, with their paragraph."""
    for article in json.loads(path.read_text("utf-8"))["data"]:
        title = article["title"].replace("_", " ")
        for paragraph in article["paragraphs"]:
            for row in paragraph["qas"]:
                if row["answers"]:
                    yield _row(row["question"].strip(), row["answers"][0]["text"], title, paragraph["context"])


def qed_rows(folder: Path) -> Iterator[Row]:
    """Yield questions of Natural Questions, with their paragraph."""
    for path in sorted(folder.glob("nq-train-*-qed.jsonlines")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            texts = row["answer_text"] if isinstance(row["answer_text"], list) else [row["answer_text"]]
            answers = [_spaced(answer.split()) for answer in texts]
            text = _spaced(row["paragraph_text"].split())
            if answers and answers[0] in text:
                yield _row(row["question_text"], answers[0], row["title_text"], text)


def without_development(rows: Iterator[Row], data: Path) -> Iterator[Row]:
    """Leave out rows with a title or a passage of the development files."""
    identities = set()
    for path in data.glob("*-dev.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            passages = json.loads(line).get("passages", [])
            identities |= {identity for passage in passages for identity in _identity(passage)}
    for row in rows:
        if not identities & _identity(row["passages"][0]):
            yield row


def _identity(passage: Row) -> set[str]:
    return {" ".join(_words(passage["title"])), " ".join(_words(passage["text"][:200]))} - {""}


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _row(question: str, answer: str, title: str, text: str) -> Row:
    passage = {"title": title, "text": text, "gold": True}
    return {"question": question, "answers": [answer], "passages": [passage]}


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qamr", type=Path, help="QAMR's folder data")
    parser.add_argument("--squad", type=Path, help="SQuAD's training file")
    parser.add_argument("--qed", type=Path, help="folder of QED's files")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of selqa-train.jsonl and development files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options, chance = parser.parse_args(), random.Random(0)
    files = {}
    if options.qamr:
        files["qamr"] = list(qamr_rows(options.qamr, chance))
    files["selqa"] = list(selqa_rows(options.data / "selqa-train.jsonl", chance))
    if options.squad:
        files["squad"] = list(without_development(squad_rows(options.squad), options.data))
    if options.qed:
        files["qed"] = list(without_development(qed_rows(options.qed), options.data))
    options.out.mkdir(parents=True, exist_ok=True)
    for name, rows in files.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (options.out / f"{name}.jsonl").write_text(text, "utf-8")
        print(f"{name}: {len(rows):,} questions")


if __name__ == "__main__":
    main()
