"""The method that leaves every text as it is: the ceiling, a row of every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zprompt.baselines.protocol import Shortened

if TYPE_CHECKING:
    from zprompt.codec import Codec

FULL = "full text"


class FullText:
    """Leaves every text as it is: the ceiling."""

    name = FULL

    def __init__(self, codec: Codec) -> None:
        """Take a tokenizer.

        :param codec: Whose backbone counts tokens.
        """
        self._codec = codec

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Give the text back.

        :param text: The text.
        :param budget: Ignored.
        :param query: Ignored.
        :return: The text.
        """
        tokens = len(self._codec.backbone.encode(text))
        return Shortened(text, tokens, tokens, self.name)

    def restore(self, text: str) -> str:
        """Give the text back.

        :param text: The text.
        :return: The text.
        """
        return text
