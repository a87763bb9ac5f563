"""Questions about passages as the reader sees them, in the words of zprompt/reader/prompt.py."""

from collections.abc import Sequence
from typing import NamedTuple

from zprompt.reader import ContentTokenizer, chat_template, encode_messages, question_messages
from benchmarks.old_reader.inputs import as_input
from benchmarks.old_reader.positions import Ints, Positions, of_ids, of_pieces
from benchmarks.old_reader.tiles import Tile
from zprompt.zspan import escape_literal


class Titled(NamedTuple):
    """A passage and its title, which may be empty."""

    title: str
    tile: Tile


class Prompts:
    """Makes prompts, with passages given as one kind of input."""

    def __init__(self, tokenizer: ContentTokenizer, kind: str, subcodes: int) -> None:
        """Choose how passages are given.

        :param tokenizer: The reader's tokenizer.
        :param kind: One of the kinds of inputs.py.
        :param subcodes: Sub-codes of a Z-token.
        """
        self.tokenizer, self.kind, self.subcodes = tokenizer, kind, subcodes
        ends = chat_template(tokenizer).end_ids
        self.end_id = min(ends) if ends else tokenizer.start_id

    def question(self, question: str, passages: Sequence[Titled]) -> Positions:
        """Ask a question about passages.

        :param question: The question.
        :param passages: The passages; none is a question without context.
        :return: The prompt, up to where the answer begins.
        """
        plain = self.kind == "text"
        texts = [escape_literal(tile.text) if plain else tile.span for _, tile in passages]
        documents = [{"title": title, "text": text} for (title, _), text in zip(passages, texts, strict=True)]
        read = {} if plain else {tile.span: as_input(tile, self.kind).tokens for _, tile in passages}
        messages = question_messages(escape_literal(question), documents)
        return of_pieces(encode_messages(self.tokenizer, messages, read.__getitem__), self.subcodes)

    def answer(self, answer: str) -> Ints:
        """Write an answer as the reader is to give it.

        :param answer: The answer.
        :return: Its token ids, and the one that ends it.
        """
        return of_ids([*self.tokenizer.encode(answer.strip(" \n,;.")), self.end_id], self.subcodes).ids
