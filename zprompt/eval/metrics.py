"""Compare restored texts with their sources.

BLEU       sacrebleu's corpus BLEU-4: "13a" tokens, case-sensitive, a document is one segment; 0 to 100
accuracy   share of token positions that have the source's token: windows keep their length, so positions correspond
numbers    multiset recall: of all occurrences of a number in the source, the share that the restored text has too.
           A number that the source has three times and the restored text twice counts 2 of 3; order does not matter
names      the same for capitalised names: runs of capitalised words with one space between them, not counting a word at
           the beginning of a sentence; "New York" restored as "New Jersey" is a miss, not a half
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w]*(?:[-'’][^\W_]+)*")
_SENTENCE_END = ".!?:…。"
_OPENING = " \t\"'“‘«([*#-"  # may stand between the end of a sentence and the next one's first word


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the source's items are in the restored text."""

    found: int
    total: int

    @property
    def share(self) -> float | None:
        """Give found per total.

        :return: 0 to 1; None if there was nothing to find.
        """
        return self.found / self.total if self.total else None

    @staticmethod
    def sum(recalls: Iterable["Recall"]) -> "Recall":
        """Pool the recall of several documents.

        :param recalls: One for each document.
        :return: The recall over all occurrences.
        """
        pairs = [(recall.found, recall.total) for recall in recalls]
        return Recall(sum(found for found, _ in pairs), sum(total for _, total in pairs))


def numbers(text: str) -> list[str]:
    """List the numbers of a text.

    :param text: The text.
    :return: Digits with the points, commas, colons and slashes between them.
    """
    return _NUMBER.findall(text)


def names(text: str) -> list[str]:
    """List the capitalised names of a text.

    :param text: The text.
    :return: Runs of capitalised words, without words that begin a sentence.
    """
    found: list[str] = []
    end = -1  # of the last name
    for match in _WORD.finditer(text):
        word = match.group()
        if not word[0].isupper() or _begins_sentence(text[: match.start()]):
            continue
        if match.start() == end + 1 and text[end] == " ":
            found[-1] += " " + word
        else:
            found.append(word)
        end = match.end()
    return found


def recall(source: Sequence[str], restored: Sequence[str]) -> Recall:
    """Count how many items come back, each as often as the source has it.

    :param source: Items of the source.
    :param restored: Items of the restored text.
    :return: The multiset recall.
    """
    common = Counter(source) & Counter(restored)
    return Recall(common.total(), len(source))


def correct_tokens(source: Sequence[int], restored: Sequence[int]) -> int:
    """Count the positions that have the source's token.

    :param source: Token ids of the source.
    :param restored: Token ids that came back.
    :return: Positions.
    :raises ValueError: If they differ in length.
    """
    if len(source) != len(restored):
        raise ValueError(f"{len(restored)} tokens came back of {len(source)}: decompression never changes the length.")
    return sum(a == b for a, b in zip(source, restored, strict=True))


class CorpusBleu:
    """BLEU-4 of restored documents, all or some of them."""

    def __init__(self, sources: Sequence[str], restored: Sequence[str]) -> None:
        """Count the n-grams of each document once.

        :param sources: The sources.
        :param restored: What came back of each.
        """
        from sacrebleu.metrics.bleu import BLEU

        metric = BLEU(effective_order=True)  # counts are the same with and without; it only warns without
        scores = [metric.sentence_score(back, [text]) for text, back in zip(sources, restored, strict=True)]
        self._counts = np.array([[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores], np.int64).reshape(
            -1, 10
        )

    def score(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> float | None:
        """Give the BLEU of documents.

        :param rows: Their numbers, repeated ones count again; None: all.
        :return: 0 to 100; None if there is no sequence of four words to judge.
        """
        from sacrebleu.metrics.bleu import BLEU

        counts = self._counts if rows is None else self._counts[np.asarray(rows, np.int64)]
        total = counts.sum(0).tolist()
        if not total[7]:
            return None
        # smooth_method: what sacrebleu does by default, though not here.
        return float(BLEU.compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="exp").score)


def _begins_sentence(before: str) -> bool:
    """Say whether a word after this text is the first of a sentence."""
    left = before.rstrip(_OPENING)
    return not left or left[-1] == "\n" or left[-1] in _SENTENCE_END
