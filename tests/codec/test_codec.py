"""Any text comes back byte for byte, at any ratio; damaged and forged Z-spans are refused."""

import json
import random
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.conftest import SENTENCES
from zprompt.codec.codec import Codec
from zprompt.codec.tiling import nearest_count
from zprompt.errors import (
    DamagedSpanError,
    DocumentTypeError,
    ForgedSpanError,
    IntegrityError,
    InvalidTextError,
    OptionError,
    RatioWarning,
    SpanError,
    SpanVersionError,
    TruncatedSpanError,
    WrongCodecError,
)
from zprompt.options import CompressOptions
from zprompt.zspan import LITERALS, NO_CODE, ZSpan, ZToken, find_spans, format_span, is_span, split_at_spans

PREDICTABLE = " the" * 100
RANDOM = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz ", k=300))
FACTS = "In 1969 two people walked on the Moon; 600 million people watched them walk. " * 3
LITERAL = "[z2:0123456789ab:1:abc:01234567]"
VERSION_1 = "[z1:0123456789ab:3:000%3EuKEPmi1Wx2LJ#701N;B|NsC00DCYHATU4y0t5d5:e5f4c85d]"
SURROGATE = "before \ud800 after"

few = settings(max_examples=15, deadline=None)
any_ratio = pytest.mark.filterwarnings("ignore::zprompt.errors.RatioWarning")
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)
PROSE = st.lists(
    st.sampled_from([*SENTENCES, LITERAL, VERSION_1, "é", "🌍", "\x04", "\n\n", "日本。"]), max_size=8
).map(" ".join)
BYTES = st.binary(max_size=120).map(lambda data: data.decode("latin-1"))


def spans_of(text: str) -> list[str]:
    return [match.text for match in find_spans(text)]


def parsed(codec: Codec, span: str) -> ZSpan:
    return codec.parse(span)


def round_trip(codec: Codec, text: str) -> str:
    return codec.decompress(codec.compress(text).documents)


class TestRoundTrip:
    @few
    @given(text=ANY_TEXT | PROSE | BYTES)
    def test_any_text_comes_back(self, tiny_codec: Codec, text: str) -> None:
        assert round_trip(tiny_codec, text) == text

    @few
    @given(text=ANY_TEXT | PROSE | BYTES)
    def test_any_text_comes_back_from_a_tokenizer_that_lacks_most_characters(
        self, ascii_codec: Codec, text: str
    ) -> None:
        assert round_trip(ascii_codec, text) == text

    @any_ratio
    @few
    @given(texts=st.lists(ANY_TEXT | PROSE | BYTES, max_size=4), ratio=st.floats(1, 12))
    def test_any_texts_come_back_at_any_ratio(self, tiny_codec: Codec, texts: list[str], ratio: float) -> None:
        result = tiny_codec.compress(texts, ratio=ratio)
        assert tiny_codec.decompress(result.documents) == texts

    @any_ratio
    @few
    @given(text=ANY_TEXT | PROSE, ratio=st.floats(1, 12))
    def test_any_text_comes_back_at_any_ratio_from_a_tokenizer_that_lacks_most_characters(
        self, ascii_codec: Codec, text: str, ratio: float
    ) -> None:
        assert ascii_codec.decompress(ascii_codec.compress(text, ratio=ratio).documents) == text

    @any_ratio
    @few
    @given(text=PROSE, ratio=st.none() | st.floats(1, 8), query=st.sampled_from(["", "Moon 1969", "the dog"]))
    def test_any_text_comes_back_with_any_query_and_protection(
        self, tiny_codec: Codec, text: str, ratio: float | None, query: str
    ) -> None:
        assume(not query or not is_span(text.strip()))  # forged Z-spans are refused
        result = tiny_codec.compress(text, ratio=ratio, query=query, protect=r"\d+|the")
        assert tiny_codec.decompress(result.documents) == text

    @any_ratio
    @pytest.mark.parametrize("length", range(1, 12))
    def test_texts_of_few_tokens_come_back(self, tiny_codec: Codec, length: int) -> None:
        text = tiny_codec.backbone.decode(tiny_codec.backbone.encode(RANDOM)[:length])
        for ratio in (None, 1, 3, 50):
            assert tiny_codec.decompress(tiny_codec.compress(text, ratio=ratio).documents) == text

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "a",
            " ",
            "\n\t \r\n  ",
            "\x00\x01\x04\x06\x1b\x1b[0m\x7f",
            "\x1b41; is no escape, \x1bzz; neither",
            "日本語のテキストと中文文本。",
            "مرحبا بالعالم",
            "e\u0301a\u0308 \u1100\u1161\u11a8 ü",
            "👩‍👩‍👧‍👦 🏳️‍🌈 \U0010ffff",
            "\ufeff\u200b\u202e\ufffd\uffff",
            LITERAL,
            VERSION_1,
            f"[\\\\{LITERAL[1:]} and [\\{VERSION_1[1:]} and [z99:",
            "a[z1:z2], y = x[z2:n], [z2:…]",
            bytes(range(256)).decode("latin-1"),
            " ".join(SENTENCES) * 6,
            PREDICTABLE,
            RANDOM,
        ],
    )
    def test_a_difficult_text_comes_back(self, tiny_codec: Codec, text: str) -> None:
        assert round_trip(tiny_codec, text) == text

    @pytest.mark.parametrize("text", ["é", "naïve café", "日本", "\x1b", "a\x04b", "tab\tand é and \x1b41;", "ß" * 50])
    def test_characters_that_the_tokenizer_lacks_come_back(self, ascii_codec: Codec, text: str) -> None:
        span = ascii_codec.compress(text).documents
        assert parsed(ascii_codec, span).escaped == (not text.isascii() or "\x04" in text)
        assert ascii_codec.decompress(span) == text

    def test_a_text_that_cannot_even_be_escaped_is_refused_or_passes_through(self, narrow_codec: Codec) -> None:
        with pytest.raises(InvalidTextError, match="on_error='passthrough'"):
            narrow_codec.compress("naïve")
        result = narrow_codec.compress("naïve", on_error="passthrough")
        assert (result.documents, result.stats.passed_through) == ("naïve", 1)

    def test_the_same_text_gives_the_same_span(self, tiny_codec: Codec) -> None:
        assert tiny_codec.compress(FACTS).documents == tiny_codec.compress(FACTS).documents

    def test_compression_may_be_repeated(self, tiny_codec: Codec) -> None:
        once = tiny_codec.compress(SENTENCES[0]).documents
        twice = tiny_codec.compress(once).documents
        assert tiny_codec.decompress(twice) == once

    def test_a_predictable_text_takes_few_z_tokens(self, tiny_codec: Codec) -> None:
        assert tiny_codec.compress(PREDICTABLE).stats.ratio > 2 * tiny_codec.compress(RANDOM).stats.ratio


