"""Measure how far our pruning agrees with the package `llmlingua` on which tokens matter.

Both use the same model. For each passage:

    rank correlation    Spearman's, over the passage's words, of the surprisal that `llmlingua` gives a word and the
                        score that our fine step gives it; both are the mean over the word's tokens. llmlingua reads the
                        whole passage, our fine step only what it kept so far: the correlation shows the difference
    kept in common      of the words that llmlingua keeps at a ratio, the share that our pruning keeps as well; words
                        count as often as they occur. By chance, it would be about the share that the ratio keeps
    halves              words in llmlingua's result that the source does not have: parts of words, or joined ones

Passages are paragraphs, joined until they have `FEWEST_WORDS` words, of `examples/texts/*.txt` or, with `--data`, of a
file: plain text, or JSON lines with a text under "text" or a list of paragraphs under "paragraphs". Shorter ones would
tell little: llmlingua hardly changes what is shorter than its segments of 200 tokens. Each passage is one context to
both, so that only words are dropped and no paragraphs. Without `llmlingua` there is nothing to measure.

    python -m benchmarks.agreement [--data PATH] [--limit N] [--ratio R]
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from benchmarks.common import PROSE, RESULTS, read_paragraphs
from zprompt import baselines
from zprompt.baselines import split_words
from zprompt.baselines.pruning import Pruning, Source
from zprompt.eval import RunRecord, write_json

FEWEST_WORDS = 250  # of a passage


@dataclass(frozen=True, slots=True)
class Agreement:
    """The agreement on one passage."""

    words: int
    tokens: int
    rank_correlation: float
    common: float  # share of llmlingua's words that we keep, 0 to 1
    chance: float  # the same for words kept at random
    tokens_ours: int
    tokens_llmlingua: int
    budget: int
    halves: int


def main() -> None:
    """Run, and write `results/agreement.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="passages; default: the examples' texts")
    parser.add_argument("--limit", type=int, default=12, help="passages")
    parser.add_argument("--ratio", type=float, default=2.0, help="source tokens per token that is kept")
    options, began = parser.parse_args(), time.time()
    if reason := baselines.unavailable("llmlingua"):
        raise SystemExit(reason)
    ours = Pruning(slack=float("inf"))
    theirs: Any = baselines.create("llmlingua", backbone=ours.backbone)
    rows = [_compare(ours, theirs, text, options.ratio) for text in passages(options.data)[: options.limit]]
    if not rows:
        raise SystemExit(f"No text has {FEWEST_WORDS} words. Give another file with --data.")
    summary = _summary(rows)
    record = RunRecord.take(0, began)
    source = str(options.data or "examples/texts")
    write_json(
        RESULTS / "agreement.json",
        {"run": record, "data": source, "ratio": options.ratio, "summary": summary, "passages": rows},
    )
    print(json.dumps(summary, indent=1))


def passages(path: Path | None) -> list[str]:
    """Return passages of a file (None: the examples' texts), at most one of each of its texts."""
    files = [path] if path else sorted(PROSE.glob("*.txt"))
    joined = [_join(paragraphs) for file in files for paragraphs in read_paragraphs(file)]
    return [passage for passage in joined if passage]


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Spearman's rank correlation, -1 to 1; 0 where one of the sequences is constant."""
    ranks = [_ranks(values) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(*ranks)[0, 1])


def _join(paragraphs: Sequence[str]) -> str:
    """Join paragraphs until they are long enough; return nothing if there are too few."""
    for count in range(1, len(paragraphs) + 1):
        passage = "\n".join(paragraphs[:count])  # not two line breaks, where llmlingua's passages would end
        if len(split_words(passage)) >= FEWEST_WORDS:
            return passage
    return ""


def _ranks(values: Sequence[float]) -> Any:  # noqa: ANN401 - an array
    """Rank values; equal ones share the mean of their ranks."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _compare(ours: Pruning, theirs: Any, text: str, ratio: float) -> Agreement:  # noqa: ANN401 - a peer
    source = Source.of(text, ours.backbone.tokenizer)
    budget = max(1, round(len(source.ids) / ratio))
    scores = ours.scores(text, budget)
    losses = [float("nan"), *theirs.compressor.get_ppl(text, granularity="token").tolist()]  # it expects no first token
    compared = range(1, len(source.words))  # so the first word is left out
    word_losses = [_mean_loss(source, losses, word) for word in compared]
    shortened, peer = ours.shorten(text, budget), theirs.shorten(text, budget)
    kept, peer_kept = Counter(_words(shortened.text)), Counter(_words(peer.text))
    source_words = Counter(_words(text))
    whole = peer_kept & source_words
    return Agreement(
        words=len(source.words),
        tokens=len(source.ids),
        rank_correlation=rank_correlation([scores[word] for word in compared], word_losses),
        common=(kept & whole).total() / max(whole.total(), 1),
        chance=kept.total() / source_words.total(),
        tokens_ours=shortened.tokens,
        tokens_llmlingua=peer.tokens,
        budget=budget,
        halves=(peer_kept - source_words).total(),
    )


def _mean_loss(source: Source, losses: Sequence[float], word: int) -> float:
    """Average the losses of a word's tokens, without those of white space only."""
    word_losses = [losses[index] for index in source.tokens(word, word + 1) if not source.blank[index]]
    return mean(word_losses) if word_losses else 0.0


def _words(text: str) -> list[str]:
    """List the words of a text, without punctuation."""
    return [word.text for word in split_words(text) if any(map(str.isalnum, word.text))]


def _summary(rows: Sequence[Agreement]) -> dict[str, Any]:
    return {
        "passages": len(rows),
        "words": sum(row.words for row in rows),
        "rank_correlation": mean(row.rank_correlation for row in rows),
        "rank_correlation_worst": min(row.rank_correlation for row in rows),
        "common": mean(row.common for row in rows),
        "common_worst": min(row.common for row in rows),
        "common_by_chance": mean(row.chance for row in rows),
        "off_budget_ours_worst": max(abs(row.tokens_ours / row.budget - 1) for row in rows),
        "off_budget_llmlingua_worst": max(abs(row.tokens_llmlingua / row.budget - 1) for row in rows),
        "halves_llmlingua": sum(row.halves for row in rows),
    }


if __name__ == "__main__":
    main()
