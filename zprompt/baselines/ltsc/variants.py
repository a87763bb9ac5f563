"""LTSC as baselines: with meta-tokens for a tuned model, as text for any model, and before Z-tokens.

    ReadableLtsc().shorten(text).text     # a text: dictionary and references
    Ltsc().shorten(text).text             # ids with meta-tokens, written as numbers
    TunedLtsc().shorten(text).text        # the same in the form that LTSC's reader was tuned on
    LtscZTokens().shorten(text).text      # a Z-span of what ReadableLtsc writes

A model that was not tuned can read only what `ReadableLtsc` writes.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from zprompt.baselines.ltsc.repeats import ALL_MODES, Mode
from zprompt.baselines.ltsc.sequences import DEFAULT_ALPHABET, READER_ALPHABET, MetaAlphabet, decode_text, encode_text
from zprompt.baselines.ltsc.texts import READABLE_MODES, count_tokens, restore_text, shorten_text
from zprompt.baselines.protocol import Output, Shortened, Tokenizer, check_budget, default_tokenizer
from zprompt.baselines.ztokens import ZTokens
from zprompt.errors import DamagedSequenceError

if TYPE_CHECKING:
    from zprompt.codec import Codec

_NUMBERS = re.compile(r"(?:[0-9]{1,18}(?: [0-9]{1,18})*)?")


def parse_ids(text: str) -> list[int]:
    """Read the ids that `Ltsc.shorten` wrote as numbers.

    :param text: The text of a result.
    :return: The ids.
    :raises DamagedSequenceError: If it is not decimal numbers separated by single spaces.
    """
    if not _NUMBERS.fullmatch(text):
        raise DamagedSequenceError(
            f"Expected decimal ids separated by spaces, but the text begins with {text[:24]!r}. "
            "Pass the text that `shorten` returned."
        )
    return [int(number) for number in text.split()]


class Ltsc:
    """Writes ids with meta-tokens as decimal numbers separated by spaces; `parse_ids` reads them for a model."""

    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "ids"

    def __init__(
        self,
        mode: Mode | None = None,
        tokenizer: Tokenizer | None = None,
        alphabet: MetaAlphabet = DEFAULT_ALPHABET,
    ) -> None:
        """Choose a mode.

        :param mode: The mode; None: the shortest of all.
        :param tokenizer: A tokenizer that adds no special tokens; None: the default backbone's.
        :param alphabet: The meta-tokens.
        """
        self._mode, self._tokenizer, self._alphabet = mode, tokenizer, alphabet

    @property
    def name(self) -> str:
        """Return "ltsc", or with a mode "ltsc-flat" and so on."""
        return f"ltsc-{self._mode.value}" if self._mode else "ltsc"

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text; budget and query are ignored."""
        check_budget(budget)
        tokenizer = self._tokenizer or default_tokenizer()
        ids = encode_text(text, tokenizer, self._alphabet, [self._mode] if self._mode else ALL_MODES)
        return Shortened(" ".join(map(str, ids)), count_tokens(text, tokenizer), len(ids), self.name)

    def restore(self, text: str) -> str:
        """Return exactly the source of a text that `shorten` wrote; raise DamagedSequenceError for any other."""
        return decode_text(parse_ids(text), self._tokenizer, self._alphabet)


class TunedLtsc(Ltsc):
    """Writes the meta-tokens that LTSC's reader was tuned on: the paper's mode, and few entries."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        """Choose the tokenizer, that of the reader; None: the default backbone's."""
        super().__init__(Mode.FLAT, tokenizer, READER_ALPHABET)

    @property
    def name(self) -> str:
        """Return "ltsc-tuned"."""
        return "ltsc-tuned"


class ReadableLtsc:
    """Writes a dictionary that any model can read in its context, and the text with references to it."""

    name = "ltsc-text"
    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "text"

    def __init__(self, tokenizer: Tokenizer | None = None, modes: Collection[Mode] = READABLE_MODES) -> None:
        """Choose the tokenizer and the modes.

        :param tokenizer: The tokenizer of the model that will read the text; None: the default backbone's.
        :param modes: The modes to try, FLAT and HIERARCHICAL.
        """
        self._tokenizer, self._modes = tokenizer, modes

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text; budget and query are ignored."""
        check_budget(budget)
        tokenizer = self._tokenizer or default_tokenizer()
        shortened = shorten_text(text, tokenizer, self._modes)
        return Shortened(shortened, count_tokens(text, tokenizer), count_tokens(shortened, tokenizer), self.name)

    def restore(self, text: str) -> str:
        """Return exactly the source of a text that `shorten` wrote."""
        return restore_text(text)


class LtscZTokens:
    """Writes repeats as references, and the result as Z-tokens: both are exact, so the whole is.

    A codec sees repeats within one window; references also reach across windows.
    """

    name = "ltsc-ztokens"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "z"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Tokens of the text with references per Z-token; None: the codec's usual one.
        :param codec: The codec; None: the default one, loaded once per process.
        """
        self._ztokens = ZTokens(ratio, codec)

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The source.
        :param budget: Z-tokens of the result, as far as the text allows; None: the ratio decides.
        :param query: Ignored.
        :return: The Z-span.
        """
        backbone = self._ztokens.codec.backbone
        span = self._ztokens.shorten(shorten_text(text, backbone), budget, query)
        return Shortened(span.text, count_tokens(text, backbone), span.tokens, self.name)

    def restore(self, text: str) -> str:
        """Return exactly the source of a text that `shorten` wrote."""
        return restore_text(self._ztokens.restore(text))