class TestSurrogates:
    def test_a_lone_surrogate_is_refused_with_its_position(self, tiny_codec: Codec) -> None:
        with pytest.raises(InvalidTextError, match=r"U\+D800, at character 7"):
            tiny_codec.compress(SURROGATE)

    def test_a_text_with_a_lone_surrogate_may_pass_through(self, tiny_codec: Codec) -> None:
        result = tiny_codec.compress([SURROGATE, SENTENCES[0]], on_error="passthrough")
        assert result.documents[0] == SURROGATE
        assert result.stats.passed_through == 1
        assert tiny_codec.decompress(result.documents) == [SURROGATE, SENTENCES[0]]

    def test_explain_refuses_a_lone_surrogate_in_any_case(self, tiny_codec: Codec) -> None:
        with pytest.raises(InvalidTextError):
            tiny_codec.explain(SURROGATE)


@pytest.fixture
def threads() -> Iterator[None]:
    """Restore the number of threads afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


VARIOUS = (*SENTENCES, FACTS, PREDICTABLE, RANDOM, "a", "", "日本語" * 20)


@pytest.fixture(scope="module")
def alone(tiny_codec: Codec) -> list[str]:
    """Return the spans of various texts, each compressed by itself."""
    return [tiny_codec.compress(text).documents for text in VARIOUS]


class TestDeterminism:
    @pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
    def test_spans_do_not_depend_on_the_batch(self, tiny_codec: Codec, alone: list[str], batch_size: int) -> None:
        assert tiny_codec.compress(VARIOUS, batch_size=batch_size).documents == alone

    def test_spans_do_not_depend_on_the_order(self, tiny_codec: Codec, alone: list[str]) -> None:
        assert tiny_codec.compress(VARIOUS[::-1]).documents == alone[::-1]

    @pytest.mark.parametrize("count", [1, 3])
    def test_spans_do_not_depend_on_the_number_of_threads(
        self, tiny_codec: Codec, alone: list[str], threads: None, count: int
    ) -> None:
        torch.set_num_threads(count)
        assert tiny_codec.compress(VARIOUS).documents == alone

    @any_ratio
    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    @pytest.mark.parametrize("ratio", [1.5, 3, 50])
    def test_spans_at_a_ratio_do_not_depend_on_the_batch(
        self, tiny_codec: Codec, batch_size: int, ratio: float
    ) -> None:
        texts = VARIOUS[:8]
        assert (
            tiny_codec.compress(texts, ratio=ratio, batch_size=batch_size).documents
            == tiny_codec.compress(texts, ratio=ratio).documents
        )

    @pytest.mark.parametrize("count", [1, 3])
    def test_spans_at_a_ratio_do_not_depend_on_the_number_of_threads(
        self, tiny_codec: Codec, threads: None, count: int
    ) -> None:
        usual = tiny_codec.compress(VARIOUS[:8], ratio=3).documents
        torch.set_num_threads(count)
        assert tiny_codec.compress(VARIOUS[:8], ratio=3).documents == usual
        assert tiny_codec.decompress(usual) == list(VARIOUS[:8])

    @pytest.mark.parametrize(("batch_size", "count"), [(1, 1), (2, 3), (5, 1), (100, 3)])
    def test_texts_come_back_at_any_batch_size_and_number_of_threads(
        self, tiny_codec: Codec, alone: list[str], threads: None, batch_size: int, count: int
    ) -> None:
        torch.set_num_threads(count)
        assert tiny_codec.decompress(alone, batch_size=batch_size) == list(VARIOUS)

    def test_another_process_writes_and_reads_the_same_spans(
        self, tiny_codec: Codec, tiny_folder: Path, tiny_backbone_dir: Path, alone: list[str]
    ) -> None:
        program = (
            "import json, sys, zprompt\n"
            "folder, backbone = sys.argv[1:]\n"
            "codec = zprompt.load(folder, backbone=backbone, device='cpu')\n"
            "texts, spans = json.load(sys.stdin)\n"
            "json.dump([codec.fingerprint, codec.compress(texts).documents, codec.decompress(spans)], sys.stdout)\n"
        )
        process = subprocess.run(
            [sys.executable, "-c", program, str(tiny_folder), str(tiny_backbone_dir)],
            input=json.dumps([VARIOUS, alone]),
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(process.stdout) == [tiny_codec.fingerprint, alone, list(VARIOUS)]

    def test_threads_that_share_a_codec_do_not_disturb_each_other(self, tiny_codec: Codec, alone: list[str]) -> None:
        with ThreadPoolExecutor(4) as pool:
            spans = list(pool.map(lambda _: tiny_codec.compress(VARIOUS, batch_size=3).documents, range(4)))
            texts = list(pool.map(lambda _: tiny_codec.decompress(alone, batch_size=3), range(4)))
        assert spans == [alone] * 4
        assert texts == [list(VARIOUS)] * 4


class TestLength:
    TEXTS = (*SENTENCES, FACTS, PREDICTABLE, RANDOM)

    @staticmethod
    def forced(codec: Codec, texts: list[str]) -> int:
        """Count the anchors that are always kept: those at an unreachably high ratio."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RatioWarning)
            return codec.compress(texts, ratio=1e9).stats.z_tokens

    @few
    @any_ratio
    @given(texts=st.lists(ANY_TEXT | PROSE, max_size=3), ratio=st.floats(1, 30))
    def test_any_ratio_gives_the_nearest_possible_number_of_z_tokens(
        self, tiny_codec: Codec, texts: list[str], ratio: float
    ) -> None:
        stats = tiny_codec.compress(texts, ratio=ratio).stats
        if stats.source_tokens:
            nearest = nearest_count(stats.source_tokens, ratio)
            assert stats.z_tokens == max(self.forced(tiny_codec, texts), nearest)

    @few
    @given(texts=st.lists(ANY_TEXT | PROSE, max_size=3), ratio=st.floats(1, 30))
    def test_only_a_miss_of_more_than_a_tenth_is_a_warning(
        self, tiny_codec: Codec, texts: list[str], ratio: float
    ) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stats = tiny_codec.compress(texts, ratio=ratio).stats
        if stats.z_tokens and abs(stats.ratio / ratio - 1) > 0.1:
            assert stats.missed and stats.missed.startswith(f"ratio {ratio:g} was requested")
            assert [(warning.category, str(warning.message)) for warning in caught] == [(RatioWarning, stats.missed)]
        else:
            assert stats.missed is None and not caught

    def test_each_document_may_meet_the_ratio_by_itself(self, tiny_codec: Codec) -> None:
        options, texts = CompressOptions(ratio=3.0), [PREDICTABLE, RANDOM, "", FACTS]

        together = tiny_codec.compress_with(options, texts, each=True).documents

        assert together == [tiny_codec.compress_with(options, text).documents for text in texts]
        assert together != tiny_codec.compress_with(options, texts).documents

    def test_each_document_by_itself_excludes_a_query(self, tiny_codec: Codec) -> None:
        with pytest.raises(OptionError, match="each=True"):
            tiny_codec.compress_with(CompressOptions(query="Who?"), ["a"], each=True)

    def test_a_missed_ratio_is_explained(self, tiny_codec: Codec) -> None:
        with pytest.warns(RatioWarning, match=r"allow at most 2\.33: 3 of their 7 tokens begin a sentence or a line"):
            stats = tiny_codec.compress("a\nb\nc d", ratio=9).stats
        assert stats.missed is not None

    @any_ratio
    def test_explain_reports_a_missed_ratio_too(self, tiny_codec: Codec) -> None:
        assert "9 was requested" in str(tiny_codec.explain("a\nb\nc d", ratio=9).stats.missed)
        assert tiny_codec.explain(FACTS).stats.missed is None

    @pytest.mark.parametrize("ratio", [1.0, 1.3, 2.0, 2.5, 3.0, 4.0, 10.0])
    def test_a_ratio_is_met(self, tiny_codec: Codec, ratio: float) -> None:
        stats = tiny_codec.compress(self.TEXTS, ratio=ratio).stats
        assert stats.ratio == pytest.approx(ratio, rel=0.02)
        assert stats.missed is None

    @any_ratio
    @pytest.mark.parametrize("texts", [TEXTS, TEXTS[:1], (" ".join(SENTENCES),)])
    def test_a_higher_ratio_keeps_a_subset_of_the_anchors(self, tiny_codec: Codec, texts: tuple[str, ...]) -> None:
        before: list[set[int]] = [set(range(10_000)) for _ in texts]
        for ratio in [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 100.0]:
            spans = [parsed(tiny_codec, span) for span in tiny_codec.compress(texts, ratio=ratio).documents]
            kept = [set(accumulate((t.gap + 1 for t in span.tokens[:-1]), initial=0)) for span in spans]
            assert all(fewer <= more for fewer, more in zip(kept, before, strict=True))
            before = kept

    def test_a_lower_ratio_leaves_fewer_tokens_to_the_residual(self, tiny_codec: Codec) -> None:
        residuals = [
            sum(len(parsed(tiny_codec, span).symbols) for span in tiny_codec.compress(self.TEXTS, ratio=r).documents)
            for r in (1.0, 1.5, 2.0, 3.0, 5.0)
        ]
        assert residuals == sorted(residuals)
        assert residuals[0] == 0

    @pytest.mark.parametrize("ratio", [1.3, 2.5])
    def test_documents_share_one_price_so_a_predictable_one_gets_the_higher_ratio(
        self, tiny_codec: Codec, ratio: float
    ) -> None:
        def ratio_of(span: str) -> float:
            parsed_span = parsed(tiny_codec, span)
            return parsed_span.source_tokens / len(parsed_span.tokens)

        predictable, dense = tiny_codec.compress([PREDICTABLE, RANDOM], ratio=ratio).documents
        assert ratio_of(predictable) > ratio_of(dense)

    @few
    @given(texts=st.lists(ANY_TEXT | PROSE, max_size=3), most=st.integers(1, 150))
    def test_max_tokens_is_never_exceeded(self, tiny_codec: Codec, texts: list[str], most: int) -> None:
        forced_count = self.forced(tiny_codec, texts)
        if forced_count > most:
            with pytest.raises(
                OptionError,
                match=rf"max_tokens={most} is too small: .* need at least {forced_count} Z-tokens, for the",
            ):
                tiny_codec.compress(texts, max_tokens=most)
            return
        result = tiny_codec.compress(texts, max_tokens=most)
        assert sum(len(parsed(tiny_codec, span).tokens) for span in result.documents) == result.stats.z_tokens
        assert result.stats.z_tokens == min(most, tiny_codec.compress(texts).stats.z_tokens)
        assert result.stats.missed is None

    def test_protection_can_make_max_tokens_impossible(self, tiny_codec: Codec) -> None:
        with pytest.raises(OptionError, match="first token of each sentence and for what is protected"):
            tiny_codec.compress(FACTS, max_tokens=20, protect=".")

    def test_a_ratio_and_max_tokens_exclude_each_other(self, tiny_codec: Codec) -> None:
        with pytest.raises(OptionError, match="exclude each other"):
            tiny_codec.compress(FACTS, ratio=2, max_tokens=9)

    @any_ratio
    @pytest.mark.parametrize("ratio", [1.0, 2.0, 3.0, 6.0, 100.0])
    def test_every_text_comes_back_at_every_ratio(self, tiny_codec: Codec, ratio: float) -> None:
        result = tiny_codec.compress(self.TEXTS, ratio=ratio)
        assert tiny_codec.decompress(result.documents) == list(self.TEXTS)


