"""How much a benchmark run measures: of the codec most of an hour on 2 idle cores, a quarter, or a few minutes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sample sizes of a run of `benchmarks.codec`."""

    seed: int = 0  # of every choice of documents, and of the bootstrap
    articles: int = 40  # Wikipedia articles; one passage each
    passage_tokens: int = 400  # whole paragraphs from the article's beginning, at most this many tokens, one at least
    long_articles: int = 1  # articles that are also taken as long documents ...
    long_tokens: int = 1500  # ... of about this many tokens
    huge_tokens: int = 20_000  # length that the huge document exceeds; 0: leave it out
    hard_characters: int | None = None  # of each hard text; None: all
    elsewhere_tokens: int = 1200  # of documents that are also restored with another batch size, threads and process
    in_another_process: bool = True
    ratios: tuple[float, ...] = (2, 3, 4, 6, 8, 12, 18)  # of the rate-distortion curve
    curve_documents: int = 6  # passages that the curve is measured on
    resamples: int = 1000  # of the bootstrap
    rates: tuple[float, ...] = (1 / 10, 1 / 30, 1 / 90)  # Z-tokens a bit, of the ablation
    ablated_documents: int = 6  # passages that parts are taken away on
    pass_windows: int = 4  # texts of `pass_tokens` tokens that compression is timed on, in one batch
    pass_tokens: int = 500
    pass_rounds: int = 5
    step_tokens: int = 64  # length of the texts that decompression is timed on
    step_rounds: int = 3
    batch_sizes: tuple[int, ...] = (1, 4, 16)
    starts: int = 3  # processes that `import zprompt` and `zprompt.load` are timed in


FULL = Plan()
SHORT = Plan(  # what fits in a quarter of an hour: no huge document, fewer of each kind
    articles=16,
    passage_tokens=350,
    long_articles=0,
    huge_tokens=0,
    hard_characters=1500,
    elsewhere_tokens=800,
    curve_documents=4,
    ablated_documents=4,
    pass_windows=3,
    pass_rounds=5,
    step_tokens=48,
    step_rounds=3,
    batch_sizes=(1, 4, 16),
    starts=3,
)
QUICK = Plan(
    articles=6,
    passage_tokens=150,
    long_articles=0,
    huge_tokens=0,
    hard_characters=200,
    elsewhere_tokens=300,
    ratios=(4, 8),
    rates=(1 / 30, 1 / 90),
    curve_documents=4,
    ablated_documents=2,
    pass_windows=2,
    pass_tokens=250,
    pass_rounds=3,
    step_tokens=32,
    step_rounds=2,
    batch_sizes=(1, 4),
    starts=2,
)


@dataclass(frozen=True, slots=True)
class ReaderPlan:
    """Sample sizes of a run of `benchmarks.reader`."""

    seed: int = 0  # of the choice of questions, and of the bootstrap
    questions: int = 100  # of each data set
    resamples: int = 1000  # of the bootstrap
    checked: int = 20  # questions that are also answered by `Reader.answer`
    prefill_tokens: tuple[int, ...] = (1000, 2000, 4000, 8000)  # source tokens of the passages ...
    prefill_positions: int = 8000  # ... which are fewer where the prompt would take more than this
    prefill_passage: int = 400  # source tokens of one passage
    prefill_ratios: tuple[float | None, ...] = (None, 8.0)  # None: what `compress` gives without a ratio
    rounds: int = 3


READER_FULL = ReaderPlan()
READER_QUICK = ReaderPlan(questions=8, checked=8, prefill_tokens=(250, 500), prefill_passage=125, rounds=1)
