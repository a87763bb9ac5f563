"""Metrics of restored texts, answers and search, and how reports write each.

F1, EM     SQuAD's: lower case, without punctuation and articles; the best of all right answers counts
BLEU       sacrebleu's corpus BLEU-4: "13a" tokens, case-sensitive, a document is one segment; 0 to 100
ROUGE      F-measures of rouge-score, without stemming
numbers    multiset recall: of all occurrences of a number in the source, the share that the restored text has too.
           A number that the source has three times and the restored text twice counts 2 of 3; order does not matter
names      the same for capitalised names: runs of capitalised words with one space between them, not counting a word at
           the beginning of a sentence; "New York" restored as "New Jersey" is a miss, not a half
rank       of one document among all by BM25 (Lucene's, k1 = 1.2, b = 0.75)
"""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zprompt.errors import MissingDependencyError

if TYPE_CHECKING:
    from tiktoken import Encoding

# Definitions: units and directions, for reports.


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, its unit and its direction."""

    title: str
    digits: int = 1  # after the point
    percent: bool = True  # values are shares, 0 to 1, and written in per cent
    less_is_better: bool = False
    reader: str | None = None  # whose replies it is measured on

    @property
    def name(self) -> str:
        """Return the metric's name in reports and result files."""
        return f"{self.title}, {self.reader}" if self.reader else self.title

    def by(self, reader: str) -> Metric:
        """Return this metric for the replies of one reader."""
        return replace(self, reader=reader)


READER, LTSC_READER, UNTUNED = "reader", "LTSC's reader", "untuned backbone"
READERS = (READER, LTSC_READER, UNTUNED)  # a metric of replies has a column for each

# Of every task
POSITIONS = Metric("positions ratio", digits=2, percent=False)  # source tokens / positions that a model reads
BITS = Metric("bits per position", percent=False, less_is_better=True)
SOURCE_BITS = Metric("bits per source token", percent=False, less_is_better=True)
EXACT = Metric("exact")  # share of samples restored byte for byte
API_TOKENS = Metric("API tokens ratio", digits=2, percent=False)  # as a price list counts them
# Of single tasks
BLEU, NUMBERS, NAMES = Metric("BLEU-4", percent=False), Metric("numbers kept"), Metric("names kept")
F1, EXACT_MATCH = Metric("F1"), Metric("exact match")
ROUGE_1, ROUGE_2, ROUGE_L = Metric("ROUGE-1"), Metric("ROUGE-2"), Metric("ROUGE-L")
ROUGE_REFERENCE = Metric("ROUGE-L, reference")
MRR, FIRST, TOP_TEN = Metric("MRR"), Metric("first"), Metric("in first 10")
KEPT, COPIED = Metric("kept"), Metric("copied")
PARSES, SAME = Metric("parses"), Metric("the same")
# Costs
SHORTENING = Metric("shortening s", digits=2, percent=False, less_is_better=True)
SPEED = Metric("shortening tokens/s", digits=0, percent=False)
RESTORING = Metric("restoring tokens/s", digits=0, percent=False)
KV_CACHE = Metric("KV MB", percent=False, less_is_better=True)
FIRST_TOKEN = Metric("first token s", digits=2, percent=False, less_is_better=True)
READING = Metric("reading s", digits=2, percent=False, less_is_better=True)
END_TO_END = Metric("end to end s", digits=2, percent=False, less_is_better=True)

COMMON = (POSITIONS, BITS, SOURCE_BITS, EXACT, API_TOKENS)
TIMES = (
    SPEED,
    SHORTENING,
    RESTORING,
    *(m.by(reader) for reader in READERS for m in (FIRST_TOKEN, READING, END_TO_END)),
)

_OF_TEXTS = (BLEU, NUMBERS, NAMES, MRR, FIRST, TOP_TEN, KEPT, PARSES, SAME)
_OF_REPLIES = (F1, EXACT_MATCH, ROUGE_1, ROUGE_2, ROUGE_L, ROUGE_REFERENCE, COPIED, KV_CACHE)
METRICS = {
    metric.name: metric
    for metric in (*COMMON, *TIMES, *_OF_TEXTS, *(metric.by(reader) for reader in READERS for metric in _OF_REPLIES))
}


def metric_of(name: str) -> Metric:
    """Return a metric by its name; an unknown one, from another release's results, is taken for a share."""
    return METRICS.get(name) or Metric(name)


