"""Z-tokens and the numbers that stand for them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zprompt.errors import DamagedSpanError, OptionError
from zprompt.zspan.alphabet import Alphabet, ZToken

DEFAULT = Alphabet(vocab_size=49152)


@st.composite
def alphabets(draw: st.DrawFn) -> Alphabet:
    return Alphabet(
        vocab_size=draw(st.integers(2, 300_000)),
        max_gap=draw(st.integers(0, 40)),
        subcodes=draw(st.integers(0, 6)),
        subcode_size=draw(st.integers(1, 1000)),
    )


@st.composite
def tokens_of(draw: st.DrawFn, alphabet: Alphabet) -> ZToken:
    anchor = draw(st.integers(0, alphabet.vocab_size - 1))
    gap = draw(st.integers(0, alphabet.max_gap))
    if gap == 0:
        return ZToken(anchor, 0, (0,) * alphabet.subcodes)
    code = draw(st.tuples(*[st.integers(0, alphabet.subcode_size - 1)] * alphabet.subcodes))
    return ZToken(anchor, gap, code)


@given(st.data())
def test_every_z_token_of_every_alphabet_comes_back_from_its_number(data: st.DataObject) -> None:
    alphabet = data.draw(alphabets())
    token = data.draw(tokens_of(alphabet))

    number = alphabet.pack(token)

    assert 0 <= number < alphabet.size <= 1 << alphabet.bits_per_z_token
    assert alphabet.unpack(number) == token


def test_every_number_of_a_small_alphabet_is_one_z_token_or_refused() -> None:
    alphabet = Alphabet(vocab_size=3, max_gap=2, subcodes=2, subcode_size=3)
    read, refused = set(), 0
    for number in range(alphabet.size):
        try:
            token = alphabet.unpack(number)
        except DamagedSpanError:
            refused += 1
        else:
            assert alphabet.pack(token) == number
            read.add(token)
    assert len(read) == 3 * (1 + 2 * 3**2)
    assert len(read) + refused == alphabet.size


def test_the_default_alphabet_takes_52_bits() -> None:
    assert DEFAULT.bits_per_z_token == 52


@pytest.mark.parametrize(
    "token",
    [
        ZToken(-1, 0, (0,) * 4),
        ZToken(49152, 0, (0,) * 4),
        ZToken(0, -1, (0,) * 4),
        ZToken(0, 16, (0,) * 4),
        ZToken(0, 1, (0,) * 3),
        ZToken(0, 1, (0,) * 5),
        ZToken(0, 1, (0, 0, 256, 0)),
        ZToken(0, 1, (0, 0, -1, 0)),
        ZToken(0, 0, (0, 0, 0, 1)),
    ],
)
def test_a_z_token_out_of_range_has_no_number(token: ZToken) -> None:
    with pytest.raises(OptionError, match="must"):
        DEFAULT.pack(token)


@pytest.mark.parametrize("number", [DEFAULT.size, 1 << 80, -1])
def test_a_number_past_the_alphabet_is_refused(number: int) -> None:
    with pytest.raises(DamagedSpanError, match="anchors go from 0 to 49151"):
        DEFAULT.unpack(number)


def test_a_number_that_gives_a_code_to_no_gap_is_refused() -> None:
    with pytest.raises(DamagedSpanError, match="must be zero"):
        DEFAULT.unpack(1)


@pytest.mark.parametrize("field", [{"vocab_size": 1}, {"max_gap": -1}, {"subcodes": -1}, {"subcode_size": 0}])
def test_an_alphabet_without_letters_is_refused(field: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="must be at least"):
        Alphabet(**{"vocab_size": 10, **field})
