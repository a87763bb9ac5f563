"""Texts and a tiny codec for the methods."""

import pytest

from tests.codec.conftest import make_heads
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone


@pytest.fixture(scope="session")
def small_codec(tiny_backbone: Backbone) -> Codec:
    """Give a codec with random heads over the tiny backbone."""
    return Codec(tiny_backbone, make_heads(tiny_backbone), "small")
