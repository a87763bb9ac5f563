"""An incremental LM has the surprisals of one pass, and forgets the oldest tokens when its context is full."""

import pytest
import torch

from tests.baselines.conftest import TEXT
from zprompt.baselines.surprisal import IncrementalLM
from zprompt.llm import Backbone


def test_incremental_surprisals_are_those_of_one_pass(tiny_backbone: Backbone) -> None:
    ids = tiny_backbone.encode(TEXT)[:40]
    states = tiny_backbone.hidden(torch.tensor([[tiny_backbone.start_id, *ids]]))[0, :-1]
    expected = -(states @ tiny_backbone.output_embeddings.T).log_softmax(-1)[range(40), ids]
    model = IncrementalLM(tiny_backbone, 64)
    model.read(ids[:10])
    model.surprisal(ids[:7])
    assert model.surprisal(ids[10:]) == pytest.approx(expected[10:].tolist(), abs=1e-4)


def test_a_full_context_forgets_its_oldest_tokens(tiny_backbone: Backbone) -> None:
    ids = tiny_backbone.encode(TEXT)
    long, short = IncrementalLM(tiny_backbone, 33), IncrementalLM(tiny_backbone, 33)
    for start in range(0, 32, 8):
        long.read(ids[start : start + 8])
    short.read(ids[24:32])  # half of the 16 tokens that leave room for the next 16
    assert long.surprisal(ids[32:48]) == pytest.approx(short.surprisal(ids[32:48]), abs=1e-4)
