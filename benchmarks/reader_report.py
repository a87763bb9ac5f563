"""Write the results of `benchmarks.reader` as Markdown: what was measured on what, then one section per task."""

import math
from collections.abc import Iterator, Mapping

from benchmarks.record import RunRecord
from benchmarks.tasks.answers import Comparison, ConditionResult, Paired, ReaderAnswers, Score
from benchmarks.tasks.prefill import BAR, Prefill, PrefillSize, Way
from zprompt.eval import Interval, number, table

Result = ReaderAnswers | Prefill


def report(record: RunRecord, codec: str, data: str, results: Mapping[str, Result]) -> str:
    """Write the report.

    :param record: How the benchmark ran.
    :param codec: The codec whose Z-tokens were read.
    :param data: The questions.
    :param results: The results by task.
    :return: Markdown.
    """
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    lines = [
        "# What the reader makes of Z-tokens",
        "",
        f"`{record.command}` at commit {record.commit}, {record.started}, {record.seconds / 60:.1f} minutes, "
        f"seed {record.seed}. Raw figures, also of single questions: `reader.json`.",
        "",
        f"Codec: {codec}.",
        f"Data: {data}.",
        f"Machine: {record.machine}, {record.cores} cores, {record.memory_gigabytes:.0f} GB, {record.threads} threads, "
        f"load average {record.load_average:.1f}; {versions}.",
    ]
    for result in results.values():
        lines += ["", *(_answers(result) if isinstance(result, ReaderAnswers) else _prefill(result))]
    return "\n".join(lines) + "\n"


def _answers(result: ReaderAnswers) -> Iterator[str]:
    """Write the tables of conditions and comparisons."""
    left_out = f"; {result.left_out} more have a passage that has no Z-tokens" if result.left_out else ""
    yield from ("## Answers", "")
    yield (
        f"{len(result.questions)} questions, the same in every condition{left_out}. In brackets 95 % of a bootstrap "
        "over questions. Ratio: source tokens of the passages per position that they take; worst: of the data set "
        "where it is lowest. Pruning, truncation and sentences have as many positions as Z-tokens at that ratio."
    )
    yield ""
    sets = list(dict.fromkeys(question.data_set for question in result.questions))
    head = ("passages as", "ratio", "worst", "exact match", "F1", *(f"F1, {name}" for name in sets))
    yield from table(head, [_condition(one, sets) for one in result.conditions])
    if result.missing:
        yield from ("", "Not measured:", "")
        yield from (f"- {missing.condition}: {missing.reason}" for missing in result.missing)
    yield from _comparisons(result.comparisons, sets)
    yield from ("", "Readers:", "")
    rows = [(one.input, one.folder or "–", _text(one.steps), _text(one.seed)) for one in result.readers]
    yield from table(("trained on", "folder", "steps", "seed"), rows)
    yield from ("", *_same_training(result))
    if result.product:
        product = result.product
        yield (
            f"`zprompt.load_reader(…).answer` gives the answer that was measured ({product.condition}) on "
            f"{product.same} of {product.questions} questions."
        )


def _condition(result: ConditionResult, sets: list[str]) -> tuple[str, ...]:
    """Write the row of a condition."""
    overall = result.overall
    return (
        result.condition.name,
        number(overall.positions_ratio, 2),
        number(result.worst_positions_ratio, 2),
        f"{100 * overall.exact_match:.1f} {_spread(overall.exact_match_interval)}",
        f"**{100 * overall.f1:.1f}** {_spread(overall.f1_interval)}",
        *(_f1(result.data_sets.get(name)) for name in sets),
    )


