"""Tile the windows of one call of `compress`.

Without a wanted length, every window gets its shortest exact tiling, batch after batch. With one, all windows are
analysed before any is tiled, and one exchange rate for all of them is bisected on their costs (segmentation.py):
dense passages get more Z-tokens, whichever document they are in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zprompt.codec.compressor import Analysis, Compressor
from zprompt.codec.lossy import settle
from zprompt.codec.options import CompressOptions
from zprompt.codec.segmentation import (
    ClearerPrice,
    ExactPrice,
    Floats,
    LossyPrice,
    Price,
    SpanCosts,
    Tiling,
    bisect_price,
    shortest_path,
)
from zprompt.codec.vocabulary import ZToken
from zprompt.errors import OptionError
from zprompt.progress import Progress

CORRECTIONS = 6  # times that a rate is lowered because verified tilings are longer than estimated


@dataclass(frozen=True, slots=True)
class TiledWindow:
    """The Z-tokens of one window, and what they give back."""

    tokens: list[ZToken]
    costs: list[float]  # price of each
    restored: list[int]  # token ids that come back
    wrong: int  # how many of them are not the source's, as far as is known
    exact: bool  # it is certain that none is


def tile_windows(
    compressor: Compressor,
    windows: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float] | None],
    options: CompressOptions,
    batch_size: int,
    progress: Progress | None,
) -> Iterator[TiledWindow]:
    """Tile all windows of a call.

    :param compressor: The compressor.
    :param windows: Token ids of each window.
    :param weights: Price of losing each token, for each window.
    :param options: What was asked for.
    :param batch_size: Windows a pass.
    :param progress: Called with ("compress", windows done, windows in all).
    :return: The tiled windows, in order.
    :yields: One tiled window.
    """
    batches = _analyses(compressor, windows, weights, options.lossy, batch_size, progress)
    if options.lossy:
        yield from _tile_to_length(compressor, [analysis for batch in batches for analysis in batch], options)
    else:
        price = ExactPrice(compressor.budget)
        for batch in batches:
            yield from _exact(compressor, batch, compressor.tile(batch, price), price)


def _analyses(
    compressor: Compressor,
    windows: Sequence[Sequence[int]],
    weights: Sequence[Sequence[float] | None],
    lossy: bool,
    batch_size: int,
    progress: Progress | None,
) -> Iterator[list[Analysis]]:
    """Analyse windows batch after batch."""
    for first in range(0, len(windows), batch_size):
        states = compressor.hidden(windows[first : first + batch_size])
        batch = []
        for index, hidden in enumerate(states, first):
            batch.append(compressor.analyse(windows[index], hidden, weights[index], lossy))
            if progress:
                progress("compress", index + 1, len(windows))
        yield batch


def _tile_to_length(compressor: Compressor, analyses: list[Analysis], options: CompressOptions) -> list[TiledWindow]:
    """Meet `ratio` or `max_tokens`: exactly if that is possible, else with the least loss."""
    source = sum(len(analysis.ids) for analysis in analyses)
    most = options.max_tokens if options.max_tokens is not None else max(1, int(source / (options.ratio or 1.0)))
    price: Price = ExactPrice(compressor.budget)
    tilings = compressor.tile(analyses, price)
    if _count(tilings) > most:
        return _tile_with_loss(compressor, analyses, most, options)
    if options.ratio is not None:
        price, tilings = _tile_clearer(compressor, analyses, most, tilings)
    return _exact(compressor, analyses, tilings, price)


def _tile_clearer(
    compressor: Compressor, analyses: list[Analysis], most: int, shortest_tilings: list[Tiling]
) -> tuple[Price, list[Tiling]]:
    """Spend the Z-tokens that exact tilings leave over on clearer ones."""
    costs = [compressor.costs(analysis) for analysis in analyses]
    aim = most
    for _ in range(CORRECTIONS):
        price = bisect_price(costs, lambda rate: ClearerPrice(compressor.budget, rate), aim)
        tilings = compressor.tile(analyses, price)
        if _count(tilings) <= most:
            return price, tilings
        aim -= _count(tilings) - most  # verification made them longer by this much
    return ExactPrice(compressor.budget), shortest_tilings


def _tile_with_loss(
    compressor: Compressor, analyses: list[Analysis], most: int, options: CompressOptions
) -> list[TiledWindow]:
    """Lose as little as `most` Z-tokens allow."""
    costs: list[SpanCosts] = [compressor.costs(analysis, lossy=True) for analysis in analyses]
    price = bisect_price(costs, LossyPrice, most)
    prices = [price(cost) for cost in costs]
    tilings = [shortest_path(matrix) for matrix in prices]
    if options.max_tokens is not None and _count(tilings) > most:
        raise OptionError(
            f"max_tokens is {most}, but these documents need {_count(tilings)} Z-tokens at least"
            f"{' with what is protected' if options.protect is not None else ''}. "
            "Allow more, or compress fewer documents."
        )
    tiled = []
    for draft, matrix in zip(settle(compressor, analyses, tilings), prices, strict=True):
        tokens = compressor.z_tokens(draft.analysis, draft.tiling, draft.written)
        spent = _spent(matrix, draft.tiling)
        tiled.append(TiledWindow(tokens, spent, draft.restored.tolist(), int(draft.wrong.sum()), draft.exact))
    return tiled


def _exact(
    compressor: Compressor, analyses: Sequence[Analysis], tilings: Sequence[Tiling], price: Price
) -> list[TiledWindow]:
    """Write exact tilings."""
    tiled = []
    for analysis, tiling in zip(analyses, tilings, strict=True):
        tokens = compressor.z_tokens(analysis, tiling, compressor.exact_ranks(analysis, tiling))
        spent = _spent(price(compressor.costs(analysis)), tiling)
        tiled.append(TiledWindow(tokens, spent, analysis.ids.tolist(), 0, True))
    return tiled


def _spent(matrix: Floats, tiling: Tiling) -> list[float]:
    """List the price of each Z-token of a tiling."""
    spent, t = [], 0
    for gap in tiling:
        spent.append(float(matrix[t, gap]))
        t += gap + 1
    return spent


def _count(tilings: Sequence[Tiling]) -> int:
    """Count the Z-tokens of tilings."""
    return sum(len(tiling) for tiling in tilings)
