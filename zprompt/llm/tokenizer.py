"""Text to token ids and back, without importing transformers, which takes a second."""

from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from zprompt.errors import BackboneError
from zprompt.zspan import EscapedText, escape


class TextTokenizer:
    """A tokenizer that adds nothing and cleans up nothing: `decode(encode(text))` is `text` wherever possible."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.backend = tokenizer

    @classmethod
    def from_folder(cls, folder: Path) -> "TextTokenizer":
        """Read the tokenizer of a model folder in the Hugging Face layout; raise BackboneError if there is none."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            return cls(_convert_slow_tokenizer(folder))
        try:
            return cls(Tokenizer.from_file(str(path)))
        except Exception as error:  # tokenizers raises no narrower class
            raise BackboneError(f"{path} is not readable ({error}). Fetch the model again.") from error

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text without lone surrogates; no special tokens are added."""
        ids: list[int] = self.backend.encode(text, add_special_tokens=False).ids
        return ids

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids of a text, and the (start, end) character range of each."""
        encoding = self.backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    def decode(self, ids: list[int]) -> str:
        """Return the text of token ids, special tokens included."""
        text: str = self.backend.decode(ids, skip_special_tokens=False)
        return text

    def round_trips(self, text: str) -> bool:
        """Return whether the tokens of a text decode to the text."""
        return self.decode(self.encode(text)) == text

    def escape(self, text: str) -> EscapedText:
        """Escape the characters of a text that the tokenizer would change or lose.

        :param text: Any text.
        :return: A text that round-trips, and whether anything in it is escaped.
        :raises InvalidTextError: If the text holds a lone surrogate, or does not round-trip in any form.
        """
        return escape(text, self.round_trips)


def _convert_slow_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - transformers has no type for it
    """Make a fast tokenizer from the files of an older model."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise BackboneError(
            f"{folder} has no tokenizer.json, and transformers cannot make one: {error} "
            f"Save a fast tokenizer there, or choose another backbone."
        ) from error
