"""Write out what entries stand for, but never more than a limit: a forged dictionary grows exponentially."""

from __future__ import annotations

from collections.abc import Sequence

from zprompt.errors import DamagedSequenceError


def expand(entries: Sequence[Sequence[int]], bodies: Sequence[Sequence[int]], limit: int) -> list[list[int]]:
    """Write out the entries in bodies.

    :param entries: Symbols of each: ids, and ~i for an entry i before it.
    :param bodies: Symbols of each.
    :param limit: Ids that all bodies may have together, and the used entries as well.
    :return: The ids of each body.
    :raises DamagedSequenceError: If there would be more ids.
    """
    lengths: list[int] = []
    for entry in entries:
        lengths.append(sum(1 if symbol >= 0 else lengths[~symbol] for symbol in entry))
    total = sum(1 if symbol >= 0 else lengths[~symbol] for body in bodies for symbol in body)
    largest = max(total, sum(lengths))
    if largest > limit:
        raise DamagedSequenceError(
            f"The sequence would expand to {largest:,} ids, allowed are {limit:,}. "
            "If you trust where it comes from, pass a larger max_tokens."
        )
    written: list[list[int]] = []
    for entry in entries:
        written.append(_write(entry, written))
    return [_write(body, written) for body in bodies]


def _write(symbols: Sequence[int], written: Sequence[list[int]]) -> list[int]:
    """Write out one sequence."""
    ids: list[int] = []
    for symbol in symbols:
        if symbol >= 0:
            ids.append(symbol)
        else:
            ids += written[~symbol]
    return ids
