"""Z-spans for fuzzing, their mutations, and what must hold for them; see fuzz.py."""

from __future__ import annotations

import base64
import hashlib
import html
import tempfile
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from random import Random

from benchmarks.exactness import MUTATIONS, reseal
from zprompt.codec import Codec, CodecSettings
from zprompt.errors import SpanError
from zprompt.llm import load_backbone
from zprompt.zspan import (
    LITERALS,
    SpanMatch,
    ZSpan,
    ZToken,
    escape_literal,
    find_spans,
    format_span,
    parse_span,
    read_header,
    split_at_spans,
    text_digest,
    unescape_literal,
)

POOL = 200  # Z-spans that are mutated
TOKENS = 49_152  # of a vocabulary


class WrongError(Exception):
    """A wrong result."""


def require(holds: object, what: str) -> None:
    """Raise WrongError if something does not hold."""
    if not holds:
        raise WrongError(what)


# Texts.

ALPHABETS: tuple[Callable[[Random], str], ...] = (
    lambda random: chr(random.randrange(0x20, 0x7F)),
    lambda random: chr(random.randrange(0x20)),
    lambda random: chr(random.randrange(0x80, 0x2000)),
    lambda random: chr(random.randrange(0x2000, 0xD800)),
    lambda random: chr(random.randrange(0xE000, 0x110000)),
    lambda random: chr(random.randrange(0xD800, 0xE000)),  # surrogates
    lambda random: random.choice("\u0300\u0301\u0327\u1dc4\u20d0\ufe20"),  # combining
    lambda random: random.choice("\u200e\u200f\u202a\u202e\u2066\u2069\u061c\ufeff\u200b\u200d\u2060"),  # bidi, joiners
    lambda random: random.choice("\n\r\t \x0b\x0c\x1c\x85\u2028\u2029\u3000\xa0"),
    lambda random: random.choice(
        ("👩‍👩‍👧", "🏳️‍🌈", "👍🏽", "🇨🇭", "é", "e\u0301", "한국", "ไทย", "اللغة", "日本語。", "塔很古老。")
    ),
    lambda random: random.choice(
        ("Dr. ", "e.g. ", "3.14 ", "12:30 ", "1. ", "- ", "* ", "| a | b |\n", "…", "[…]", "...")
    ),
    lambda random: random.choice(("The tower was built in 1256. ", "It rains. ", "Who? ", "He left it there. ", "x\n")),
    lambda random: random.choice(
        ("```\n", "~~~", "def f(x):\n", "    return x;\n", "{", "}", "</a>", "<b ", "@x ", "#")
    ),
)


def any_text(random: Random, most: int) -> str:
    """Make a text of few alphabets."""
    alphabets = random.sample(ALPHABETS, random.randint(1, 4))
    return "".join(random.choice(alphabets)(random) for _ in range(random.randrange(most + 1)))


def z_span(random: Random) -> ZSpan:
    """Make a Z-span with any content."""
    coded = random.random() < 0.2
    tokens: list[ZToken] = []
    for _ in range(random.choice((0, 1, 2, 5, 12, 40))):
        gap = random.choice((0, 0, 1, 2, 5, 30))
        code = (random.randrange(256) if gap and random.random() < 0.7 else -1, -1)
        tokens.append(ZToken(int(random.paretovariate(0.4)) % TOKENS, gap, code if coded else ()))
    if coded and not any(code >= 0 for token in tokens for code in token.code):
        tokens = [ZToken(token.anchor, token.gap) for token in tokens]
    symbols = [int(random.paretovariate(0.7)) % (LITERALS + TOKENS) for token in tokens for _ in range(token.gap)]
    digest = random.randbytes(8)
    return ZSpan(f"{random.getrandbits(48):012x}", tuple(tokens), tuple(symbols), random.random() < 0.2, digest)


SPANS = {format_span(span): span for span in (z_span(Random(number)) for number in range(POOL))}
WRITTEN = list(SPANS)
FRAGMENTS = (
    *("[z", "[z2:", "[", "]", "z2", "\\", "\\\\", ":", " ", "\n", "&#91;", "&lsqb;", "&#58;", "&colon;", "&nbsp;", "2"),
    *(
        "²",
        "AAAA",
        "a[z1:z2]",
        "x[z2:n]",
        "[z2:…]",
        "[z1:0123456789ab:3:abc:01234567]",
        "&amp;",
        "=",
        "0123456789ab:1:",
    ),
    *(WRITTEN[7], WRITTEN[7][:-9], WRITTEN[7][1:], f"[\\{WRITTEN[7][1:]}", f"[\\\\{WRITTEN[7][1:-12]}", "A" * 24),
)


