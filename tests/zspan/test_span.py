"""Z-spans survive transport, what only looks like one is text, and damaged or forged ones are refused."""

import base64
import hashlib
import html
import json
import random
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import (
    DamagedSpanError,
    ForgedSpanError,
    OptionError,
    SpanError,
    SpanVersionError,
    TruncatedSpanError,
    WrongCodecError,
)
from zprompt.zspan import (
    LITERALS,
    NO_CODE,
    SpanHeader,
    SpanMatch,
    ZSpan,
    ZToken,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    read_header,
    split_at_spans,
    text_digest,
    unescape_literal,
)

FINGERPRINT = "0123456789ab"
OTHER = "ba9876543210"
PREAMBLE_BYTES = 10  # of SPAN: flags, a short number, digest
SPAN = ZSpan(
    FINGERPRINT,
    (ZToken(7, 0), ZToken(49151, 5), ZToken(123, 3)),
    (0, 3, 0, 255, LITERALS + 40_000, 1, 0, 0),
    escaped=False,
    digest=text_digest("text"),
)
WRITTEN = format_span(SPAN)
VERSION_1 = "[z1:0123456789ab:3:000%3EuKEPmi1Wx2LJ#701N;B|NsC00DCYHATU4y0t5d5:e5f4c85d]"
PROSE = "a[z1:z2], y = x[z2:n], [z2], [z2:], [z2:…], [z2:abc:1:x:y] and [zebra:1] are text."

some = settings(max_examples=25)


def seal(content: str) -> str:
    """Put brackets and the right checksum around the content of a Z-span."""
    return f"[{content}:{hashlib.sha256(content.encode()).hexdigest()[:8]}]"


def seal_payload(payload: bytes, count: int = len(SPAN.tokens)) -> str:
    return seal(f"z2:{FINGERPRINT}:{count}:{base64.urlsafe_b64encode(payload).decode().rstrip('=')}")


def payload_of(text: str) -> bytes:
    payload = text.split(":")[3]
    return base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))


@st.composite
def spans(draw: st.DrawFn) -> ZSpan:
    code = draw(st.just(st.just(())) | st.just(st.tuples(st.integers(0, 255), st.just(NO_CODE))))
    tokens = [
        ZToken(anchor, gap, token_code if gap or not token_code else (NO_CODE, NO_CODE))
        for anchor, gap, token_code in draw(
            st.lists(st.tuples(st.integers(0, 49151), st.integers(0, 9), code), max_size=20),
        )
    ]
    if not any(token.gap for token in tokens):
        tokens = [ZToken(token.anchor, 0) for token in tokens]
    dropped = sum(token.gap for token in tokens)
    return ZSpan(
        draw(st.text("0123456789abcdef", min_size=12, max_size=12)),
        tuple(tokens),
        tuple(draw(st.lists(st.integers(0, LITERALS + 49151), min_size=dropped, max_size=dropped))),
        draw(st.booleans()),
        draw(st.binary(min_size=8, max_size=8)),
    )


# Texts in which Z-spans, their beginnings and their escapes are likely.
NEAR_LITERALS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *("[z", "[z2:", "[", "]", "z2", "\\", ":", " ", "\n", "&#91;", "&lsqb;", "&#58;", "2", "²", "AAAA"),
                *(WRITTEN, VERSION_1, WRITTEN[:-20], WRITTEN[1:], "[\\" + WRITTEN[1:], "[\\\\" + VERSION_1[1:]),
                *(WRITTEN.replace(":", ": "), WRITTEN.replace("[", "&#x5b;"), WRITTEN[:18]),
            ]
        ),
        st.text(max_size=5),
    ),
    max_size=10,
).map("".join)


