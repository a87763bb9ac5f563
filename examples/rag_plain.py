"""Answer questions about text files with zprompt alone: no framework, no vector store, no embeddings.

    python -m examples.rag_plain
    python -m examples.rag_plain "Who founded the orchestra?"

The search is the simplest there is: it counts the words that question and passage share, rare ones more.
"""

import re
import sys
from collections import Counter
from typing import Any, TypeAlias

import zprompt
from examples.rag_common import PASSAGES, RATIO, Way, ask, in_process, library, show, wanted

Passage: TypeAlias = dict[str, Any]


def paragraphs() -> list[Passage]:
    """Cut the library into paragraphs; zprompt reads and replaces what is under "text"."""
    return [
        {"title": text.title, "metadata": {"file": text.file}, "text": paragraph}
        for text in library()
        for paragraph in text.text.split("\n\n")
    ]


def search(question: str, passages: list[Passage]) -> list[int]:
    """Return the indices of the best passages, best first."""
    words = [set(re.findall(r"\w+", f"{passage['title']} {passage['text']}".lower())) for passage in passages]
    counts = Counter(word for passage_words in words for word in passage_words)
    question_words = set(re.findall(r"\w+", question.lower()))
    best = sorted(range(len(words)), key=lambda index: -sum(1 / counts[word] for word in question_words & words[index]))
    return best[:PASSAGES]


def main() -> None:
    """Ask in three ways."""
    passages = paragraphs()
    stored = zprompt.compress(passages, ratio=RATIO)  # once; keep the documents as JSON, beside the texts
    print(stored.stats)

    def plain(question: str) -> list[Passage]:
        return [passages[index] for index in search(question, passages)]

    def at_query(question: str) -> list[Passage]:
        documents: list[Passage] = zprompt.compress(plain(question), query=question).documents
        return documents

    def from_store(question: str) -> list[Passage]:
        return [stored.documents[index] for index in search(question, passages)]

    ways: dict[str, Way] = {"text": plain, "compressed when found": at_query, "compressed before": from_store}
    llm = in_process(zprompt.load_reader())
    for question in wanted(sys.argv[1:]):
        show({name: ask(way, llm, question) for name, way in ways.items()})


if __name__ == "__main__":
    main()
