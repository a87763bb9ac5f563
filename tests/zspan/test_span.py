"""Z-spans as strings: what is written is read back, and what was not written is refused, each with its own error."""

import base64
import hashlib
import time
from dataclasses import replace

import pytest
from hypothesis import given
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
from zprompt.zspan.alphabet import Alphabet, ZToken
from zprompt.zspan.span import (
    SpanHeader,
    SpanMatch,
    ZSpan,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    read_header,
    require_codec,
    split_at_spans,
    text_digest,
    unescape_literal,
)

ALPHABET = Alphabet(vocab_size=49152)
FINGERPRINT = "0123456789ab"
OTHER = "ba9876543210"
PREAMBLE_BYTES = 11  # of SPAN: flags, two short numbers, digest
TOKENS = (
    ZToken(7, 0, (0, 0, 0, 0)),
    ZToken(49151, 15, (255, 255, 255, 255)),
    ZToken(123, 3, (1, 2, 3, 4)),
)
PACKED_BYTES = 20  # of TOKENS: three of 52 bits
RESIDUAL = b"\x01\x02\x03\xff\x00"


def span_of(tokens: tuple[ZToken, ...], residual: bytes = b"") -> ZSpan:
    covered = sum(token.gap + 1 for token in tokens)
    return ZSpan(FINGERPRINT, tokens, residual, covered, 0, escaped=False, digest=text_digest("text"))


SPAN = span_of(TOKENS, RESIDUAL)
WRITTEN = format_span(SPAN, ALPHABET)


def seal(sealed: str) -> str:
    """Put brackets and the right checksum around the content of a Z-span."""
    return f"[{sealed}:{hashlib.sha256(sealed.encode()).hexdigest()[:8]}]"


def seal_payload(payload: bytes, count: int = len(TOKENS)) -> str:
    return seal(f"z1:{FINGERPRINT}:{count}:{base64.b85encode(payload).decode()}")


def payload_of(text: str) -> bytes:
    return base64.b85decode(text.split(":")[3])


z_tokens = st.one_of(
    st.builds(ZToken, st.integers(0, 49151), st.just(0), st.just((0, 0, 0, 0))),
    st.builds(ZToken, st.integers(0, 49151), st.integers(1, 15), st.tuples(*[st.integers(0, 255)] * 4)),
)
spans = st.builds(
    replace,
    st.lists(z_tokens, max_size=40).map(tuple).map(span_of),
    fingerprint=st.text("0123456789abcdef", min_size=12, max_size=12),
    window=st.integers(0, (1 << 63) - 1),
    residual=st.binary(max_size=40),
    escaped=st.booleans(),
    digest=st.binary(min_size=8, max_size=8),
)
# Texts in which Z-spans, their beginnings and their escapes are likely.
near_literals = st.lists(
    st.one_of(
        st.sampled_from(["[z", "[z1:", "[z12:", "[", "z", "\\", "1", "²", "१", ":", "]", "[z\\1:", WRITTEN]), st.text()
    )
).map("".join)


