"""What a prompt is made of once it is read: runs of token ids, and runs of Z-tokens; each takes one position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from zprompt.codec.vocabulary import ZToken


@dataclass(frozen=True, slots=True)
class TextPiece:
    """A run of source tokens."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SpanPiece:
    """A run of Z-tokens."""

    tokens: tuple[ZToken, ...]


Piece: TypeAlias = TextPiece | SpanPiece


@dataclass(frozen=True, slots=True)
class PromptSize:
    """How much of the model's context a prompt takes, and how much text it stands for."""

    positions: int  # all of them: of text, marks of the chat template included, and of Z-tokens
    z_tokens: int  # positions that are Z-tokens
    source_tokens: int  # tokens that the Z-tokens stand for

    def to_dict(self) -> dict[str, Any]:
        """Turn the size into a dict for JSON.

        :return: A number under each field's name.
        """
        return asdict(self)


def size_of(pieces: Iterable[Piece]) -> PromptSize:
    """Count the positions of a prompt.

    :param pieces: The prompt.
    :return: Its size.
    """
    text, z_tokens, source_tokens = 0, 0, 0
    for piece in pieces:
        if isinstance(piece, TextPiece):
            text += len(piece.ids)
        else:
            z_tokens += len(piece.tokens)
            source_tokens += sum(token.gap + 1 for token in piece.tokens)
    return PromptSize(text + z_tokens, z_tokens, source_tokens)


def join(pieces: Iterable[Piece]) -> list[Piece]:
    """Put neighbours of a kind together, and leave out what is empty.

    :param pieces: The pieces, in order.
    :return: As few pieces as say the same.
    """
    joined: list[Piece] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece):
            joined[-1] = TextPiece(last.ids + piece.ids)
        elif isinstance(piece, SpanPiece) and isinstance(last, SpanPiece):
            joined[-1] = SpanPiece(last.tokens + piece.tokens)
        elif _content(piece):
            joined.append(piece)
    return joined


def _content(piece: Piece) -> Sequence[object]:
    return piece.ids if isinstance(piece, TextPiece) else piece.tokens
