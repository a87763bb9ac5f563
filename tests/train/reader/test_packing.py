"""Reading a packed sequence gives the same states as reading each branch in a prompt of its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.train.reader.conftest import MakeExamples
from zprompt.baselines.ltsc import MetaEmbedding
from zprompt.train.config import INPUTS
from zprompt.train.packing import Branch, PackedSequence, Positions, make_batch, micro_batches
from zprompt.train.reader_model import ReaderModel


def states_of(model: ReaderModel, sequence: PackedSequence) -> list[torch.Tensor]:
    """Return the states of each branch, read in a prompt of its own."""
    states = []
    for branch in sequence.branches:
        whole = Positions.concatenate((sequence.trunk[: branch.fork], Positions.of_ids(branch.ids)))
        tensors = (torch.from_numpy(values)[None] for values in (whole.ids, whole.gaps))
        hidden = model.decoder.run(model.embed(*tensors))[0]
        states.append(hidden[branch.fork + branch.first - 1 : -1])
    return states


@pytest.mark.parametrize("task", ["continuation", "questions", "cloze", "repetition"])
@pytest.mark.parametrize("kind", INPUTS)
def test_branches_are_read_as_if_each_were_a_prompt(
    examples_of: MakeExamples, untuned: ReaderModel, task: str, kind: str
) -> None:
    model = untuned
    if kind == "ltsc":
        model = replace(untuned, embedding=MetaEmbedding(16, untuned.vectors.shape[1]))
    for weights in model.embedding.parameters():
        torch.nn.init.normal_(weights, generator=torch.Generator().manual_seed(0))
    examples, random = examples_of(input=kind), np.random.default_rng(1)
    sequences = [examples.draw_one(task, random) for _ in range(3)]
    with torch.no_grad():
        together = model.hidden(make_batch(sequences))
        alone = torch.cat([states for sequence in sequences for states in states_of(model, sequence)])
    assert torch.allclose(together, alone, atol=1e-4)


def test_targets_are_the_tokens_of_the_branches() -> None:
    trunk = Positions.of_ids([5, 6, 7])
    sequence = PackedSequence("cloze", trunk, (Branch(2, np.array([8, 9]), 0), Branch(3, np.array([1, 2, 3]), 2)))
    batch = make_batch([sequence, replace(sequence, trunk=Positions.of_ids([5, 6, 7, 4]))])
    assert batch.targets.ids.tolist() == [8, 9, 3] * 2
    assert batch.targets.columns.tolist() == [1, 3, 6, 1, 4, 7]
    assert batch.targets.rows.tolist() == [0, 0, 0, 1, 1, 1]
    assert batch.layout[0][0].tolist() == [0, 1, 2, 2, 3, 3, 4, 5, 0]
    assert (len(sequence), sequence.targets) == (8, 3)


def test_the_common_prefix_ends_at_the_first_difference() -> None:
    first, second = Positions.of_ids([1, 2, 3]), Positions.of_ids([1, 2, 4, 5])
    assert (first.common_prefix(second), first.common_prefix(first[:2]), first.common_prefix(first)) == (2, 2, 3)
    assert first.common_prefix(Positions(first.ids, np.array([0, 1, 0]))) == 1


def test_micro_batches_hold_all_sequences_and_little_padding(examples_of: MakeExamples) -> None:
    sequences = examples_of().draw(np.random.default_rng(0))
    groups = list(micro_batches(sequences, 400))
    assert sorted(map(id, sequences)) == sorted(id(sequence) for group in groups for sequence in group)
    for group in groups:
        assert len(group) == 1 or len(group) * max(map(len, group)) <= 400
        assert min(map(len, group)) >= 0.75 * max(map(len, group))


def test_hidden_states_of_another_length_than_the_batch_are_refused(untuned: ReaderModel) -> None:
    batch = make_batch([PackedSequence("cloze", Positions.of_ids([1, 2]), (Branch(2, np.array([3]), 0),))])
    with pytest.raises(ValueError, match="3 positions, not 2"):
        untuned.decoder.run(torch.zeros(1, 2, 64), batch.attention(torch.device("cpu")))
