"""The benchmark of texts with repeats: Z-tokens alone, and after LTSC."""

import json
from pathlib import Path

import pytest

import zprompt
from benchmarks import repeats
from zprompt.codec import Codec


def test_a_small_run_restores_both_ways_and_writes_json(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, codec: Codec, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "some.log"
    source.write_text("".join(f"line {i % 7} of the log: the dog sleeps on in the sun\n" for i in range(40)), "utf-8")
    monkeypatch.setattr(repeats, "RESULTS", tmp_path)
    monkeypatch.setattr(repeats, "machine_files", lambda: {"logs": [source]})
    monkeypatch.setattr(zprompt, "load", lambda: codec)
    monkeypatch.setattr("sys.argv", ["repeats.py", "--limit", "2", "--tokens", "150"])
    repeats.main()

    results = json.loads((tmp_path / "repeats.json").read_text("utf-8"))
    alone, together = results["rows"]
    assert (alone["way"], together["way"], alone["inputs"]) == ("alone", "together", 2)
    assert all(row["ratio"]["worst"] <= row["ratio"]["value"] for row in (alone, together))
    assert together["bits per token"]["value"] * 300 == pytest.approx(
        sum(cost["bits"] for cost in results["inputs"] if cost["way"] == "together"),
        rel=1e-5,  # JSON has six digits
    )
    assert "| logs | together | 2 |" in capsys.readouterr().out


def test_an_input_that_does_not_come_back_is_an_error(monkeypatch: pytest.MonkeyPatch, codec: Codec) -> None:
    monkeypatch.setattr(repeats, "restore_text", lambda text: text + "!")
    with pytest.raises(SystemExit, match="did not come back"):
        repeats.measure(codec, "logs", "the dog sleeps on in the sun. " * 6, check=True)