# Answers, as SQuAD scores them.

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_LATIN_WORD = re.compile(r"[a-z0-9]+")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def exact_match(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if an answer is one of the right ones, else 0."""
    return float(any(_normalise(answer) == _normalise(gold) for gold in golds))


def f1(answer: str, golds: Sequence[str]) -> float:
    """Return the F1 of an answer's words against the closest right answer, 0 to 1."""
    return max(_f1(_normalise(answer).split(), _normalise(gold).split()) for gold in golds)


def holds_answer(text: str, answers: Sequence[str]) -> bool:
    """Return whether a text contains one of several answers, word for word: answer recall.

    Words are runs of Latin letters and digits, in lower case; an answer in another script is matched unchanged.
    """
    joined = f" {' '.join(_latin_words(text))} "
    return any(
        f" {' '.join(words)} " in joined if (words := _latin_words(answer)) else bool(answer) and answer in text
        for answer in answers
    )


def _latin_words(text: str) -> list[str]:
    return _LATIN_WORD.findall(text.lower())


def _f1(words: list[str], gold: list[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    shared = sum((Counter(words) & Counter(gold)).values())
    return 2 * shared / (len(words) + len(gold))


def _normalise(answer: str) -> str:
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


# Facts that a text keeps.

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_WORD = re.compile(r"[^\W\d_][\w]*(?:[-'’][^\W_]+)*")
_SENTENCE_END = ".!?:…。"
_OPENING = " \t\"'“‘«([*#-"  # may stand between the end of a sentence and the first word of the next


@dataclass(frozen=True, slots=True)
class Recall:
    """How many of the source's items are in the restored text."""

    found: int
    total: int


def recall(source: Sequence[str], restored: Sequence[str]) -> Recall:
    """Count how many items of the source come back, each as often as the source has it."""
    common = Counter(source) & Counter(restored)
    return Recall(common.total(), len(source))


def numbers(text: str) -> list[str]:
    """List the numbers of a text, with the points, commas, colons and slashes between their digits."""
    return _NUMBER.findall(text)


def names(text: str) -> list[str]:
    """List the runs of capitalised words in a text, leaving out words that begin a sentence."""
    runs: list[str] = []
    end = -1  # of the last run
    for match in _WORD.finditer(text):
        word = match.group()
        if not word[0].isupper() or _begins_sentence(text[: match.start()]):
            continue
        if match.start() == end + 1 and text[end] == " ":
            runs[-1] += " " + word
        else:
            runs.append(word)
        end = match.end()
    return runs


def _begins_sentence(before: str) -> bool:
    stripped = before.rstrip(_OPENING)
    return not stripped or stripped[-1] == "\n" or stripped[-1] in _SENTENCE_END


# Restored texts.


class CorpusBleu:
    """BLEU-4 of restored documents, all or some of them; it is not the mean of the documents' BLEU."""

    def __init__(self, sources: Sequence[str], restored: Sequence[str]) -> None:
        """Count the n-grams of each document once."""
        from sacrebleu.metrics.bleu import BLEU as SacreBleu

        metric = SacreBleu(effective_order=True)  # does not change the counts, but avoids a warning
        scores = [metric.sentence_score(output, [source]) for source, output in zip(sources, restored, strict=True)]
        counts = [[*s.counts, *s.totals, s.sys_len, s.ref_len] for s in scores]
        self._counts = np.array(counts, np.int64).reshape(-1, 10)

    def score(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> float | None:
        """Compute the BLEU of documents.

        :param rows: Their indices, counted as often as they occur; None: all.
        :return: 0 to 100; None if none of the restored documents has four words in a row.
        """
        from sacrebleu.metrics.bleu import BLEU as SacreBleu

        counts = self._counts if rows is None else self._counts[np.asarray(rows, np.int64)]
        total = counts.sum(0).tolist()
        if not total[7]:
            return None
        # "exp" is sacrebleu's default elsewhere, but not that of compute_bleu.
        bleu = SacreBleu.compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="exp")
        return float(bleu.score)


# Search.


class SearchIndex:
    """Documents to rank by BM25."""

    def __init__(self, documents: Sequence[str]) -> None:
        """Index the documents, at least one."""
        import bm25s

        self._size = len(documents)
        self._index = bm25s.BM25(k1=1.2, b=0.75, method="lucene")
        self._index.index([_words(document) for document in documents], show_progress=False)

    def rank(self, query: str, document: int) -> int:
        """Return the rank of a document (its index) for a query, from 1; documents of equal score come before it."""
        vocabulary: Any = self._index.vocab_dict
        words = [word for word in _words(query) if word in vocabulary]
        if not words:
            return self._size
        scores = self._index.get_scores(words)
        return int((scores >= scores[document]).sum())


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


# Tokens as the price lists of APIs count them.

API_ENCODING = "cl100k_base"
_TIKTOKEN_CACHE = "TIKTOKEN_CACHE_DIR"  # where tiktoken looks for vocabularies


def api_tokens(text: str) -> int:
    """Count a text's tokens in `API_ENCODING`; raise MissingDependencyError if it is not on this machine."""
    return len(_api_encoding().encode(text, disallowed_special=()))


@cache
def _api_encoding() -> Encoding:
    """Load the encoding from the files that llama-index-core ships; nothing is fetched."""
    spec = find_spec("llama_index.core") if find_spec("llama_index") else None
    folder = Path(spec.origin).parent / "_static" / "tiktoken_cache" if spec and spec.origin else None
    if folder is None or not folder.is_dir() or find_spec("tiktoken") is None:
        raise MissingDependencyError(
            f"{API_ENCODING} is not available offline. llama-index-core ships it: pip install llama-index-core."
        )
    import tiktoken

    previous = os.environ.get(_TIKTOKEN_CACHE)
    os.environ[_TIKTOKEN_CACHE] = str(folder)
    try:
        return tiktoken.get_encoding(API_ENCODING)
    except Exception as error:  # tiktoken fetches a missing file, which can fail in any way
        raise MissingDependencyError(f"{API_ENCODING} cannot be loaded: {error}.") from error
    finally:
        if previous is None:
            del os.environ[_TIKTOKEN_CACHE]
        else:
            os.environ[_TIKTOKEN_CACHE] = previous
