"""Rows of public datasets of questions, in our form: question, answers, and passages of title, text and gold.

    SQuAD           question, context, answers.text
    LongBench       input, context, answers
    HotpotQA        question, answer, context of titles and sentences, supporting_facts
    MuSiQue         question, answer, answer_aliases, paragraphs of title, paragraph_text, is_supporting
    NarrativeQA     question.text, answers of text, document.summary: the whole story is too long for small readers
    QuALITY         article, and a question with options, or several as in the original files

The fields are those of the datasets on the Hugging Face hub. A question of QuALITY is asked with its options, and the
text of the right one is the answer. Questions that have no answer (SQuAD 2, MuSiQue-Full) are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def in_our_form(row: Row) -> Iterator[Row]:
    """Write a row in our form.

    :param row: A row of any dataset.
    :return: Questions about passages; or the row as it is, if it is of no dataset above.
    """
    return (own for own in _questions(row) if own is row or own["answers"])


def _questions(row: Row) -> Iterator[Row]:
    """Write a row in our form, whether it has an answer or not."""
    fields = row.keys()
    if {"article", "questions"} <= fields and isinstance(row["questions"], Sequence):
        for number, asked in enumerate(row["questions"]):
            name = f"{row.get('article_id', '')}-{number}"
            yield _quality(row, asked["question"], asked["options"], asked["gold_label"] - 1, name)
    elif {"article", "question", "options", "answer"} <= fields:
        yield _quality(row, row["question"], row["options"], row["answer"], row.get("id"))
    elif {"question", "document", "answers"} <= fields and isinstance(row["document"], Mapping):
        summary = row["document"]["summary"]
        passage = _passage(summary.get("title", ""), summary["text"])
        yield _row(row, row["question"]["text"], [answer["text"] for answer in row["answers"]], [passage])
    elif {"question", "answer", "paragraphs"} <= fields:
        passages = [_passage(p["title"], p["paragraph_text"], p["is_supporting"]) for p in row["paragraphs"]]
        answers = [row["answer"], *row.get("answer_aliases", ())] if row.get("answerable", True) else []
        yield _row(row, row["question"], answers, passages)
    elif {"question", "answer", "context", "supporting_facts"} <= fields:
        yield _row(row, row["question"], [row["answer"]], _hotpot_passages(row["context"], row["supporting_facts"]))
    elif {"question", "context", "answers"} <= fields and isinstance(row["answers"], Mapping):
        yield _row(row, row["question"], row["answers"]["text"], [_passage(row.get("title", ""), row["context"])])
    elif {"input", "context", "answers"} <= fields:
        yield _row(row, row["input"], row["answers"], [_passage("", row["context"])])
    else:
        yield row


def _row(row: Row, question: str, answers: Sequence[str], passages: list[Row], name: object = None) -> Row:
    own = {} if (name := name or row.get("id") or row.get("_id")) is None else {"id": name}
    return {**own, "question": question, "answers": list(answers), "passages": passages}


def _passage(title: str, text: str, gold: bool = True) -> Row:
    return {"title": title, "text": text, "gold": gold}


def _quality(row: Row, question: str, options: Sequence[str], right: int, name: object) -> Row:
    asked = f"{question.strip()} Options: {'; '.join(option.strip() for option in options)}."
    return _row(row, asked, [options[right].strip()], [_passage(row.get("title", ""), row["article"])], name)


def _hotpot_passages(context: Any, facts: Any) -> list[Row]:  # noqa: ANN401 - the hub's columns, or the file's pairs
    pairs = zip(context["title"], context["sentences"], strict=True) if isinstance(context, Mapping) else context
    gold = set(facts["title"] if isinstance(facts, Mapping) else (title for title, _ in facts))
    return [_passage(title, "".join(sentences).strip(), title in gold) for title, sentences in pairs]