class TestRoundTrip:
    @some
    @given(spans())
    def test_every_span_is_read_as_it_was_written(self, span: ZSpan) -> None:
        assert parse_span(format_span(span)) == span

    @some
    @given(spans())
    def test_headers_are_read_without_a_codec(self, span: ZSpan) -> None:
        assert read_header(format_span(span)) == SpanHeader(
            span.fingerprint, len(span.tokens), span.source_tokens, span.escaped, span.digest, len(span.stream)
        )

    def test_the_empty_text_has_a_short_span(self) -> None:
        written = format_span(ZSpan(FINGERPRINT, (), (), False, text_digest("")))
        assert parse_span(written).tokens == ()
        assert len(written) < 50

    def test_the_string_form_of_version_2_does_not_change(self) -> None:
        # Users store Z-spans in databases: this string must stay readable for ever.
        written = "[z2:0123456789ab:3:AAuYLZ4-uZb1WYD2BVqMIgRLKXV3O4BJ:d876f020]"
        assert parse_span(written) == SPAN
        assert written == WRITTEN

    def test_a_span_has_none_of_the_characters_that_strings_must_escape(self) -> None:
        assert not set(WRITTEN[1:-1]) & set("[],./\\\"' \n\t+=%&<>#?")

    def test_reading_and_writing_take_linear_time(self) -> None:
        few, many = (
            replace(SPAN, tokens=SPAN.tokens * size, symbols=SPAN.symbols * size, escaped=True) for size in (200, 2_000)
        )

        def seconds(span: ZSpan) -> float:
            start = time.process_time()
            assert parse_span(format_span(span)) == span
            return time.process_time() - start

        assert seconds(many) < 10 * 4 * min(seconds(few) for _ in range(2))


def fold_at_76(text: str) -> str:
    return "\n".join(text[i : i + 76] for i in range(0, len(text), 76))


def numeric_escapes(text: str) -> str:
    return "".join(f"&#{ord(c)};" if c in "[]:_-" else c for c in text)


def hexadecimal_escapes(text: str) -> str:
    return "".join(f"&#x{ord(c):X};" if c in "[]:_-" else c for c in text)


def named_escapes(text: str) -> str:
    names = {"[": "&lsqb;", "]": "&rsqb;", ":": "&colon;", "_": "&lowbar;"}
    return "".join(names.get(c, c) for c in text)


WAYS: dict[str, Callable[[str], str]] = {
    "mail": fold_at_76,
    "mail with CRLF": lambda text: fold_at_76(text).replace("\n", "\r\n"),
    "quoted mail": lambda text: fold_at_76(text).replace("\n", "\n\t"),
    "YAML": lambda text: "\n  ".join(text[i : i + 40] for i in range(0, len(text), 40)),
    "wrapped prose": lambda text: textwrap.fill(text, 30),
    "spaces everywhere": lambda text: " ".join(text),
    "HTML": html.escape,
    "HTML with non-breaking spaces": lambda text: "&nbsp;".join(text[i : i + 9] for i in range(0, len(text), 9)),
    "HTML with encoded line ends": lambda text: text.replace(":", ":&#10;&#x20;"),
    "numeric escapes": numeric_escapes,
    "hexadecimal escapes": hexadecimal_escapes,
    "named escapes": named_escapes,
    "folded and escaped": lambda text: numeric_escapes(fold_at_76(text)),
    "JSON": lambda text: str(json.loads(json.dumps(text))),
    "a URL": lambda text: unquote(quote(text, safe="")),
}
LONG = replace(
    SPAN, tokens=SPAN.tokens * 30, symbols=tuple((symbol * 7 + i) % 256 for i, symbol in enumerate(SPAN.symbols * 30))
)


