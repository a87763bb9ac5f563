"""Workers may die: no row is lost, and none is written twice."""

import multiprocessing
import sys
from pathlib import Path

import pytest

from tests.batch.conftest import TEXTS, Settings, files_of, rows_of, write_lines
from tests.batch.embedders import DEADLY, deadly
from zprompt.batch import DEATHS, BatchResult, BatchSettings, ChunkWorker, batch, find_sources
from zprompt.errors import BackboneError, MissingDependencyError

pytestmark = pytest.mark.slow
RAY_WARNINGS = pytest.mark.filterwarnings("ignore")  # Ray warns about its own settings, and leaves files open


@pytest.fixture
def deadly_lines(tmp_path: Path) -> Path:
    """Return a file of five chunks, the second of which has the deadly text."""
    texts = [*TEXTS[:4], DEADLY, *TEXTS[4:]]
    return write_lines(tmp_path / "a.jsonl", [f'{{"text": "{text.splitlines()[0]}"}}' for text in texts])


def run_chunks_here(settings: BatchSettings, path: Path) -> None:
    [source] = find_sources([path], settings.field, settings.out)
    for chunk in source.cut(settings.chunk_rows):
        ChunkWorker(settings, threads=1)(chunk)


def test_two_workers_write_the_same_files_though_one_is_killed(
    settings: Settings, deadly_lines: Path, tmp_path: Path
) -> None:
    run_chunks_here(settings("here", embedder=deadly(tmp_path / "never", 0)), deadly_lines)
    chosen = settings("killed", embedder=deadly(tmp_path / "once", 1))

    result = batch([deadly_lines], chosen, workers=2)

    assert not list((tmp_path / "once").iterdir())  # it was killed
    assert (result.rows, result.chunks, result.complete) == (11, 4, True)
    assert files_of(chosen.out) == files_of(tmp_path / "here")
    assert not multiprocessing.active_children()


def test_a_chunk_that_kills_every_worker_is_left_to_the_next_run(
    settings: Settings, deadly_lines: Path, tmp_path: Path
) -> None:
    chosen = settings(embedder=deadly(tmp_path / "often", DEATHS))

    first = batch([deadly_lines], chosen, workers=1)
    second = batch([deadly_lines], chosen, workers=1)

    [reason] = first.left_out
    assert reason.startswith("a.jsonl, chunk 1: Its worker was killed by SIGKILL.")
    assert (first.rows, first.chunks, first.complete) == (8, 4, False)
    assert (second.rows, second.done_before, second.complete) == (11, 3, True)
    assert len(rows_of(chosen.out)) == 11


def test_a_run_that_is_stopped_leaves_no_worker(settings: Settings, lines: Path) -> None:
    def stop(state: BatchResult) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batch([lines], settings(), workers=1, progress=stop)

    assert not multiprocessing.active_children()


def test_an_error_of_a_worker_is_raised(settings: Settings, lines: Path, tmp_path: Path) -> None:
    (tmp_path / "no-model").mkdir()

    with pytest.raises(BackboneError):
        batch([lines], settings(codec=str(tmp_path / "no-model")), workers=1)


@RAY_WARNINGS
def test_ray_writes_the_same_files_though_a_worker_is_killed(
    settings: Settings, deadly_lines: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    run_chunks_here(settings("here", embedder=deadly(tmp_path / "never", 0)), deadly_lines)
    chosen = settings("ray", embedder=deadly(tmp_path / "once", 1))

    result = batch([deadly_lines], chosen, workers=2, engine="ray")

    assert not list((tmp_path / "once").iterdir())
    assert (result.rows, result.complete) == (11, True)
    assert files_of(chosen.out) == files_of(tmp_path / "here")


@RAY_WARNINGS
def test_with_ray_a_chunk_that_kills_every_worker_is_left_to_the_next_run(
    settings: Settings, deadly_lines: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    chosen = settings(embedder=deadly(tmp_path / "often", DEATHS))

    first = batch([deadly_lines], chosen, workers=1, engine="ray")

    assert (first.rows, first.chunks, len(first.left_out)) == (8, 4, 1)
    assert not list((tmp_path / "often").iterdir())


def test_without_ray_the_extra_is_named(settings: Settings, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)

    with pytest.raises(MissingDependencyError, match=r"zprompt\[ray\]"):
        batch([lines], settings(), engine="ray")
