"""The benchmark runs on a tiny codec."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zprompt.errors import BenchResultsError, OptionError
from zprompt.eval.context import FULL, EvaluationContext
from zprompt.eval.metrics import COMMON
from zprompt.eval.results import RESULTS_FILE, BenchResults, BenchSettings, Cell, CellResult, load_results
from zprompt.eval.runner import cells, run
from zprompt.eval.tasks import TASKS

METHODS = ("ztokens", "random", "broken", "absent")
SHORT_TASKS = tuple(task for task in TASKS if task != "retrieved")  # shipped passages overflow a tiny reader's context
SETTINGS = BenchSettings(METHODS, SHORT_TASKS, (2.0,), limit=1, characters=120)


def measured(results: BenchResults, method: str, task: str) -> CellResult:
    [result] = [result for result in results.of_task(task) if result.cell.method == method]
    return result


def without_times(file: Path) -> dict[str, Any]:
    values = json.loads(file.read_text("utf-8"))
    for cell in values["cells"]:
        del cell["times"], cell["megabytes"]
    return {name: values[name] for name in ("format", "version", "settings", "tasks", "cells")}


def test_answers_are_looked_for_in_the_shortened_passages(context: EvaluationContext, tmp_path: Path) -> None:
    passages = [{"title": "", "text": text, "gold": "Ada" in text} for text in ("Ada was first.", "Nobody slept.")]
    row = {"question": "Who was first?", "answers": ["Ada"], "passages": passages}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), "utf-8")
    data = (f"retrieved={tmp_path / 'rows.jsonl'}",)
    results = run(BenchSettings(("random",), ("retrieved",), (40.0,), data, 1), tmp_path / "out", context=context)

    assert measured(results, FULL, "retrieved").figures["kept"].value == 1
    assert measured(results, "random", "retrieved").figures["kept"].value == 0
    assert "F1, reader" in measured(results, FULL, "retrieved").figures


def test_every_cell_is_measured_or_has_a_reason(context: EvaluationContext, tmp_path: Path) -> None:
    results = run(SETTINGS, tmp_path / "one", context=context)

    assert [result.cell for result in results.cells] == list(cells(SETTINGS))
    for result in results.cells:
        assert bool(result.reason) == (result.cell.method in ("broken", "absent")), result
    assert measured(results, "broken", "qa").reason == "RuntimeError: it does not work"
    assert measured(results, "absent", "qa").reason == "The baseline 'absent' is not installed."
    for task in results.tasks:
        measured_cell = measured(results, "random", task.name)
        assert task.main in measured_cell.figures, (task.name, measured_cell)
        assert (
            {"positions ratio", "bits per source token", "bits per position"}
            <= measured_cell.figures.keys()
            <= {
                *task.figures,
                *(metric.name for metric in COMMON),
                *(name for name in measured_cell.figures if name.startswith("KV MB")),
            }
        )
        assert measured_cell.times["shortening tokens/s"].value > 0 and measured_cell.megabytes
    # Lossless methods restore the text; random deletion does not.
    for name in ("reconstruction", "structure"):
        exact = [measured(results, method, name).figures["exact"].value for method in (FULL, "ztokens", "random")]
        assert exact == [1, 1, 0]
    assert measured(results, "ztokens", "reconstruction").figures["BLEU-4"].value == pytest.approx(100)
    assert measured(results, FULL, "structure").figures["the same"].value == 1
    assert measured(results, FULL, "copying").figures["kept"].value == 1
    assert measured(results, FULL, "summarisation").figures["ROUGE-L, reader"].value == pytest.approx(1)
    assert "cannot read Z-tokens" in measured(results, "ztokens", "qa").missing["untuned backbone"]
    assert "F1, reader" in measured(results, "ztokens", "qa").figures
    assert not measured(results, FULL, "qa").missing.keys() & {"reader", "untuned backbone"}
    assert "F1, untuned backbone" in measured(results, "random", "qa").figures

    # Another run gives the same results, except for the times.
    run(SETTINGS, tmp_path / "two", context=context)
    assert without_times(tmp_path / "one" / RESULTS_FILE) == without_times(tmp_path / "two" / RESULTS_FILE)


def test_a_run_reuses_the_cells_that_it_has(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BenchSettings(("random", "broken"), ("queries", "structure"), (2.0, 4.0), limit=2)
    progress: list[tuple[str, int, int]] = []
    first = run(replace(settings, tasks=("queries",)), tmp_path, context=context)
    computed: list[Cell] = []
    monkeypatch.setattr(
        "zprompt.eval.runner.measure", lambda cell, key, *_: computed.append(cell) or CellResult(cell, key)
    )

    second = run(settings, tmp_path, lambda *values: progress.append(values), context)

    assert [cell for cell in computed if cell.task == "queries"] == [
        Cell("broken", "queries", 2.0),
        Cell("broken", "queries", 4.0),
    ]
    assert [cell.method for cell in computed if cell.task == "structure"] == [FULL, *["random"] * 2, *["broken"] * 2]
    assert measured(second, FULL, "queries").figures.keys() == measured(first, FULL, "queries").figures.keys()
    assert second.run["reused_cells"] == 3
    assert progress[0] == ("queries", 3, 5) and progress[-1] == ("structure", 5, 5)

    computed.clear()
    run(replace(settings, seed=1), tmp_path, context=context)
    assert len(computed) == 10  # no cell of another seed is reused


def test_missing_and_foreign_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchResultsError, match="has no results"):
        load_results(tmp_path)
    (tmp_path / RESULTS_FILE).write_text('{"format": "zprompt-bench", "version": 99}', "utf-8")
    with pytest.raises(BenchResultsError, match="version 99"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"limit": 0}, "limit must"), ({"ratios": (0.5,)}, "at least 1, got 0.5"), ({"methods": ()}, "No methods")],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        replace(SETTINGS, **changes)


@pytest.mark.default_model
@pytest.mark.slow
def test_several_processes_get_the_results_of_one(tmp_path: Path) -> None:
    settings = BenchSettings(("truncation",), ("queries",), (2.0, 4.0), limit=2)
    run(settings, tmp_path / "one")
    run(replace(settings, jobs=2), tmp_path / "two")

    single, parallel = (without_times(tmp_path / name / RESULTS_FILE) for name in ("one", "two"))
    assert single["cells"] == parallel["cells"]