class TestTransport:
    @pytest.mark.parametrize("way", WAYS)
    @pytest.mark.parametrize("span", [SPAN, LONG], ids=["short", "long"])
    def test_a_span_is_found_and_read_as_it_arrives(self, way: str, span: ZSpan) -> None:
        sent = WAYS[way](format_span(span))
        before, match, after = split_at_spans(f"Before {sent} after")
        assert (before, after) == ("Before ", " after")
        assert isinstance(match, SpanMatch)
        assert parse_span(match.text) == span
        assert read_header(match.text).count == len(span.tokens)

    @some
    @given(spans(), st.integers(1, 90), st.sampled_from(["\n", "\r\n", "\n  ", " ", "\t", "\n\n", "\xa0"]))
    def test_any_span_may_be_folded_anywhere(self, span: ZSpan, width: int, fold: str) -> None:
        written = format_span(span)
        folded = fold.join(written[i : i + width] for i in range(0, len(written), width))
        [match] = split_at_spans(folded)
        assert isinstance(match, SpanMatch)
        assert parse_span(match.text) == span

    def test_two_spans_in_a_folded_document_are_two(self) -> None:
        matches = find_spans(fold_at_76(f"{format_span(LONG)}{WRITTEN}, and {WRITTEN}"))
        assert [parse_span(match.text) for match in matches] == [LONG, SPAN, SPAN]

    def test_a_span_in_upper_case_is_text(self) -> None:
        assert not list(find_spans(WRITTEN.upper()))


