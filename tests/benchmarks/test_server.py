"""The benchmark of the server, with a reader without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.server import Load, Target, Times, gather, main, measure, report
from tests.serve.conftest import MODEL, running
from tests.serve.fake_reader import FakeReader
from zprompt.eval import RunRecord
from zprompt.serve import ServerSettings

KEY = "secret"


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader(max_positions=10_000, seconds=0.001)


@pytest.fixture
def target(reader: FakeReader) -> Iterator[Target]:
    settings = ServerSettings(api_key=KEY, queue_length=4, batch_size=2, max_request_bytes=100_000)
    with running(reader, settings) as run:
        yield Target(run.url, MODEL, KEY, settings.max_request_bytes)


def test_a_good_server_passes(target: Target) -> None:
    prompts, span = gather(target, 4)
    result = measure(target, prompts, span, Load(clients=12, seconds=2.0, max_tokens=4))

    assert (result.errors, result.error_messages) == (0, ())
    assert result.answered > 0 and result.whole and result.whole.count == result.answered
    assert result.first_piece and result.first_piece.median <= result.first_piece.p95
    assert result.refused > 0 and result.honest
    assert result.mean_batch and 1 <= result.mean_batch <= 2
    assert result.same == 1.0 and result.unchanged
    assert all(bad.right for bad in result.bad_requests), result.bad_requests
    assert {"wrong key", "damaged Z-span", "oversized", "malformed JSON"} <= {bad.name for bad in result.bad_requests}


def test_clients_may_compress_passages_between_questions(target: Target) -> None:
    prompts, span = gather(target, 2)
    result = measure(target, prompts, span, Load(clients=3, seconds=0.5, max_tokens=2, compressed=tuple(prompts)))

    assert (result.errors, result.error_messages) == (0, ())
    assert result.compression and result.compression.count == result.answered
    assert result.idle and result.idle.count == 2
    assert "compression of a passage, p95" in report(RunRecord.take(0, 0.0), result)


def test_a_faulty_server_is_detected(target: Target, reader: FakeReader, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts, span = gather(target, 2)
    monkeypatch.setattr(reader, "max_positions", 1 << 60)  # accepts prompts that do not fit
    result = measure(target, prompts, span, Load(clients=2, seconds=0.5, max_tokens=2))

    assert [bad.name for bad in result.bad_requests if not bad.right] == ["more than the context"]
    assert not result.unchanged
    text = report(RunRecord.take(0, 0.0), result)
    assert "| more than the context | 400 | 200 | 200 | **no** |" in text
    assert "| unchanged by bad requests | **no** |" in text


def test_times_are_summarised() -> None:
    assert Times.of([]) is None
    assert Times.of([float(second) for second in range(1, 102)]) == Times(101, 51.0, 96.0, 101.0)


def test_a_run_leaves_json_and_a_table(target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = "--clients 3 --seconds 0.5 --max-tokens 2 --passages 2"
    argv = ["server", "--url", target.url, "--api-key", KEY, "--out", str(tmp_path), *arguments.split()]
    monkeypatch.setattr("sys.argv", argv)
    monkeypatch.setattr("benchmarks.server.MAX_REQUEST_BYTES", target.max_request_bytes)

    main()

    written = json.loads((tmp_path / "server.json").read_text("utf-8"))
    assert written["results"]["clients"] == 3 and written["results"]["errors"] == 0
    assert "| whole answer, p95 |" in (tmp_path / "server.md").read_text("utf-8")
