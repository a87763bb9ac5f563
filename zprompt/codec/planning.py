"""Tile the windows of one call of `compress`.

Without a wanted length, every window is tiled at the usual rate, batch after batch. With one, all windows are analysed
before any is tiled, and one rate for all of them is bisected on their costs (segmentation.py): dense passages get more
Z-tokens, whichever document they are in. A ratio below the usual one is met as well, and a number of Z-tokens is a
limit: one that leaves room to spare changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zprompt.codec.compressor import Analysis, Compressor, TiledWindow
from zprompt.codec.options import CompressOptions
from zprompt.codec.segmentation import USUAL_RATE, count, highest_rate, prices, shortest_path
from zprompt.codec.weights import Worth
from zprompt.errors import OptionError
from zprompt.progress import Progress

USUAL_REACH = 40.0  # bits: at the usual rate, spans that the LLM alone needs more for are next to never chosen
WIDE_REACH = 16.0  # bits for each source token that a Z-token is to stand for


@dataclass(frozen=True, slots=True)
class Job:
    """The windows of one call."""

    compressor: Compressor
    windows: Sequence[Sequence[int]]  # token ids
    worth: Sequence[Sequence[Worth] | None]  # of each token
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

    def write(self, analyses: Sequence[Analysis], rate: float) -> list[TiledWindow]:
        """Tile analysed windows and write them.

        :param analyses: The windows.
        :param rate: Z-tokens that a bit is worth.
        :return: Z-tokens and symbols of each window.
        """
        return self.compressor.write(analyses, [shortest_path(prices(analysis.bits, rate)) for analysis in analyses])


def tile_windows(job: Job, options: CompressOptions) -> Iterator[TiledWindow]:
    """Tile all windows of a call.

    :param job: The windows.
    :param options: What was asked for.
    :yields: The tiled windows, in order.
    """
    if not options.has_length:
        for batch in job.analyses(USUAL_REACH):
            yield from job.write(batch, USUAL_RATE)
        return
    most = _most(job, options)
    analyses, rate = _meet(job, most)
    if options.max_tokens is not None:
        rate = min(rate, USUAL_RATE)
        _require(count([analysis.bits for analysis in analyses], rate), options)
    for first in range(0, len(analyses), job.batch_size):
        yield from job.write(analyses[first : first + job.batch_size], rate)


def _most(job: Job, options: CompressOptions) -> int:
    """Say how many Z-tokens all windows may take together."""
    if options.max_tokens is not None:
        return options.max_tokens
    return max(1, int(sum(map(len, job.windows)) / (options.ratio or 1.0)))


def _meet(job: Job, most: int) -> tuple[list[Analysis], float]:
    """Find the highest rate that gives so few Z-tokens; spans of any cost are looked at only if there is need."""
    wanted = sum(map(len, job.windows)) / most
    reach = max(USUAL_REACH, WIDE_REACH * wanted)
    analyses = [analysis for batch in job.analyses(reach) for analysis in batch]
    rate = highest_rate([analysis.bits for analysis in analyses], most)
    if rate == 0.0:
        analyses = [
            job.compressor.analyse(analysis.ids, analysis.hidden, float("inf"), worth)
            for analysis, worth in zip(analyses, job.worth, strict=True)
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