@any_ratio
class TestProtection:
    RATIOS = (None, 1.5, 2.5, 3.0, 100.0)

    @staticmethod
    def anchored(codec: Codec, text: str, **options: object) -> list[int]:
        """Return the indices of the tokens of a text that are anchors."""
        tokens = parsed(codec, codec.compress(text, **options).documents).tokens  # type: ignore[arg-type]
        return list(accumulate((token.gap + 1 for token in tokens[:-1]), initial=0))

    @staticmethod
    def tokens_over(codec: Codec, text: str, pattern: str) -> list[int]:
        """Return the indices of the tokens that share characters with a match."""
        _, offsets = codec.backbone.encode_with_offsets(text)
        ranges = [match.span() for match in re.finditer(pattern, text)]
        return [
            index
            for index, (start, end) in enumerate(offsets)
            if any(start < last and first < max(end, start + 1) for first, last in ranges)
        ]

    @pytest.mark.parametrize("ratio", RATIOS)
    def test_every_token_of_what_is_protected_is_an_anchor(self, tiny_codec: Codec, ratio: float | None) -> None:
        protected = self.tokens_over(tiny_codec, FACTS, "1969|Moon|600 million")
        anchors = self.anchored(tiny_codec, FACTS, ratio=ratio, protect=["1969", "Moon", "600 million"])
        assert set(protected) <= set(anchors)
        assert len(protected) > 10

    @pytest.mark.parametrize("ratio", RATIOS)
    def test_a_pattern_protects_all_that_it_matches(self, tiny_codec: Codec, ratio: float | None) -> None:
        protected = self.tokens_over(tiny_codec, FACTS, r"\d+")
        assert set(protected) <= set(self.anchored(tiny_codec, FACTS, ratio=ratio, protect=re.compile(r"\d+")))

    @pytest.mark.parametrize("ratio", RATIOS)
    def test_characters_of_many_tokens_are_kept_whole(self, tiny_codec: Codec, ratio: float | None) -> None:
        text = " the code 日本 leaves the text 🌍 there" * 4
        protected = self.tokens_over(tiny_codec, text, "日本|🌍")
        assert set(protected) <= set(self.anchored(tiny_codec, text, ratio=ratio, protect=["日本", "🌍"]))

    def test_protected_tokens_count_towards_the_ratio(self, tiny_codec: Codec) -> None:
        protected = self.anchored(tiny_codec, FACTS, ratio=2.5, protect=["1969"])
        assert len(tiny_codec.backbone.encode(FACTS)) / len(protected) == pytest.approx(2.5, rel=0.05)

    def test_a_protected_text_is_all_anchors(self, tiny_codec: Codec) -> None:
        tokens = tiny_codec.backbone.encode(FACTS)
        assert self.anchored(tiny_codec, FACTS, ratio=3, protect="(?s).") == list(range(len(tokens)))

    @pytest.mark.parametrize("ratio", [1.5, 2.0, 3.0])
    def test_the_sentence_that_answers_a_query_is_kept_whole(self, tiny_codec: Codec, ratio: float) -> None:
        text = " ".join(SENTENCES)
        anchors = self.anchored(tiny_codec, text, query="What do rivers carry to the sea?", ratio=ratio)
        assert set(self.tokens_over(tiny_codec, text, "Rivers carry sand and mud[^.]*")) <= set(anchors)

    @few
    @given(
        texts=st.lists(PROSE, max_size=3),
        query=st.sampled_from(["rivers, mud and sand", "people on the Moon", "?", "1969"]),
        options=st.fixed_dictionaries({}, optional={"ratio": st.floats(1, 9)}) | st.just({"max_tokens": 10_000}),
    )
    def test_texts_come_back_with_a_query(
        self, tiny_codec: Codec, texts: list[str], query: str, options: dict[str, float]
    ) -> None:
        assume(not any(is_span(text.strip()) for text in texts))  # forged Z-spans are refused
        result = tiny_codec.compress_with(CompressOptions(query=query, **options), texts)  # type: ignore[arg-type]
        assert tiny_codec.decompress(result.documents) == texts

    def test_a_z_span_of_another_codec_is_refused_with_a_query(self, tiny_codec: Codec, other_codec: Codec) -> None:
        foreign = other_codec.compress(FACTS).documents
        for docs in (["The sea is deep.", foreign], ["The sea is deep.", f"{foreign}\n"]):
            with pytest.raises(WrongCodecError, match="document at position 1"):
                tiny_codec.compress(docs, query="Who walked on the Moon?")

    def test_a_document_that_cannot_be_restored_may_pass_through(
        self, tiny_codec: Codec, other_codec: Codec, caplog: pytest.LogCaptureFixture
    ) -> None:
        docs = [FACTS, other_codec.compress(FACTS).documents]
        result = tiny_codec.compress(docs, query="Who walked on the Moon?", on_error="passthrough")
        assert tiny_codec.decompress(result.documents) == docs
        assert result.stats.passed_through == 1
        assert "document at position 1 is left as it is" in caplog.text

    @pytest.mark.parametrize("around", ["{}\n", " {}", "Note: {}", "{} and {}"])
    @pytest.mark.parametrize("remembers", [True, False])
    def test_text_around_a_z_span_stays_with_a_query(self, tiny_codec: Codec, around: str, remembers: bool) -> None:
        span = tiny_codec.compress(FACTS).documents
        codec = tiny_codec if remembers else Codec(tiny_codec.backbone, tiny_codec.settings, name="tiny")
        docs = [span, around.format(span, span)]
        result = codec.compress(docs, query="Who walked on the Moon?")
        assert codec.decompress(result.documents) == [FACTS, around.format(FACTS, FACTS)]

    def test_what_only_looks_like_a_z_span_in_a_text_is_text(self, tiny_codec: Codec, other_codec: Codec) -> None:
        text = f"A Z-span looks like this: {other_codec.compress(FACTS).documents}. It is short."
        result = tiny_codec.compress(text, query="What does a Z-span look like?")
        assert tiny_codec.decompress(result.documents) == text

    @pytest.mark.parametrize("options", [{}, {"ratio": 2.5}, {"max_tokens": 60}])
    def test_an_empty_query_is_no_query(self, tiny_codec: Codec, options: dict[str, float]) -> None:
        assert (
            tiny_codec.compress(FACTS, query="", **options).documents
            == tiny_codec.compress(FACTS, query=None, **options).documents
        )


