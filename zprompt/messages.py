"""Shorten the long messages of a conversation, as text for any LLM: what a gateway does before each request.

    left alone    system prompts, what the assistant said, the user's last message, everything up to a cache breakpoint
                  (`cache_control`), code and JSON, parts that are not text, short texts
    shortened     what tools returned, and earlier messages of the user

Each text is shortened on its own, for the question that was open when it came: the last user message before it, or,
for a user message, its own last line. So a growing conversation keeps its beginning byte for byte, and the provider's
prefix cache stays warm: a new question changes only the user message that was the last one until then.

A gateway may withhold messages: LiteLLM withholds those of the assistant and the user's last one. What a tool returned
after the last user message seen here may then be for the one withheld. Without a mark or a ratio it stays whole: else
what the open question needs would be left out for the sake of the one before it.

With `mark=True`, a shortened text ends with a line that names its original by a hash, for an LLM that has a tool to ask
for it. Since what is left out can be had, texts are shortened further: to a quarter instead of what 95 % of the answers
need, and to their beginning where there is no question.

Lines that report a failure (`error: …`, `FAILED …`) always stay where they are few: a question seldom shares a word
with them, and a log without them reads like one of a success.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zprompt.counting import Count, counter
from zprompt.errors import DocumentTypeError, InvalidTextError
from zprompt.options import CompressOptions, merge_ranges
from zprompt.recent import Recent
from zprompt.relevance import Relevance, elide, sentences, shared_relevance
from zprompt.results import KeptText
from zprompt.text_form import shorten
from zprompt.zspan import require_no_surrogates

MIN_TOKENS = 100  # of a text that is worth shortening
RATIO = 4.0  # tokens before per token after, where the original can be asked for
HASH = re.compile("[0-9a-f]{24}")  # names an original
MARK = re.compile(rf"\[[\d,]+ of [\d,]+ tokens; the whole text: hash={HASH.pattern}\]\s*\Z")
RETRIEVE = "retrieve"  # in the name of a tool: what it returned was asked for whole

_SHORTENED = ("tool", "function", "user")  # roles
_ROLES = (*_SHORTENED, "system", "developer", "assistant")
_FENCED = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_CODE_LINE = re.compile(
    r"[{};]\s*$|^\s*(?:[}\])]+[,;]?\s*$|(?:def|class|import|from|func|fn|function|const|let|var|public|private|static|"
    r"return|#include|#define|package|using)\s|[@+-]{1,3}\s?\w+.*[(:=]|</?\w+[^>]*>)|^(?: {4}|\t)\S.*[(:=]"
)
_FAILURE = re.compile(
    r"^[^\n]*\b(?:\w*(?:[Ee]rror|[Ee]xception)|ERROR|FATAL|[Ff]atal|FAIL(?:ED|URES?)?|[Ff]ail(?:ed|ures?)|Traceback|"
    r"panic(?:ked)?)\b[^\n]*",
    re.MULTILINE,
)
_FEW = 0.25  # share of a text's characters up to which its failure lines are few
_CODE = 0.3  # share of a text's lines that look like code from which on all of it counts as code
_QUESTION_WORDS = 3  # fewest words of a line that can be a question
_REMEMBERED = 20_000_000  # characters in the cache, before and after shortening


@dataclass(frozen=True, slots=True)
class ShortenedMessages:
    """Shortened messages, and the originals that can be asked for."""

    messages: list[dict[str, Any]]  # copies, with shortened texts
    tokens_before: int  # of all their text
    tokens_after: int
    originals: dict[str, str]  # the texts that marks name, by hash


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a message, and the question that it is shortened for."""

    text: str
    question: str  # "" for none


