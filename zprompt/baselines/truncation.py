"""Cut a text off: the floor that every other method has to beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, TYPE_CHECKING

from zprompt.baselines.lengths import DEFAULT_RATIO, check_ratio, check_text, default_tokenizer, wanted_tokens
from zprompt.baselines.protocol import Output, Shortened
from zprompt.errors import OptionError

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer

Keep = Literal["start", "end"]


class Truncation:
    """Keeps as many tokens of one end of a text as the budget allows."""

    name = "truncation"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(
        self, keep: Keep = "start", ratio: float = DEFAULT_RATIO, tokenizer: TextTokenizer | None = None
    ) -> None:
        """Choose the end.

        :param keep: Which end stays: "start" or "end".
        :param ratio: Source tokens per token of the result where no budget is given.
        :param tokenizer: Counts tokens; None: the default backbone's.
        :raises OptionError: If an option has a value that is not allowed.
        """
        if keep not in ("start", "end"):
            raise OptionError(f"keep must be one of 'start', 'end', got {keep!r}.")
        check_ratio(ratio)
        self._keep, self._ratio, self._tokenizer = keep, ratio, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Cut a text off.

        :param text: The text.
        :param budget: Tokens that the result may have; None: as the ratio says.
        :param query: Ignored.
        :return: The text up to the last token that fits, or from the first one.
        """
        check_text(text)
        tokenizer = self._tokenizer or default_tokenizer()
        ids, offsets = tokenizer.encode_with_offsets(text)
        wanted = wanted_tokens(len(ids), budget, self._ratio)
        if wanted >= len(ids):
            return Shortened(text, len(ids), len(ids), self.name)
        for piece in self._pieces(text, offsets, wanted):
            tokens = len(tokenizer.encode(piece))
            if tokens <= wanted:  # a token of the source may be two where its neighbour is cut off
                return Shortened(piece, len(ids), tokens, self.name)
        return Shortened("", len(ids), 0, self.name)

    def _pieces(self, text: str, offsets: list[tuple[int, int]], wanted: int) -> Iterator[str]:
        """Give what could stay, the longest first."""
        for count in range(wanted, 0, -1):
            yield text[: offsets[count - 1][1]] if self._keep == "start" else text[offsets[-count][0] :]
