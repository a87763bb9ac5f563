"""Rows of question files are made from files in the formats of their sources."""

import json
from pathlib import Path

from benchmarks.reader_questions import qed_rows, squad_rows, without_development


def test_squad_questions_without_an_answer_are_left_out(tmp_path: Path) -> None:
    questions = [
        {"question": "When was it built? ", "answers": [{"text": "1822", "answer_start": 22}]},
        {"question": "Who built it?", "answers": [], "is_impossible": True},
    ]
    paragraph = {"context": "The mill was built in 1822.", "qas": questions}
    path = tmp_path / "train-v2.0.json"
    path.write_text(json.dumps({"data": [{"title": "Old_Mill", "paragraphs": [paragraph]}]}))
    [row] = squad_rows(path)
    assert (row["question"], row["answers"]) == ("When was it built?", ["1822"])
    assert row["passages"] == [{"title": "Old Mill", "text": "The mill was built in 1822.", "gold": True}]


def test_qed_answers_are_in_the_paragraph(tmp_path: Path) -> None:
    qed_row = {"question_text": "who built it", "title_text": "Mill", "paragraph_text": "Lee ( a smith ) built it ."}
    rows = [{**qed_row, "answer_text": answer} for answer in (["Lee"], ["Lee ( a smith )"], ["Kim"])]
    (tmp_path / "nq-train-00-qed.jsonlines").write_text("\n".join(map(json.dumps, rows)))
    assert [row["answers"] for row in qed_rows(tmp_path)] == [["Lee"], ["Lee (a smith)"]]
    assert {row["passages"][0]["text"] for row in qed_rows(tmp_path)} == {"Lee (a smith) built it."}


def test_articles_and_passages_of_development_files_are_left_out(tmp_path: Path) -> None:
    known = {"passages": [{"title": "Old Mill", "text": "Built in 1822."}, {"title": "", "text": "A quiet river."}]}
    (tmp_path / "some-dev.jsonl").write_text(json.dumps(known))
    (tmp_path / "some-train.jsonl").write_text(json.dumps({"passages": [{"title": "New Mill", "text": "New."}]}))
    pairs = [("old mill", "Other."), ("", "a quiet river"), ("New Mill", "New."), ("", "Another river.")]
    rows = [{"passages": [{"title": title, "text": text}]} for title, text in pairs]
    assert list(without_development(iter(rows), tmp_path)) == rows[2:]