class MessageShortener:
    """Shortens conversations; caches texts, since each request repeats the whole conversation."""

    def __init__(self, relevance: Relevance | None = None, count: Count = "reader") -> None:
        """Set how sentences are chosen and tokens are counted.

        :param relevance: As in `zprompt.compress`; None: the default, which is loaded when it is needed.
        :param count: As in `zprompt.compress`.
        """
        self._relevance, self._count = relevance, counter(count)
        self._cache: Recent[tuple[_Text, CompressOptions, bool], str] = Recent(_REMEMBERED)

    def shorten(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        query: str | None = None,
        ratio: float | None = None,
        min_tokens: int = MIN_TOKENS,
        mark: bool = False,
        check: Callable[[], object] = lambda: None,
    ) -> ShortenedMessages:
        """Shorten a conversation in the form of OpenAI's API.

        :param messages: The messages. All their fields are kept; contents may be texts or lists of parts.
        :param query: What all texts are shortened for; None: for each the question that was open when it came.
        :param ratio: Tokens before per token after, of each text; None: 4 where texts are marked, else what 95 % of
            the answers need, if it is certain which question was open.
        :param min_tokens: Shorter texts stay as they are.
        :param mark: Whether shortened texts name their originals.
        :param check: Called before each text; it may raise, to end the work.
        :return: The messages, in the same number and order.
        :raises DocumentTypeError: If a message is not one.
        :raises InvalidTextError: If a text has lone surrogates.
        :raises OptionError: If an option has a value that is not allowed.
        """
        options = CompressOptions(RATIO if mark and ratio is None else ratio, query=query, min_tokens=min_tokens)
        for index, message in enumerate(messages):
            _check(message, index)
        result, before, after = [], 0, 0
        originals: dict[str, str] = {}
        questions = _questions(messages, options.query, guess=mark or ratio is not None)
        for message, question in zip(messages, questions, strict=True):
            shortened = {}
            for text in dict.fromkeys(_texts(message)):
                check()
                shortened[text] = text if question is None else self._shortened(_Text(text, question), options, mark)
                if shortened[text] != text and mark:
                    originals[text_hash(text)] = text
            tokens = {text: self._count(text) for text in {*shortened, *shortened.values()}}
            before += sum(tokens[text] for text in _texts(message))
            after += sum(tokens[shortened[text]] for text in _texts(message))
            result.append(_replaced(message, shortened))
        return ShortenedMessages(result, before, after, originals)

    def _shortened(self, text: _Text, options: CompressOptions, mark: bool) -> str:
        """Return the shortened text, from the cache if it is there."""
        key = (text, options, mark)
        shortened = self._cache.get(key)
        if shortened is None:
            shortened = self._shorten_text(text, options, mark)
            self._cache.put(key, shortened, len(text.text) + len(shortened))
        return shortened

    def _shorten_text(self, text: _Text, options: CompressOptions, mark: bool) -> str:
        """Shorten a text; return it unchanged if that saves no tokens."""
        tokens_before = self._count(text.text)
        if tokens_before < (options.min_tokens or 1) or MARK.search(text.text) or is_code(text.text):
            return text.text
        if text.question:
            text_options = CompressOptions(ratio=options.ratio, query=text.question, protect=_protected(text))
            relevance = self._relevance or shared_relevance()
            [shortened] = shorten(text_options, [text.text], relevance, self._count).documents
        elif mark:
            shortened = self._opening(text.text, tokens_before / (options.ratio or RATIO))
        else:
            return text.text
        if mark and shortened != text.text:
            kept = f"{self._count(shortened):,} of {tokens_before:,} tokens"
            shortened = f"{shortened}\n[{kept}; the whole text: hash={text_hash(text.text)}]"
        return shortened if self._count(shortened) < tokens_before else text.text

    def _opening(self, text: str, budget: float) -> str:
        """Keep the beginning of a text: without a question, nothing is known to matter more."""
        end = 0
        for start, sentence_end in sentences(text):
            budget -= self._count(f" {text[start:sentence_end].strip()}")
            if end and budget < 0:
                break
            end = sentence_end
        ranges = tuple(merge_ranges([(0, end), *_failures(text)]))
        opening, _ = elide(text, KeptText(ranges, 0.0), self._count)
        return opening


