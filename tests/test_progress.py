"""Long work shows its progress on stderr, and only on request."""

import pytest

from zprompt.progress import rich_progress


def test_without_a_request_no_progress_is_shown() -> None:
    with rich_progress(enabled=False) as progress:
        assert progress is None


def test_bars_stay_off_stdout(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with rich_progress() as progress:
        assert progress is not None
        for done in range(3):
            progress("download", 1_000_000 * done, 2_000_000)
            progress("compress", done, 2)

    assert capsys.readouterr().out == ""