class TestRefusal:
    @some
    @given(st.data())
    def test_no_change_of_a_character_goes_unnoticed(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(WRITTEN) - 1))
        character = data.draw(
            st.one_of(st.characters(), st.sampled_from(WRITTEN)).filter(lambda c: c != WRITTEN[position])
        )
        with pytest.raises(SpanError):
            parse_span(WRITTEN[:position] + character + WRITTEN[position + 1 :], FINGERPRINT)

    def test_changed_spans_are_read_as_they_were_or_are_text_or_refused(self) -> None:
        rng = random.Random(7)
        alphabet = WRITTEN + "\n &;#x5bAZ" + "é²"
        outcomes = {"read": 0, "text": 0, "refused": 0}
        for _ in range(2_000):
            changed = list(format_span(rng.choice([SPAN, LONG])))
            for _ in range(rng.randint(1, 4)):
                index = rng.randrange(len(changed))
                edit = rng.randrange(4)
                if edit == 0:
                    changed[index] = rng.choice(alphabet)
                elif edit == 1:
                    changed.insert(index, rng.choice(alphabet))
                elif edit == 2:
                    del changed[index : index + rng.randint(1, 8)]
                else:
                    other = rng.randrange(len(changed))
                    changed[index], changed[other] = changed[other], changed[index]
            for piece in split_at_spans("".join(changed)):
                if isinstance(piece, str):
                    outcomes["text"] += 1
                    continue
                try:
                    assert parse_span(piece.text, FINGERPRINT) in (SPAN, LONG)
                    outcomes["read"] += 1
                except SpanError:
                    outcomes["refused"] += 1
        assert min(outcomes.values()) > 5, outcomes

    def test_changed_payloads_with_a_good_checksum_are_spans_or_refused(self) -> None:
        rng, whole = random.Random(8), payload_of(WRITTEN)
        for _ in range(1_000):
            changed = bytearray(whole)
            for _ in range(rng.randint(1, 3)):
                changed[rng.randrange(len(changed))] = rng.randrange(256)
            text = seal_payload(bytes(changed), rng.choice([3, 3, 3, 2, 4, 1000]))
            try:
                span = parse_span(text)
            except SpanError:
                continue
            assert format_span(span) == text

    @pytest.mark.parametrize("length", range(len(WRITTEN)))
    def test_no_cut_goes_unnoticed(self, length: int) -> None:
        with pytest.raises(TruncatedSpanError if length > 3 else DamagedSpanError):
            parse_span(WRITTEN[:length])

    @some
    @given(st.text())
    def test_no_other_text_is_a_span(self, text: str) -> None:
        with pytest.raises(DamagedSpanError, match="begins with"):
            parse_span(text)

    @some
    @given(st.binary(max_size=60), st.integers(0, 10))
    def test_any_payload_is_a_span_that_we_would_write_or_is_refused(self, payload: bytes, count: int) -> None:
        text = seal_payload(payload, count)
        try:
            span = parse_span(text)
        except SpanError:
            return
        assert format_span(span) == text

    @pytest.mark.parametrize("length", range(PREAMBLE_BYTES))
    def test_a_span_that_ends_in_its_header_is_truncated(self, length: int) -> None:
        with pytest.raises(TruncatedSpanError, match="inside its header"):
            parse_span(seal_payload(payload_of(WRITTEN)[:length]))

    @pytest.mark.parametrize("count", [1, 2, 4, 11, 12, 10**18 - 1])
    def test_another_count_is_damage_and_costs_nothing(self, count: int) -> None:
        start = time.process_time()
        with pytest.raises(DamagedSpanError):
            parse_span(seal_payload(payload_of(WRITTEN), count))
        assert time.process_time() - start < 0.5

    def test_a_few_bytes_do_not_claim_a_million_tokens(self) -> None:
        payload = payload_of(WRITTEN)
        claim = b"\xff" * 8 + b"\x7f"
        start = time.process_time()
        for forged in (payload, payload[:PREAMBLE_BYTES] + b"\xa0" + b"\x00" * 30, payload[:PREAMBLE_BYTES] + b"\xff"):
            with pytest.raises(DamagedSpanError):
                parse_span(seal_payload(forged[:1] + claim + forged[2:], 10**6))
        assert time.process_time() - start < 3

    @pytest.mark.parametrize("count", ["03", "+3", "", "3x", "٣", "1" * 5000])
    def test_a_count_that_is_no_plain_number_is_damage(self, count: str) -> None:
        with pytest.raises(DamagedSpanError):
            parse_span(seal(f"z2:{FINGERPRINT}:{count}:{WRITTEN.split(':')[3]}"))

    @pytest.mark.parametrize("suffix", [b"\x00", b"\x01", b"\xff" * 3])
    def test_bytes_after_the_stream_are_damage(self, suffix: bytes) -> None:
        with pytest.raises(DamagedSpanError):
            parse_span(seal_payload(payload_of(WRITTEN) + suffix))

    @pytest.mark.parametrize("flags", [2, 3, 4, 128])
    def test_an_unknown_flag_is_damage(self, flags: int) -> None:
        with pytest.raises(DamagedSpanError, match="unknown flags"):
            parse_span(seal_payload(bytes([flags]) + payload_of(WRITTEN)[1:]))

    @pytest.mark.parametrize("number", [b"\x80\x00", b"\xff" * 9, b"\xff" * 9 + b"\x01"])
    def test_a_number_that_is_not_in_its_shortest_form_or_too_long_is_damage(self, number: bytes) -> None:
        payload = payload_of(WRITTEN)
        with pytest.raises(DamagedSpanError, match="number in a Z-span's header"):
            parse_span(seal_payload(payload[:1] + number + payload[2:]))

    @pytest.mark.parametrize("source", [0, 2, 10, 12, 127])
    def test_source_tokens_that_the_stream_does_not_stand_for_are_damage(self, source: int) -> None:
        payload = payload_of(WRITTEN)
        assert payload[1] == SPAN.source_tokens
        with pytest.raises(DamagedSpanError):
            parse_span(seal_payload(payload[:1] + bytes([source]) + payload[2:]))

    @pytest.mark.parametrize("payload", ["A", "AAAAA", "AB", "AAF"])
    def test_a_payload_that_is_not_canonical_base64_is_damage(self, payload: str) -> None:
        with pytest.raises(DamagedSpanError, match="not base64url"):
            parse_span(seal(f"z2:{FINGERPRINT}:0:{payload}"))

    @pytest.mark.parametrize("character", ["+", "/", "=", "é", "\\"])
    def test_a_payload_of_other_characters_is_damage(self, character: str) -> None:
        with pytest.raises(DamagedSpanError, match="base64url and 8 hexadecimal digits"):
            parse_span(WRITTEN[:30] + character + WRITTEN[30:])

    def test_text_after_a_span_is_damage(self) -> None:
        with pytest.raises(DamagedSpanError):
            parse_span(WRITTEN + "text")

    def test_a_wrong_checksum_is_forgery(self) -> None:
        for parse in (parse_span, read_header):
            with pytest.raises(ForgedSpanError, match="checksum"):
                parse(f"{WRITTEN[:-9]}00000000]")

    @pytest.mark.parametrize("version", ["1", "3", "0", "02", "9" * 5000])
    def test_an_unknown_version_is_named_with_the_remedy(self, version: str) -> None:
        with pytest.raises(SpanVersionError, match=r"reads version 2 only\. Compress the text again") as caught:
            parse_span(WRITTEN.replace("z2", f"z{version}", 1))
        assert len(str(caught.value)) < 300

    def test_a_span_of_version_1_is_found_and_refused_by_its_version(self) -> None:
        _, match, _ = split_at_spans(f"Before {VERSION_1} after")
        assert isinstance(match, SpanMatch) and match.text == VERSION_1
        with pytest.raises(SpanVersionError, match="has version '1'"):
            parse_span(match.text)


