"""Count the tokens of a text: the default reader's, those of an API's model, or by the caller's own function."""

import gzip
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import TypeAlias

from tokenizers import Tokenizer

from zprompt.errors import MissingDependencyError, OptionError
from zprompt.options import whole_number

CountTokens: TypeAlias = Callable[[str], int]
Count: TypeAlias = str | CountTokens
"""How tokens are counted: "reader", "tiktoken:" and the name of an encoding, or a function of a text."""

_TOKENIZER = Path(__file__).parent / "models" / "default" / "tokenizer.json.gz"  # the default LLM's; needs no download
_TIKTOKEN = "tiktoken:"
_SENTENCE = 1000  # characters of a cached sentence; a cache of 100,000 longer texts would fill the memory


def counter(count: Count) -> CountTokens:
    """Return the function that counts tokens.

    :param count: "reader" for the default reader's tokens, "tiktoken:o200k_base" or another of its encodings, or a
        function.
    :return: The function.
    :raises OptionError: If it is none of these, or tiktoken does not have the encoding.
    :raises MissingDependencyError: If tiktoken is not installed.
    """
    if count == "reader":
        return _reader_tokens
    if callable(count):
        return _checked(count)
    if isinstance(count, str) and count.startswith(_TIKTOKEN):
        return _tiktoken(count.removeprefix(_TIKTOKEN))
    raise OptionError(
        f"count must be 'reader', 'tiktoken:<encoding>' or a function that counts the tokens of a text, got {count!r}."
    )


def _checked(count: CountTokens) -> CountTokens:
    """Return the caller's function, whose results become whole numbers or errors."""

    def counted(text: str) -> int:
        result = count(text)
        if whole_number("what count= returns", result) < 0:
            raise OptionError(f"count= returned {result!r} tokens for a text. It must return 0 or more.")
        return int(result)

    return counted


def _reader_tokens(text: str) -> int:
    return (_count_sentence if len(text) <= _SENTENCE else _count_text)(text)


@lru_cache(maxsize=100_000)  # the same sentences are counted for every question
def _count_sentence(text: str) -> int:
    return _counted(text)


@lru_cache(maxsize=64)  # a text is counted several times in one call
def _count_text(text: str) -> int:
    return _counted(text)


def _counted(text: str) -> int:
    return len(_tokenizer().encode(text, add_special_tokens=False).ids)


@cache
def _tokenizer() -> Tokenizer:
    return Tokenizer.from_str(gzip.decompress(_TOKENIZER.read_bytes()).decode())


def _tiktoken(name: str) -> CountTokens:
    try:
        import tiktoken
    except ImportError as error:
        raise MissingDependencyError(f"count='{_TIKTOKEN}{name}' needs tiktoken: pip install tiktoken.") from error
    try:
        encoding = tiktoken.get_encoding(name)
    except Exception as error:  # an unknown name, or a download that failed in one of many ways
        raise OptionError(
            f"tiktoken cannot load the encoding {name!r} ({error}). It has "
            f"{', '.join(tiktoken.list_encoding_names())}, and fetches each once; without a network, pass a function "
            "of your own as count=."
        ) from error
    return lambda text: len(encoding.encode(text, disallowed_special=()))
