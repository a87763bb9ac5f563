"""Passages are tiled once."""

from pathlib import Path

import numpy as np
import pytest

from tests.codec.conftest import make_heads
from tests.train.reader.conftest import PASSAGES
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError
from zprompt.llm import Backbone
from zprompt.train.reader.tiles import TileStore, make_tile


def test_z_tokens_lie_over_the_source_tokens(reader_codec: Codec, tmp_path: Path) -> None:
    tiles = TileStore(tmp_path / "tiles.jsonl", reader_codec).tiles(PASSAGES, (2.0, 7.0))
    assert [tile.text for tile in tiles] == PASSAGES
    for tile in tiles:
        assert tile.ids.tolist() == reader_codec.backbone.encode(tile.text)
        assert [token.anchor for token in tile.tokens] == tile.ids[tile.starts].tolist()
        assert np.diff(tile.edges).tolist() == [token.gap + 1 for token in tile.tokens]
    assert any(len(tile.tokens) < len(tile.ids) for tile in tiles)


def test_a_part_is_a_tile(reader_codec: Codec, tmp_path: Path) -> None:
    [tile] = TileStore(tmp_path / "tiles.jsonl", reader_codec).tiles(PASSAGES[:1], (7.0,))
    part = tile.part(3, 7)
    assert part.tokens == tile.tokens[3:7] and part.starts[0] == 0
    assert part.ids.tolist() == tile.ids[tile.starts[3] : tile.starts[7]].tolist()
    assert part.ids[part.starts].tolist() == [token.anchor for token in part.tokens]


def test_nothing_is_tiled_twice(reader_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, said = tmp_path / "tiles.jsonl", []
    first = TileStore(path, reader_codec).tiles(PASSAGES, (2.0, 7.0), lambda done, total: said.append((done, total)))
    assert said[-1] == (len(PASSAGES), len(PASSAGES))
    monkeypatch.setattr(reader_codec, "compress", None)
    again = TileStore(path, reader_codec).tiles(PASSAGES, (2.0, 7.0))
    assert [tile.span for tile in again] == [tile.span for tile in first]


def test_passages_of_a_question_are_compressed_together_and_with_it(reader_codec: Codec, tmp_path: Path) -> None:
    asked = [("Who sleeps?", PASSAGES[:2]), ("Where is the sea?", PASSAGES[1:4]), ("Who sleeps?", PASSAGES[2:3])]
    found = TileStore(tmp_path / "tiles.jsonl", reader_codec).tiles_for(asked, (2.0,))
    for (query, passages), tiles in zip(asked, found, strict=True):
        assert [tile.text for tile in tiles] == passages
        assert [tile.span for tile in tiles] == reader_codec.compress(passages, ratio=2.0, query=query).documents


def test_nor_is_anything_twice_with_a_question(
    reader_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = [("Who?", PASSAGES[:2]), ("Where?", PASSAGES[:1])], []
    store = TileStore(tmp_path / "tiles.jsonl", reader_codec)
    store.tiles(PASSAGES[:2], (2.0,))  # without it they are others
    first = store.tiles_for(asked, (2.0, 4.0), lambda done, total: said.append((done, total)))
    assert said == [(1, 2), (2, 2)]
    monkeypatch.setattr(reader_codec, "compress", None)
    again = TileStore(tmp_path / "tiles.jsonl", reader_codec).tiles_for(asked, (2.0, 4.0))
    assert [[tile.span for tile in tiles] for tiles in again] == [[tile.span for tile in tiles] for tiles in first]


def test_a_line_that_was_cut_off_is_made_again(reader_codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "tiles.jsonl"
    TileStore(path, reader_codec).tiles(PASSAGES[:3], (2.0,))
    whole = path.read_text("utf-8")
    path.write_text(whole[:-20], "utf-8")
    TileStore(path, reader_codec).tiles(PASSAGES[:3], (2.0,))
    assert path.read_text("utf-8") == whole


def test_another_codecs_tiles_are_refused(reader_codec: Codec, tiny_backbone: Backbone, tmp_path: Path) -> None:
    TileStore(tmp_path / "tiles.jsonl", reader_codec)
    other = Codec(tiny_backbone, make_heads(tiny_backbone, seed=1), "other")
    with pytest.raises(CheckpointError, match=reader_codec.fingerprint):
        TileStore(tmp_path / "tiles.jsonl", other)


def test_what_is_no_z_span_has_no_tile(reader_codec: Codec) -> None:
    assert make_tile("text", "text", reader_codec) is None
