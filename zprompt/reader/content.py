"""Read what people and documents say, none of which may speak for the chat template.

A chat is kept apart by special tokens, such as <|im_end|>. A tokenizer makes them of their names wherever they stand,
and a Z-token can have one as its anchor: then a document could end its message and begin another one, as the system or
the assistant. So in content a special token's name is text like any other, and an anchor that is one is spelled out:

    (<|im_end|>, gap, code)   →   < | im _ end |   (>, gap, code)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from tokenizers import Tokenizer

from zprompt.backbone import Backbone
from zprompt.codec.escaping import require_no_surrogates
from zprompt.codec.vocabulary import ZToken
from zprompt.codec.zspan import find_spans, unescape_literal
from zprompt.errors import BackboneError
from zprompt.reader.pieces import Piece, SpanPiece, TextPiece

Parse = Callable[[str], Sequence[ZToken]]
"""Reads a Z-span and gives its Z-tokens; raises a SpanError for one that is damaged or of another codec."""


class ContentTokenizer:
    """A backbone's tokenizer, to which special tokens are text."""

    def __init__(self, backbone: Backbone) -> None:
        """Copy the tokenizer; the codec keeps its own.

        :param backbone: The backbone.
        """
        self.start_id = backbone.start_id
        form = json.loads(backbone.tokenizer.backend.to_str())
        # All that can be seen, since not every model folder marks its markers as special.
        self._marks = {token["content"]: int(token["id"]) for token in form["added_tokens"] if token["content"].strip()}
        for token in form["added_tokens"]:
            token["special"] = token["content"] in self._marks
        self._backend = Tokenizer.from_str(json.dumps(form))
        self._backend.encode_special_tokens = True
        self._spelled = {token_id: self._spell(name) for name, token_id in self._marks.items()}

    def special_id(self, name: str) -> int | None:
        """Look a special token up.

        :param name: Its name.
        :return: Its id, or None if the model has none of this name.
        """
        return self._marks.get(name)

    def encode(self, text: str) -> tuple[int, ...]:
        """Cut a text into tokens, none of which is special.

        :param text: Any text without lone surrogates.
        :return: Token ids.
        """
        require_no_surrogates(text)
        ids = self._ids(text)
        if self._spelled.keys().isdisjoint(ids):
            return tuple(ids)
        return tuple(spelled for token_id in ids for spelled in self._spelled.get(token_id, (token_id,)))

    def defuse(self, tokens: Sequence[ZToken]) -> Iterator[Piece]:
        """Spell out the anchors that are special tokens.

        :param tokens: Z-tokens, of a Z-span that may come from anywhere.
        :return: The same Z-tokens where no anchor is special.
        :yields: Runs of Z-tokens, and between them what is spelled out.
        """
        run: list[ZToken] = []
        for token in tokens:
            if token.anchor in self._spelled:
                *before, last = self._spelled[token.anchor]
                yield SpanPiece(tuple(run))
                yield TextPiece(tuple(before))
                run, token = [], replace(token, anchor=last)
            run.append(token)
        yield SpanPiece(tuple(run))

    def _spell(self, name: str) -> tuple[int, ...]:
        """Write a special token's name in tokens that are not special."""
        special = set(self._marks.values())
        whole = self._ids(name)
        # Some tokenizers find whole words in their vocabulary, special or not; none has a special token of one letter.
        ids = whole if special.isdisjoint(whole) else [i for letter in name for i in self._ids(letter)]
        if not ids or not special.isdisjoint(ids):
            raise BackboneError(
                f"The backbone's tokenizer has no other way to write its special token {name!r}, so a document could "
                "pass for the chat template. Use another backbone."
            )
        return tuple(ids)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids


def read_content(content: str, parse: Parse) -> Iterator[str | Sequence[ZToken]]:
    """Split content into text and Z-spans.

    :param content: Any text; what only looks like a Z-span has been escaped, as `compress` does it.
    :param parse: Reads a Z-span.
    :return: The parts, in order.
    :yields: A text, or the Z-tokens of a Z-span.
    """
    end = 0
    for match in find_spans(content):
        yield unescape_literal(content[end : match.start])
        yield parse(match.text)
        end = match.end
    yield unescape_literal(content[end:])
