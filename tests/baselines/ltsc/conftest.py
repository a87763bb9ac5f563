"""A tokenizer for texts, and a tiny codec."""

import pytest

from tests.codec.conftest import make_heads
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone


class Letters:
    """A tokenizer of one token a character, that says nothing of offsets."""

    def encode(self, text: str, /) -> list[int]:
        text.encode()  # real ones refuse lone surrogates, too
        return list(map(ord, text))

    def decode(self, ids: list[int], /) -> str:
        return "".join(map(chr, ids))


@pytest.fixture(scope="session")
def letters() -> Letters:
    """Give a tokenizer of one token a character."""
    return Letters()


@pytest.fixture(scope="session")
def small_codec(tiny_backbone: Backbone) -> Codec:
    """Give a codec with random heads over the tiny backbone."""
    return Codec(tiny_backbone, make_heads(tiny_backbone), "small")