def _comparisons(comparisons: tuple[Comparison, ...], sets: list[str]) -> Iterator[str]:
    """Write the tables of ratios and differences, if there are any."""
    ratios = [one for one in comparisons if one.figure == "ratio"]
    differences = [one for one in comparisons if one.figure == "difference"]
    if ratios:
        yield from ("", "F1 of Z-tokens per F1 of plain text, paired by question:", "")
        rows = [
            (f"{one.z} / {one.other}", _ratio(one.overall), *_bar(one), *(_ratio(one.data_sets[name]) for name in sets))
            for one in ratios
        ]
        yield from table(("", "F1 / F1 of plain text", "wanted", "reached", *sets), rows)
    if differences:
        yield from ("", "F1 of Z-tokens less that of others at the same ratio, paired by question:", "")
        rows = [
            (
                f"{one.z} − {one.other}",
                _points(one.overall),
                *_bar(one),
                *(_points(one.data_sets[name]) for name in sets),
            )
            for one in differences
        ]
        yield from table(("", "difference of F1", "wanted", "reached", *sets), rows)


def _bar(comparison: Comparison) -> tuple[str, str]:
    """Write what is wanted, and whether it is reached."""
    if comparison.bar is None:
        return "–", "–"
    wanted = f"{comparison.bar:.2f}" if comparison.figure == "ratio" else "interval above 0"
    return wanted, "yes" if comparison.reached else "**no**"


def _same_training(result: ReaderAnswers) -> Iterator[str]:
    """Say so if readers were not trained alike."""
    there = [one for one in result.readers if one.problem is None]
    if len({(one.steps, one.seed) for one in there}) > 1:
        yield from ("**The readers were not trained in the same steps from the same seed.**", "")


def _prefill(result: Prefill) -> Iterator[str]:
    """Write the table of lengths."""
    rounds = result.sizes[0].rounds
    reader = (
        "an untrained reader, which takes the same time as a trained one"
        if result.reader == "untrained"
        else f"the reader {result.reader}"
    )
    yield from ("## Time to first token, and cache", "")
    yield (
        f"By {reader}; {result.threads} threads; medians of {rounds} rounds in turn, in brackets the fastest and "
        f"slowest. Positions and their ratio are those of the whole prompt. Wanted: speed-up / positions ratio of at "
        f"least {BAR}. Cache: tensors of keys and values, {result.cache_dtype}."
    )
    yield ""
    head = (
        *("source tokens", "passages as", "positions", "ratio", "time to first token", "speed-up", "/ ratio"),
        *("compression", "speed-up with it", "/ ratio", "cache", "text's / this"),
    )
    yield from table(head, [_way(size, way) for size in result.sizes for way in size.ways])


def _way(size: PrefillSize, way: Way) -> tuple[str, ...]:
    """Write the row of one way to give passages of one length."""
    plain = way is size.ways[0]
    return (
        f"{size.source_tokens:,}",
        way.name,
        f"{way.positions:,}",
        "" if plain else f"{way.positions_ratio:.2f}",
        f"{way.seconds:.2f} s [{way.fastest:.2f}, {way.slowest:.2f}]",
        "" if plain else f"**{way.speed_up:.2f}**",
        "" if plain else f"{way.speed_up_per_ratio:.2f}",
        "" if plain else f"{way.compression_seconds:.2f} s",
        "" if plain else f"{way.speed_up_with_compression:.2f}",
        "" if plain else f"{way.speed_up_with_compression_per_ratio:.2f}",
        f"{way.cache_bytes / 1e6:.1f} MB",
        "" if plain else f"{way.cache_ratio:.2f}",
    )


def _f1(score: Score | None) -> str:
    return "–" if score is None else f"{100 * score.f1:.1f} {_spread(score.f1_interval)}"


def _spread(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(paired: Paired) -> str:
    return f"{100 * paired.value:+.1f} [{100 * paired.interval.low:+.1f}, {100 * paired.interval.high:+.1f}]"


def _ratio(paired: Paired) -> str:
    if not all(map(math.isfinite, (paired.value, paired.interval.low, paired.interval.high))):
        return "–"
    return f"{paired.value:.2f} [{paired.interval.low:.2f}, {paired.interval.high:.2f}]"


def _text(value: object) -> str:
    return "–" if value is None else str(value)
