"""Samples and scores of the tasks, without a model."""

import json
from pathlib import Path

import pytest

from zprompt.baselines import Shortened
from zprompt.errors import OptionError, TrainingDataError
from zprompt.eval.context import EvaluationContext, Prediction
from zprompt.eval.datasets import Sample
from zprompt.eval.metrics import BLEU, NUMBERS
from zprompt.eval.tasks import TASKS, Reconstruction, canonical, copying_samples, make_tasks


def prediction(text: str, shortened: str, group: str = "text") -> Prediction:
    return Prediction(Sample("a", group, (text,)), (Shortened(shortened, 10, 5, "some"),), None)


def test_all_tasks_have_shipped_samples_and_name_their_source() -> None:
    for task in make_tasks(TASKS, (), limit=5, characters=1000, seed=0):
        assert len(task.samples) == 5 or task.name == "structure"
        assert "shipped with zprompt" in task.source or task.source == "made from seed 0"
        assert all(sample.texts and all(sample.texts) for sample in task.samples)
        assert len({sample.id for sample in task.samples}) == len(task.samples)


def test_shipped_texts_are_of_many_kinds_and_canonical() -> None:
    reconstruction, structure = make_tasks(("reconstruction", "structure"), (), limit=6, characters=1000, seed=0)

    assert len({sample.group for sample in reconstruction.samples}) == 6
    assert all(canonical(sample.texts[0], sample.group) for sample in structure.samples)


def test_the_same_seed_gives_the_same_samples() -> None:
    first, again, other = (make_tasks(("copying", "qa"), (), 3, 100, seed) for seed in (0, 0, 1))

    assert [task.digest for task in first] == [task.digest for task in again] != [task.digest for task in other]


def test_a_file_goes_to_the_tasks_that_it_fits(tmp_path: Path) -> None:
    rows = {
        "squad": {"question": "Who?", "context": "Ada did.", "title": "T", "answers": {"text": ["Ada"]}},
        "ours": {"question": "Who?", "answers": ["Bo"], "passages": [{"title": "T", "text": "Bo did.", "gold": True}]},
        "news": {"article": "It rained.", "highlights": "Rain."},
        "wiki": {"title": "T", "paragraphs": ["One.", "Two."]},
        "qulac": {"topic": "tea", "facet": "Find tea.", "turns": [["which", "green tea"]]},
    }
    for name, row in rows.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row), "utf-8")
    (tmp_path / "a.json").write_text('{"a": 1}', "utf-8")
    files = [str(file) for file in sorted(tmp_path.iterdir())]
    texts = {task.name: [sample.texts[0] for sample in task.samples] for task in make_tasks(TASKS, files, 9, 99, 0)}

    assert sorted(texts["qa"]) == ["Ada did.", "Bo did."]
    assert texts["summarisation"] == ["It rained."]
    assert sorted(texts["reconstruction"]) == ["It rained.", "One.\n\nTwo.", '{"a": 1}']
    assert texts["structure"] == ['{"a": 1}']
    assert texts["queries"] == ["tea. which green tea"]


def test_questions_are_asked_of_all_passages_and_of_the_gold_ones(tmp_path: Path) -> None:
    passages = [{"title": "A", "text": "Bo did.", "gold": True}, {"title": "B", "text": "Cy slept.", "gold": False}]
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"question": "Who?", "answers": ["Bo"], "passages": passages}), "utf-8"
    )
    retrieved, qa = make_tasks(("retrieved", "qa"), (str(tmp_path / "a.jsonl"),), 9, 99, 0)

    assert retrieved.samples[0].texts == ("Bo did.", "Cy slept.")
    assert qa.samples[0].texts == ("Bo did.",)


def test_shipped_questions_are_asked_of_their_passage_among_others() -> None:
    [task] = make_tasks(("retrieved",), (), limit=100, characters=100, seed=0)

    assert len(task.samples) > 50
    for sample in task.samples:
        assert len(set(sample.texts)) == 6
        assert any(answer.lower() in text.lower() for answer in sample.answers for text in sample.texts)


def test_rows_that_fit_no_task_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"question": "Who?", "passages": []}', "utf-8")
    with pytest.raises(TrainingDataError, match=r"Row 1 of file a\.jsonl .* is not a question"):
        make_tasks(("qa",), (str(file),), 1, 10, 0)
    with pytest.raises(OptionError, match="is data for qa, but the tasks are retrieved"):
        make_tasks(("retrieved",), (str(file),), 1, 10, 0)
    with pytest.raises(OptionError, match="Unknown task 'chess'"):
        make_tasks(("chess",), (), 1, 10, 0)


@pytest.mark.parametrize(
    ("text", "kind", "parses"),
    [
        ('{"b": 1, "a": [2]}', "json", True),
        ('{"b": 1, "a"', "json", False),
        ("def f():\n    return 1\n", "code", True),
        ("def f(:", "code", False),
        ("", "code", False),
        ("[" * 100_000, "json", False),
    ],
)
def test_canonical_is_none_for_what_does_not_parse(text: str, kind: str, parses: bool) -> None:
    assert (canonical(text, kind) is not None) == parses


def test_the_order_of_keys_does_not_matter() -> None:
    assert canonical('{"a": 1, "b": 2}', "json") == canonical('{"b": 2,\n "a": 1}', "json")


def test_reconstruction_counts_facts_and_words() -> None:
    predictions = [
        prediction("It was Ada Hale who came on 3 May 1834.", "It was Ada Hale who came on 3 May."),
        prediction("There were 12 of them in all here.", ""),
    ]
    scores = Reconstruction("here", [p.sample for p in predictions]).score(predictions, EvaluationContext(0))

    assert [(ratio.numerator, ratio.denominator) for ratio in scores.ratios[NUMBERS] if ratio] == [(1, 2), (0, 1)]
    assert scores.estimates[BLEU].worst == 0 and 0 < scores.estimates[BLEU].value < 100


def test_keys_and_values_stand_in_their_context() -> None:
    for sample in copying_samples(3, 0):
        assert sample.answers[0] in sample.texts[0]
        assert sample.query and sample.query.split()[-2] in sample.texts[0]