class TestPassingThrough:
    def test_short_texts_stay_as_they_are(self, tiny_codec: Codec) -> None:
        result = tiny_codec.compress(["Moon", FACTS], min_tokens=20)
        assert result.documents[0] == "Moon"
        assert spans_of(result.documents[1])
        assert result.stats.passed_through == 1
        assert tiny_codec.decompress(result.documents) == ["Moon", FACTS]

    def test_a_text_of_just_min_tokens_is_compressed(self, tiny_codec: Codec) -> None:
        tokens = len(tiny_codec.backbone.encode(FACTS))
        assert tiny_codec.compress(FACTS, min_tokens=tokens).stats.passed_through == 0
        assert tiny_codec.compress(FACTS, min_tokens=tokens + 1).stats.passed_through == 1

    @pytest.mark.parametrize(
        "text", [LITERAL, VERSION_1, "[z2:", f"see [\\{LITERAL[1:]} here", f"[\\\\\\{VERSION_1[1:]}"]
    )
    def test_a_literal_span_that_passes_through_comes_back_as_text(self, tiny_codec: Codec, text: str) -> None:
        passed = tiny_codec.compress(text, min_tokens=10_000).documents
        assert not spans_of(passed)
        assert tiny_codec.decompress(passed) == text

    @few
    @given(text=ANY_TEXT | PROSE)
    def test_any_text_that_passes_through_comes_back(self, tiny_codec: Codec, text: str) -> None:
        assert tiny_codec.decompress(tiny_codec.compress(text, min_tokens=10_000).documents) == text

    def test_an_empty_list_stays_empty(self, tiny_codec: Codec) -> None:
        result = tiny_codec.compress([])
        assert (result.documents, result.stats.documents, result.stats.ratio) == ([], 0, 1.0)
        assert tiny_codec.decompress([]) == []


