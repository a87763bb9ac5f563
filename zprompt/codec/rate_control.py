"""Tile the windows of one call of `compress`.

Without a wanted length, every window is tiled at the usual rate, batch after batch. With one, all windows are analysed
before any is tiled, and one rate for all of them is bisected on their costs (segmentation.py): dense passages get more
Z-tokens, whichever document they are in. A ratio below the usual one is met as well, and a number of Z-tokens is a
limit: one that leaves room to spare changes nothing.

A ratio of 1 asks for what is known without looking: all tokens as anchors.

A query makes no text longer. Without a wanted length each window gets the Z-tokens that it would have without the query
(what else is in the call must not matter), and a rate of its own by which they go to what the query is about.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from zprompt.codec.compressor import Analysis, Compressor, TiledWindow
from zprompt.codec.importance import TokenImportance
from zprompt.codec.tiling import USUAL_RATE, count, highest_rate, prices, shortest_path
from zprompt.errors import OptionError
from zprompt.options import CompressOptions
from zprompt.progress import Progress
from zprompt.zspan import ZToken

USUAL_REACH = 40.0  # bits: at the usual rate, spans that the LLM alone needs more for are next to never chosen
WIDE_REACH = 16.0  # bits for each source token that a Z-token is to stand for
USUAL_RATIO = 4.0  # source tokens per Z-token at the usual rate, about


@dataclass(frozen=True, slots=True)
class Job:
    """The windows of one call."""

    compressor: Compressor
    windows: Sequence[Sequence[int]]  # token ids
    worth: Sequence[Sequence[TokenImportance] | None]  # of each token
    batch_size: int  # windows a pass
    progress: Progress | None  # called with ("compress", windows done, windows in all)

    def analyses(self, reach: float) -> Iterator[list[Analysis]]:
        """Analyse the windows, batch after batch.

        :param reach: As in `Compressor.analyse`.
        :yields: The analyses of a batch.
        """
        for first in range(0, len(self.windows), self.batch_size):
            states = self.compressor.hidden(self.windows[first : first + self.batch_size])
            batch = []
            for index, hidden in enumerate(states, first):
                batch.append(self.compressor.analyse(self.windows[index], hidden, reach, self.worth[index]))
                if self.progress:
                    self.progress("compress", index + 1, len(self.windows))
            yield batch

    def write(self, analyses: Sequence[Analysis], rates: Iterable[float]) -> list[TiledWindow]:
        """Tile analysed windows and write them.

        :param analyses: The windows.
        :param rates: Z-tokens that a bit is worth, in each window; there may be more rates than windows.
        :return: Z-tokens and symbols of each window.
        """
        tilings = [shortest_path(prices(analysis.bits, rate)) for analysis, rate in zip(analyses, rates, strict=False)]
        return self.compressor.write(analyses, tilings)


def tile_windows(job: Job, options: CompressOptions) -> Iterator[TiledWindow]:
    """Tile all windows of a call.

    :param job: The windows.
    :param options: What was asked for.
    :yields: The tiled windows, in order.
    """
    if options.ratio == 1.0:
        yield from _all_anchors(job)
    elif options.has_length:
        yield from _tile_to_length(job, options)
    elif options.query is None:
        for batch in job.analyses(USUAL_REACH):
            yield from job.write(batch, repeat(USUAL_RATE))
    else:
        worth = iter(job.worth)
        for batch in job.analyses(WIDE_REACH * USUAL_RATIO):
            met = [_meet(job.compressor, [analysis], [next(worth)], _usual([analysis])) for analysis in batch]
            yield from job.write([analysis for [analysis], _ in met], [rate for _, rate in met])


def _all_anchors(job: Job) -> Iterator[TiledWindow]:
    """Keep every token."""
    says_nothing = (0,) * job.compressor.settings.subcodes
    for done, ids in enumerate(job.windows, 1):
        yield TiledWindow([ZToken(token, 0, says_nothing) for token in ids], [])
        if job.progress:
            job.progress("compress", done, len(job.windows))


def _tile_to_length(job: Job, options: CompressOptions) -> Iterator[TiledWindow]:
    """Tile all windows at one rate."""
    most = options.max_tokens or max(1, int(sum(map(len, job.windows)) / (options.ratio or 1.0)))
    wanted = sum(map(len, job.windows)) / most
    analyses = [analysis for batch in job.analyses(max(USUAL_REACH, WIDE_REACH * wanted)) for analysis in batch]
    if options.max_tokens is not None and options.query is not None:
        most = min(most, _usual(analyses))
    analyses, rate = _meet(job.compressor, analyses, job.worth, most)
    if options.max_tokens is not None:
        rate = min(rate, USUAL_RATE)
        _require(count([analysis.bits for analysis in analyses], rate), options)
    for first in range(0, len(analyses), job.batch_size):
        yield from job.write(analyses[first : first + job.batch_size], repeat(rate))


def _usual(analyses: Sequence[Analysis]) -> int:
    """Count the Z-tokens that windows have at the usual rate if all tokens are worth the same."""
    return count([analysis.plain for analysis in analyses], USUAL_RATE)


def _meet(
    compressor: Compressor, analyses: list[Analysis], worth: Sequence[Sequence[TokenImportance] | None], most: int
) -> tuple[list[Analysis], float]:
    """Find the highest rate that gives so few Z-tokens; spans of any cost are looked at only if there is need."""
    rate = highest_rate([analysis.bits for analysis in analyses], most)
    if rate == 0.0:
        analyses = [
            compressor.analyse(analysis.ids, analysis.hidden, float("inf"), own)
            for analysis, own in zip(analyses, worth, strict=True)
        ]
        rate = highest_rate([analysis.bits for analysis in analyses], most)
    return analyses, rate


def _require(needed: int, options: CompressOptions) -> None:
    """Refuse a length that cannot be met."""
    if options.max_tokens is not None and needed > options.max_tokens:
        raise OptionError(
            f"max_tokens is {options.max_tokens}, but these documents need {needed} Z-tokens at least"
            f"{' with what is protected' if options.protect is not None else ''}. "
            "Allow more, or compress fewer documents."
        )
