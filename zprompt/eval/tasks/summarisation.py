"""Compare the summary of a shortened text with the summary of the full text.

    ROUGE-1, 2, L    F1 against what the same reader writes of the full text
    "…, reference"   against the summary that came with the text, where one did

So it is measured what shortening changes, not how well the model summarises; the full text has 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.eval.figures import Share
from zprompt.eval.readers import READER
from zprompt.eval.reading import TEXT_READERS, read_by_all
from zprompt.eval.samples import Sample
from zprompt.eval.tasks.protocol import Left, Scores
from zprompt.reader import Message

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop

_MOST = 32  # new tokens of a summary
_KINDS = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}
_REFERENCE = "ROUGE-L, reference"


class Summarisation:
    """Texts to summarise."""

    name, title, main = "summarisation", "Summaries", f"ROUGE-L, {READER}"
    figures = tuple(f"{kind}, {reader}" for reader in TEXT_READERS for kind in (*_KINDS, _REFERENCE))
    restores = False

    def __init__(self, source: str, samples: Sequence[Sample]) -> None:
        """Hold the samples.

        :param source: Where they are from.
        :param samples: One text each, with its summary as the only answer, if there is one.
        """
        self.source, self.samples = source, samples

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Summarise the shortened texts, and the full ones once for each reader.

        :param left: What a method left of each text.
        :param workshop: Has the readers.
        :return: ROUGE of each reader.
        """
        from rouge_score.rouge_scorer import RougeScorer

        scorer = RougeScorer(list(_KINDS.values()), use_stemmer=False)
        scores = Scores()
        prompts = [_messages(one.shortened[0].text) for one in left]
        for name, summaries in read_by_all(left, prompts, _MOST, workshop, scores).items():
            full = self._of_full_texts(name, workshop)
            found = [scorer.score(*pair) for pair in zip(full, summaries, strict=True)]
            for title, kind in _KINDS.items():
                scores.shares[f"{title}, {name}"] = [Share(one[kind].fmeasure) for one in found]
            references = [one.sample.answers[0] if one.sample.answers else None for one in left]
            if any(references):
                scores.shares[f"{_REFERENCE}, {name}"] = [
                    None if right is None else Share(scorer.score(right, own)["rougeL"].fmeasure)
                    for right, own in zip(references, summaries, strict=True)
                ]
        return scores

    def _of_full_texts(self, name: str, workshop: Workshop) -> list[str]:
        """Give a reader's summaries of the full texts; they are made once."""
        key = (self.name, name)
        if key not in workshop.memory:
            prompts = [_messages(sample.texts[0]) for sample in self.samples]
            said = workshop.reader(name).generate(prompts, max_new_tokens=_MOST)
            workshop.memory[key] = [one.text.strip() for one in said]
        return list(workshop.memory[key])


def _messages(text: str) -> list[Message]:
    """Ask for a summary."""
    return [
        {"role": "system", "content": "You summarise texts in two or three sentences."},
        {"role": "user", "content": f"{text}\n\nSummarise this text."},
    ]