class TestStats:
    @pytest.mark.parametrize("options", [{}, {"ratio": 3.0}, {"max_tokens": 80}, {"min_tokens": 15}])
    def test_figures_agree_with_the_spans(self, tiny_codec: Codec, options: dict[str, float]) -> None:
        texts = [*SENTENCES, "short", ""]
        result = tiny_codec.compress(texts, **options)
        stats, spans = result.stats, [span for text in result.documents for span in spans_of(text)]
        parsed_spans = [parsed(tiny_codec, span) for span in spans]
        passed = [text for text, document in zip(texts, result.documents, strict=True) if not spans_of(document)]
        passed_tokens = sum(len(tiny_codec.backbone.encode(text)) for text in passed)
        assert stats.documents == len(texts)
        assert stats.passed_through == len(passed)
        assert stats.z_tokens == sum(len(span.tokens) for span in parsed_spans)
        assert stats.positions == stats.z_tokens + passed_tokens
        assert stats.source_tokens == sum(span.source_tokens for span in parsed_spans) + passed_tokens
        assert stats.ratio == pytest.approx(stats.source_tokens / stats.positions)
        z_tokens, bits = (
            sum(len(span.tokens) for span in parsed_spans),
            8 * sum(len(span.stream) for span in parsed_spans),
        )
        assert stats.bits_per_z_token == pytest.approx(bits / z_tokens)
        assert stats.bits_per_source_token == pytest.approx(bits / sum(span.source_tokens for span in parsed_spans))
        assert stats.exact is None  # only verify=True measures it
        assert stats.seconds > 0

    def test_verifying_measures_the_share_that_comes_back(self, tiny_codec: Codec) -> None:
        assert tiny_codec.compress([*SENTENCES, "short", ""], min_tokens=3, verify=True).stats.exact == 1.0
        assert tiny_codec.compress([], verify=True).stats.exact == 1.0

    def test_verifying_finds_what_does_not_come_back(self, tiny_codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tiny_codec, "_text", lambda span, ids: tiny_codec.backbone.decode(ids[:-1]))
        assert tiny_codec.compress([FACTS, "short"], min_tokens=9, verify=True).stats.exact == 0.5

    def test_source_tokens_are_those_of_the_tokenizer(self, tiny_codec: Codec) -> None:
        assert tiny_codec.compress(FACTS).stats.source_tokens == len(tiny_codec.backbone.encode(FACTS))

    def test_an_empty_text_takes_no_tokens(self, tiny_codec: Codec) -> None:
        stats = tiny_codec.compress("").stats
        assert (stats.source_tokens, stats.z_tokens, stats.positions, stats.ratio) == (0, 0, 0, 1.0)
        assert (stats.bits_per_z_token, stats.bits_per_source_token) == (0.0, 0.0)


