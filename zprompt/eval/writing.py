"""Write figures as they stand in a report: "value [low, high], worst …"; shares are in per cent."""

from __future__ import annotations

from zprompt.eval.figures import Figure
from zprompt.eval.settings import Cell
from zprompt.eval.units import digits

NONE = "–"


def write(name: str, figure: Figure | None, brief: bool = False) -> str:
    """Write a figure.

    :param name: Its name, which says its unit.
    :param figure: The figure; None: there is none.
    :param brief: Leave interval and worst case out.
    :return: The text.
    """
    if figure is None:
        return NONE
    after_point = digits(name)
    scale, after_point = (100, 1) if after_point is None else (1, after_point)
    value, low, high, worst = (
        f"{scale * one:,.{after_point}f}" for one in (figure.value, figure.low, figure.high, figure.worst)
    )
    if brief or figure.samples == 1:
        return value
    return f"{value} [{low}, {high}], worst {worst}"


def ratio_of(cell: Cell) -> str:
    """Write what ratio was asked for.

    :param cell: The cell.
    :return: The ratio; a dash if the method knows one length only.
    """
    return NONE if cell.ratio is None else f"{cell.ratio:g}"