def fold(text: str, random: Random) -> str:
    """Fold a text into lines of one width."""
    width, end = random.randint(1, 90), random.choice(("\n", "\r\n", "\n  ", " ", "\t", "&#10;"))
    return end.join(text[start : start + width] for start in range(0, len(text), width))


def swap_case(text: str, random: Random) -> str:
    """Swap the case of the letters from some position on."""
    at = random.randrange(len(text) + 1)
    return text[:at] + text[at:].swapcase()


def splice(text: str, random: Random) -> str:
    """Replace the rest of a text by a part of another Z-span, or insert one."""
    other, at = random.choice(WRITTEN), random.randrange(len(text) + 1)
    return text[:at] + (other[random.randrange(len(other)) :] if random.random() < 0.5 else other + text[at:])


def truncate(text: str, random: Random) -> str:
    """Cut a text off."""
    return text[: random.randrange(len(text) + 1)]


def escape_html(text: str, random: Random) -> str:
    """Write a text as HTML may, in part or escaped twice."""
    ways = (lambda c: f"&#{ord(c)};", lambda c: f"&#x{ord(c):x};", lambda c: html.escape(html.escape(c)), str)
    way, share = random.choice(ways), random.random()
    return "".join(way(letter) if random.random() < share else letter for letter in text)


def surround(text: str, random: Random) -> str:
    """Put random text before and after a text."""
    return any_text(random, 6) + text + any_text(random, 6)


WAYS = (*MUTATIONS.values(), fold, swap_case, splice, truncate, escape_html, surround)


def mutated_span(random: Random) -> str:
    """Change a Z-span in several ways."""
    text = random.choice(WRITTEN)
    for _ in range(random.choice((1, 1, 2, 3))):
        if len(text) > 2:
            text = random.choice(WAYS)(text, random)
    return text


def check_span_text(text: str) -> None:
    """Read a text with Z-spans: each was written by us or is refused, and the text around them comes back."""
    require(unescape_literal(escape_literal(text)) == text, "an escaped text did not come back")
    require(next(find_spans(escape_literal(text)), None) is None, "there is a Z-span in an escaped text")
    refused: SpanError | None = None
    pieces = list(split_at_spans(text))
    for piece in pieces:
        if isinstance(piece, SpanMatch):
            require(text[piece.start : piece.end] == piece.text, "a Z-span is not where it was found")
            try:
                require(parse_span(piece.text) in KNOWN, "a Z-span was read that nobody wrote")
            except SpanError as error:
                refused = error
    joined = "".join(piece if isinstance(piece, str) else piece.text for piece in pieces)
    require(joined.replace("\\", "") == text.replace("\\", ""), "text between Z-spans was lost")
    if refused:
        raise refused


KNOWN = set(SPANS.values())


