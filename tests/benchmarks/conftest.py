"""The tiny reader of the reader's own tests."""

from tests.reader.conftest import chat_backbone, chat_codec, reader_folder, tiny_reader

__all__ = ["chat_backbone", "chat_codec", "reader_folder", "tiny_reader"]
