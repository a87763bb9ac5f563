"""Texts and a tiny codec for the baselines."""

import pytest
from hypothesis import strategies as st

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES
from zprompt.codec import Codec
from zprompt.llm import Backbone

TEXT = " ".join(SENTENCES)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.lists(
    st.sampled_from(SENTENCES), max_size=4
).map(" ".join)


@pytest.fixture(scope="session")
def small_codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec over the tiny backbone."""
    return Codec(tiny_backbone, SETTINGS, name="small")
