"""Passages are cut from texts, and compressed once."""

from pathlib import Path

import numpy as np
import pytest

from tests.train.reader.conftest import PASSAGES
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError, RatioWarning, TrainingDataError
from zprompt.llm import Backbone
from zprompt.train.passages import PassageStore, cut_passages, tile_passage


def encode(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokenize a text into words; return ids and offsets."""
    ends = [index for index in range(1, len(text) + 1) if index == len(text) or text[index] == " "]
    return list(range(len(ends))), list(zip([0, *ends[:-1]], ends, strict=True))


def test_passages_are_whole_paragraphs_and_long_ones_are_cut() -> None:
    texts = ["a b c\n\nd e f g\n\nh i j k l m n o p q r s\n\nt u"]
    assert sorted(cut_passages(texts, encode, 4, 9, 10, 0)) == ["a b c\n\nd e f g", "h i j k l m n o"]
    with pytest.raises(TrainingDataError, match="No text has 30 tokens"):
        cut_passages(texts, encode, 30, 40, 10, 0)


def test_z_tokens_are_aligned_with_the_source_tokens(reader_codec: Codec, tmp_path: Path) -> None:
    passages = PassageStore(tmp_path / "tiles.jsonl", reader_codec).tile(PASSAGES, (2.0, 7.0))
    assert [passage.text for passage in passages] == PASSAGES
    for passage in passages:
        assert passage.ids.tolist() == reader_codec.backbone.encode(passage.text)
        assert [token.anchor for token in passage.tokens] == passage.ids[passage.starts].tolist()
        assert np.diff(passage.edges).tolist() == [token.gap + 1 for token in passage.tokens]
    assert any(len(passage.tokens) < len(passage.ids) for passage in passages)


def test_a_ratio_that_is_out_of_reach_gives_the_nearest_one(reader_codec: Codec, tmp_path: Path) -> None:
    with pytest.warns(RatioWarning):
        expected = reader_codec.compress(PASSAGES[:2], ratio=90.0).documents
    tiled = PassageStore(tmp_path / "tiles.jsonl", reader_codec).tile(PASSAGES[:2], (90.0,))
    assert [passage.span for passage in tiled] == expected


def test_a_part_is_a_passage(reader_codec: Codec, tmp_path: Path) -> None:
    [passage] = PassageStore(tmp_path / "tiles.jsonl", reader_codec).tile(PASSAGES[:1], (7.0,))
    part = passage.part(3, 7)
    assert part.tokens == passage.tokens[3:7] and part.starts[0] == 0
    assert part.ids.tolist() == passage.ids[passage.starts[3] : passage.starts[7]].tolist()
    assert part.ids[part.starts].tolist() == [token.anchor for token in part.tokens]


def test_nothing_is_tiled_twice(reader_codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reports = tmp_path / "tiles.jsonl", []
    first = PassageStore(path, reader_codec).tile(
        PASSAGES, (2.0, 7.0), lambda done, total: reports.append((done, total))
    )
    assert reports[-1] == (len(PASSAGES), len(PASSAGES))
    monkeypatch.setattr(reader_codec, "compress", None)
    again = PassageStore(path, reader_codec).tile(PASSAGES, (2.0, 7.0))
    assert [passage.span for passage in again] == [passage.span for passage in first]


def test_a_truncated_line_is_computed_again(reader_codec: Codec, tmp_path: Path) -> None:
    path = tmp_path / "tiles.jsonl"
    PassageStore(path, reader_codec).tile(PASSAGES[:3], (2.0,))
    whole = path.read_text("utf-8")
    path.write_text(whole[:-20], "utf-8")
    tiled = PassageStore(path, reader_codec).tile(PASSAGES[:3], (2.0,))
    again = path.read_text("utf-8")
    assert again.splitlines()[:-1] == whole.splitlines()[:-1]
    assert [passage.text for passage in tiled] == PASSAGES[:3] and tiled[2].span in again


def test_tiles_of_another_codec_are_refused(reader_codec: Codec, tiny_backbone: Backbone, tmp_path: Path) -> None:
    PassageStore(tmp_path / "tiles.jsonl", reader_codec)
    other = Codec(tiny_backbone, name="other")
    with pytest.raises(CheckpointError, match=reader_codec.fingerprint):
        PassageStore(tmp_path / "tiles.jsonl", other)


def test_a_text_that_is_no_z_span_has_no_tiling(reader_codec: Codec) -> None:
    assert tile_passage("text", "text", reader_codec) is None
