"""A run has a reader of Z-tokens and one of LTSC's meta-tokens, shipped or a user's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reader.conftest import write_random_reader
from zprompt.baselines.protocol import Baseline
from zprompt.codec.codec import Codec
from zprompt.errors import CheckpointError, OptionError
from zprompt.eval.full_text import FULL
from zprompt.eval.readers import LTSC_READER, READER, ChosenReaders, fingerprint
from zprompt.eval.run import run
from zprompt.eval.settings import BenchSettings
from zprompt.eval.workshop import Workshop
from zprompt.reader.reader import Reader
from zprompt.train.reader.rows import Batch

SETTINGS = BenchSettings(("ltsc-tuned", "random", "ltsc"), ("qa",), (2.0,), limit=2)


def test_readers_take_the_place_of_shipped_ones_by_what_they_read(
    codec: Codec, ltsc_reader: Path, tmp_path: Path
) -> None:
    z = str(write_random_reader(tmp_path / "z", codec))
    assert ChosenReaders.of([]) == ChosenReaders("default", "ltsc")
    assert ChosenReaders.of([str(ltsc_reader), z]) == ChosenReaders(z, str(ltsc_reader))
    with pytest.raises(OptionError, match="both tuned on 'z'"):
        ChosenReaders.of([z, z])
    text = str(write_random_reader(tmp_path / "text", codec, kind="text"))
    with pytest.raises(OptionError, match="tuned on 'text'"):
        ChosenReaders.of([text])
    with pytest.raises(CheckpointError, match="No reader 'nowhere'"):
        run(replace(SETTINGS, readers=("nowhere",)), tmp_path / "run")


def test_other_weights_are_another_fingerprint(codec: Codec, ltsc_reader: Path, tmp_path: Path) -> None:
    other = write_random_reader(tmp_path / "other", codec, seed=2)
    assert fingerprint([]) == ""
    assert fingerprint([str(other)]) == fingerprint([str(other)]) != fingerprint([str(ltsc_reader)])


def test_the_reader_of_ltsc_answers_from_meta_tokens_and_from_the_text(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []  # positions of meta-tokens in each batch that it gets
    answer = type(workshop.ltsc_reading).answer

    def spied(reading: object, batch: Batch, *rest: int) -> list[list[int]]:
        read.append(int((batch.gaps > 0).sum()))
        return answer(reading, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(type(workshop.ltsc_reading), "answer", spied)
    row = '{"question": "Who?", "answers": ["Ada"], "passages": [{"title": "T", "text": "%s", "gold": true}]}'
    file = tmp_path / "questions.jsonl"
    file.write_text(row % ("The quick brown fox jumps over Ada Hale of Bristol. " * 4), "utf-8")

    found = run(replace(SETTINGS, data=(str(file),)), tmp_path / "run", workshop=workshop)

    by_method = {one.cell.method: one for one in found.cells}
    for name in (FULL, "ltsc-tuned"):
        assert {f"F1, {LTSC_READER}", f"KV MB, {LTSC_READER}"} <= by_method[name].figures.keys()
        assert by_method[name].times[f"reading s, {LTSC_READER}"].value > 0
    assert read[0] == 0 < read[1]
    full, tuned = (by_method[name].figures[f"KV MB, {LTSC_READER}"].value for name in (FULL, "ltsc-tuned"))
    assert tuned < full
    assert "ltsc-text" in by_method["ltsc-tuned"].missing[READER]
    for name in ("random", "ltsc"):
        assert not {name for name in by_method[name].figures if LTSC_READER in name}


def test_what_has_no_reader_of_ltsc_says_so(
    codec: Codec, reader: Reader, make: Callable[[str], Baseline], tmp_path: Path
) -> None:
    other = Workshop(0, codec, {READER: reader}, make, ChosenReaders(ltsc=str(tmp_path)))
    [full, *_] = run(replace(SETTINGS, methods=("ltsc",)), tmp_path / "run", workshop=other).cells
    assert "No reader" in full.missing[LTSC_READER] and f"F1, {READER}" in full.figures
