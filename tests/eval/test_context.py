"""A run has a reader of Z-tokens and one of LTSC meta-tokens, shipped or the user's."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from tests.reader.conftest import write_random_reader
from zprompt.baselines import Baseline
from zprompt.baselines.ltsc import LtscReader
from zprompt.codec import Codec
from zprompt.errors import CheckpointError, OptionError
from zprompt.eval.context import FULL, ChosenReaders, EvaluationContext, readers_fingerprint
from zprompt.eval.metrics import LTSC_READER, READER
from zprompt.eval.results import BenchSettings
from zprompt.eval.runner import run
from zprompt.reader import Reader

SETTINGS = BenchSettings(("ltsc-tuned", "random", "ltsc"), ("qa",), (2.0,), limit=2)


def test_chosen_readers_replace_the_shipped_ones_that_read_the_same_input(
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
    assert readers_fingerprint([]) == ""
    assert (
        readers_fingerprint([str(other)])
        == readers_fingerprint([str(other)])
        != readers_fingerprint([str(ltsc_reader)])
    )


def test_the_reader_of_ltsc_answers_from_meta_tokens_and_from_the_text(
    context: EvaluationContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta_tokens: list[int] = []  # in each prompt that it reads
    embed = LtscReader.embed

    def counting_embed(reader: LtscReader, ids: Sequence[int]) -> Tensor:
        meta_tokens.append(sum(token >= reader.meta_embedding.first for token in ids))
        return embed(reader, ids)

    monkeypatch.setattr(LtscReader, "embed", counting_embed)
    row = '{"question": "Who?", "answers": ["Ada"], "passages": [{"title": "T", "text": "%s", "gold": true}]}'
    file = tmp_path / "questions.jsonl"
    file.write_text(row % ("The quick brown fox jumps over Ada Hale of Bristol. " * 4), "utf-8")

    results = run(replace(SETTINGS, data=(str(file),)), tmp_path / "run", context=context)

    by_method = {cell.cell.method: cell for cell in results.cells}
    for name in (FULL, "ltsc-tuned"):
        assert {f"F1, {LTSC_READER}", f"KV MB, {LTSC_READER}"} <= by_method[name].figures.keys()
        assert by_method[name].times[f"reading s, {LTSC_READER}"].value > 0
    assert meta_tokens[0] == 0 < meta_tokens[1]
    full, tuned = (by_method[name].figures[f"KV MB, {LTSC_READER}"].value for name in (FULL, "ltsc-tuned"))
    assert tuned < full
    assert "ltsc-text" in by_method["ltsc-tuned"].missing[READER]
    for name in ("random", "ltsc"):
        assert not {name for name in by_method[name].figures if LTSC_READER in name}


def test_a_missing_reader_of_ltsc_is_a_reason(
    codec: Codec, reader: Reader, make: Callable[[str], Baseline], tmp_path: Path
) -> None:
    context = EvaluationContext(0, codec, {READER: reader}, make, ChosenReaders(ltsc=str(tmp_path)))
    [full, *_] = run(replace(SETTINGS, methods=("ltsc",)), tmp_path / "run", context=context).cells
    assert "No reader" in full.missing[LTSC_READER] and f"F1, {READER}" in full.figures


def test_the_reader_of_ltsc_reads_the_full_text_only_if_it_is_compared(
    codec: Codec, reader: Reader, make: Callable[[str], Baseline], tmp_path: Path
) -> None:
    context = EvaluationContext(0, codec, {READER: reader}, make, methods=("ltsc",))
    [full, *_] = run(replace(SETTINGS, methods=("ltsc",)), tmp_path / "run", context=context).cells
    assert f"F1, {READER}" in full.figures
    assert LTSC_READER not in full.missing and not {name for name in full.figures if LTSC_READER in name}