class TestSpanOfAnotherCodec:
    def test_is_refused_naming_both_codecs_and_the_remedy(self) -> None:
        with pytest.raises(WrongCodecError, match=rf"{FINGERPRINT}.*{OTHER}.*load"):
            parse_span(WRITTEN, OTHER)

    def test_is_read_with_its_own_fingerprint(self) -> None:
        assert parse_span(WRITTEN, FINGERPRINT) == SPAN

    def test_is_refused_as_forged_if_its_checksum_is_wrong(self) -> None:
        with pytest.raises(ForgedSpanError):
            parse_span(WRITTEN.replace(FINGERPRINT, OTHER), FINGERPRINT)


class TestFinding:
    def test_spans_are_found_where_they_are_in_a_longer_string(self) -> None:
        text = f"Before {WRITTEN}{WRITTEN}, after [z2] [zebra:] [1:2]."
        matches = list(find_spans(text))
        assert [match.text for match in matches] == [WRITTEN, WRITTEN]
        assert [text[match.start : match.end] for match in matches] == [WRITTEN, WRITTEN]

    @pytest.mark.parametrize(
        "text",
        [
            PROSE,
            "a[z1:z2]",
            "y = x[z2:n]",
            "A Z-span looks like [z2:…].",
            "A Z-span looks like [z2:<fingerprint>:<count>:<payload>:<checksum>].",
            "[z2:nonsense",
            f"[z2:{FINGERPRINT}",
            f"[z2:{FINGERPRINT}:3:",
            f"[z2:{FINGERPRINT}:3:short",
            f"[z1:{FINGERPRINT}:3:abc",
            WRITTEN[1:],
        ],
    )
    def test_text_without_the_whole_form_of_a_span_is_text(self, text: str) -> None:
        assert list(split_at_spans(text)) == [text]
        assert escape_literal(text) == text

    @pytest.mark.parametrize("rest", ["", ".", "! And so on", WRITTEN])
    @pytest.mark.parametrize("lost", [1, 2, 9, 10, 11, 20])
    def test_a_span_without_an_end_is_found_and_refused_as_truncated(self, rest: str, lost: int) -> None:
        first = next(find_spans("Text: " + WRITTEN[:-lost] + rest))
        assert first.text == WRITTEN[:-lost]
        with pytest.raises(TruncatedSpanError, match="no closing bracket"):
            parse_span(first.text)

    def test_a_span_that_was_cut_before_words_is_refused(self) -> None:
        [match] = find_spans(WRITTEN[:-20] + " and so on")
        with pytest.raises(SpanError):
            parse_span(match.text)

    @pytest.mark.parametrize(
        "hostile",
        [
            "[z2:" * 50_000,
            "[z" + "2" * 200_000,
            "[z2:" + "a" * 200_000,
            "[z" * 100_000,
            "[" + " " * 200_000,
            "[ z2 : " * 30_000,
            f"[z2:{FINGERPRINT}:1:" * 10_000,
            f"[z2:{FINGERPRINT}:1:" + "A" * 200_000,
            f"[z2:{FINGERPRINT}:" + "1" * 200_000,
            f"[z2:{FINGERPRINT}:1:" + "&#10;" * 40_000,
            (f"[z2:{FINGERPRINT}:1:" + "A" * 40) * 3_000,
            "[" + "\\" * 100_000 + WRITTEN[1:],
            "[\\" * 50_000,
            "&#91;" * 40_000,
            "[" + "&nbsp;" * 40_000 + "z2",
            f"[z1:{FINGERPRINT}:1:" * 10_000,
            f"[z1:{FINGERPRINT}:1:" + "x:" * 100_000,
        ],
        ids=range(17),
    )
    def test_hostile_text_takes_linear_time(self, hostile: str) -> None:
        start = time.process_time()
        for match in find_spans(hostile):
            with pytest.raises(SpanError):
                parse_span(match.text)
        assert unescape_literal(escape_literal(hostile)) == hostile
        assert time.process_time() - start < 3

    @some
    @given(NEAR_LITERALS, NEAR_LITERALS)
    def test_a_text_is_split_at_its_spans_and_unescaped(self, before: str, after: str) -> None:
        pieces = list(split_at_spans(f"{escape_literal(before)}({WRITTEN}{WRITTEN}){escape_literal(after)}"))
        assert "".join(piece if isinstance(piece, str) else "@" for piece in pieces) == f"{before}(@@){after}"
        assert [piece.text for piece in pieces if isinstance(piece, SpanMatch)] == [WRITTEN, WRITTEN]

    def test_a_span_alone_has_no_text_around_it(self) -> None:
        assert list(split_at_spans("")) == []
        assert [piece.text for piece in split_at_spans(WRITTEN) if isinstance(piece, SpanMatch)] == [WRITTEN]


