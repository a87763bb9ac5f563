"""A tiling is shown in the terminal and on a page, and stats of Z-spans need no codec."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.byte_codec import FINGERPRINT, ByteCodec, FakeReader, write_span
from tests.cli.conftest import Run
from zprompt.cli import options
from zprompt.zspan import measure, parse_span

TEXT = "The tide rises, the tide falls."
PASSAGES = [
    {"title": "The tide", "text": "The tide rises twice a day. Boats wait for it.", "score": 12, "id": 10**30},
    {"title": "Harbour", "text": "Herring is landed there. Nets dry on the pier."},
    {"title": "Nothing", "text": None},
]


def test_the_terminal_shows_anchors_spans_and_figures(run: Run) -> None:
    result = run("inspect", "-", stdin=TEXT.encode())

    assert result.exit_code == 0
    assert result.stdout.startswith("T‹he ›t‹ide› ‹ris›e‹s, ›")
    assert "ratio" in result.stdout


def test_the_page_is_written_to_a_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)

    result = run("inspect", tmp_path / "a.txt", "--html", tmp_path / "a.html")

    assert result.exit_code == 0
    assert result.stdout == ""
    assert "<title>a.txt" in (tmp_path / "a.html").read_text()


def test_the_options_reach_the_codec(run: Run, codec: ByteCodec) -> None:
    run("inspect", "-", "--ratio", 4, "--query", "when?", stdin=TEXT.encode())

    assert codec.calls == [{"ratio": 4.0, "query": "when?"}]


def test_a_span_is_restored_first_and_the_user_is_told(run: Run) -> None:
    result = run("inspect", "-", stdin=write_span(TEXT).encode())

    assert result.stdout.startswith("T‹he ›")
    assert "tiling of the restored text" in result.stderr


def test_what_only_looks_like_a_span_is_text(run: Run) -> None:
    result = run("inspect", "-", stdin=b"[z2:see the manual]")

    assert result.exit_code == 0
    assert result.stdout.startswith("[‹z2:›")


def test_a_damaged_span_is_refused(run: Run) -> None:
    result = run("inspect", "-", stdin=write_span(TEXT)[:-1].encode())

    assert result.exit_code == 1
    assert "cut off" in result.stderr


def test_a_ratio_that_was_missed_is_a_warning(run: Run, codec: ByteCodec) -> None:
    codec.missed = "ratio 9 was requested, but"

    assert "Warning: ratio 9 was requested, but." in run("inspect", "-", "--ratio", 9, stdin=TEXT.encode()).stderr


def test_a_file_that_is_no_text_is_refused_before_a_codec_is_loaded(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "open_codec", lambda *_: pytest.fail("a codec was loaded"))
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")

    assert run("inspect", tmp_path / "photo.jpg").exit_code == 1


def test_stats_need_no_codec(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zprompt.cli.options.open_codec", lambda *_: pytest.fail("a codec was loaded"))
    (tmp_path / "a.z").write_text(write_span("some text that is compressed"))

    result = run("stats", tmp_path / "a.z")

    assert result.exit_code == 0
    assert FINGERPRINT in result.stdout


def test_stats_add_up_the_figures_of_the_spans(run: Run) -> None:
    spans = [write_span("x" * 80), write_span("y" * 40)]
    parsed = [parse_span(span) for span in spans]
    z_token_bits, residual_bits = (
        sum(sum(measure(span.tokens, span.symbols)[index]) for span in parsed) for index in (0, 1)
    )
    bits = z_token_bits + residual_bits

    total = json.loads(run("stats", "--json", stdin=" and ".join(spans).encode()).stdout)["total"]

    assert total == {
        "name": "total",
        "documents": 2,
        "z_tokens": 30,
        "source_tokens": 120,
        "ratio": 4.0,
        "bits_per_z_token": bits / 30,
        "bits_per_source_token": bits / 120,
        "residual_share": residual_bits / bits,
        "codecs": [FINGERPRINT],
    }
    assert 0 <= 8 * sum(len(span.stream) for span in parsed) - bits < 2 * 24  # rounding up to whole bytes adds a little


def test_files_of_the_same_name_are_counted_separately(run: Run, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "x.z" for folder in "ab"]
    for path, text in zip(paths, ["text", "longer text"], strict=True):
        path.parent.mkdir()
        path.write_text(write_span(text))

    figures = json.loads(run("stats", "--json", *paths).stdout)

    assert [(file["name"], file["source_tokens"]) for file in figures["files"]] == [
        (str(paths[0]), 4),
        (str(paths[1]), 11),
    ]
    assert figures["total"]["documents"] == 2


def test_an_empty_document_has_no_ratio(run: Run) -> None:
    total = json.loads(run("stats", "--json", stdin=write_span("").encode()).stdout)["total"]

    assert (total["documents"], total["ratio"]) == (1, None)


def test_a_plain_text_holds_no_spans(run: Run) -> None:
    result = run("stats", stdin=b"plain text")

    assert result.exit_code == 0
    assert "stdin holds no Z-spans" in result.stderr
    assert result.stdout == ""


def test_a_damaged_span_is_reported_but_not_counted(run: Run) -> None:
    span = write_span("text")
    forged = span.replace("[z2:0", "[z2:1")

    result = run("stats", "--json", stdin=f"{span} {forged} [z2:nonsense] a[z1:z2]".encode())

    assert json.loads(result.stdout)["total"]["documents"] == 1
    assert result.stderr.count("Warning") == 1
    assert "checksum" in result.stderr


def test_a_file_name_is_not_read_as_markup(run: Run, tmp_path: Path) -> None:
    (tmp_path / "[red]a.z").write_text(write_span("text"))

    assert "[red]a.z" in run("stats", tmp_path / "[red]a.z").stdout


def test_spans_in_json_lines_are_counted_too(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "naïve"}) + "\n")
    compressed = run("compress", tmp_path / "a.jsonl").stdout_bytes

    assert json.loads(run("stats", "--json", stdin=compressed).stdout)["total"]["documents"] == 1


@pytest.fixture
def passages(tmp_path: Path) -> Path:
    path = tmp_path / "passages.jsonl"
    path.write_text("\ufeff" + "\n\n".join(map(json.dumps, PASSAGES)))
    return path


def test_a_question_about_passages_gives_a_page_of_their_sentences(
    run: Run, passages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(options, "open_codec", lambda *_: pytest.fail("a codec was loaded"))
    page = passages.with_suffix(".html")

    result = run("inspect", passages, "--query", "How often does the tide rise?", "--form", "text", "--html", page)

    assert result.exit_code == 0 and result.stdout == ""
    shown = page.read_text()
    assert "How often does the tide rise?" in shown and "The tide rises twice a day." in shown
    assert "Herring is landed there." in shown and 'class="row kept"' in shown
    assert "Harbour" in shown and "a score of 12" in shown and "Nothing" not in shown


def test_z_spans_are_made_by_the_chosen_codec(run: Run, passages: Path, codec: ByteCodec) -> None:
    page = passages.with_suffix(".html")

    run("inspect", passages, "--query", "When?", "--ratio", 4, "--protect", "tide", "--html", page)

    assert codec.calls == [{"ratio": 4.0, "query": "When?", "protect": [re.compile("tide")]}]
    assert "Z-tokens" in page.read_text()


def test_the_answer_of_the_reader_is_on_the_page(
    run: Run, passages: Path, reader: FakeReader, codec: ByteCodec
) -> None:
    page = passages.with_suffix(".html")

    for form in ("text", "z"):
        run("inspect", passages, "--query", "How often?", "--form", form, "--html", page, "--answer")
        assert "Margaret Hale" in page.read_text()

    assert [opened[:2] for opened in reader.opened] == [("default", None), ("default", codec)]
    assert [question for question, _, _ in reader.questions] == ["How often?"] * 2


@pytest.mark.parametrize("missing", [["--html", "a.html"], ["--query", "Who?"], ["--query", " ", "--html", "a.html"]])
@pytest.mark.parametrize("given", [["--form", "text"], ["--answer"]])
def test_form_text_and_answer_need_a_query_and_an_html_file(run: Run, missing: list[str], given: list[str]) -> None:
    result = run("inspect", "-", *missing, *given, stdin=TEXT.encode())

    assert result.exit_code == 2
    assert "--query and --html" in " ".join(result.stderr.replace("│", " ").split())


def test_a_page_does_not_overwrite_its_text(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(TEXT)

    result = run("inspect", tmp_path / "a.txt", "--html", tmp_path / "a.txt")

    assert result.exit_code == 1 and "would be overwritten" in result.stderr
    assert (tmp_path / "a.txt").read_text() == TEXT
