"""Questions of two hops: what a good sentence names is worth reading, too.

"When was the founder of Gull Press born?" is answered in the passage about Ada Lund, which has no word of the question.
But the sentence that says who founded Gull Press has her name. So all units of a passage whose name stands in one of
the NAMING best units of other passages are raised,

    score' = max(score, min(score + RAISE, score of the unit that names it))

by no more than is needed to come next. A passage's name is its title, without what is in brackets, or if it has none
the capitalised words that it opens with; either without words of the question, of which there may be nothing left.

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
NAMING = 3
OPENING_WORDS = 2  # at least, since any word opens with a capital there

_BRACKETS = re.compile(r"(?<!\s)\s*\([^()]*\)")
_OPENING = re.compile(r"\W*((?:(?:[A-Z0-9][\w'’.&-]*|of|the|and|de|van|von|la)\s+){1,8})")


def raise_named(question: str, passages: Sequence[tuple[str, Sequence[str]]], scores: Sequence[Floats]) -> list[Floats]:
    """Raise the scores of passages that the best units of others name.

    :param question: The question.
    :param passages: The title of each passage, "" if it has none, and the texts of its units.
    :param scores: (n,) log-odds of each passage's units.
    :return: (n,) for each.
    """
    asked = frozenset(content_stems(question))
    units = [(place, text) for place, (_, texts) in enumerate(passages) for text in texts]
    joined = np.concatenate([np.zeros(0), *scores])
    best = [(joined[index], *units[index]) for index in best_first(joined)[:NAMING]]
    naming = [(score, place, frozenset(content_stems(text))) for score, place, text in best]
    raised = []
    for place, ((title, texts), own) in enumerate(zip(passages, scores, strict=True)):
        name = _name(title, texts) - asked
        by = [score for score, other, stems in naming if name and other != place and name <= stems]
        raised.append(np.maximum(own, np.minimum(own + RAISE, max(by))) if by else own)
    return raised


def _name(title: str, texts: Sequence[str]) -> frozenset[str]:
    """Return the stems of a passage's name."""
    if title:
        return frozenset(content_stems(_BRACKETS.sub("", title)))
    opening = _OPENING.match(texts[0]) if texts else None
    stems = content_stems(opening[1]) if opening else []
    return frozenset(stems) if len(stems) >= OPENING_WORDS else frozenset()
