"""Say how long a text is and how long it may become: what all lossy methods share.

Lengths count in tokens of the model that reads the result; unless another tokenizer is given, in those of the default
backbone, whose tokenizer loads without its weights.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from zprompt.baselines.protocol import check_budget
from zprompt.errors import DocumentTypeError, OptionError

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer

DEFAULT_RATIO = 2.0  # source tokens per token of the result, where nobody says a budget


@cache
def default_tokenizer() -> TextTokenizer:
    """Load the default backbone's tokenizer, once a process.

    :return: The tokenizer.
    """
    from zprompt.llm import TextTokenizer, pull

    return TextTokenizer.from_folder(pull())


def check_ratio(ratio: float) -> None:
    """Refuse a ratio that makes texts longer.

    :param ratio: Source tokens per token of the result.
    :raises OptionError: If it is below 1 or not finite.
    """
    if not 1 <= ratio < float("inf"):
        raise OptionError(f"ratio must be at least 1, got {ratio}. It says how many source tokens one token replaces.")


def check_text(text: object) -> None:
    """Refuse what no tokenizer takes.

    :param text: What was given as a text.
    :raises DocumentTypeError: If it is no str.
    """
    from zprompt.zspan import require_no_surrogates

    if not isinstance(text, str):
        raise DocumentTypeError(f"text must be a str, got {type(text).__name__}. Shorten documents one by one.")
    require_no_surrogates(text)


def wanted_tokens(source_tokens: int, budget: int | None, ratio: float) -> int:
    """Say how long a result may be.

    :param source_tokens: Length of the source.
    :param budget: Tokens that the caller allows; None: as the ratio says.
    :param ratio: Source tokens per token of the result.
    :return: Tokens, at most as many as the source has.
    """
    check_budget(budget)
    if budget is None:
        budget = max(round(source_tokens / ratio), 1)
    return min(budget, source_tokens)
