"""Files become Z-spans and come back, byte for byte."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli.byte_codec import ByteCodec, stats_of, write_span
from tests.cli.conftest import Run
from zprompt.options import CompressOptions
from zprompt.results import CompressionResult

TEXT = "The tide rises,\r\nthe tide falls.\n"
MANY_RUNS = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ANY_TEXT = st.lists(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(["\r\n", "\r", "\n", "\ufeff", "[z2:", write_span("x"), "a[z1:z2]"])
).map("".join)


def fold(span: str) -> str:
    """Wrap a span at 76 columns."""
    return "\r\n".join(span[start : start + 76] for start in range(0, len(span), 76))


def test_a_text_on_stdin_becomes_a_span_on_stdout(run: Run) -> None:
    result = run("compress", stdin=TEXT.encode())

    assert result.exit_code == 0
    assert result.stdout.startswith("[z2:") and result.stdout.endswith("]")


def test_the_figures_go_to_stderr_alone(run: Run) -> None:
    result = run("compress", "-", stdin=TEXT.encode())

    assert "ratio" in result.stderr
    assert "ratio" not in result.stdout


def test_quiet_prints_no_figures(run: Run) -> None:
    assert run("compress", "--quiet", stdin=b"text").stderr == ""


@MANY_RUNS
@given(ANY_TEXT)
def test_any_text_comes_back_through_stdin_and_stdout(run: Run, text: str) -> None:
    compressed = run("compress", "-q", stdin=text.encode())
    restored = run("decompress", "-q", stdin=compressed.stdout_bytes)

    assert restored.stdout_bytes == text.encode()


@MANY_RUNS
@given(ANY_TEXT)
def test_any_text_comes_back_through_files(run: Run, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("files")
    (folder / "a.txt").write_bytes(text.encode())

    run("compress", folder / "a.txt", "-o", folder / "a.z")
    run("decompress", folder / "a.z", "-o", folder / "b.txt")

    assert (folder / "b.txt").read_bytes() == text.encode()


def test_a_short_text_that_looks_like_a_span_passes_through_and_comes_back(run: Run) -> None:
    text = write_span("not for you").encode()
    compressed = run("compress", "--min-tokens", 100, stdin=text)

    assert compressed.stdout_bytes != text
    assert run("decompress", stdin=compressed.stdout_bytes).stdout_bytes == text


@pytest.mark.parametrize("text", [b"a[z1:z2]", b"y = x[z2:n]", b"[z2:not a span", b"A Z-span is [z2:\xe2\x80\xa6]."])
def test_a_text_that_only_looks_like_a_span_is_text(run: Run, text: bytes) -> None:
    assert run("decompress", stdin=text).stdout_bytes == text
    assert run("compress", "--min-tokens", 100, stdin=text).stdout_bytes == text


@pytest.mark.parametrize("change", [html.escape, lambda span: html.escape(span).replace(":", "&#58;"), fold])
def test_a_span_that_was_escaped_or_folded_is_restored(run: Run, change: Callable[[str], str]) -> None:
    text = "inside & 'out' " * 20

    assert run("decompress", stdin=f"before {change(write_span(text))} after".encode()).stdout == f"before {text} after"


def test_a_missed_ratio_is_a_warning_of_one_line(run: Run, codec: ByteCodec) -> None:
    codec.missed = "ratio 9 was requested, but these texts allow at most 4.00"

    for _ in range(2):
        result = run("compress", "-q", "--ratio", 9, stdin=b"text")
        assert result.exit_code == 0
        assert result.stderr == f"Warning: {codec.missed}.\n"


def test_text_around_spans_stays(run: Run) -> None:
    span = run("compress", stdin=b"inside").stdout_bytes

    assert run("decompress", stdin=b"before " + span + b" after\n").stdout_bytes == b"before inside after\n"


def test_a_folder_becomes_a_folder_of_the_same_shape_and_comes_back(run: Run, tmp_path: Path) -> None:
    texts = {"a.txt": b"one", "deep/er/b.md": b"two\r\n", "c.jsonl": b'{"text": "three"}\n'}
    write_all(tmp_path / "in", texts)

    run("compress", tmp_path / "in", "-o", tmp_path / "out")
    run("decompress", tmp_path / "out", "-o", tmp_path / "back")

    assert set(read_all(tmp_path / "out")) == {"a.txt.z", "deep/er/b.md.z", "c.jsonl.z"}
    assert read_all(tmp_path / "back") == texts


def test_all_files_are_compressed_in_one_call(run: Run, codec: ByteCodec, tmp_path: Path) -> None:
    write_all(tmp_path, {"a.txt": b"one", "b.txt": b"two", "c.jsonl": b'{"text": "3"}\n{"text": "4"}\n'})

    run("compress", tmp_path, "-o", tmp_path / "out", "--ratio", 4)

    assert [call["ratio"] for call in codec.calls] == [4.0]


def test_outputs_inside_the_input_folder_are_not_inputs_of_the_next_run(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"a.txt": b"one"})
    for _ in range(2):
        assert run("compress", tmp_path, "-o", tmp_path / "out").exit_code == 0

    assert set(read_all(tmp_path / "out")) == {"a.txt.z"}


def test_a_binary_file_in_a_folder_is_skipped_with_a_warning(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.txt": b"one", "photo.jpg": b"\xff\xd8", ".git/config": b"hidden"})

    result = run("compress", tmp_path / "in", "-o", tmp_path / "out")

    assert result.exit_code == 0
    assert "photo.jpg: it is not UTF-8 text" in result.stderr
    assert set(read_all(tmp_path / "out")) == {"a.txt.z"}


def test_a_binary_file_that_is_named_is_an_error(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"photo.jpg": b"ab\xff\xd8"})

    result = run("compress", tmp_path / "photo.jpg")

    assert result.exit_code == 1
    assert "photo.jpg is not UTF-8: byte 2 is 0xff" in result.stderr


def test_a_folder_without_text_is_an_error(run: Run, tmp_path: Path) -> None:
    result = run("compress", tmp_path, "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert "No text files" in result.stderr


def test_an_output_that_ends_in_a_slash_is_a_folder(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"letter.txt": b"one"})

    assert run("compress", tmp_path / "letter.txt", "-o", f"{tmp_path}/out/").exit_code == 0
    assert set(read_all(tmp_path / "out")) == {"letter.txt.z"}
    refused = run("compress", tmp_path / "letter.txt", "-o", f"{tmp_path}/letter.txt/", "--force")
    assert refused.exit_code == 2 and "not a folder" in refused.stderr


def test_several_inputs_need_a_folder(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"a.txt": b"one", "b.txt": b"two"})

    result = run("compress", tmp_path / "a.txt", tmp_path / "b.txt")

    assert result.exit_code == 2
    assert "--output" in result.stderr


def test_two_inputs_do_not_overwrite_each_other(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"x/a.txt": b"one", "y/a.txt": b"two"})

    result = run("compress", tmp_path / "x/a.txt", tmp_path / "y/a.txt", "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert not (tmp_path / "out").exists()


def test_an_error_leaves_no_partial_output(run: Run, codec: ByteCodec, tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.txt": b"good", "b.txt": codec.bad.encode()})

    result = run("compress", tmp_path / "in", "-o", tmp_path / "out")

    assert result.exit_code == 1
    assert "The text is bad" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_text_that_cannot_be_compressed_can_pass_through(run: Run, codec: ByteCodec) -> None:
    result = run("compress", "--on-error", "passthrough", stdin=codec.bad.encode())

    assert result.stdout_bytes == codec.bad.encode()


def test_a_damaged_span_leaves_out_only_its_own_file(run: Run, codec: ByteCodec, tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.txt": b"one", "b.jsonl": line("two") + line("three"), "c.txt": b"four"})
    run("compress", tmp_path / "in", "-o", tmp_path / "z")
    lines = tmp_path / "z" / "b.jsonl.z"
    lines.write_bytes(lines.read_bytes()[:-6] + b'"}\n')
    codec.calls.clear()

    result = run("decompress", tmp_path / "z", "-o", tmp_path / "back")

    assert result.exit_code == 1
    assert read_all(tmp_path / "back") == {"a.txt": b"one", "c.txt": b"four"}
    assert "b.jsonl.z, line 2: A Z-span" in result.stderr and "1 of 3 files were not written" in result.stderr

    passed = run("decompress", tmp_path / "z", "-o", tmp_path / "passed", "--on-error", "passthrough")
    assert (passed.exit_code, read_all(tmp_path / "passed")["b.jsonl"].split(b"\n")[0]) == (0, line("two").strip())
    codec.calls.clear()
    assert run("decompress", tmp_path / "z", "-o", tmp_path / "none", "--on-error", "raise").exit_code == 1
    assert codec.calls == [] and not (tmp_path / "none").exists()  # found before a model is loaded


def test_a_text_that_cannot_be_compressed_is_named_with_its_line(run: Run, codec: ByteCodec, tmp_path: Path) -> None:
    lines = line("one") + b'{"text": null}\n{"text": "\\ud800"}\n{"text": ""}\n{"text": "caf\\u00e9"}\n'
    write_all(tmp_path / "in", {"a.jsonl": lines, "b.txt": b"two"})

    stopped = run("compress", tmp_path / "in", "-o", tmp_path / "out")
    assert stopped.exit_code == 1 and "a.jsonl, line 3: " in stopped.stderr
    assert codec.calls == [] and not (tmp_path / "out").exists()

    skipped = run("compress", tmp_path / "in", "-o", tmp_path / "skipped", "--on-error", "skip")
    assert skipped.exit_code == 1 and set(read_all(tmp_path / "skipped")) == {"b.txt.z"}

    passed = run("compress", tmp_path / "in", "-o", tmp_path / "out", "--on-error", "passthrough")
    assert passed.exit_code == 0 and "a.jsonl, line 3: " in passed.stderr
    assert run("decompress", tmp_path / "out", "-o", tmp_path / "back").exit_code == 0
    assert read_all(tmp_path / "back") == {"a.jsonl": lines, "b.txt": b"two"}


def test_an_input_is_overwritten_only_with_force(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"n.txt": b"one"})
    refused = run("compress", tmp_path / "n.txt", "-o", tmp_path / "n.txt")
    assert refused.exit_code == 1 and "--force" in refused.stderr
    assert read_all(tmp_path) == {"n.txt": b"one"}
    assert run("compress", tmp_path / "n.txt", "-o", tmp_path / "n.txt", "--force").exit_code == 0
    assert read_all(tmp_path)["n.txt"].startswith(b"[z2:")


def test_a_second_run_writes_no_new_files(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"a.txt": b"one"})
    assert run("compress", tmp_path, "-o", tmp_path).exit_code == 0
    first = read_all(tmp_path)
    again = run("compress", tmp_path, "-o", tmp_path)
    assert again.exit_code == 0 and "a.txt.z: it is already compressed" in again.stderr
    assert read_all(tmp_path) == first


NOTATIONS = (
    b'{"text": "caf\\u00e9 1"}\n'  # Python's
    b'{"text": "caf\xc3\xa9 2"\t}\r\n'  # JavaScript's
    b'{"text":"caf\\u00E9 <3>"\r}\n'  # Jackson's
    b'{"text": "\\/", "id": 4}'  # PHP's
)


def test_stored_z_spans_are_focused_under_their_names_and_come_back(run: Run, codec: ByteCodec, tmp_path: Path) -> None:
    texts = {"p.jsonl": NOTATIONS, "deep/a.txt": b"one"}
    write_all(tmp_path / "in", texts)
    run("compress", tmp_path / "in", "-o", tmp_path / "stored")

    focused = run("compress", tmp_path / "stored", "--query", "Who?", "-o", tmp_path / "focused")
    again = run("compress", tmp_path / "focused/p.jsonl.z", "--query", "When?", "-o", tmp_path / "focused", "--force")
    run("decompress", tmp_path / "focused", "-o", tmp_path / "back")

    assert (focused.exit_code, again.exit_code) == (0, 0)
    assert set(read_all(tmp_path / "focused")) == {"p.jsonl.z", "deep/a.txt.z"}
    assert read_all(tmp_path / "back") == texts


def test_stored_z_spans_become_text_under_the_names_of_their_texts(
    run: Run, tmp_path: Path, codec: ByteCodec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shorten(documents: object, **_: object) -> CompressionResult:
        return CompressionResult(codec.decompress(documents), stats_of([]), (), ())

    monkeypatch.setattr("zprompt.compress", shorten)
    write_all(tmp_path / "in", {"p.jsonl": NOTATIONS})
    run("compress", tmp_path / "in", "-o", tmp_path / "stored")

    run("compress", tmp_path / "stored", "--query", "Who?", "--form", "text", "-o", tmp_path / "short")

    assert read_all(tmp_path / "short") == {"p.jsonl": NOTATIONS}


def test_a_z_span_stored_beside_its_text_is_not_focused(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.txt": b"one", "b.txt.z": write_span("two").encode()})
    run("compress", tmp_path / "in", "-o", tmp_path / "in")

    result = run("compress", tmp_path / "in", "--query", "Who?", "-o", tmp_path / "out")

    assert "a.txt.z: the file with its text is there as well" in result.stderr
    assert set(read_all(tmp_path / "out")) == {"a.txt.z", "b.txt.z"}


def test_z_spans_that_were_compressed_as_texts_come_back(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"p.jsonl": NOTATIONS})
    for name in ("p.jsonl", "z/p.jsonl.z"):
        run("compress", tmp_path / name, "-o", f"{tmp_path}/z/")
    assert set(read_all(tmp_path / "z")) == {"p.jsonl.z", "p.jsonl.z.z"}

    run("decompress", tmp_path / "z/p.jsonl.z.z", "-o", f"{tmp_path}/back/")

    assert read_all(tmp_path / "back")["p.jsonl.z"] == read_all(tmp_path / "z")["p.jsonl.z"]


PASSAGES = [
    {"title": "Gull Rock Lighthouse", "text": "It was opened by the mayor in 1834. The ferry lands there."},
    {"title": "Leopold Museum", "text": "It was opened by the president in 2001. It shows paintings."},
]


def test_compressing_a_z_span_again_is_a_warning(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path, {"a.txt.z": write_span("one").encode()})

    result = run("compress", tmp_path / "a.txt.z", "-o", tmp_path / "again.z")

    assert result.exit_code == 0 and "a.txt.z is already compressed" in result.stderr


def test_titles_help_to_find_the_sentences_that_a_question_needs(run: Run, codec: ByteCodec) -> None:
    lines = "".join(json.dumps(passage) + "\n" for passage in PASSAGES).encode()
    focus = "compress", "--field", "text", "--query", "Who opened the Leopold Museum?"

    short = run(*focus, "--form", "text", "--max-tokens", 18, stdin=lines)
    run(*focus, stdin=lines)

    assert "by the president" in short.stdout and "by the mayor" not in short.stdout
    assert codec.inputs == [PASSAGES]


def test_only_given_options_reach_the_codec(run: Run, codec: ByteCodec) -> None:
    run("compress", "--query", "when?", "--protect", r"\d+", stdin=b"at 12:30")

    protect = [re.compile(r"\d+")]
    assert codec.calls == [{"query": "when?", "protect": protect, "on_error": "raise", "progress": None}]


def test_several_protections_apply_together(run: Run, codec: ByteCodec) -> None:
    run("compress", "--protect", r"\bno\b", "--protect", r"\b3\b", stdin=b"no note")

    options = CompressOptions(protect=codec.calls[0]["protect"])  # type: ignore[arg-type]
    assert options.protection.ranges("no note, 3 of 33") == [(0, 2), (9, 10)]


@pytest.mark.parametrize("wrong", ["(", "a{99999999999999999999}"])
def test_a_wrong_regular_expression_is_a_usage_error(run: Run, wrong: str) -> None:
    result = run("compress", "--protect", wrong, stdin=b"text")

    assert result.exit_code == 2
    assert "--protect" in result.stderr


def test_the_count_option_is_refused_for_z_spans(run: Run) -> None:
    result = run("compress", "--count", "tiktoken:o200k_base", stdin=b"text")

    assert result.exit_code != 0
    assert "--count applies to --form text" in result.stderr


def test_lines_stay_in_their_files(run: Run, tmp_path: Path) -> None:
    files = {name: b"".join(line(f"{name} {i}") for i in range(3)) for name in ("a.jsonl", "b.jsonl")}
    write_all(tmp_path / "in", files)

    run("compress", tmp_path / "in", "-o", tmp_path / "out")
    run("decompress", tmp_path / "out", "-o", tmp_path / "back")

    assert read_all(tmp_path / "back") == files


def line(text: str) -> bytes:
    return json.dumps({"id": 1, "text": text}).encode() + b"\n"


def write_all(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_z_span_to_focus_leaves_out_only_its_own_file(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "in", {"a.txt.z": write_span("one").encode(), "bad.txt.z": write_span("two").encode()[:-3]})

    result = run("compress", tmp_path / "in", "--query", "Who?", "-o", tmp_path / "out", "--on-error", "skip")

    assert result.exit_code == 1 and "bad.txt.z" in result.stderr
    assert set(read_all(tmp_path / "out")) == {"a.txt.z"}