class TestLiterals:
    @some
    @given(NEAR_LITERALS)
    def test_come_back_as_they_were(self, text: str) -> None:
        assert unescape_literal(escape_literal(text)) == text

    @some
    @given(NEAR_LITERALS)
    def test_are_no_spans_once_escaped(self, text: str) -> None:
        assert not list(find_spans(escape_literal(text)))

    @some
    @given(NEAR_LITERALS, NEAR_LITERALS)
    def test_different_texts_stay_different(self, first: str, second: str) -> None:
        assert (escape_literal(first) == escape_literal(second)) == (first == second)

    @some
    @given(NEAR_LITERALS.filter(lambda text: not list(find_spans(text))))
    def test_every_text_without_spans_is_the_escape_of_one_text(self, text: str) -> None:
        assert escape_literal(unescape_literal(text)) == text

    @pytest.mark.parametrize(
        "form", [WRITTEN, VERSION_1, WRITTEN[:-12], WRITTEN.replace(":", ":\n"), numeric_escapes(WRITTEN)]
    )
    def test_get_one_more_backslash(self, form: str) -> None:
        bracket = "&#91;" if form.startswith("&") else "["
        once = form.replace(bracket, bracket + "\\", 1)
        assert escape_literal(f"see {form}") == f"see {once}"
        assert escape_literal(once) == form.replace(bracket, bracket + "\\\\", 1)
        assert unescape_literal(once) == form


class TestWriting:
    @pytest.mark.parametrize(
        "field",
        [
            {"fingerprint": "0123456789AB"},
            {"fingerprint": "0123456789abc"},
            {"digest": b"1234567"},
            {"symbols": SPAN.symbols[1:]},
            {"symbols": (*SPAN.symbols, 0)},
            {"tokens": (*SPAN.tokens[1:], ZToken(1 << 20, 0))},
        ],
    )
    def test_a_span_that_could_not_be_read_is_not_written(self, field: dict[str, object]) -> None:
        with pytest.raises(OptionError):
            format_span(replace(SPAN, **field))
