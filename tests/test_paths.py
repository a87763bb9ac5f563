"""The cache folder is the user's choice, or else the system's."""

from pathlib import Path

import pytest

from zprompt.paths import cache_dir


def test_the_cache_is_the_folder_of_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ZPROMPT_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path


def test_a_tilde_in_the_users_choice_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPROMPT_CACHE", "~/models")
    assert cache_dir() == Path.home() / "models"


def test_a_relative_choice_becomes_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZPROMPT_CACHE", "models")
    assert cache_dir() == tmp_path / "models"


@pytest.mark.parametrize("unset", [None, ""])
def test_without_a_choice_the_cache_is_in_the_cache_folder_of_the_system(
    monkeypatch: pytest.MonkeyPatch, unset: str | None
) -> None:
    monkeypatch.delenv("ZPROMPT_CACHE", raising=False)
    if unset is not None:
        monkeypatch.setenv("ZPROMPT_CACHE", unset)
    assert cache_dir().name == "zprompt"
    assert cache_dir().is_absolute()
