"""`zprompt bench` without a model: its options, its reports and its errors."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.eval.test_report import RUN
from zprompt.cli.main import app
from zprompt.eval import BenchResults, BenchSettings
from zprompt.eval.results import save_results
from zprompt.progress import Progress


def test_help_shows_the_defaults_of_the_settings() -> None:
    result = CliRunner().invoke(app, ["bench", "--help"], env={"COLUMNS": "200"})

    assert result.exit_code == 0, result.output
    for default in ("8.0", "50", "400", "retrieved, reconstruction", "focus-z, focus-text, pruning, truncation"):
        assert f"[default: {default}" in result.output


def test_a_ratio_that_is_no_number_is_refused() -> None:
    result = CliRunner().invoke(app, ["bench", "--ratios", "2,many"])

    assert result.exit_code == 2
    assert "could not convert string to float: 'many'" in result.output


def test_options_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[BenchSettings, Path]] = []

    def run(settings: BenchSettings, folder: Path, progress: Progress | None) -> BenchResults:
        calls.append((settings, folder))
        return BenchResults(RUN, settings, (), ())

    monkeypatch.setattr("zprompt.eval.run", run)
    arguments = (
        "bench --methods truncation,random --tasks qa --ratios 2 --ratios 4 --limit 2 --seed 3 --jobs 2 --out".split()
    )
    result = CliRunner().invoke(app, [*arguments, str(tmp_path)])

    assert result.exit_code == 0, result.output
    [(settings, folder)] = calls
    assert (settings.methods, settings.tasks, settings.ratios) == (("truncation", "random"), ("qa",), (2.0, 4.0))
    assert (settings.limit, settings.seed, settings.jobs, folder) == (2, 3, 2, tmp_path)
    assert (tmp_path / "bench.md").is_file() and (tmp_path / "bench.html").is_file()


def test_a_run_is_reported_again(tmp_path: Path) -> None:
    save_results(BenchResults(RUN, BenchSettings(("random",), ("qa",)), (), ()), tmp_path)
    result = CliRunner().invoke(app, ["bench", "report", str(tmp_path), "--out", str(tmp_path / "new")])

    assert result.exit_code == 0, result.output
    assert "Summary" in (tmp_path / "new" / "bench.md").read_text("utf-8")


def test_a_folder_without_results_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["bench", "report", str(tmp_path)])

    assert result.exit_code == 1
    assert "has no results of `zprompt bench`" in result.stderr.replace("\n", " ")
