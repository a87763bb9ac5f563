"""Turn tokens into text as they come, without taking anything back.

Two things hold a piece of text back: a character whose bytes have not all come, and the beginning of a stop string.

    tokens ─► Detokenizer (whole characters) ─► StopFinder (nothing of a stop string) ─► text to show
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"  # what decoding gives for bytes that are no character, or not yet


class Detokenizer:
    """Gives the text of a row's tokens, character by character."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        """Start with nothing said.

        :param decode: Gives the text of token ids.
        """
        self._decode = decode
        # Tokens that the next ones are decoded with: some decoders treat the first token of a text in another way.
        self._context: list[int] = []
        self._shown = ""  # text of these
        self._pending: list[int] = []

    def feed(self, token_id: int) -> str:
        """Take the next token.

        :param token_id: The token.
        :return: The text that is certain now, perhaps none.
        """
        self._pending.append(token_id)
        text = self._decode(self._context + self._pending)
        return "" if text.endswith(_INCOMPLETE) else self._show(text)

    def finish(self) -> str:
        """Take no more tokens.

        :return: The text that was held back; bytes that never became a character are replacement characters.
        """
        return self._show(self._decode(self._context + self._pending)) if self._pending else ""

    def _show(self, text: str) -> str:
        new = text[len(self._shown) :]
        if new:  # else the tokens have no text of their own, as special tokens, and the context stays
            self._context, self._shown = self._pending, self._decode(self._pending)
            self._pending = []
        return new


class StopFinder:
    """Cuts a text off before the first stop string that it completes."""

    def __init__(self, stops: Sequence[str]) -> None:
        """Start with no text.

        :param stops: The stop strings, none of them empty.
        """
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, text: str) -> str:
        """Take the next piece of text.

        :param text: The piece.
        :return: What is certain to come before any stop string.
        """
        self._held += text
        # The one that is complete first, so that the cut does not depend on how the text came in pieces.
        ends = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if ends:
            self.found = True
            self._held, shown = "", self._held[: min(ends)[1]]
            return shown
        return self._release(len(self._held) - self._open())

    def finish(self) -> str:
        """Take no more text.

        :return: What was held back.
        """
        return self._release(len(self._held))

    def _open(self) -> int:
        """Count the last characters that may be the beginning of a stop string."""
        longest = max(map(len, self._stops), default=0) - 1
        sizes = range(min(longest, len(self._held)), 0, -1)
        return next((n for n in sizes if any(stop.startswith(self._held[-n:]) for stop in self._stops)), 0)

    def _release(self, size: int) -> str:
        shown, self._held = self._held[:size], self._held[size:]
        return shown
