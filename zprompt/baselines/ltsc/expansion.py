"""Write out what entries stand for, but never more than a limit: a forged dictionary grows exponentially."""

from __future__ import annotations

from collections.abc import Sequence

from zprompt.errors import DamagedSequenceError


def expand(entries: Sequence[Sequence[int]], bodies: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    """Write out the entries in bodies.

    :param entries: Symbols of each: ids, and ~i for an entry i before it.
    :param bodies: Symbols of each.
    :param limit: Ids that all bodies may have together, and all entries as well.
    :return: The ids of each body.
    :raises DamagedSequenceError: If there would be more ids.
    """
    lengths: list[int] = []
    left = limit
    for entry in entries:
        lengths.append(_length(entry, lengths))
        left -= lengths[-1]
        _require_room(left, limit)  # at once, before the lengths themselves become long
    _require_room(limit - sum(_length(body, lengths) for body in bodies), limit)
    written: list[list[int]] = []
    for entry in entries:
        written.append(_write(entry, written))
    return [_write(body, written) for body in bodies]


def _length(symbols: Sequence[int], lengths: Sequence[int]) -> int:
    """Count the ids that a sequence stands for."""
    return sum(1 if symbol >= 0 else lengths[~symbol] for symbol in symbols)


def _require_room(left: int, limit: int) -> None:
    """Refuse what has more ids than it may."""
    if left < 0:
        raise DamagedSequenceError(
            f"The sequence would expand to more than {limit:,} ids or characters. "
            "If you trust where it comes from, allow more: max_tokens, for texts max_characters."
        )


def _write(symbols: Sequence[int], written: Sequence[list[int]]) -> list[int]:
    """Write out one sequence."""
    ids: list[int] = []
    for symbol in symbols:
        if symbol >= 0:
            ids.append(symbol)
        else:
            ids += written[~symbol]
    return ids
