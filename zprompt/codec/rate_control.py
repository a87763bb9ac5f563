"""Rate control: find the price of a bit at which the windows of a call become as short as was asked for.

Without a wanted length, every window is tiled at the usual rate, batch after batch. With one, all windows are analysed
before any is tiled, and one rate for all of them is bisected on their costs (tiling.py): dense passages get more
Z-tokens, whichever document they are in. A ratio below the usual one is met as well; a number of Z-tokens is a limit,
and one that leaves room to spare changes nothing. A ratio of 1 needs no analysis: all tokens are anchors.

A query makes no text longer. Without a wanted length each window gets the Z-tokens that it would have without the query
(what else is in the call must not matter), and a rate of its own, by which they go to what the query is about.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from zprompt.codec.compressor import Analysis, Compressor, TiledWindow
from zprompt.codec.importance import TokenImportance
from zprompt.codec.tiling import USUAL_RATE, count_z_tokens, highest_rate, prices, shortest_path
from zprompt.errors import OptionError
from zprompt.options import CompressOptions
from zprompt.progress import Progress
from zprompt.zspan import ZToken

# Pruning thresholds (span_costs.py)
USUAL_THRESHOLD = 40.0  # bits: at the usual rate, spans that the LLM alone needs more for are next to never chosen
WIDE_THRESHOLD = 16.0  # bits for each source token that a Z-token is to stand for
USUAL_RATIO = 4.0  # source tokens per Z-token at the usual rate, about


@dataclass(frozen=True, slots=True)
class RateControl:
    """Tiles the windows of one call of `compress`."""

    compressor: Compressor
    windows: Sequence[Sequence[int]]  # token ids
    importance: Sequence[Sequence[TokenImportance] | None]  # of each token
    batch_size: int  # windows a pass
    progress: Progress | None = None  # called with ("compress", windows done, windows in all)

    def tile(self, options: CompressOptions) -> Iterator[TiledWindow]:
        """Tile all windows, in order."""
        if options.ratio == 1.0:
            yield from self._keep_all()
        elif options.has_length:
            yield from self._tile_to_length(options)
        elif options.query is None:
            for batch in self.analyses(USUAL_THRESHOLD):
                yield from self.write(batch, repeat(USUAL_RATE))
        else:
            importance = iter(self.importance)
            for batch in self.analyses(WIDE_THRESHOLD * USUAL_RATIO):
                met = [self._meet([analysis], [next(importance)], _usual_length([analysis])) for analysis in batch]
                yield from self.write([analysis for [analysis], _ in met], [rate for _, rate in met])

    def analyses(self, threshold: float) -> Iterator[list[Analysis]]:
        """Analyse the windows, batch after batch, with a pruning threshold in bits."""
        for first in range(0, len(self.windows), self.batch_size):
            states = self.compressor.hidden(self.windows[first : first + self.batch_size])
            batch = []
            for index, hidden in enumerate(states, first):
                batch.append(self.compressor.analyse(self.windows[index], hidden, threshold, self.importance[index]))
                if self.progress:
                    self.progress("compress", index + 1, len(self.windows))
            yield batch

    def write(self, analyses: Sequence[Analysis], rates: Iterable[float]) -> list[TiledWindow]:
        """Tile analysed windows, each at its rate, and write them; there may be more rates than windows."""
        tilings = [shortest_path(prices(analysis.bits, rate)) for analysis, rate in zip(analyses, rates, strict=False)]
        return self.compressor.write(analyses, tilings)

    def _keep_all(self) -> Iterator[TiledWindow]:
        no_code = (0,) * self.compressor.settings.subcodes
        for done, ids in enumerate(self.windows, 1):
            yield TiledWindow([ZToken(token, 0, no_code) for token in ids], [])
            if self.progress:
                self.progress("compress", done, len(self.windows))

    def _tile_to_length(self, options: CompressOptions) -> Iterator[TiledWindow]:
        """Tile all windows at one rate."""
        source_tokens = sum(map(len, self.windows))
        most = options.max_tokens or max(1, int(source_tokens / (options.ratio or 1.0)))
        threshold = max(USUAL_THRESHOLD, WIDE_THRESHOLD * source_tokens / most)
        analyses = [analysis for batch in self.analyses(threshold) for analysis in batch]
        if options.max_tokens is not None and options.query is not None:
            most = min(most, _usual_length(analyses))
        analyses, rate = self._meet(analyses, self.importance, most)
        if options.max_tokens is not None:
            rate = min(rate, USUAL_RATE)
            _require_length(count_z_tokens([analysis.bits for analysis in analyses], rate), options)
        for first in range(0, len(analyses), self.batch_size):
            yield from self.write(analyses[first : first + self.batch_size], repeat(rate))

    def _meet(
        self, analyses: list[Analysis], importance: Sequence[Sequence[TokenImportance] | None], most: int
    ) -> tuple[list[Analysis], float]:
        """Find the highest rate that gives so few Z-tokens; analyse without pruning only where that is needed."""
        rate = highest_rate([analysis.bits for analysis in analyses], most)
        if rate == 0.0:
            analyses = [
                self.compressor.analyse(analysis.ids, analysis.hidden, float("inf"), own)
                for analysis, own in zip(analyses, importance, strict=True)
            ]
            rate = highest_rate([analysis.bits for analysis in analyses], most)
        return analyses, rate


def _usual_length(analyses: Sequence[Analysis]) -> int:
    """Count the Z-tokens that windows have at the usual rate if all tokens are equally important."""
    return count_z_tokens([analysis.plain for analysis in analyses], USUAL_RATE)


def _require_length(needed: int, options: CompressOptions) -> None:
    if options.max_tokens is not None and needed > options.max_tokens:
        raise OptionError(
            f"max_tokens is {options.max_tokens}, but these documents need {needed} Z-tokens at least"
            f"{' with what is protected' if options.protect is not None else ''}. "
            "Allow more, or compress fewer documents."
        )
