"""A run continues where it was stopped, and its files depend only on the inputs and options."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.numpy import load

from tests.batch.conftest import TEXTS, Settings, files_of, rows_of, write_lines
from tests.batch.embedders import LetterCounts
from zprompt import load as load_codec
from zprompt.batch import BatchResult, batch
from zprompt.errors import OptionError
from zprompt.relevance import sentences

pytestmark = pytest.mark.usefixtures("in_this_process")


def stop_after(chunks: int) -> Callable[[BatchResult], None]:
    def progress(state: BatchResult) -> None:
        if state.chunks == chunks:
            raise KeyboardInterrupt

    return progress


def test_each_row_comes_back_with_its_other_fields(settings: Settings, lines: Path) -> None:
    chosen = settings()

    result = batch([lines], chosen)

    rows = rows_of(chosen.out)
    restored = load_codec(chosen.codec, device="cpu").decompress([row["text"] for row in rows])
    assert restored == TEXTS
    assert [row["id"] for row in rows] == list(range(10))
    assert (result.rows, result.bad, result.chunks, result.complete) == (10, 0, 4, True)
    assert result.ratio == pytest.approx(3, abs=0.3)


def test_a_row_depends_neither_on_its_chunk_nor_on_the_others(settings: Settings, lines: Path) -> None:
    small, large = settings("small"), settings("large", chunk_rows=100)

    batch([lines], small)
    batch([lines], large)

    assert len(list((large.out / "rows").iterdir())) == 1
    assert rows_of(small.out) == rows_of(large.out)


def test_a_stopped_run_continues_and_writes_the_same_files(settings: Settings, lines: Path) -> None:
    whole, stopped = settings("whole", embedder=LetterCounts()), settings("stopped", embedder=LetterCounts())
    batch([lines], whole)

    with pytest.raises(KeyboardInterrupt):
        batch([lines], stopped, progress=stop_after(2))
    result = batch([lines], stopped)

    assert (result.done_before, result.chunks, result.rows, result.new_rows) == (2, 4, 10, 6)
    assert files_of(stopped.out) == files_of(whole.out)


def test_a_finished_run_is_not_done_again(settings: Settings, lines: Path) -> None:
    write_lines(lines, [*lines.read_bytes().splitlines(), b"not JSON"])
    first = batch([lines], settings())
    times = {path: path.stat().st_mtime_ns for path in settings().out.rglob("*.jsonl")}

    second = batch([lines], settings())

    assert (second.rows, second.bad, second.done_before) == (first.rows, first.bad, first.chunks)
    assert {path: path.stat().st_mtime_ns for path in settings().out.rglob("*.jsonl")} == times


def test_chunks_of_a_changed_input_replace_the_old_ones(settings: Settings, lines: Path) -> None:
    batch([lines], settings())
    write_lines(lines, [*lines.read_bytes().splitlines()[:4], b'{"text": "Another one."}'])

    result = batch([lines], settings())

    assert result.done_before == 1
    assert [row.get("id") for row in rows_of(settings().out)] == [0, 1, 2, 3, None]


def test_results_of_other_inputs_stay(settings: Settings, lines: Path, tmp_path: Path) -> None:
    batch([lines], settings())
    batch([write_lines(tmp_path / "b.jsonl", ['{"text": "Another one."}'])], settings())

    assert len(rows_of(settings().out)) == 11


def test_another_input_of_the_same_name_is_refused(settings: Settings, lines: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = write_lines(tmp_path / "b" / lines.name, ['{"text": "Another one."}'])
    batch([lines], settings())
    before = files_of(settings().out)

    with pytest.raises(OptionError, match=r"has the results of .*both inputs are named 'a\.jsonl'"):
        batch([other], settings())

    assert files_of(settings().out) == before


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt"])
def test_an_input_that_was_moved_is_recognised(settings: Settings, lines: Path, tmp_path: Path, name: str) -> None:
    first = lines.rename(tmp_path / name)
    batch([first], settings())
    (tmp_path / "moved").mkdir()
    second = first.rename(tmp_path / "moved" / name)

    assert batch([second], settings()).done_before > 0
    (tmp_path / "link").symlink_to(second.parent)
    assert batch([tmp_path / "link" / name], settings()).done_before > 0


@pytest.mark.parametrize("kind", [str, Path])
def test_the_input_and_the_folder_may_be_strings_or_paths(settings: Settings, lines: Path, kind: type) -> None:
    chosen = settings()

    result = batch(kind(lines), replace(chosen, out=kind(chosen.out)))

    assert (result.rows, len(rows_of(chosen.out))) == (10, 10)


def test_the_same_ratio_as_int_or_float_is_the_same_run(settings: Settings, lines: Path) -> None:
    batch([lines], settings(ratio=3))

    assert batch([lines], settings(ratio=3.0)).done_before == 4


def test_partial_files_of_an_interrupted_run_are_removed(settings: Settings, lines: Path) -> None:
    partial = settings().out / "rows" / ".a.jsonl-0000000-0123456789abcdef.jsonl.0.partial"
    partial.parent.mkdir(parents=True)
    partial.touch()

    batch([lines], settings())

    assert not partial.exists()


def test_a_folder_with_results_of_other_options_is_refused(settings: Settings, lines: Path) -> None:
    batch([lines], settings())

    with pytest.raises(OptionError, match=r"ratio 3.0 \(now 4.0\)"):
        batch([lines], settings(ratio=4.0))


@pytest.mark.parametrize("name", ["inputs.json", "run.json"])
def test_a_damaged_record_of_a_run_is_named(settings: Settings, lines: Path, name: str) -> None:
    batch([lines], settings())
    (settings().out / name).write_text("[")

    with pytest.raises(OptionError, match=f"{name} is damaged"):
        batch([lines], settings())


def test_two_runs_do_not_write_to_one_folder(settings: Settings, lines: Path) -> None:
    settings().out.mkdir()

    with FileLock(settings().out / ".lock"), pytest.raises(OptionError, match="Another run"):
        batch([lines], settings())


@pytest.mark.parametrize("wrong", [{"ratio": 0.5}, {"chunk_rows": 0}, {"chunk_rows": "many"}, {"protect": "("}])
def test_a_wrong_option_is_refused_before_anything_is_written(
    settings: Settings, lines: Path, wrong: dict[str, object]
) -> None:
    with pytest.raises(OptionError):
        batch([lines], settings(**wrong))

    assert not settings().out.exists()


def test_embeddings_of_sentences_are_stored_beside_the_rows(settings: Settings, lines: Path) -> None:
    chosen = settings(embedder=LetterCounts(), chunk_rows=100)

    batch([lines], chosen)

    [file] = (chosen.out / "embeddings").iterdir()
    tensors = load(file.read_bytes())
    units = [(row, start, end) for row, text in enumerate(TEXTS) for start, end in sentences(text)]
    assert [(row, *span) for row, span in zip(tensors["rows"], tensors["ranges"].tolist(), strict=True)] == units
    assert tensors["vectors"].shape == (len(units), 8)
    assert tensors["vectors"].dtype == "float16"


def test_the_folder_records_its_options(settings: Settings, lines: Path) -> None:
    batch([lines], settings(protect=["fox"]))

    options = json.loads((settings().out / "run.json").read_text())
    assert options["ratio"] == 3.0
    assert options["protect"] == ["fox"]
