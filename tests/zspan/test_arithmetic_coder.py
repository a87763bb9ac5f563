"""Bits become bytes and come back; each content has exactly one byte string, as long as the meter says."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zprompt.errors import DamagedSpanError
from zprompt.zspan.arithmetic_coder import ONE, Coder, Decoder, Encoder, Meter

TAIL_BITS = 32  # the coder ends with whole bytes, while the meter counts fractions of bits

BITS = st.tuples(
    st.integers(0, 3).map(lambda context: context or None),  # None: nothing is learned
    st.integers(0, 1),
    st.integers(0, ONE),  # prior of a new context
    st.integers(0, 255),  # weight of that prior, in observations
)
NUMBERS = st.integers(0, 8).flatmap(
    lambda bits: st.tuples(st.sampled_from("ab"), st.just(bits), st.integers(0, (1 << bits) - 1))
)
CONTENTS = st.lists(BITS | NUMBERS, max_size=50)
Content = list[tuple[object, ...]]
some = settings(max_examples=25)


def code(coder: Coder, content: Content) -> list[int]:
    """Code a content and return its values; a decoder gets the contexts only, not the values."""
    knows_values = not isinstance(coder, Decoder)
    coded = []
    for context, first, second, *weight in content:
        if weight:
            coded.append(coder.bit(context, first if knows_values else 0, second, weight[0]))
        else:
            coded.append(coder.below(context, first, second if knows_values else 0))
    return coded


def values(content: Content) -> list[int]:
    return [item[1] if len(item) == 4 else item[2] for item in content]


def written(content: Content) -> bytes:
    encoder = Encoder()
    code(encoder, content)
    return encoder.finish()


def read(data: bytes, content: Content) -> list[int]:
    decoder = Decoder(data)
    decoded = code(decoder, content)
    decoder.finish()
    return decoded


@some
@given(CONTENTS)
def test_any_bits_and_numbers_in_any_contexts_come_back(content: Content) -> None:
    assert read(written(content), content) == values(content)


@some
@given(CONTENTS)
def test_encoder_and_meter_return_what_they_are_given(content: Content) -> None:
    assert code(Encoder(), content) == code(Meter(), content) == values(content)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999, 1.0])
def test_many_bits_take_what_the_meter_says_and_little_more_than_their_entropy(share: float) -> None:
    content: Content = [("c", int(i * share) < int((i + 1) * share), ONE // 2, 0) for i in range(10_000)]
    meter = Meter()
    code(meter, content)
    data = written(content)
    assert read(data, content) == values(content)
    assert 0.998 * meter.bits - TAIL_BITS <= 8 * len(data) <= 1.002 * meter.bits + TAIL_BITS
    assert len(data) < 1_300


@some
@given(CONTENTS)
def test_bytes_take_what_the_meter_says(content: Content) -> None:
    meter = Meter()
    code(meter, content)
    assert 0.95 * meter.bits - TAIL_BITS <= 8 * len(written(content)) <= 1.05 * meter.bits + TAIL_BITS


def test_an_empty_content_takes_no_bytes() -> None:
    assert written([]) == b""
    assert read(b"", []) == []


def test_a_context_learns_what_it_sees() -> None:
    def cost(bits: list[int]) -> float:
        meter = Meter()
        code(meter, [("c", bit, ONE // 2, 0) for bit in bits])
        return meter.bits

    assert cost([1] * 400) < 12
    assert cost([0] * 400) < 12
    assert cost([0, 1] * 200) > 390


def test_a_certain_bit_is_not_free() -> None:
    meter = Meter()
    code(meter, [("c", 1, ONE, 255)] * 10_000)
    assert meter.bits > 10_000 / 720


def test_contexts_do_not_disturb_each_other() -> None:
    meter = Meter()
    code(meter, [("a", 1, ONE // 2, 0), ("b", 0, ONE // 2, 0)] * 400)
    assert meter.bits < 24


def test_a_prior_counts_until_a_context_has_learned() -> None:
    def cost(prior: int, weight: int, bit: int) -> float:
        meter = Meter()
        code(meter, [("c", bit, prior, weight)] * 30)
        return meter.bits

    assert cost(ONE * 99 // 100, 20, 1) < cost(ONE // 2, 0, 1) < cost(ONE // 10, 20, 1)
    assert cost(ONE // 10, 200, 1) > cost(ONE // 10, 5, 1)


class TestEachContentHasOneForm:
    @some
    @given(st.binary(max_size=12), CONTENTS)
    def test_any_bytes_are_what_an_encoder_writes_or_are_refused(self, data: bytes, content: Content) -> None:
        decoder = Decoder(data)
        try:
            decoded = code(decoder, content)
            decoder.finish()
        except DamagedSpanError:
            return
        decoded_content: Content = [
            (*item[:1], value, *item[2:]) if len(item) == 4 else (*item[:2], value)
            for item, value in zip(content, decoded, strict=True)
        ]
        assert written(decoded_content) == data

    @some
    @given(CONTENTS, st.binary(min_size=1, max_size=5))
    def test_appended_bytes_never_give_the_same_values(self, content: Content, suffix: bytes) -> None:
        try:
            assert read(written(content) + suffix, content) != values(content)
        except DamagedSpanError:
            pass

    @some
    @given(CONTENTS, st.binary(min_size=5, max_size=9))
    def test_many_appended_bytes_are_refused(self, content: Content, suffix: bytes) -> None:
        with pytest.raises(DamagedSpanError, match="does not hold what"):
            read(written(content) + suffix, content)

    @some
    @given(CONTENTS.filter(written), st.data())
    def test_missing_bytes_never_give_the_same_values(self, content: Content, data: st.DataObject) -> None:
        whole = written(content)
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        try:
            assert read(cut, content) != values(content)
        except DamagedSpanError:
            pass

    @some
    @given(st.lists(st.integers(0, 1), min_size=60, max_size=120), st.data())
    def test_missing_bytes_of_incompressible_content_are_refused(self, bits: list[int], data: st.DataObject) -> None:
        content: Content = [(None, bit, 0, 0) for bit in bits]
        whole = written(content)
        with pytest.raises(DamagedSpanError):
            read(whole[: data.draw(st.integers(0, len(whole) - 5))], content)

    @some
    @given(CONTENTS.filter(written), st.data())
    def test_changed_bytes_never_give_the_same_values(self, content: Content, data: st.DataObject) -> None:
        whole = bytearray(written(content))
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            assert read(bytes(whole), content) != values(content)
        except DamagedSpanError:
            pass

    @some
    @given(CONTENTS)
    def test_a_decoder_that_did_not_read_everything_refuses_to_finish(self, content: Content) -> None:
        data = written(content)
        decoder = Decoder(data)
        if data:
            with pytest.raises(DamagedSpanError):
                decoder.finish()


def test_a_few_bytes_do_not_claim_a_million_values() -> None:
    for data in (b"", b"\x00" * 20, b"\xff" * 20, bytes(range(20))):
        decoder, count, start = Decoder(data), 0, time.process_time()
        with pytest.raises(DamagedSpanError):
            while count < 1_000_000:
                decoder.bit("c", 0)
                count += 1
        assert count < 710 * 8 * (len(data) + 5)
        assert time.process_time() - start < 2
