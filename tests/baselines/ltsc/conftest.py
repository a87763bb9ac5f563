"""A tokenizer for texts."""

import pytest


class Letters:
    """A tokenizer of one token a character, that says nothing of offsets."""

    def encode(self, text: str, /) -> list[int]:
        text.encode()  # real ones refuse lone surrogates, too
        return list(map(ord, text))

    def decode(self, ids: list[int], /) -> str:
        return "".join(map(chr, ids))


@pytest.fixture(scope="session")
def letters() -> Letters:
    """Return a tokenizer of one token a character."""
    return Letters()