def resealed_span(random: Random) -> str:
    """Change bytes or the count of a Z-span, and make its checksum fit."""
    head, count, payload, _ = random.choice(WRITTEN)[1:-1].rsplit(":", 3)
    data = bytearray(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    for _ in range(random.randint(0, 3)):
        at = random.randrange(len(data))
        edit = random.randrange(4)
        if edit == 0:
            data[at] = random.randrange(256)
        elif edit == 1:
            data[at] ^= 1 << random.randrange(8)
        elif edit == 2:
            del data[at : at + random.randint(1, 4)]
        else:
            data[at:at] = random.randbytes(random.randint(1, 4))
        data = data or bytearray(1)
    if random.random() < 0.3:
        count = random.choice(("0", "1", str(int(count) + random.randint(-2, 2)), "9" * random.randint(1, 18), "007"))
    sealed = f"{head}:{count}:{base64.urlsafe_b64encode(data).decode().rstrip('=')}"
    return f"[{sealed}:{hashlib.sha256(sealed.encode()).hexdigest()[:8]}]"


def check_resealed(text: str) -> None:
    """Read a Z-span with any payload, and write it again."""
    span = parse_span(text)
    require(format_span(span) == text, "a Z-span has two forms")
    header = read_header(text)
    require((header.count, header.source_tokens) == (len(span.tokens), span.source_tokens), "the header says otherwise")


def look_alike(random: Random) -> tuple[str, str, str]:
    """Make two texts full of pieces of Z-spans, and a Z-span between them."""
    before, after = ("".join(span_pieces(random)) for _ in range(2))
    return before, random.choice(WRITTEN), after


def span_pieces(random: Random) -> Iterator[str]:
    """Yield pieces of Z-spans and of other text."""
    for _ in range(random.randrange(10)):
        yield random.choice(FRAGMENTS) if random.random() < 0.8 else any_text(random, 4)


def check_look_alike(case: tuple[str, str, str]) -> None:
    """Escape two texts, and find the Z-span between them."""
    before, span, after = case
    check_escaped(before)
    pieces = list(split_at_spans(f"{escape_literal(before)}{span}{escape_literal(after)}"))
    spans = [piece.text for piece in pieces if isinstance(piece, SpanMatch)]
    require(spans == [span], "a Z-span between escaped texts was not found, or another one was")
    around = "".join(piece if isinstance(piece, str) else "\0" for piece in pieces)
    require(around == f"{before}\0{after}", "the texts around a Z-span did not come back")
    check_span_text(before + span + after)


def check_escaped(text: str) -> None:
    """Escape a text twice, and unescape it twice."""
    once = escape_literal(text)
    twice = escape_literal(once)
    require(unescape_literal(unescape_literal(twice)) == text, "a text that was escaped twice did not come back")


def focused_span(random: Random) -> tuple[ZSpan, list[int], list[tuple[int, int]]]:
    """Make a Z-span with the ids of its text, and choose sentences of it."""
    span = random.choice([span for span in SPANS.values() if not any(token.code for token in span.tokens)])
    ids: list[int] = []
    symbols = iter(span.symbols)
    for token in span.tokens:
        dropped = (next(symbols) for _ in range(token.gap))
        ids.append(token.anchor)
        ids += (symbol - LITERALS if symbol >= LITERALS else random.randrange(TOKENS) for symbol in dropped)
    if random.random() < 0.1 and ids:
        ids[random.randrange(len(ids))] ^= 1  # those of another text
    edges = sorted(random.randint(0, len(ids)) for _ in range(random.choice((2, 4, 8))))
    return span, ids, list(pairwise(edges))[::2]


def check_focused(case: tuple[ZSpan, list[int], list[tuple[int, int]]]) -> None:
    """Focus a Z-span: the chosen tokens become anchors, the others stay what they were."""
    span, ids, chosen = case
    focused = span.focus([(start, ids[start:end]) for start, end in chosen])
    require(parse_span(format_span(focused)) == focused, "a focused Z-span did not come back")
    require(focused.source_tokens == span.source_tokens, "a focused Z-span stands for more or fewer tokens")
    before, after = _by_token(span), _by_token(focused)
    inside = {index for start, end in chosen for index in range(start, end)}
    for index, (was, now) in enumerate(zip(before, after, strict=True)):
        require(now == (ids[index] if index in inside else was), f"token {index} of a focused Z-span is another")
    again = focused.focus([(start, ids[start:end]) for start, end in chosen])
    require(again == focused, "focusing twice changes something")


def _by_token(span: ZSpan) -> list[object]:
    """Return for each source token its anchor if it is kept, its symbol if it is dropped."""
    values: list[object] = []
    symbols = iter(span.symbols)
    for token in span.tokens:
        values += [token.anchor, *(("symbol", next(symbols)) for _ in range(token.gap))]
    return values


# What needs an LLM: a random one, made in memory.


class Restorer:
    """A tiny codec, and Z-spans of a few texts."""

    def __init__(self) -> None:
        from tests.conftest import SENTENCES, save_llama, train_tokenizer

        with tempfile.TemporaryDirectory() as folder:
            backbone = load_backbone(
                str(save_llama(Path(folder) / "tiny", train_tokenizer(all_bytes=True))), device="cpu"
            )
            backbone.load()  # before the folder is deleted
        self.codec = Codec(backbone, CodecSettings(window=32, margin=1e-4), name="tiny")
        random = Random(0)
        texts = ["", "x", *SENTENCES, *(any_text(random, 12).encode("utf-8", "replace").decode() for _ in range(12))]
        self.texts = dict.fromkeys(texts)
        self.spans = [
            (text, written)
            for ratio in (None, 2, 6)
            for text, written in zip(texts, self.codec.compress(texts, ratio=ratio).documents, strict=True)
        ]

    def make(self, random: Random) -> tuple[str, str]:
        """Take a Z-span of a text, and change it."""
        text, written = random.choice(self.spans)
        return text, random.choice((*WAYS, reseal, _unchanged))(written, random)

    def check(self, case: tuple[str, str]) -> None:
        """Restore it; whatever is restored is the text that its digest is of."""
        text, changed = case
        for piece in split_at_spans(changed):
            if isinstance(piece, str):
                continue
            digest = read_header(piece.text).digest
            restored = self.codec.decompress(piece.text)
            require(text_digest(restored) == digest, "a text was restored that has another digest")
            require(restored == text or digest != text_digest(text), "another text has the same digest")


def _unchanged(text: str, _: Random) -> str:
    return text
