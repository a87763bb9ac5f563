"""The package `delta-ltsc`, a peer of `zprompt.baselines.ltsc`, on the tokens of the default tokenizer.

It shortens sequences of tokens and has no text form, so the text here is the sequence as JSON: ids, and meta-tokens by
name. The length is that of the sequence.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, TYPE_CHECKING

from zprompt.baselines.lengths import check_text, default_tokenizer
from zprompt.baselines.peers.local_model import ask_peer
from zprompt.baselines.protocol import Output, Shortened, check_budget
from zprompt.errors import PeerError

if TYPE_CHECKING:
    from zprompt.llm import TextTokenizer


class DeltaLtsc:
    """Replaces repeats with the package `delta-ltsc`."""

    name = "delta-ltsc"
    own_length: ClassVar[bool] = True
    output: ClassVar[Output] = "ids"

    def __init__(
        self,
        selection: str = "greedy",
        longest: int = 8,
        nested: bool = True,
        tokenizer: TextTokenizer | None = None,
    ) -> None:
        """Choose the mode.

        :param selection: "greedy", "optimal", "beam" or "ilp", as the package calls them.
        :param longest: Tokens of the longest repeat; beyond 16 the package warns.
        :param nested: Whether entries of the dictionary may use entries.
        :param tokenizer: Cuts texts into tokens; None: the default backbone's.
        """
        self._selection, self._longest, self._nested, self._tokenizer = selection, longest, nested, tokenizer

    def shorten(self, text: str, budget: int | None = None, query: str | None = None) -> Shortened:
        """Replace the repeats of a text.

        :param text: The text.
        :param budget: Ignored: the method is lossless.
        :param query: Ignored.
        :return: The sequence as JSON.
        :raises PeerError: If the package fails, or its sequence does not come back.
        """
        import delta

        check_text(text)
        check_budget(budget)
        ids = (self._tokenizer or default_tokenizer()).encode(text)
        if not ids:
            return Shortened("[]", 0, 0, self.name)
        result = ask_peer(self.name, lambda: delta.compress(ids, self._config()))
        sequence = list(result.serialized_tokens)
        if ask_peer(self.name, lambda: list(delta.decompress(sequence, self._config()))) != ids:
            raise PeerError(f"{self.name} gave a sequence that does not come back. Choose another mode of it.")
        return Shortened(json.dumps(sequence), len(ids), len(sequence), self.name)

    def restore(self, text: str) -> str:
        """Give a text back.

        :param text: What `shorten` made of it.
        :return: The source.
        """
        import delta

        sequence = json.loads(text)
        ids = ask_peer(self.name, lambda: list(delta.decompress(sequence, self._config()))) if sequence else []
        return (self._tokenizer or default_tokenizer()).decode(ids)

    def _config(self) -> Any:  # noqa: ANN401 - an optional package's
        """Give the package's configuration."""
        import delta

        return delta.CompressionConfig(
            selection_mode=self._selection,
            max_subsequence_length=self._longest,
            hierarchical_enabled=self._nested,
            dict_length_enabled=self._nested,  # without lengths, its nested dictionaries do not come back
            metrics_enabled=False,
            static_dictionary_auto=False,
        )
