"""Originals are kept, found again after a restart, and never lost silently."""

import sqlite3
from pathlib import Path

import pytest

from zprompt.errors import DroppedOriginalError, OptionError, UnknownOriginalError
from zprompt.originals import Originals


def test_originals_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "originals.sqlite"
    first = Originals(path, 1000)
    first.keep({"a": "Grüße 👋", "b": ""})
    first.close()

    again = Originals(path, 1000)
    assert (again.get("a"), again.get("b")) == ("Grüße 👋", "")
    again.close()


def test_the_least_recently_used_original_is_evicted_and_asking_for_it_is_an_error() -> None:
    originals = Originals(None, 100)
    originals.keep({"a": "a" * 40})
    originals.keep({"b": "b" * 40})
    assert originals.get("a") == "a" * 40
    originals.keep({"c": "c" * 40})

    assert (originals.get("a"), originals.get("c")) == ("a" * 40, "c" * 40)
    with pytest.raises(DroppedOriginalError, match=r"'b'.*100 bytes"):
        originals.get("b")
    originals.keep({"b": "b" * 40})
    assert originals.get("b") == "b" * 40
    originals.close()


def steps_of_use(stored: int) -> int:
    """Return the steps that SQLite takes to store a text and to read it, with others stored."""
    originals = Originals(None, 10_000)
    originals.keep({str(number): "text" for number in range(stored)})
    steps = []
    originals._database.set_progress_handler(lambda: steps.append(1), 1)
    originals.keep({"new": "text"})
    originals.get("new")
    originals.close()
    return len(steps)


def test_access_does_not_get_slower_with_the_number_of_originals() -> None:
    assert steps_of_use(1000) < steps_of_use(10) + 20


def test_two_processes_share_one_size_limit(tmp_path: Path) -> None:
    first, second = (Originals(tmp_path / "originals.sqlite", 100) for _ in range(2))
    first.keep({"a": "a" * 40, "b": "b" * 60})
    second.keep({"a": "a" * 30})
    first.keep({"c": "c" * 10})
    assert second.get("b") == "b" * 60
    second.keep({"d": "d"})

    assert [first.get(key) for key in "bcd"] == ["b" * 60, "c" * 10, "d"]
    with pytest.raises(DroppedOriginalError):
        first.get("a")
    first.close()
    second.close()


def test_a_file_of_an_earlier_release_can_be_used(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "originals.sqlite") as database:
        database.executescript(
            "CREATE TABLE originals (hash TEXT PRIMARY KEY, text BLOB, size INTEGER NOT NULL, used INTEGER NOT NULL);"
            "CREATE INDEX originals_used ON originals (used) WHERE text IS NOT NULL;"
            "INSERT INTO originals VALUES ('dropped', NULL, 50, 1), ('a', x'61', 1, 2), ('b', x'62', 1, 3);"
        )
    database.close()
    originals = Originals(tmp_path / "originals.sqlite", 3)

    originals.keep({"dropped": "12"})

    assert (originals.get("b"), originals.get("dropped")) == ("b", "12")
    with pytest.raises(DroppedOriginalError):
        originals.get("a")
    originals.close()


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 100)
    with pytest.raises(OptionError, match=r"cannot be stored in .*notes\.txt"):
        Originals(tmp_path / "notes.txt", 1000)


def test_an_original_that_was_never_stored_is_unknown() -> None:
    originals = Originals(None, 100)
    with pytest.raises(UnknownOriginalError, match="'nope'") as raised:
        originals.get("nope")
    assert not isinstance(raised.value, DroppedOriginalError)
    originals.close()
