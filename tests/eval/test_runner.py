"""Runs of the suite on a tiny codec."""

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


def measured(all_found: BenchResults, method: str, task: str) -> CellResult:
    [one] = [one for one in all_found.of_task(task) if one.cell.method == method]
    return one


def without_times(file: Path) -> dict[str, Any]:
    values = json.loads(file.read_text("utf-8"))
    for cell in values["cells"]:
        del cell["times"], cell["megabytes"]
    return {name: values[name] for name in ("format", "version", "settings", "tasks", "cells")}


def test_answers_are_looked_for_in_what_is_left_of_retrieved_passages(
    context: EvaluationContext, tmp_path: Path
) -> None:
    passages = [{"title": "", "text": text, "gold": "Ada" in text} for text in ("Ada was first.", "Nobody slept.")]
    row = {"question": "Who was first?", "answers": ["Ada"], "passages": passages}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row), "utf-8")
    data = (f"retrieved={tmp_path / 'rows.jsonl'}",)
    found = run(BenchSettings(("random",), ("retrieved",), (40.0,), data, 1), tmp_path / "out", context=context)

    assert measured(found, FULL, "retrieved").figures["kept"].value == 1
    assert measured(found, "random", "retrieved").figures["kept"].value == 0
    assert "F1, reader" in measured(found, FULL, "retrieved").figures


def test_every_cell_is_measured_or_has_a_reason(context: EvaluationContext, tmp_path: Path) -> None:
    all_found = run(SETTINGS, tmp_path / "one", context=context)

    assert [one.cell for one in all_found.cells] == list(cells(SETTINGS))
    for one in all_found.cells:
        assert bool(one.reason) == (one.cell.method in ("broken", "absent")), one
    assert measured(all_found, "broken", "qa").reason == "RuntimeError: it does not work"
    assert measured(all_found, "absent", "qa").reason == "The baseline 'absent' is not installed."
    for task in all_found.tasks:
        good = measured(all_found, "random", task.name)
        assert task.main in good.figures, (task.name, good)
        assert (
            {"positions ratio", "bits per source token", "bits per position"}
            <= good.figures.keys()
            <= {
                *task.figures,
                *(metric.name for metric in COMMON),
                *(name for name in good.figures if name.startswith("KV MB")),
            }
        )
        assert good.times["shortening tokens/s"].value > 0 and good.megabytes
    # What is lossless comes back, and is no longer lossless if it is cut.
    for name in ("reconstruction", "structure"):
        exact = [measured(all_found, method, name).figures["exact"].value for method in (FULL, "ztokens", "random")]
        assert exact == [1, 1, 0]
    assert measured(all_found, "ztokens", "reconstruction").figures["BLEU-4"].value == pytest.approx(100)
    assert measured(all_found, FULL, "structure").figures["the same"].value == 1
    assert measured(all_found, FULL, "copying").figures["kept"].value == 1
    assert measured(all_found, FULL, "summarisation").figures["ROUGE-L, reader"].value == pytest.approx(1)
    assert "reads no Z-tokens" in measured(all_found, "ztokens", "qa").missing["untuned backbone"]
    assert "F1, reader" in measured(all_found, "ztokens", "qa").figures
    assert not measured(all_found, FULL, "qa").missing.keys() & {"reader", "untuned backbone"}
    assert "F1, untuned backbone" in measured(all_found, "random", "qa").figures

    # Another run gives the same but for times.
    run(SETTINGS, tmp_path / "two", context=context)
    assert without_times(tmp_path / "one" / RESULTS_FILE) == without_times(tmp_path / "two" / RESULTS_FILE)


def test_a_run_goes_on_from_what_it_has(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BenchSettings(("random", "broken"), ("queries", "structure"), (2.0, 4.0), limit=2)
    told: list[tuple[str, int, int]] = []
    first = run(replace(settings, tasks=("queries",)), tmp_path, context=context)
    tried: list[Cell] = []
    monkeypatch.setattr(
        "zprompt.eval.runner.measure", lambda cell, key, *_: tried.append(cell) or CellResult(cell, key)
    )

    second = run(settings, tmp_path, lambda *values: told.append(values), context)

    assert [cell for cell in tried if cell.task == "queries"] == [
        Cell("broken", "queries", 2.0),
        Cell("broken", "queries", 4.0),
    ]
    assert [cell.method for cell in tried if cell.task == "structure"] == [FULL, *["random"] * 2, *["broken"] * 2]
    assert measured(second, FULL, "queries").figures.keys() == measured(first, FULL, "queries").figures.keys()
    assert second.run["reused_cells"] == 3
    assert told[0] == ("queries", 3, 5) and told[-1] == ("structure", 5, 5)

    tried.clear()
    run(replace(settings, seed=1), tmp_path, context=context)
    assert len(tried) == 10  # nothing of another seed is taken


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchResultsError, match="has no results"):
        load_results(tmp_path)
    (tmp_path / RESULTS_FILE).write_text('{"format": "zprompt-bench", "version": 99}', "utf-8")
    with pytest.raises(BenchResultsError, match="version 99"):
        load_results(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"limit": 0}, "limit must"), ({"ratios": (0.5,)}, "at least 1, got 0.5"), ({"methods": ()}, "no methods")],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        replace(SETTINGS, **changes)


@pytest.mark.default_model
@pytest.mark.slow
def test_several_processes_find_what_one_does(tmp_path: Path) -> None:
    settings = BenchSettings(("truncation",), ("queries",), (2.0, 4.0), limit=2)
    run(settings, tmp_path / "one")
    run(replace(settings, jobs=2), tmp_path / "two")

    one, two = (without_times(tmp_path / name / RESULTS_FILE) for name in ("one", "two"))
    assert one["cells"] == two["cells"]
