"""A row of many targets is worth as many prompts."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.reader.conftest import MakeExamples
from zprompt.train.config import INPUTS
from zprompt.train.reader.positions import Positions, concatenate, of_ids
from zprompt.train.reader.reading import Reading
from zprompt.train.reader.rows import Branch, Row, lay_out
from zprompt.train.reader.trainer import micro_batches


def states_of(reading: Reading, row: Row) -> list[torch.Tensor]:
    """Read each branch in a prompt of its own."""
    subcodes = row.trunk.codes.shape[1]
    states = []
    for branch in row.branches:
        whole = concatenate((row.trunk[: branch.fork], of_ids(branch.ids, subcodes)))
        tensors = (torch.from_numpy(part)[None] for part in (whole.ids, whole.gaps, whole.codes))
        hidden = reading.decoder.run(reading.embed(*tensors))[0]
        states.append(hidden[branch.fork + branch.first - 1 : -1])
    return states


@pytest.mark.parametrize("task", ["continuation", "questions", "cloze", "repetition"])
@pytest.mark.parametrize("kind", INPUTS)
def test_branches_are_read_as_if_each_were_a_prompt(
    examples_of: MakeExamples, untuned: Reading, task: str, kind: str
) -> None:
    torch.nn.init.normal_(untuned.embedding.value, generator=torch.Generator().manual_seed(0))
    examples, random = examples_of(input=kind), np.random.default_rng(1)
    rows = [examples.row(task, random) for _ in range(3)]
    with torch.no_grad():
        together = untuned.hidden(lay_out(rows, 8))
        alone = torch.cat([states for row in rows for states in states_of(untuned, row)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_targets_are_the_tokens_of_the_branches() -> None:
    trunk = of_ids([5, 6, 7], 2)
    row = Row("cloze", trunk, (Branch(2, np.array([8, 9]), 0), Branch(3, np.array([1, 2, 3]), 2)))
    batch = lay_out([row, replace(row, trunk=of_ids([5, 6, 7, 4], 2))], 1)
    assert batch.targets.tolist() == [8, 9, 3] * 2
    assert batch.places.tolist() == [1, 3, 6, 1, 4, 7]
    assert batch.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.tree.positions[0].tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 0]
    assert (len(row), row.targets) == (8, 3)


def test_runs_begin_alike_up_to_the_first_difference() -> None:
    one, other = of_ids([1, 2, 3], 2), of_ids([1, 2, 4, 5], 2)
    assert (one.common(other), one.common(one[:2]), one.common(one)) == (2, 2, 3)
    assert one.common(Positions(one.ids, np.array([0, 1, 0]), one.codes)) == 1


def test_micro_batches_hold_all_rows_and_little_padding(examples_of: MakeExamples) -> None:
    rows = examples_of().draw(np.random.default_rng(0))
    groups = list(micro_batches(rows, 400))
    assert sorted(map(id, rows)) == sorted(id(row) for group in groups for row in group)
    for group in groups:
        assert len(group) == 1 or len(group) * max(map(len, group)) <= 400
        assert min(map(len, group)) >= 0.75 * max(map(len, group))


def test_a_batch_has_a_length(untuned: Reading) -> None:
    batch = lay_out([Row("cloze", of_ids([1, 2], 3), (Branch(2, np.array([3]), 0),))], 1)
    with pytest.raises(ValueError, match="3 positions, not 2"):
        untuned.decoder.run(torch.zeros(1, 2, 64), batch.tree)  # type: ignore[arg-type]
