"""Originals are kept, found again after a restart, and never lost in silence."""

from pathlib import Path

import pytest

from zprompt.errors import DroppedOriginalError, UnknownOriginalError
from zprompt.originals import Originals


def test_originals_outlive_the_server(tmp_path: Path) -> None:
    path = tmp_path / "new" / "originals.sqlite"
    first = Originals(path, 1000)
    first.keep({"a": "Grüße 👋", "b": ""})
    first.close()

    again = Originals(path, 1000)
    assert (again.get("a"), again.get("b")) == ("Grüße 👋", "")
    again.close()


def test_what_was_used_least_makes_room_and_asking_for_it_says_so() -> None:
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


def test_what_never_was_there_is_unknown() -> None:
    originals = Originals(None, 100)
    with pytest.raises(UnknownOriginalError, match="'nope'") as raised:
        originals.get("nope")
    assert not isinstance(raised.value, DroppedOriginalError)
    originals.close()