@any_ratio
class TestExplain:
    TEXTS = (SENTENCES[0], FACTS, "日本語のテキスト", "🌍 e\u0301", "a", "", LITERAL, "\x1b41; \x04")

    @pytest.mark.parametrize("text", TEXTS)
    @pytest.mark.parametrize("ratio", [None, 2.0])
    def test_tokens_tile_the_text(self, tiny_codec: Codec, text: str, ratio: float | None) -> None:
        self.check_tiling(tiny_codec, text, ratio)

    @pytest.mark.parametrize("text", ["naïve café", "aé", "éa", "\x1b é", "The dog sleeps é on in the sun."])
    @pytest.mark.parametrize("ratio", [None, 3.0])
    def test_tokens_tile_a_text_whose_characters_were_escaped(
        self, ascii_codec: Codec, text: str, ratio: float | None
    ) -> None:
        self.check_tiling(ascii_codec, text, ratio)

    @few
    @given(text=ANY_TEXT | PROSE | BYTES)
    def test_tokens_tile_any_text(self, tiny_codec: Codec, text: str) -> None:
        self.check_tiling(tiny_codec, text, None)

    @staticmethod
    def check_tiling(codec: Codec, text: str, ratio: float | None) -> None:
        explanation = codec.explain(text, ratio=ratio)
        tokens = explanation.tokens
        assert codec.decompress(explanation.span) == text
        boundaries = [token.start for token in tokens] + [len(text)]
        assert boundaries[0] == 0
        assert [token.end for token in tokens] == boundaries[1:]
        assert "".join(text[token.start : token.end] for token in tokens) == text
        for index, token in enumerate(tokens):
            assert token.index == index
            assert token.start <= token.anchor_end <= token.end
            assert token.anchor == text[token.start : token.anchor_end]

    @pytest.mark.parametrize("ratio", [None, 2.0, 5.0])
    def test_a_tokens_cost_is_its_own_bits_and_those_of_its_span_in_the_residual(
        self, tiny_codec: Codec, ratio: float | None
    ) -> None:
        explanation = tiny_codec.explain(FACTS, ratio=ratio)
        for token in explanation.tokens:
            assert token.cost > token.residual_bits
            assert (token.residual_bits > 0) == (token.gap > 0)
        bits = 8 * len(parsed(tiny_codec, explanation.span).stream)
        assert sum(token.cost for token in explanation.tokens) == pytest.approx(bits, rel=0.02, abs=24)

    def test_it_shows_the_span_that_compress_writes(self, tiny_codec: Codec) -> None:
        for options in ({}, {"ratio": 2.5}, {"ratio": 2.5, "query": "Moon", "protect": "people"}):
            explanation = tiny_codec.explain(FACTS, **options)
            assert explanation.span == tiny_codec.compress(FACTS, **options).documents
            tokens = parsed(tiny_codec, explanation.span).tokens
            assert [(t.gap, t.code) for t in tokens] == [(t.gap, t.code) for t in explanation.tokens]

    def test_it_explains_texts_that_would_pass_through(self, tiny_codec: Codec) -> None:
        assert tiny_codec.explain("Moon").tokens

    def test_its_figures_are_those_of_the_text(self, tiny_codec: Codec) -> None:
        explanation = tiny_codec.explain(FACTS)
        assert explanation.text == FACTS
        assert explanation.stats.z_tokens == len(explanation.tokens)


