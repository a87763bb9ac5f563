"""Texts, files and conversations for fuzzing, and what must hold for them; see fuzz.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import PurePath
from random import Random
from typing import Any

import zprompt
from benchmarks.fuzz_spans import (
    FRAGMENTS,
    POOL,
    WAYS,
    WRITTEN,
    any_text,
    check_escaped,
    check_span_text,
    require,
    span_pieces,
)
from zprompt.cli.files import Source, read_content
from zprompt.counting import counter
from zprompt.json_notation import NOTATIONS
from zprompt.messages import MessageShortener, is_code
from zprompt.page import visible
from zprompt.relevance import ELISION, NOTHING, Relevance, elide, sentences
from zprompt.results import KeptText
from zprompt.zspan import OffsetMap, escape, escape_literal, unescape, unescape_literal

LONG = 50_000  # characters
COUNT = counter("reader")
WORDS = Relevance.from_pretrained(embedder=None)


def unicode_text(random: Random) -> tuple[str, int]:
    """Make a text, and a mask of its units."""
    return any_text(random, random.choice((3, 20, 60))), random.getrandbits(64)


def check_unicode(case: tuple[str, int]) -> None:
    """Split, elide, escape and show a text."""
    text, mask = case
    check_escaped(text)
    units = list(sentences(text))
    require("".join(text[start:end] for start, end in units) == text, "units do not cover the text in order")
    require(all(start < end for start, end in units), "a unit is empty")
    visible(text).encode()
    is_code(text)
    kept = KeptText(tuple(unit for index, unit in enumerate(units) if mask >> index & 1), 0.5)
    written, stays = elide(text, kept, len)
    require(len(written) <= len(text), "an elided text is longer")
    _require_own_words(text, written, stays)
    lossy = {letter for letter in text if mask >> (ord(letter) % 61) & 1 and not letter.isascii()}
    escaped = escape(text, lambda trial: lossy.isdisjoint(trial))
    back = unescape(escaped.text) if escaped.escaped else escaped.text
    require(back == text, "a text whose characters were escaped did not come back")
    to_source = OffsetMap.of(escaped).to_source
    offsets = [to_source(offset) for offset in range(len(escaped.text) + 1)]
    require(offsets == sorted(offsets) and (offsets[0], offsets[-1]) == (0, len(text)), "positions are out of order")


def _require_own_words(text: str, written: str, kept: KeptText) -> None:
    """Raise WrongError unless a text consists of the kept words, in order, and marks."""
    if written == text:
        return
    marks = {ELISION, NOTHING}
    words = [word for start, end in kept.ranges for word in text[start:end].split() if word not in marks]
    require([word for word in written.split() if word not in marks] == words, "words were changed, lost or invented")


# JSON lines, as several programs write them.

JSON_WRITERS: tuple[Callable[[Any], str], ...] = (
    json.dumps,
    lambda value: json.dumps(value, ensure_ascii=False),
    lambda value: json.dumps(value, separators=(",", ":")),
    lambda value: json.dumps(value).replace("/", r"\/"),  # PHP
    lambda value: json.dumps(value, ensure_ascii=False).replace("/", r"\/"),
    lambda value: _escaped_letters(json.dumps(value, ensure_ascii=False), "<>&\u2028\u2029"),  # Go
    lambda value: json.dumps(value).replace(": ", "\t:\t").replace(", ", "\t,\r"),
)


def _escaped_letters(text: str, letters: str) -> str:
    return text.translate({ord(letter): f"\\u{ord(letter):04x}" for letter in letters})


def any_json(random: Random, depth: int = 3) -> Any:  # noqa: ANN401 - any value
    """Make a value for JSON."""
    kind = random.randrange(8 if depth else 6)
    if kind == 6:
        return [any_json(random, depth - 1) for _ in range(random.randrange(4))]
    if kind == 7:
        return {any_text(random, 3): any_json(random, depth - 1) for _ in range(random.randrange(4))}
    leaves = (
        None,
        True,
        random.randrange(-9, 10 ** random.randint(1, 30)),
        random.random(),
        any_text(random, 12),
        "text",
    )
    return leaves[kind]


def json_lines(random: Random) -> str:
    """Write records on lines, and perhaps damage them."""
    lines = []
    for _ in range(random.choice((0, 1, 2, 4))):
        text = random.choice(
            (any_text(random, 10), "a/b <c> & 'é'", random.choice(WRITTEN), "".join(span_pieces(random)), None)
        )
        record = {any_text(random, 2): any_json(random, 2) for _ in range(random.randrange(3))}
        record["text"] = text if random.random() < 0.95 else any_json(random)
        lines.append(
            random.choice(JSON_WRITERS)({key: record[key] for key in random.sample(list(record), len(record))})
        )
    text = random.choice(("\n", "\n", "\r\n", "\n\n", "\n \t\n")).join(lines) + random.choice(("", "\n"))
    if random.random() < 0.1:
        text = "\ufeff" + text
    if random.random() < 0.25 and len(text) > 2:
        text = random.choice(WAYS)(text, random)
    return text.encode("utf-8", "replace").decode()  # as files are read


def check_json_lines(text: str) -> None:
    """Replace all texts by Z-spans, and put them back."""
    content = read_content(Source(PurePath("a.jsonl"), text), None)
    texts = list(content.texts)
    require(len(content.documents) == len(content.places) == len(texts), "not as many places as texts")
    passed = content.render([escape_literal(value) for value in texts])
    back = read_content(Source(PurePath("a.jsonl.z"), passed), None, restore=True)
    same = back.render([unescape_literal(value) for value in back.texts]) == text
    known = all(any(write(value) in text for write in NOTATIONS) for value in texts)
    require(same or not known, "texts that pass through are others")
    spans = [WRITTEN[len(value) % POOL] for value in texts]
    replaced = content.render(spans)
    back = read_content(Source(PurePath("a.jsonl.z"), replaced), None, restore=True)
    require(list(back.texts) == spans, "Z-spans in JSON lines are others")
    require(back.render(texts) == text or not known, "JSON lines came back with other bytes")


# Documents and conversations.


def long_text(random: Random) -> str:
    """Make a text that is worth shortening."""
    return "".join(any_text(random, 20) for _ in range(random.choice((1, 4, 9))))


def documents(random: Random) -> tuple[list[Any], dict[str, Any]]:
    """Make documents, and options."""
    docs: list[Any] = []
    for _ in range(random.randrange(4)):
        text = long_text(random)
        docs.append({"text": text, "title": any_text(random, 3)} if random.random() < 0.3 else text)
    options: dict[str, Any] = {"query": random.choice(("When was the tower built?", any_text(random, 8), "?"))}
    length = random.choice(({}, {"ratio": random.uniform(0.9, 30)}, {"max_tokens": random.randint(0, 200)}))
    options |= length | random.choice(
        ({}, {"min_tokens": random.randint(1, 40)}, {"protect": random.choice((r"\d+", ["é"]))})
    )
    return docs, options | random.choice(({}, {"on_error": "passthrough"}))


def check_documents(case: tuple[list[Any], dict[str, Any]]) -> None:
    """Shorten documents."""
    docs, options = case
    result = zprompt.compress(docs, form="text", relevance=WORDS, **options)
    texts = [doc["text"] if isinstance(doc, dict) else doc for doc in docs]
    short = [doc["text"] if isinstance(doc, dict) else doc for doc in result.documents]
    for text, shortened, kept in zip(texts, short, result.kept or (), strict=True):
        if shortened != text:
            require(COUNT(shortened) <= COUNT(text), "a document got longer")
            _require_own_words(text, shortened, kept)
    if options.get("max_tokens") and options.get("on_error") is None:
        require(result.stats.positions <= options["max_tokens"], "more tokens than max_tokens")


def messages(random: Random) -> tuple[list[Any], dict[str, Any]]:
    """Make a conversation, and options."""
    conversation = []
    for _ in range(random.randrange(5)):
        roles = ("user", "tool", "assistant", "system", "function", "developer")
        message: dict[str, Any] = {"role": random.choice(roles), "content": _content(random)}
        for name in random.sample(("name", "tool_calls", "tool_call_id", "cache_control"), random.randrange(3)):
            message[name] = any_json(random)
        conversation.append(message if random.random() < 0.98 else any_json(random))
    options = {"ratio": random.choice((None, random.uniform(1, 20))), "mark": random.random() < 0.5}
    return conversation, options | {"min_tokens": random.choice((1, 20, 100))}


def _content(random: Random) -> object:
    kind = random.randrange(10)
    if kind < 6:
        return random.choice((long_text, lambda generator: json.dumps(any_json(generator))))(random)
    if kind == 6:
        return any_json(random)
    parts = ({"type": "text", "text": long_text(random)}, {"type": "image_url", "image_url": any_json(random)})
    return [random.choice((*parts, {"type": "text"}, any_json(random, 1))) for _ in range(random.randrange(4))]


def check_messages(case: tuple[list[Any], dict[str, Any]]) -> None:
    """Shorten a conversation, twice."""
    conversation, options = case
    before = repr(conversation)
    shortener = MessageShortener(WORDS)
    result = shortener.shorten(conversation, **options)
    require(repr(conversation) == before, "the messages that were given are others now")
    require(len(result.messages) == len(conversation), "not as many messages")
    require(result.tokens_after <= result.tokens_before, "a conversation got longer")
    for was, now in zip(conversation, result.messages, strict=True):
        require({**was, "content": 0} == {**now, "content": 0}, "more than the content was changed")
        require(type(was.get("content")) is type(now.get("content")), "a content has another type")
    require(MessageShortener(WORDS).shorten(conversation, **options) == result, "twice is not the same")
    again = shortener.shorten(result.messages, **options)
    require(again.tokens_after <= result.tokens_after, "a shortened conversation got longer")


# Long texts.


def long_input(random: Random) -> tuple[str, int]:
    """Repeat a short piece, and choose what is done with the result."""
    piece = random.choice((any_text(random, 4), random.choice(FRAGMENTS), "".join(span_pieces(random))[:80])) or " "
    return (piece * (LONG // len(piece)))[:LONG], random.randrange(len(ON_LONG))


def _shorten_long(text: str) -> None:
    with_protection = {"ratio": 3.0, "protect": r"\d+|[aeiou]"}
    zprompt.compress(text, form="text", query="When was the tower built?", relevance=WORDS, **with_protection)


def _shorten_long_messages(text: str) -> None:
    shortener = MessageShortener(WORDS)
    shortener.shorten([{"role": "user", "content": "When was it?"}, {"role": "tool", "content": text}])
    shortener.shorten([{"role": "tool", "content": text}], mark=True)


def _every_other_unit(text: str) -> None:
    kept = KeptText(tuple(list(sentences(text))[::2]), 0.5)
    elide(text, kept, len)


ON_LONG: tuple[Callable[[str], object], ...] = (
    check_span_text,
    check_escaped,
    _every_other_unit,
    lambda text: escape(text, lambda trial: "é" not in trial),
    is_code,
    visible,
    lambda text: check_json_lines(json.dumps({"text": text}) + "\n" + text),
    lambda text: check_json_lines('{"text": 1, "x": "' + text),
    _shorten_long,
    _shorten_long_messages,
)


def check_long(case: tuple[str, int]) -> None:
    """Do one thing with a long text."""
    text, way = case
    ON_LONG[way](text)
