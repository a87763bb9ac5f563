"""The tiny reader of the reader's own tests, and tiny codecs in memory."""

import pytest

from tests.codec.conftest import SETTINGS
from tests.reader.conftest import chat_backbone, chat_codec, reader_folder, tiny_reader
from zprompt.codec import Codec
from zprompt.llm import Backbone

__all__ = ["chat_backbone", "chat_codec", "reader_folder", "tiny_reader"]


@pytest.fixture(scope="session")
def codec(tiny_backbone: Backbone) -> Codec:
    """Return a codec with small windows."""
    return Codec(tiny_backbone, SETTINGS, name="tiny")