def text_hash(text: str) -> str:
    """Return the hash that names a text in marks: 24 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def is_code(text: str) -> bool:
    """Return whether a text is JSON or, judged by its lines, source code: leaving lines out would break it."""
    stripped = text.strip()
    if stripped[:1] in ("{", "["):
        try:
            json.loads(stripped)
        except (ValueError, RecursionError):
            pass
        else:
            return True
    lines = [line for line in _FENCED.sub("", text).splitlines() if line.strip()]
    return bool(lines) and sum(bool(_CODE_LINE.search(line)) for line in lines) >= _CODE * len(lines)


def _check(message: object, index: int) -> None:
    """Raise DocumentTypeError or InvalidTextError, naming the index, for what is no valid message."""
    if not isinstance(message, Mapping):
        raise DocumentTypeError(f"messages[{index}] must be an object, got {type(message).__name__}.")
    if message.get("role") not in _ROLES:
        raise DocumentTypeError(
            f"messages[{index}] has the role {message.get('role')!r}. It must be one of {', '.join(_ROLES)}."
        )
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise DocumentTypeError(
            f"messages[{index}].content must be a text, a list of parts or null, got {type(content).__name__}."
        )
    for text in _texts(message):
        try:
            require_no_surrogates(text)
        except InvalidTextError as error:
            raise InvalidTextError(f"messages[{index}]: {error}") from error


def _questions(messages: Sequence[Mapping[str, Any]], query: str | None, *, guess: bool) -> Iterator[str | None]:
    """Yield the question that each message is shortened for: "" for none; None: the message is left alone.

    :param messages: The messages.
    :param query: The question of all of them; None: for each the one that was open.
    :param guess: Whether the last question counts as open even where a later one may have been withheld.
    """
    users = [index for index, message in enumerate(messages) if message["role"] == "user"]
    last_user = users[-1] if users else len(messages)
    cached = max((index for index, message in enumerate(messages) if _has_breakpoint(message)), default=-1)
    retrieved = {call for message in messages for call in _retrieve_calls(message)}
    # The assistant calls the tools: where none of its messages are here, the gateway withholds some.
    withheld = not any(message["role"] == "assistant" for message in messages)
    question = ""
    for index, message in enumerate(messages):
        if message["role"] == "user":
            question = _question(" ".join(_texts(message)))
        left_alone = index <= cached or index == last_user or message["role"] not in _SHORTENED
        if left_alone or str(message.get("tool_call_id")) in retrieved:
            yield None
        elif index > last_user and withheld and not guess:
            yield query or ""
        else:
            yield query or question


def _question(text: str) -> str:
    """Return the last line that can be a question, or the whole text if none can."""
    lines = [line.strip() for line in text.splitlines() if len(line.split()) >= _QUESTION_WORDS]
    return lines[-1] if lines else text.strip()


def _has_breakpoint(message: Mapping[str, Any]) -> bool:
    """Return whether a message has a cache breakpoint, up to which Anthropic's API caches the conversation."""
    pending: list[object] = [message]
    while pending:  # a tool result is a part with parts of its own
        item = pending.pop()
        if isinstance(item, Mapping):
            if item.get("cache_control") is not None:
                return True
            pending.append(item.get("content"))
        elif isinstance(item, list):
            pending += item
    return False


def _retrieve_calls(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of calls that ask for originals: their results would only be shortened to the same text again."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and RETRIEVE in name and isinstance(call.get("id"), str):
            yield call["id"]


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a message: its content, or the parts of it that are text."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if _is_text(part))


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _replaced(message: Mapping[str, Any], replacements: Mapping[str, str]) -> dict[str, Any]:
    """Copy a message, and replace its texts."""
    content = message.get("content")
    if isinstance(content, str):
        content = replacements[content]
    elif isinstance(content, list):
        content = [{**part, "text": replacements[part["text"]]} if _is_text(part) else part for part in content]
    return {**message, "content": content} if "content" in message else dict(message)


def _protected(text: _Text) -> list[str] | None:
    """Return what always stays: fenced code, failure lines, and the question itself if the text has it."""
    kept = [match.group() for match in _FENCED.finditer(text.text) if match.group().strip()]
    kept += dict.fromkeys(text.text[start:end] for start, end in _failures(text.text))
    if text.question and text.question in text.text:
        kept.append(text.question)
    return kept or None


def _failures(text: str) -> list[tuple[int, int]]:
    """Return the ranges of lines that report a failure, if they are few."""
    ranges = [match.span() for match in _FAILURE.finditer(text)]
    return ranges if sum(end - start for start, end in ranges) <= _FEW * len(text) else []
