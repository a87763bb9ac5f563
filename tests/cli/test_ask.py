"""`zprompt answer` reads texts and Z-spans; `pull` and `export` fetch and export models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.byte_codec import FakeReader, write_span
from tests.cli.conftest import Run
from tests.codec.conftest import SETTINGS
from tests.reader.conftest import write_random_reader
from zprompt.cli import options
from zprompt.codec import Codec
from zprompt.errors import DownloadError
from zprompt.llm import Backbone
from zprompt.reader import load_reader


def test_files_are_passages_and_the_answer_is_all_of_stdout(run: Run, reader: FakeReader, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "two"}\n{"title": "Third", "text": "three"}\n')

    result = run("answer", "Who?", tmp_path / "a.txt", tmp_path / "b.jsonl")

    assert result.stdout == "Margaret Hale\n"
    passages = ["one", {"text": "two"}, {"title": "Third", "text": "three"}]
    assert reader.questions == [("Who?", passages, {"max_new_tokens": 64})]


def test_a_compressed_passage_keeps_its_title(run: Run, reader: FakeReader) -> None:
    run("answer", "Who?", "--compress", "--field", "text", stdin=b'{"title": "Third", "text": "three"}')

    assert [passages for _, passages, _ in reader.questions] == [[{"title": "Third", "text": write_span("three")}]]


def test_the_figures_go_to_stderr(run: Run, reader: FakeReader) -> None:
    assert "Read 100 positions: 40 of text, 60 of Z-tokens for 400 source tokens. Wrote 5." in (
        run("answer", "Who?", stdin=b"text").stderr
    )
    assert run("answer", "Who?", "-q", stdin=b"text").stderr == ""


def test_z_spans_are_read_as_they_are_and_texts_are_compressed_on_request(
    run: Run, reader: FakeReader, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.z").write_text(write_span("two"))

    run("answer", "Who?", tmp_path)
    run("answer", "Who?", tmp_path, "--compress")
    run("answer", "Who?", tmp_path, "--ratio", 4)

    texts = [passages for _, passages, _ in reader.questions]
    assert texts[0] == ["one", write_span("two")]
    assert [(call["ratio"], call["query"]) for call in reader.codec.calls] == [(None, "Who?"), (4.0, "Who?")]


def test_an_answer_that_is_not_found_has_exit_code_1(run: Run, reader: FakeReader) -> None:
    reader.reply = "not found"

    assert run("answer", "Who?", stdin=b"text").exit_code == 1


@pytest.mark.parametrize("empty", [b"", b" \n"])
def test_an_empty_file_is_not_compressed(run: Run, reader: FakeReader, empty: bytes) -> None:
    run("answer", "Who?", "--compress", stdin=empty)

    assert [passages for _, passages, _ in reader.questions] == [[empty.decode()]] and reader.codec.calls == []


def test_a_text_that_mentions_z_spans_is_a_text(run: Run, reader: FakeReader) -> None:
    text = "A Z-span is [z2:…], and a[z1:z2] is a slice."

    assert run("answer", "What is this?", stdin=text.encode()).exit_code == 0
    assert run("answer", "What is this?", "--compress", stdin=text.encode()).exit_code == 0
    assert [passages for _, passages, _ in reader.questions] == [[text], [write_span(text)]]


def test_the_answer_is_json_on_request(run: Run, reader: FakeReader) -> None:
    result = run("answer", "Who?", "--json", "--max-new-tokens", 9, stdin=b"text")

    answer = json.loads(result.stdout)
    assert (answer["text"], answer["usage"]["z_tokens"]) == ("Margaret Hale", 60)
    assert reader.questions[0][2] == {"max_new_tokens": 9}


def test_escape_sequences_in_an_answer_are_not_passed_to_the_terminal(run: Run, reader: FakeReader) -> None:
    reader.reply = "\x1b[2Jgone"

    assert "\x1b" not in run("answer", "Who?", stdin=b"text").stdout


def test_letters_that_the_terminal_cannot_show_are_replaced() -> None:
    code = (
        "from tests.cli.byte_codec import ByteCodec, FakeReader; from zprompt.cli import main, options; "
        "options.open_reader = lambda *_: FakeReader(ByteCodec(), 'Zoë Ω'); main.app(['answer', 'Who?'])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code],
        input=b"text",
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
    )

    assert process.stdout.strip() == b"Zo\xeb ?"


def test_reader_codec_and_device_can_be_chosen(run: Run, reader: FakeReader) -> None:
    run("answer", "Who?", "--reader", "mine", "--codec", "yours", "--device", "cpu", "--engine", "fp32", stdin=b"text")

    assert reader.opened == [("mine", "yours", "cpu", "fp32")]


def test_a_question_is_needed(run: Run, reader: FakeReader) -> None:
    assert run("answer").exit_code == 2


def test_a_missing_reader_is_a_message(run: Run) -> None:
    result = run("answer", "Who?", "--reader", "nowhere", stdin=b"text")

    assert result.exit_code == 1
    assert "No reader 'nowhere'" in result.stderr


def test_pull_prints_the_folder(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.llm.pull", lambda name, progress: f"/cache/{name}")

    assert run("pull").stdout == "/cache/default\n"


def test_a_failed_pull_says_why(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, progress: object) -> None:
        raise DownloadError("No network. Plug it in.")

    monkeypatch.setattr("zprompt.llm.pull", fail)

    result = run("pull")

    assert result.exit_code == 1
    assert "Plug it in" in result.stderr


@pytest.fixture
def tiny(tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Codec:
    codec = Codec(tiny_backbone, SETTINGS, name="tiny")
    folder = write_random_reader(tmp_path / "reader", codec)
    monkeypatch.setattr(options, "open_reader", lambda *_: load_reader(str(folder), codec=codec))
    return codec


def test_a_reader_is_exported_as_a_checkpoint(run: Run, tiny: Codec, tmp_path: Path) -> None:
    result = run("export", "reader", tmp_path / "out")

    assert result.exit_code == 0, result.stderr
    assert tiny.fingerprint in result.stderr
    assert {"config.json", "model.safetensors", "tokenizer.json", "zprompt", "zprompt.json"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def test_an_export_does_not_overwrite_other_files(run: Run, tiny: Codec, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("keep me")

    result = run("export", "reader", tmp_path / "out")

    assert result.exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]
