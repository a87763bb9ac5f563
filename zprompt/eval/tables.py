"""Write Markdown tables, and numbers as they stand in them."""

from collections.abc import Iterator, Sequence


def table(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Write a Markdown table.

    :param head: Names of the columns; all but the first are right-aligned.
    :param rows: The cells.
    :yields: Its lines.
    """
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def percent(share: float | None) -> str:
    """Write a share.

    :param share: 0 to 1; None: there was nothing to count.
    :return: Per cent; only what is complete shows as 100 %.
    """
    if share is None:
        return "–"
    return "100 %" if share == 1 else f"{min(share, 0.999):.1%}".replace("%", " %")


def number(value: float | None, digits: int) -> str:
    """Write a number.

    :param value: The number; None: there is none.
    :param digits: After the point.
    :return: The number.
    """
    return "–" if value is None else f"{value:.{digits}f}"
