"""The teacher's predictions are those of the LLM that reads the plain text."""

from pathlib import Path

import numpy as np
import torch

from zprompt.llm import Backbone
from zprompt.train.passages import TiledPassage
from zprompt.train.teacher import Teacher


def test_predictions_are_those_of_the_llm(
    tiny_backbone: Backbone, passages: list[TiledPassage], tmp_path: Path
) -> None:
    teacher = Teacher(tmp_path, tiny_backbone, [passage.ids for passage in passages], 5)
    teacher.ensure()
    for index, passage in enumerate(passages):
        ids = torch.tensor([[tiny_backbone.start_id, *passage.ids[:-1]]])
        log = (tiny_backbone.hidden(ids)[0] @ tiny_backbone.output_embeddings.T).log_softmax(1)
        top = teacher.top_tokens(index, slice(3, 9))
        assert np.allclose(top.log_probabilities, log.topk(5).values[3:9], atol=1e-2)
        assert np.allclose(log[3:9].gather(1, torch.from_numpy(top.ids)), top.log_probabilities, atol=1e-2)
        assert np.allclose(teacher.surprisal(index), -log[range(len(passage.ids)), passage.ids], atol=1e-2)


def test_nothing_is_computed_twice(tiny_backbone: Backbone, passages: list[TiledPassage], tmp_path: Path) -> None:
    ids, reports = [passage.ids for passage in passages], []
    Teacher(tmp_path, tiny_backbone, ids, 5).ensure(lambda done, total: reports.append((done, total)))
    again = Teacher(tmp_path, tiny_backbone, ids, 5)
    assert reports[-1] == (len(passages), len(passages)) and again.count == len(passages)
    assert Teacher(tmp_path, tiny_backbone, ids[1:], 5).count == 0