class TestDocuments:
    def test_dicts_keep_their_entries_and_order(self, tiny_codec: Codec) -> None:
        documents = [{"id": i, "text": text, "source": f"{i}.txt"} for i, text in enumerate(SENTENCES)]
        compressed = tiny_codec.compress(documents).documents
        assert [{**document, "text": ""} for document in compressed] == [{**d, "text": ""} for d in documents]
        assert all(spans_of(document["text"]) for document in compressed)
        assert tiny_codec.decompress(compressed) == documents

    def test_langchain_documents_keep_ids_and_metadata(self, tiny_codec: Codec) -> None:
        documents = pytest.importorskip("langchain_core.documents")
        originals = [
            documents.Document(page_content=text, id=str(i), metadata={"page": i}) for i, text in enumerate(SENTENCES)
        ]
        compressed = tiny_codec.compress(originals).documents
        assert [(d.id, d.metadata) for d in compressed] == [(d.id, d.metadata) for d in originals]
        assert tiny_codec.decompress(compressed) == originals

    def test_llama_index_nodes_keep_ids_metadata_and_scores(self, tiny_codec: Codec) -> None:
        schema = pytest.importorskip("llama_index.core.schema")
        originals = [
            schema.NodeWithScore(node=schema.TextNode(text=text, id_=str(i), metadata={"page": i}), score=1 / (i + 1))
            for i, text in enumerate(SENTENCES)
        ]
        compressed = tiny_codec.compress(originals).documents
        assert [(n.node_id, n.metadata, n.score) for n in compressed] == [
            (n.node_id, n.metadata, n.score) for n in originals
        ]
        assert all(spans_of(node.node.get_content()) for node in compressed)
        restored = tiny_codec.decompress(compressed)
        assert [node.node.get_content() for node in restored] == list(SENTENCES)

    def test_a_document_gives_a_document_and_a_list_gives_a_list(self, tiny_codec: Codec) -> None:
        assert isinstance(tiny_codec.compress("a").documents, str)
        assert isinstance(tiny_codec.compress(("a",)).documents, list)

    def test_what_is_no_document_is_refused(self, tiny_codec: Codec) -> None:
        with pytest.raises(DocumentTypeError):
            tiny_codec.compress(7)
        with pytest.raises(DocumentTypeError):
            tiny_codec.decompress([None])


class TestPrompts:
    def test_text_around_spans_stays(self, tiny_codec: Codec) -> None:
        first, second = tiny_codec.compress([SENTENCES[0], "é🌍"]).documents
        prompt = f"Context:\n\n{first}\n{second}[not a span] [z]: {{}}\n\nQuestion?"
        expected = f"Context:\n\n{SENTENCES[0]}\né🌍[not a span] [z]: {{}}\n\nQuestion?"
        assert tiny_codec.decompress(prompt) == expected

    def test_spans_may_touch(self, tiny_codec: Codec) -> None:
        assert tiny_codec.decompress("".join(tiny_codec.compress(SENTENCES).documents)) == "".join(SENTENCES)

    def test_a_text_without_spans_stays(self, tiny_codec: Codec) -> None:
        assert tiny_codec.decompress(FACTS) == FACTS


@pytest.fixture(scope="module")
def span(tiny_codec: Codec) -> str:
    return tiny_codec.compress(FACTS).documents


