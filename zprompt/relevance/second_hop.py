"""Questions of two hops: a passage that a good sentence names is worth reading, too.

"When was the founder of Gull Press born?" is answered in the passage about Ada Lund, which has no word of the question.
But the sentence that says who founded Gull Press has her name. So if one of the NAMING best units of other passages has
a passage's name, all units of that passage are raised, by no more than is needed to come next:

    score' = max(score, min(score + RAISE, score of the unit that names it))

A passage's name is its title, without what is in brackets, or if it has none the capitalised words that it opens with;
in either case without words of the question. If nothing is left of it, the passage has no name.

The questions that the regression is trained on have one hop, so the two numbers were chosen on the development files
of HotpotQA and MuSiQue.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from zprompt.relevance.features import Floats
from zprompt.relevance.selection import best_first
from zprompt.relevance.units import content_stems

RAISE = 3.0  # log-odds
NAMING = 3  # number of best units that name passages
OPENING_WORDS = 2  # fewest words of a name that opens a passage, where any single word is capitalised

_BRACKETS = re.compile(r"(?<!\s)\s*\([^()]*\)")
_OPENING = re.compile(r"\W*((?:(?:[A-Z0-9][\w'’.&-]*|of|the|and|de|van|von|la)\s+){1,8})")


def raise_named(question: str, passages: Sequence[tuple[str, Sequence[str]]], scores: Sequence[Floats]) -> list[Floats]:
    """Raise the scores of passages that the best units of others name.

    :param question: The question.
    :param passages: The title of each passage, "" if it has none, and the texts of its units.
    :param scores: (n,) log-odds of the units of each passage.
    :return: (n,) for each passage.
    """
    asked = frozenset(content_stems(question))
    units = [(index, text) for index, (_, texts) in enumerate(passages) for text in texts]
    all_scores = np.concatenate([np.zeros(0), *scores])
    best = [(all_scores[unit], *units[unit]) for unit in best_first(all_scores)[:NAMING]]
    naming = [(score, index, frozenset(content_stems(text))) for score, index, text in best]
    raised = []
    for index, ((title, texts), old) in enumerate(zip(passages, scores, strict=True)):
        name = _name(title, texts) - asked
        named_by = [score for score, other, stems in naming if name and other != index and name <= stems]
        raised.append(np.maximum(old, np.minimum(old + RAISE, max(named_by))) if named_by else old)
    return raised


def _name(title: str, texts: Sequence[str]) -> frozenset[str]:
    """Return the stems of a passage's name."""
    if title:
        return frozenset(content_stems(_BRACKETS.sub("", title)))
    opening = _OPENING.match(texts[0]) if texts else None
    stems = content_stems(opening[1]) if opening else []
    return frozenset(stems) if len(stems) >= OPENING_WORDS else frozenset()
