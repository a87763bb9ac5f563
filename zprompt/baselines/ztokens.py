"""Z-tokens as a method: the text is a Z-span, its length is counted in Z-tokens, and it comes back exactly.

Without a budget or ratio, Z-tokens are as many as the codec's usual exchange rate gives. With one, they are as many as
were asked for, as far as the text allows: what they do not say, the residual of the Z-span does.

`Shorthand` writes the anchors as text, for a reader that knows no Z-tokens; nothing restores that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, TYPE_CHECKING

from zprompt.baselines.lengths import check_ratio, check_text
from zprompt.baselines.protocol import Output, Shortened, check_budget

if TYPE_CHECKING:
    from zprompt.codec import Codec

_ROUNDS = 4  # of asking for other numbers of Z-tokens, until their shorthand fits well
_SLACK = 0.05  # of the budget that may stay empty, or two tokens


class ZTokens:
    """Writes texts as Z-spans."""

    name = "ztokens"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "z"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token where no budget is given; None: the usual exchange rate.
        :param codec: The codec; None: the default one, which this process loads once.
        """
        if ratio is not None:
            check_ratio(ratio)
        self._ratio, self._codec = ratio, codec

    @cached_property
    def codec(self) -> Codec:
        """Give the codec, which is loaded with the first text.

        :return: The codec.
        """
        from zprompt.codec import shared_codec

        return self._codec or shared_codec()

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Compress a text.

        :param text: The text.
        :param budget: Z-tokens that the Z-span is to have, as far as the text allows; None: as the ratio says.
        :param query: What will be asked: what it mentions is rather kept as anchors.
        :return: The Z-span.
        """
        check_text(text)
        check_budget(budget)
        ratio = self._ratio if budget is None else self._ratio_for(text, budget)
        result = self.codec.compress(text, ratio=ratio, query=query)
        return Shortened(str(result.documents), result.stats.source_tokens, result.stats.z_tokens, self.name)

    def restore(self, text: str) -> str:
        """Decompress a text.

        :param text: What `shorten` made of it.
        :return: The source, exactly.
        """
        return str(self.codec.decompress(text))

    def restore_all(self, texts: Sequence[str]) -> list[str]:
        """Decompress several texts together, which is faster than one after the other.

        :param texts: What `shorten` made of each.
        :return: The sources, exactly.
        """
        return list(self.codec.decompress(list(texts)))

    def _ratio_for(self, text: str, budget: int) -> float:
        """Give the ratio that a budget means for a text."""
        from zprompt.zspan import escape

        backbone = self.codec.backbone
        carried = escape(text, lambda piece: backbone.decode(backbone.encode(piece)) == piece).text
        # Half a Z-token more: the codec takes the whole part, and the division must not round below the budget.
        return max(1.0, len(backbone.encode(carried)) / (max(budget, 1) + 0.5))


class Shorthand:
    """Writes the anchors of a text's Z-tokens, with an ellipsis for each span that was dropped."""

    name = "shorthand"
    own_length: ClassVar[bool] = False
    output: ClassVar[Output] = "text"

    def __init__(self, ratio: float | None = None, codec: Codec | None = None) -> None:
        """Choose the codec.

        :param ratio: Source tokens per Z-token where no budget is given; None: the usual exchange rate.
        :param codec: The codec; None: the default one, which this process loads once.
        """
        self._ztokens = ZTokens(ratio, codec)

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Write the anchors of a text.

        :param text: The text.
        :param budget: Tokens that the anchors and ellipses are to take, as far as the text allows; None: as they come.
        :param query: What will be asked: what it mentions is rather kept as anchors.
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

    def _write(self, text: str, asked: int | None, query: str | None) -> Shortened:
        """Write the anchors of a number of Z-tokens."""
        codec = self._ztokens.codec
        compressed = self._ztokens.shorten(text, asked, query)
        shorthand = codec.shorthand(compressed.text)
        return Shortened(shorthand, compressed.source_tokens, len(codec.backbone.encode(shorthand)), self.name)


def _length(shortened: Shortened) -> int:
    return shortened.tokens
