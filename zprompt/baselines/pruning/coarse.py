"""The coarse step: which passages stay, and how densely each is kept.

    without a query     the less a passage is expected, the more it says           mean −log p(x_k)
    with a query        the better a passage explains the query, the more it helps −mean −log p(query | x_k)

Passages stay, the best first, until they have `slack · budget` tokens. The budget is then shared in proportion to their
tokens; with a query the best of N passages is kept more densely than the last by up to twice `spread`, as in
LongLLMLingua:

    rate_k ∝ rate + spread · (1 − 2 · rank_k / (N − 1)),    within 0 and 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zprompt.baselines.pruning.source import Passage, Source, cut_passages
from zprompt.baselines.pruning.surprise import mean_surprisal, query_ids

if TYPE_CHECKING:
    from zprompt.baselines.pruning.options import PruningOptions
    from zprompt.llm import Backbone


@dataclass(frozen=True, slots=True)
class Share:
    """A passage that stays, and how many of its tokens do."""

    passage: Passage
    tokens: float


def choose_shares(
    backbone: Backbone, sources: Sequence[Source], budget: int, query: str, options: PruningOptions
) -> list[Share]:
    """Choose the passages that stay, and share the budget among them.

    :param backbone: The model.
    :param sources: The documents.
    :param budget: Tokens for all of them.
    :param query: What will be asked; empty: nothing is known of that.
    :param options: How to prune.
    :return: The passages that stay, in their order.
    """
    longest = options.context // 2
    passages = cut_passages(sources, longest)
    wanted = options.slack * budget
    if not query and sum(len(passage.tokens) for passage in passages) <= wanted:
        return share_budget(passages, range(len(passages)), budget, 0.0)  # all stay, and alike: no need to ask
    asked = query_ids(backbone, query, options.context // 4)
    scores = [
        _score(backbone, [sources[passage.document].ids[place] for place in passage.tokens[:longest]], asked)
        for passage in passages
    ]
    ranked = choose_passages(passages, scores, wanted)
    return share_budget(passages, ranked, budget, options.spread if query else 0.0)


def choose_passages(passages: Sequence[Passage], scores: Sequence[float], wanted: float) -> list[int]:
    """Choose the best passages until they are long enough.

    :param passages: All passages.
    :param scores: For each how good it is.
    :param wanted: Tokens that the chosen ones are to have.
    :return: Places of the chosen passages, the best first.
    """
    chosen, tokens = [], 0
    for place in sorted(range(len(passages)), key=lambda place: (-scores[place], place)):
        if tokens >= wanted:
            break
        chosen.append(place)
        tokens += len(passages[place].tokens)
    return chosen


def share_budget(passages: Sequence[Passage], ranked: Sequence[int], budget: int, spread: float) -> list[Share]:
    """Share a budget among the passages that stay.

    :param passages: All passages.
    :param ranked: Places of those that stay, the best first.
    :param budget: Tokens for all of them.
    :param spread: How much more of the best passage is kept than the mean; 0 for all alike.
    :return: The passages that stay, in their order.
    """
    sizes = {place: len(passages[place].tokens) for place in ranked}
    total = sum(sizes.values())
    rate = min(1.0, budget / total) if total else 1.0
    lean = {place: 1 - 2 * rank / (len(ranked) - 1) if len(ranked) > 1 else 0.0 for rank, place in enumerate(ranked)}
    rates = {place: min(max(rate + spread * lean[place], 0.0), 1.0) for place in ranked}
    spent = sum(rates[place] * sizes[place] for place in ranked)
    scale = rate * total / spent if spent else 0.0
    return [Share(passages[place], min(rates[place] * scale, 1.0) * sizes[place]) for place in sorted(ranked)]


def _score(backbone: Backbone, ids: Sequence[int], query: Sequence[int]) -> float:
    """Say how good a passage is, higher for a better one."""
    return -mean_surprisal(backbone, ids, query) if query else mean_surprisal(backbone, [], ids)
