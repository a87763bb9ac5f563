"""The benchmark of writing in Z-tokens runs, and writes its section."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks import zspace
from benchmarks.zspace import measure, section
from tests.conftest import SENTENCES
from tests.reader.conftest import random_z_head
from zprompt.codec import Codec
from zprompt.eval import Passage, Question
from zprompt.reader import Reader


def test_both_spaces_are_measured(tiny_reader: Reader, chat_codec: Codec) -> None:
    writing = Reader(chat_codec, tiny_reader.decoder, tiny_reader.z_embedding, "writing", random_z_head(chat_codec))
    questions = [Question(f"who {n}?", ("the | dog",), (Passage("", text),)) for n, text in enumerate(SENTENCES)]

    result = measure(writing, questions, max_new_tokens=12)

    text, z = result.spaces
    assert (text.space, z.space) == ("text", "z") and z.answers.texts == len(questions)
    assert z.continuations.passes < text.continuations.passes == text.continuations.with_expansion
    assert 0 <= z.continuations.in_passage <= 1 and z.f1_interval.low <= z.f1 <= z.f1_interval.high
    assert json.dumps(asdict(result))
    lines = list(section(result))
    assert lines[0].startswith("## ") and any("passes of the reader" in line for line in lines)
    assert any("the \\| dog" in line for line in lines)


def test_the_command_writes_json_and_markdown(
    tiny_reader: Reader,
    chat_codec: Codec,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [
        {"question": "who?", "answers": ["the dog"], "passages": [{"title": "", "text": SENTENCES[0], "gold": True}]}
    ]
    data = tmp_path / "own-dev.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    writing = Reader(chat_codec, tiny_reader.decoder, tiny_reader.z_embedding, "writing", random_z_head(chat_codec))
    monkeypatch.setattr("zprompt.load_reader", lambda name: writing)
    monkeypatch.setattr(
        "sys.argv", ["zspace", "--data", str(data), "--max-tokens", "4", "--out", str(tmp_path / "out")]
    )
    zspace.main()
    found = json.loads((tmp_path / "out" / "zspace.json").read_text("utf-8"))
    assert (found["reader"], found["data"], len(found["result"]["spaces"])) == ("writing", [data.name], 2)
    assert capsys.readouterr().out.strip() in (tmp_path / "out" / "zspace.md").read_text("utf-8")


def test_a_reader_without_a_writer_is_refused_before_anything_is_written(
    tiny_reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"question": "who?", "answers": ["the dog"], "passages": [{"title": "", "text": SENTENCES[0], "gold": True}]}
    (tmp_path / "own-dev.jsonl").write_text(json.dumps(row), "utf-8")
    monkeypatch.setattr("zprompt.load_reader", lambda name: tiny_reader)
    monkeypatch.setattr("sys.argv", ["zspace", "--data", str(tmp_path / "own-dev.jsonl"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        zspace.main()
    assert "zprompt train z-head" in capsys.readouterr().err
    assert not (tmp_path / "zspace.json").exists()
