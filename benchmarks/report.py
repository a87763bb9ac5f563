"""Write the results of `benchmarks.codec` as Markdown: what was measured on what, then one section per task."""

from collections.abc import Iterator, Sequence

from benchmarks.record import RunRecord
from benchmarks.tasks.ablation import Ablation
from benchmarks.tasks.exactness import Exactness
from benchmarks.tasks.rate_distortion import RateDistortion
from benchmarks.tasks.speed import Comparison, Speed
from zprompt.eval import number, percent, table

Result = Exactness | RateDistortion | Speed | Ablation


def report(record: RunRecord, codec: str, data: str, results: Sequence[Result]) -> str:
    """Write the report.

    :param record: How the benchmark ran.
    :param codec: The codec that was measured.
    :param data: What it was measured on.
    :param results: The tasks' results.
    :return: Markdown.
    """
    lines = ["# What the codec does", "", *_head(record, codec, data)]
    for result in results:
        lines += ["", *_section(result)]
    return "\n".join(lines) + "\n"


def _head(record: RunRecord, codec: str, data: str) -> list[str]:
    """Say how the benchmark ran."""
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    return [
        f"`{record.command}` at commit {record.commit}, {record.started}, {record.seconds / 60:.1f} minutes, "
        f"seed {record.seed}. Raw figures: `codec.json`.",
        "",
        f"Codec: {codec}.",
        f"Data: {data}",
        f"Machine: {record.machine}, {record.cores} cores, {record.memory_gigabytes:.0f} GB, {record.threads} threads, "
        f"load average {record.load_average:.1f}; {versions}.",
        "",
        "Decoding is free: the decompressor sees the Z-span and nothing else. BLEU: sacrebleu's corpus BLEU-4 (13a). "
        "Bits are those of Z-tokens and residual.",
    ]


def _section(result: Result) -> Iterator[str]:
    """Write one task's section."""
    if isinstance(result, Exactness):
        return _exactness(result)
    if isinstance(result, RateDistortion):
        return _rate_distortion(result)
    return _speed(result) if isinstance(result, Speed) else _ablation(result)


def _exactness(result: Exactness) -> Iterator[str]:
    """Write the table of domains."""
    yield from ("## What comes back, and how short it is", "")
    yield (
        f"{result.bits_per_z_token:.1f} bits per Z-token, {result.bits_per_source_token:.2f} per source token, over "
        "all documents. Ratio: source tokens per Z-token, over all tokens of a domain."
    )
    yield ""
    yield from table(
        (
            *("domain", "documents", "tokens", "identical", "ratio", "mean", "median", "worst"),
            *("bits per Z-token", "bits per token", "BLEU-4"),
        ),
        (
            (
                domain.domain,
                str(domain.documents),
                f"{domain.source_tokens:,}",
                percent(domain.identical),
                f"**{domain.ratio:.2f}**",
                f"{domain.mean_ratio:.2f}",
                f"{domain.median_ratio:.2f}",
                f"{domain.worst_ratio:.2f}",
                number(domain.bits_per_z_token, 1),
                number(domain.bits_per_source_token, 1),
                number(domain.bleu, 2),
            )
            for domain in result.domains
        ),
    )
    yield from ("", "The same Z-spans restored in other ways:", "")
    rows = [(way.way, str(way.documents), f"{way.tokens:,}", percent(way.identical)) for way in result.elsewhere]
    yield from table(("restored with", "documents", "tokens", "identical"), rows)
    yield ""
    refused = "refused, with an error that says where it is" if result.surrogates_refused else "NOT refused"
    yield f"A text with a lone surrogate is {refused}."


def _rate_distortion(result: RateDistortion) -> Iterator[str]:
    """Write the table of ratios."""
    yield from ("## What a ratio costs", "")
    yield (
        f"{result.sampled} documents, {result.source_tokens:,} tokens; without a wanted ratio they have "
        f"{result.usual_ratio:.2f}. First guesses: share of the dropped tokens that need no residual, which is what "
        "anchors and codes say by themselves; in brackets 95 % of a bootstrap over documents. Numbers, names: share of "
        "the source's that came back."
    )
    yield ""
    yield from table(
        (
            *("wanted", "reached", "bits per Z-token", "bits per token", "first guesses"),
            *("identical", "BLEU-4", "token accuracy", "numbers", "names"),
        ),
        (
            (
                f"{point.wanted:g}",
                f"**{point.ratio:.2f}**",
                f"{point.bits_per_z_token:.1f}",
                f"{point.bits_per_source_token:.2f}",
                f"{point.first_guesses:.1%} [{point.first_guesses_interval.low:.1%}, "
                f"{point.first_guesses_interval.high:.1%}]",
                percent(point.identical),
                f"{point.bleu:.2f}",
                percent(point.accuracy),
                percent(point.numbers),
                percent(point.names),
            )
            for point in result.points
        ),
    )
    yield from ("", "![What a ratio costs](codec-rate-distortion.png)")


def _speed(result: Speed) -> Iterator[str]:
    """Write the tables of throughput, memory and start-up."""
    yield from ("## Speed", "")
    rounds = result.compression.rounds
    yield (
        f"{result.threads} threads. Medians of {rounds} rounds (compression) and {result.decompression[0].rounds} "
        "(decompression), in turn; in brackets the slowest and fastest. Last column: the codec per this."
    )
    yield ""
    rows = [row for comparison in (result.compression, *result.decompression) for row in _rates(comparison)]
    yield from table(("what", "batch size", "tokens", "tokens/s", "codec / this"), rows)
    yield from ("", "Peak resident memory, each in a process of its own:", "")
    memory = [(m.job, str(m.batch_size), str(m.tokens), f"{m.megabytes:,.0f} MB") for m in result.memory]
    yield from table(("job", "batch size", "tokens of a row", "peak"), memory)
    yield ""
    starts = [(f"`{s.what}`", f"{s.seconds:.2f} s", f"{s.slowest:.2f} s", str(s.processes)) for s in result.starts]
    yield from table(("start-up", "median", "slowest", "processes"), starts)


def _rates(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    """Write the rows of one comparison."""
    own = comparison.rates[0].name
    for rate in comparison.rates:
        spread = f"{rate.tokens_per_second:.0f} [{rate.slowest:.0f}, {rate.fastest:.0f}]"
        ratio = f"{rate.ratio:.2f} [{rate.lowest_ratio:.2f}, {rate.highest_ratio:.2f}]"
        yield (
            f"**{own}**" if rate.name == own else rate.name,
            str(comparison.batch_size),
            f"{comparison.tokens:,}",
            spread,
            "" if rate.name == own else ratio,
        )


def _ablation(result: Ablation) -> Iterator[str]:
    """Write the table of variants."""
    yield from ("## What each part contributes", "")
    yield (
        f"{result.documents} documents, {result.source_tokens:,} tokens; heads as trained, parts taken away later. "
        "Rate: Z-tokens that a bit is worth. First guesses: share of the dropped tokens that need no residual."
    )
    yield ""
    rows = [
        (
            v.name,
            f"1/{1 / v.rate:.3g}",
            f"**{v.ratio:.2f}**",
            f"{v.bits_per_z_token:.1f}",
            f"{v.bits_per_source_token:.2f}",
            percent(v.first_guesses),
        )
        for v in result.variants
    ]
    yield from table(("codec", "rate", "ratio", "bits per Z-token", "bits per source token", "first guesses"), rows)
