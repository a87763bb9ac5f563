"""Z-tokens as a baseline among others: the text is a Z-span, its length is in Z-tokens, and it is restored exactly.

Without a budget or ratio, the text's own predictability decides how many Z-tokens there are. With one, there are as
many as asked for, as far as the text allows; what they leave open is in the residual of the Z-span.

`Shorthand` writes the anchors as text, for a reader that knows no Z-tokens; it cannot be restored.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from zprompt.baselines.protocol import Output, Shortened, check_budget, check_ratio, check_text
from zprompt.options import CompressOptions

if TYPE_CHECKING:
    from zprompt.codec import Codec

_ROUNDS = 4  # of asking for other numbers of Z-tokens, until their shorthand fits well
_SLACK = 0.05  # of the budget that may stay unused, or two tokens


class ZTokens:
    """Writes texts as Z-spans."""

    name = "ztokens"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "z"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token, without a budget; None: the codec's usual one.
        :param codec: The codec; None: the default one, loaded once per process.
        """
        if ratio is not None:
            check_ratio(ratio)
        self._ratio, self._codec = ratio, codec

    @cached_property
    def codec(self) -> Codec:
        """Return the codec, loaded with the first text."""
        from zprompt.codec import shared_codec

        return self._codec or shared_codec()

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Compress a text.

        :param text: The source.
        :param budget: Z-tokens that the Z-span is to have, as far as the text allows; None: the ratio decides.
        :param query: The question that the text is to answer: what it mentions is kept as anchors first.
        :return: The Z-span.
        """
        check_text(text)
        check_budget(budget)
        ratio = self._ratio if budget is None else self._ratio_for(text, budget)
        if budget is None:
            result = self.codec.compress(text, ratio=ratio, query=query)
        else:  # as far as the text allows, so without a warning
            result = self.codec.compress_with(CompressOptions(ratio, query=query), text)
        return Shortened(str(result.documents), result.stats.source_tokens, result.stats.positions, self.name)

    def restore(self, text: str) -> str:
        """Decompress a Z-span."""
        return str(self.codec.decompress(text))

    def restore_all(self, texts: Sequence[str]) -> list[str]:
        """Decompress several Z-spans together, which is faster than one after the other."""
        return list(self.codec.decompress(list(texts)))

    def _ratio_for(self, text: str, budget: int) -> float:
        """Return the ratio at which a text has `budget` Z-tokens."""
        backbone = self.codec.backbone
        return max(1.0, len(backbone.encode(backbone.escape(text).text)) / max(budget, 1))


class Shorthand:
    """Writes the anchors of a text's Z-tokens, with an ellipsis for each dropped span."""

    name = "shorthand"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token, without a budget; None: the codec's usual one.
        :param codec: The codec; None: the default one, loaded once per process.
        """
        self._ztokens = ZTokens(ratio, codec)

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Write the anchors of a text.

        :param text: The source.
        :param budget: Tokens of anchors and ellipses together, as far as the text allows; None: as many as there are.
        :param query: The question that the text is to answer: what it mentions is kept as anchors first.
        :return: Readable text.
        """
        if budget is None:
            return self._write(text, None, query)
        tried: dict[int, Shortened] = {}
        # Nearly each anchor has an ellipsis, fewer where more is kept.
        share = budget / max(1, len(self._ztokens.codec.backbone.encode(text)))
        asked = max(1, round(budget * (0.5 + 0.2 * min(share, 1.0))))
        while len(tried) < _ROUNDS and asked not in tried:
            tried[asked] = found = self._write(text, asked, query)
            if 0 <= budget - found.tokens <= max(2, _SLACK * budget):
                break
            asked = max(1, asked * budget // max(found.tokens, 1))
        fitting = [one for one in tried.values() if one.tokens <= budget]
        return max(fitting, key=_length) if fitting else min(tried.values(), key=_length)

    def _write(self, text: str, z_tokens: int | None, query: str | None) -> Shortened:
        codec = self._ztokens.codec
        compressed = self._ztokens.shorten(text, z_tokens, query)
        shorthand = codec.shorthand(compressed.text)
        return Shortened(shorthand, compressed.source_tokens, len(codec.backbone.encode(shorthand)), self.name)


def _length(shortened: Shortened) -> int:
    return shortened.tokens
