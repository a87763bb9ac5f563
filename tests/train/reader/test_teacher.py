"""The teacher's expectations are those of the LLM that reads the plain text."""

from pathlib import Path

import numpy as np
import torch

from zprompt.llm import Backbone
from zprompt.train.reader.teacher import Teacher
from zprompt.train.reader.tiles import Tile


def test_expectations_are_the_llms(tiny_backbone: Backbone, tiles: list[Tile], tmp_path: Path) -> None:
    teacher = Teacher(tmp_path, tiny_backbone, [tile.ids for tile in tiles], 5)
    teacher.ensure()
    for index, tile in enumerate(tiles):
        ids = torch.tensor([[tiny_backbone.start_id, *tile.ids[:-1]]])
        log = (tiny_backbone.hidden(ids)[0] @ tiny_backbone.output_embeddings.T).log_softmax(1)
        known = teacher.expectation(index, slice(3, 9))
        assert np.allclose(known.log_probabilities, log.topk(5).values[3:9], atol=1e-2)
        assert np.allclose(log[3:9].gather(1, torch.from_numpy(known.ids)), known.log_probabilities, atol=1e-2)
        assert np.allclose(teacher.surprisal(index), -log[range(len(tile.ids)), tile.ids], atol=1e-2)


def test_nothing_is_computed_twice(tiny_backbone: Backbone, tiles: list[Tile], tmp_path: Path) -> None:
    passages, said = [tile.ids for tile in tiles], []
    Teacher(tmp_path, tiny_backbone, passages, 5).ensure(lambda done, total: said.append((done, total)))
    again = Teacher(tmp_path, tiny_backbone, passages, 5)
    assert said[-1] == (len(tiles), len(tiles)) and again.count == len(tiles)
    assert Teacher(tmp_path, tiny_backbone, passages[1:], 5).count == 0