class TestWhatIsWrittenIsRead:
    @given(spans)
    def test_every_span(self, span: ZSpan) -> None:
        assert parse_span(format_span(span, ALPHABET), ALPHABET) == span

    @given(st.data())
    def test_spans_of_every_alphabet(self, data: st.DataObject) -> None:
        alphabet = Alphabet(
            vocab_size=data.draw(st.integers(2, 1 << 18)),
            max_gap=data.draw(st.integers(0, 20)),
            subcodes=0,
        )
        token = st.builds(
            ZToken, st.integers(0, alphabet.vocab_size - 1), st.integers(0, alphabet.max_gap), st.just(())
        )
        span = span_of(tuple(data.draw(st.lists(token, max_size=30))), data.draw(st.binary(max_size=9)))
        assert parse_span(format_span(span, alphabet), alphabet) == span

    @given(spans)
    def test_headers_without_a_codec(self, span: ZSpan) -> None:
        header = read_header(format_span(span, ALPHABET))
        assert header == SpanHeader(
            span.fingerprint,
            len(span.tokens),
            span.source_tokens,
            span.window,
            span.escaped,
            span.digest,
            body_bytes=-(-len(span.tokens) * ALPHABET.bits_per_z_token // 8) + len(span.residual),
        )

    def test_the_span_of_the_empty_text(self) -> None:
        written = format_span(span_of(()), ALPHABET)
        assert parse_span(written, ALPHABET).tokens == ()
        assert len(written) < 50

    def test_a_span_has_none_of_the_characters_that_strings_must_escape(self) -> None:
        assert not set(WRITTEN[1:-1]) & set("[],./\\\"' \n\t")

    def test_the_text_form_is_the_one_of_version_1(self) -> None:
        # Spans lie in people's databases: this string must be readable for ever.
        written = "[z1:0123456789ab:3:000%3EuKEPmi1Wx2LJ#701N;B|NsC00DCYHATU4y0t5d5:e5f4c85d]"
        assert parse_span(written, ALPHABET) == SPAN
        assert written == WRITTEN

    def test_tens_of_thousands_of_z_tokens_take_time_in_proportion(self) -> None:
        few, many = (span_of(TOKENS * (size // 3)) for size in (6_000, 96_000))

        def seconds(span: ZSpan) -> float:
            start = time.process_time()
            assert parse_span(format_span(span, ALPHABET), ALPHABET) == span
            return time.process_time() - start

        assert seconds(many) < 16 * 4 * min(seconds(few) for _ in range(3))


class TestWhatWasNotWrittenIsRefused:
    @given(st.data())
    def test_no_change_of_a_character_goes_unnoticed(self, data: st.DataObject) -> None:
        position = data.draw(st.integers(0, len(WRITTEN) - 1))
        character = data.draw(
            st.one_of(st.characters(), st.sampled_from(WRITTEN)).filter(lambda c: c != WRITTEN[position])
        )
        changed = WRITTEN[:position] + character + WRITTEN[position + 1 :]
        with pytest.raises(SpanError):
            parse_span(changed, ALPHABET, FINGERPRINT)

    @given(st.integers(0, len(WRITTEN) - 1))
    def test_no_cut_goes_unnoticed(self, length: int) -> None:
        with pytest.raises(TruncatedSpanError if length > 3 else DamagedSpanError):
            parse_span(WRITTEN[:length], ALPHABET)

    @given(st.text())
    def test_no_other_text_is_a_span(self, text: str) -> None:
        with pytest.raises(DamagedSpanError, match="begins with"):
            parse_span(text, ALPHABET)

    @given(st.binary(max_size=80), st.integers(0, 10))
    def test_bytes_of_any_kind_give_a_span_or_one_of_our_errors(self, payload: bytes, count: int) -> None:
        text = seal_payload(payload, count)
        try:
            span = parse_span(text, ALPHABET)
        except SpanError:
            return
        assert format_span(span, ALPHABET) == text

    def test_a_span_that_lost_characters_in_its_middle_is_truncated(self) -> None:
        with pytest.raises(TruncatedSpanError, match="announces 3 Z-tokens, which take 20 bytes, but has 17"):
            parse_span(WRITTEN[:40] + WRITTEN[50:], ALPHABET)

    @pytest.mark.parametrize("length", range(PREAMBLE_BYTES))
    def test_a_span_that_ends_in_its_header_is_truncated(self, length: int) -> None:
        with pytest.raises(TruncatedSpanError, match="inside its header"):
            parse_span(seal_payload(payload_of(WRITTEN)[:length]), ALPHABET)

    def test_a_count_beyond_all_bytes_is_truncated_and_costs_nothing(self) -> None:
        start = time.process_time()
        with pytest.raises(TruncatedSpanError, match="announces 999999999999999999 Z-tokens"):
            parse_span(seal_payload(payload_of(WRITTEN), 10**18 - 1), ALPHABET)
        assert time.process_time() - start < 0.1

    @pytest.mark.parametrize("count", ["03", "+3", "", "3 ", "٣", "1" * 5000])
    def test_a_count_that_is_no_plain_number_is_damage(self, count: str) -> None:
        with pytest.raises(DamagedSpanError):
            parse_span(seal(f"z1:{FINGERPRINT}:{count}:{WRITTEN.split(':')[3]}"), ALPHABET)

    @given(st.binary(max_size=9))
    def test_bytes_after_the_last_z_token_are_the_residual_and_nothing_else(self, residual: bytes) -> None:
        payload = payload_of(WRITTEN)[: PREAMBLE_BYTES + PACKED_BYTES]
        assert parse_span(seal_payload(payload + residual), ALPHABET) == replace(SPAN, residual=residual)

    def test_bits_after_the_last_z_token_are_damage(self) -> None:
        payload, last = payload_of(WRITTEN), PREAMBLE_BYTES + PACKED_BYTES - 1
        changed = payload[:last] + bytes([payload[last] | 1]) + payload[last + 1 :]
        with pytest.raises(DamagedSpanError, match="bits set after its last Z-token"):
            parse_span(seal_payload(changed), ALPHABET)

    def test_an_anchor_out_of_range_is_damage(self) -> None:
        payload = payload_of(WRITTEN)
        with pytest.raises(DamagedSpanError, match="anchors go from 0 to 49151"):
            parse_span(seal_payload(payload[:PREAMBLE_BYTES] + b"\xff" + payload[PREAMBLE_BYTES + 1 :]), ALPHABET)

    @pytest.mark.parametrize("flags", [2, 3, 4, 128])
    def test_an_unknown_flag_is_damage(self, flags: int) -> None:
        with pytest.raises(DamagedSpanError, match="unknown flags"):
            parse_span(seal_payload(bytes([flags]) + payload_of(WRITTEN)[1:]), ALPHABET)

    @pytest.mark.parametrize("number", [b"\x80\x00", b"\xff" * 9, b"\xff" * 9 + b"\x01"])
    def test_a_number_that_is_not_in_its_shortest_form_or_too_long_is_damage(self, number: bytes) -> None:
        payload = payload_of(WRITTEN)
        with pytest.raises(DamagedSpanError, match="number in a Z-span's header"):
            parse_span(seal_payload(payload[:1] + number + payload[2:]), ALPHABET)

    def test_source_tokens_that_the_z_tokens_do_not_stand_for_are_damage(self) -> None:
        payload = payload_of(WRITTEN)
        assert payload[2] == SPAN.source_tokens
        with pytest.raises(DamagedSpanError, match="announces 22 source tokens, but its Z-tokens stand for 21"):
            parse_span(seal_payload(payload[:2] + bytes([22]) + payload[3:]), ALPHABET)

    @pytest.mark.parametrize("payload", ["~~~~~", "0", "0|", "00000~"])
    def test_a_payload_that_is_not_base85_is_damage(self, payload: str) -> None:
        with pytest.raises(DamagedSpanError, match="not base85"):
            parse_span(seal(f"z1:{FINGERPRINT}:0:{payload}"), ALPHABET)

    def test_a_payload_of_other_characters_is_damage(self) -> None:
        with pytest.raises(DamagedSpanError, match="other characters"):
            parse_span(WRITTEN[:30] + " " + WRITTEN[30:], ALPHABET)

    def test_text_after_a_span_is_damage(self) -> None:
        with pytest.raises(DamagedSpanError):
            parse_span(WRITTEN + "\n", ALPHABET)

    def test_a_wrong_checksum_is_forgery(self) -> None:
        with pytest.raises(ForgedSpanError, match="checksum"):
            parse_span(f"{WRITTEN[:-9]}00000000]", ALPHABET)

    def test_a_wrong_checksum_is_forgery_to_readers_of_headers_too(self) -> None:
        with pytest.raises(ForgedSpanError, match="checksum"):
            read_header(f"{WRITTEN[:-9]}00000000]")

    @pytest.mark.parametrize("version", ["2", "0", "01", "9" * 5000])
    def test_an_unknown_version_is_named_with_the_way_out(self, version: str) -> None:
        with pytest.raises(SpanVersionError, match=r"reads version 1 only\. Upgrade zprompt") as caught:
            parse_span(WRITTEN.replace("z1", f"z{version}", 1), ALPHABET)
        assert len(str(caught.value)) < 300


class TestAnotherCodecsSpan:
    def test_is_refused_naming_both_codecs_and_the_way_out(self) -> None:
        with pytest.raises(WrongCodecError, match=rf"{FINGERPRINT}.*{OTHER}.*load"):
            require_codec(read_header(WRITTEN), OTHER)

    def test_is_read_by_its_own(self) -> None:
        require_codec(read_header(WRITTEN), FINGERPRINT)
        assert parse_span(WRITTEN, ALPHABET, FINGERPRINT) == SPAN

    def test_is_told_from_a_truncated_one_although_its_alphabet_differs(self) -> None:
        with pytest.raises(WrongCodecError):
            parse_span(WRITTEN, Alphabet(vocab_size=1 << 20), OTHER)

    def test_is_not_believed_without_its_checksum(self) -> None:
        with pytest.raises(ForgedSpanError):
            parse_span(WRITTEN.replace(FINGERPRINT, OTHER), ALPHABET, FINGERPRINT)


class TestFinding:
    def test_spans_are_found_where_they_are_in_a_longer_string(self) -> None:
        text = f"Before {WRITTEN}{WRITTEN}, after [z1] [zebra:] [1:2]."
        found = list(find_spans(text))
        assert [match.text for match in found] == [WRITTEN, WRITTEN]
        assert [text[match.start : match.end] for match in found] == [WRITTEN, WRITTEN]

    @pytest.mark.parametrize("rest", ["", " and so on", WRITTEN])
    def test_a_span_without_an_end_is_found_and_called_truncated(self, rest: str) -> None:
        first = next(find_spans("Text: " + WRITTEN[:-20] + rest))
        assert first.text == WRITTEN[:-20]
        with pytest.raises(TruncatedSpanError, match="no closing bracket"):
            parse_span(first.text, ALPHABET)

    @pytest.mark.parametrize(
        "hostile", ["[z1:" * 100_000, "[z" + "1" * 400_000, "[z1:" + "a" * 400_000, "[z" * 200_000]
    )
    def test_hostile_text_takes_time_in_proportion(self, hostile: str) -> None:
        start = time.process_time()
        for match in find_spans(hostile):
            with pytest.raises(SpanError):
                parse_span(match.text, ALPHABET)
        assert unescape_literal(escape_literal(hostile)) == hostile
        assert time.process_time() - start < 10

    @given(near_literals, near_literals)
    def test_a_text_is_split_at_its_spans_and_unescaped(self, before: str, after: str) -> None:
        pieces = list(split_at_spans(f"{escape_literal(before)} {WRITTEN}{WRITTEN} {escape_literal(after)}"))
        texts = [piece for piece in pieces if isinstance(piece, str)]
        assert texts == [f"{before} ", f" {after}"]
        assert [piece.text for piece in pieces if isinstance(piece, SpanMatch)] == [WRITTEN, WRITTEN]

    def test_a_span_alone_has_no_text_around_it(self) -> None:
        assert list(split_at_spans("")) == []
        assert [piece.text for piece in split_at_spans(WRITTEN) if isinstance(piece, SpanMatch)] == [WRITTEN]


class TestLiterals:
    @given(near_literals)
    def test_come_back_as_they_were(self, text: str) -> None:
        assert unescape_literal(escape_literal(text)) == text

    @given(near_literals)
    def test_are_no_spans_once_escaped(self, text: str) -> None:
        assert not list(find_spans(escape_literal(text)))

    @given(near_literals, near_literals)
    def test_different_texts_stay_different(self, one: str, two: str) -> None:
        assert (escape_literal(one) == escape_literal(two)) == (one == two)

    @given(near_literals.filter(lambda text: not list(find_spans(text))))
    def test_every_text_without_spans_is_the_escape_of_one_text(self, text: str) -> None:
        assert escape_literal(unescape_literal(text)) == text

    def test_get_one_backslash_more(self) -> None:
        assert escape_literal(r"[z1: [z\1: [z\\23: [z: [zx1:") == r"[z\1: [z\\1: [z\\\23: [z: [zx1:"


class TestWriting:
    @pytest.mark.parametrize(
        "field",
        [
            {"fingerprint": "0123456789AB"},
            {"fingerprint": "0123456789abc"},
            {"digest": b"1234567"},
            {"window": -1},
            {"window": 1 << 63},
            {"source_tokens": 20},
        ],
    )
    def test_a_span_that_could_not_be_read_is_not_written(self, field: dict[str, object]) -> None:
        with pytest.raises(OptionError):
            format_span(replace(SPAN, **field), ALPHABET)
