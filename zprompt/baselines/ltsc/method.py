"""LTSC as methods behind the protocol: with meta-tokens for a tuned model, as text for any model, and before Z-tokens.

    ReadableLtsc().shorten(text).text     # a text: dictionary and references
    Ltsc().shorten(text).text             # ids with meta-tokens, written as numbers
    TunedLtsc().shorten(text).text        # the same with what LTSC's reader was tuned on
    LtscZTokens().shorten(text).text      # a Z-span of what ReadableLtsc gives

A model that was not tuned can only be asked about what `ReadableLtsc` gives.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import ClassVar, TYPE_CHECKING

from zprompt.baselines.lengths import default_tokenizer
from zprompt.baselines.ltsc.alphabet import DEFAULT_ALPHABET, MetaAlphabet
from zprompt.baselines.ltsc.discovery import ALL_MODES, Mode
from zprompt.baselines.ltsc.encoding import decode_text, encode_text
from zprompt.baselines.ltsc.pieces import Tokenizer, count_tokens
from zprompt.baselines.ltsc.texts import READABLE_MODES, restore_text, shorten_text
from zprompt.baselines.ltsc.training import READER_ALPHABET
from zprompt.baselines.protocol import Output, Shortened, check_budget
from zprompt.errors import DamagedSequenceError

if TYPE_CHECKING:
    from zprompt.codec import Codec

_NUMBERS = re.compile(r"(?:[0-9]{1,18}(?: [0-9]{1,18})*)?")


class Ltsc:
    """Meta-tokens; the text of a result is its ids, in decimal and with a space between: a model takes the ids."""

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
        """Name the method.

        :return: "ltsc", or with its mode "ltsc-flat" and so on.
        """
        return f"ltsc-{self._mode.value}" if self._mode else "ltsc"

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The text.
        :param budget: Ignored: what has no repeats cannot be shortened without loss.
        :param query: Ignored.
        :return: The ids as a text, and how many there are.
        """
        check_budget(budget)
        tokenizer = self._tokenizer or default_tokenizer()
        ids = encode_text(text, tokenizer, self._alphabet, [self._mode] if self._mode else ALL_MODES)
        return Shortened(" ".join(map(str, ids)), count_tokens(text, tokenizer), len(ids), self.name)

    def restore(self, text: str) -> str:
        """Give the source back.

        :param text: What `shorten` made of it.
        :return: The source, exactly.
        :raises DamagedSequenceError: If `shorten` does not write such.
        """
        if not _NUMBERS.fullmatch(text):
            raise DamagedSequenceError(
                f"Ids are written in decimal with a space between, but this begins with {text[:24]!r}. "
                "Pass the text of what `shorten` returned."
            )
        return decode_text([int(number) for number in text.split()], self._tokenizer, self._alphabet)


class TunedLtsc(Ltsc):
    """The meta-tokens that LTSC's reader was tuned on: the paper's mode, and few entries."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        """Choose a tokenizer.

        :param tokenizer: The reader's; None: the default backbone's.
        """
        super().__init__(Mode.FLAT, tokenizer, READER_ALPHABET)

    @property
    def name(self) -> str:
        """Name the method.

        :return: "ltsc-tuned".
        """
        return "ltsc-tuned"


class ReadableLtsc:
    """A dictionary that any model can read in its context, and the text with references to it."""

    name = "ltsc-text"
    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "text"

    def __init__(self, tokenizer: Tokenizer | None = None, modes: Collection[Mode] = READABLE_MODES) -> None:
        """Choose what counts.

        :param tokenizer: The tokenizer of the model that is to read the text; None: the default backbone's.
        :param modes: The modes to try, FLAT and HIERARCHICAL.
        """
        self._tokenizer, self._modes = tokenizer, modes

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The text.
        :param budget: Ignored: what has no repeats cannot be shortened without loss.
        :param query: Ignored.
        :return: The shortened text.
        """
        check_budget(budget)
        tokenizer = self._tokenizer or default_tokenizer()
        short = shorten_text(text, tokenizer, self._modes)
        return Shortened(short, count_tokens(text, tokenizer), count_tokens(short, tokenizer), self.name)

    def restore(self, text: str) -> str:
        """Give the source back.

        :param text: What `shorten` made of it.
        :return: The source, exactly.
        """
        return restore_text(text)


class LtscZTokens:
    """Repeats become references, and what is left becomes Z-tokens: both exact, so the whole is.

    A codec sees repeats within a window of its own; references also reach what was said many windows before.
    """

    name = "ltsc-ztokens"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "z"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Tokens of the text with references per Z-token; None: the codec's usual exchange rate.
        :param codec: The codec; None: the default one, which this process loads once.
        """
        self._ratio, self._codec = ratio, codec

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Shorten a text.

        :param text: The text.
        :param budget: Z-tokens that the result is to have, as far as the text allows; None: as the ratio says.
        :param query: What will be asked: what it mentions is rather kept as anchors.
        :return: The Z-span.
        """
        check_budget(budget)
        codec = self._load()
        repeated_once = shorten_text(text, codec.backbone)
        ratio = self._ratio
        if budget is not None:
            ratio = max(1.0, count_tokens(repeated_once, codec.backbone) / max(budget, 1))
        result = codec.compress(repeated_once, ratio=ratio, query=query)
        tokens = count_tokens(text, codec.backbone)
        return Shortened(str(result.documents), tokens, result.stats.z_tokens, self.name)

    def restore(self, text: str) -> str:
        """Give the source back.

        :param text: What `shorten` made of it.
        :return: The source, exactly.
        """
        return restore_text(str(self._load().decompress(text)))

    def _load(self) -> Codec:
        """Give the codec."""
        from zprompt.codec import shared_codec

        return self._codec or shared_codec()