class TestUntrustedSpans:
    def test_a_span_of_another_codec_is_refused(self, other_codec: Codec, tiny_codec: Codec, span: str) -> None:
        with pytest.raises(WrongCodecError, match=f"{tiny_codec.fingerprint}.*{other_codec.fingerprint}"):
            other_codec.decompress(span)

    def test_a_changed_character_is_refused(self, tiny_codec: Codec, span: str) -> None:
        index = len(span) // 2
        with pytest.raises(ForgedSpanError):
            tiny_codec.decompress(span[:index] + ("0" if span[index] != "0" else "1") + span[index + 1 :])

    def test_a_cut_span_is_refused(self, tiny_codec: Codec, span: str) -> None:
        with pytest.raises(TruncatedSpanError):
            tiny_codec.decompress(span[: len(span) // 2])

    def test_a_span_of_format_version_1_is_refused(self, tiny_codec: Codec) -> None:
        with pytest.raises(SpanVersionError, match="Compress the text again"):
            tiny_codec.decompress(f"see {VERSION_1}")

    @pytest.mark.parametrize("text", ["a[z1:z2]", "y = x[z2:n]", "see [z2:…]", "[z2:nonsense", "[z2:0123456789ab:3:x"])
    def test_what_merely_looks_like_a_span_is_text(self, tiny_codec: Codec, span: str, text: str) -> None:
        assert tiny_codec.decompress(f"{text} {span}{text}") == f"{text} {FACTS}{text}"

    @pytest.mark.parametrize("fold", ["\n", "\r\n", "\n  ", "&#10;"])
    def test_a_folded_span_is_restored(self, tiny_codec: Codec, span: str, fold: str) -> None:
        folded = fold.join(span[i : i + 76] for i in range(0, len(span), 76))
        assert fold in folded
        assert tiny_codec.decompress(f"> {folded} <") == f"> {FACTS} <"

    def test_changed_spans_give_no_other_text(self, tiny_codec: Codec, span: str) -> None:
        rng, refused = random.Random(3), 0
        for _ in range(300):
            index, size = rng.randrange(len(span)), rng.choice([0, 1, 1, 5])
            changed = span[:index] + rng.choice(["", "A", "0", "-", "\n", "[", "z"]) + span[index + size :]
            if len(list(split_at_spans(changed))) == 1 and find_spans(changed):
                try:
                    restored = tiny_codec.decompress(changed)
                    assert restored in (FACTS, changed)
                except SpanError:
                    refused += 1
        assert refused > 100

    @pytest.mark.parametrize("index", [0, 5, -1])
    def test_a_forged_anchor_with_a_good_checksum_is_detected(self, tiny_codec: Codec, span: str, index: int) -> None:
        original = parsed(tiny_codec, span)
        tokens = list(original.tokens)
        tokens[index] = replace(tokens[index], anchor=(tokens[index].anchor + 1) % tiny_codec.backbone.vocab_size)
        with pytest.raises(IntegrityError, match="does not match its hash"):
            tiny_codec.decompress(format_span(replace(original, tokens=tuple(tokens))))

    @few
    @given(data=st.data())
    def test_other_symbols_never_give_a_wrong_text(self, tiny_codec: Codec, span: str, data: st.DataObject) -> None:
        original = parsed(tiny_codec, span)
        forged, last = list(original.symbols), LITERALS + tiny_codec.backbone.vocab_size - 1
        forged[data.draw(st.integers(0, len(forged) - 1))] = data.draw(st.integers(0, last))
        try:
            assert tiny_codec.decompress(format_span(replace(original, symbols=tuple(forged)))) == FACTS
        except IntegrityError:
            assert forged != list(original.symbols)

    @few
    @given(data=st.data())
    def test_other_gaps_never_give_a_wrong_text(self, tiny_codec: Codec, span: str, data: st.DataObject) -> None:
        original = parsed(tiny_codec, span)
        tokens = data.draw(st.permutations(original.tokens[:12]))
        try:
            assert (
                tiny_codec.decompress(format_span(replace(original, tokens=(*tokens, *original.tokens[12:])))) == FACTS
            )
        except (IntegrityError, DamagedSpanError):
            pass

    @pytest.mark.parametrize("beyond", [0, 1, 10_000])
    def test_tokens_that_the_llm_does_not_have_are_refused(self, tiny_codec: Codec, span: str, beyond: int) -> None:
        original, token = parsed(tiny_codec, span), tiny_codec.backbone.vocab_size + beyond
        anchors = (replace(original.tokens[0], anchor=token), *original.tokens[1:])
        symbols = (LITERALS + token, *original.symbols[1:])
        for forged in (replace(original, tokens=anchors), replace(original, symbols=symbols)):
            with pytest.raises(DamagedSpanError, match=f"has the token {token}"):
                tiny_codec.decompress(format_span(forged))

    def test_codes_that_the_codec_does_not_have_are_refused(
        self, tiny_codec: Codec, coded_codec: Codec, span: str
    ) -> None:
        for codec, code in [
            (tiny_codec, (0,)),
            (coded_codec, (0, 0, 16)),
            (coded_codec, (255, NO_CODE, NO_CODE)),
            (coded_codec, (0, 0)),
            (coded_codec, (0, 0, 0, 0)),
        ]:
            tokens = (ZToken(7, 1, code), ZToken(9, 0, (NO_CODE,) * len(code)))
            forged = ZSpan(codec.fingerprint, tokens, (0,), False, bytes(8))
            with pytest.raises(DamagedSpanError, match="codes that its codec does not have"):
                codec.decompress(format_span(forged))

    @few
    @given(data=st.data())
    def test_forged_codes_are_refused(self, coded_codec: Codec, data: st.DataObject) -> None:
        code = st.tuples(*[st.just(NO_CODE) | st.integers(0, 15)] * 3)
        gaps = data.draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))
        tokens = tuple(ZToken(7, gap, data.draw(code) if gap else (NO_CODE,) * 3) for gap in gaps)
        forged = ZSpan(coded_codec.fingerprint, tokens, (0,) * sum(gaps), False, bytes(8))
        with pytest.raises((IntegrityError, DamagedSpanError)):
            coded_codec.decompress(format_span(forged))

    def test_a_forged_digest_is_detected(self, tiny_codec: Codec, span: str) -> None:
        forged = replace(parsed(tiny_codec, span), digest=bytes(8))
        with pytest.raises(IntegrityError):
            tiny_codec.decompress(format_span(forged))

    def test_a_token_that_reaches_into_the_next_window_is_refused(self, tiny_codec: Codec, span: str) -> None:
        original = parsed(tiny_codec, span)
        tokens = (replace(original.tokens[0], gap=0), *[replace(original.tokens[0], gap=6)] * 9)
        with pytest.raises(DamagedSpanError, match="next window"):
            tiny_codec.decompress(format_span(replace(original, tokens=tokens, symbols=(0,) * 6 * 9)))


class TestCodec:
    def test_its_fingerprint_depends_on_backbone_heads_and_settings(
        self, tiny_codec: Codec, other_codec: Codec, narrow_codec: Codec, coded_codec: Codec
    ) -> None:
        fingerprints = {codec.fingerprint for codec in (tiny_codec, other_codec, narrow_codec, coded_codec)}
        assert len(fingerprints) == 4
        assert "learned codes" in repr(coded_codec) and "learned codes" not in repr(tiny_codec)
        assert all(re.fullmatch("[0-9a-f]{12}", fingerprint) for fingerprint in fingerprints)

    def test_every_span_carries_the_fingerprint(self, tiny_codec: Codec) -> None:
        assert parsed(tiny_codec, tiny_codec.compress("a").documents).fingerprint == tiny_codec.fingerprint

    def test_it_shows_what_it_is(self, tiny_codec: Codec) -> None:
        assert repr(tiny_codec).startswith(f"Codec('tiny', {tiny_codec.fingerprint}, Backbone(")

    def test_progress_is_reported_in_both_directions(self, tiny_codec: Codec) -> None:
        reports: list[tuple[str, int, int]] = []
        texts = [" ".join(SENTENCES), "a"]
        spans = tiny_codec.compress(texts, batch_size=2, progress=lambda *report: reports.append(report)).documents
        total = reports[-1][2]
        assert reports == [("compress", min(done, total), total) for done in range(2, total + 2, 2)]
        reports.clear()
        tiny_codec.decompress(spans, batch_size=2, progress=lambda *report: reports.append(report))
        assert reports[-1] == ("decompress", total, total)

    @pytest.mark.parametrize("batch_size", [0, -1])
    def test_an_empty_batch_is_refused(self, tiny_codec: Codec, batch_size: int) -> None:
        with pytest.raises(OptionError, match="batch_size"):
            tiny_codec.compress("a", batch_size=batch_size)
        with pytest.raises(OptionError, match="batch_size"):
            tiny_codec.decompress("a", batch_size=batch_size)
