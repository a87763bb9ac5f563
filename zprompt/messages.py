"""Shorten the long messages of a conversation, as text for any LLM: what a gateway does before each request.

    left alone    system prompts, what the assistant said, the user's last message, everything up to a cache breakpoint
                  (`cache_control`), code and JSON, parts that are no text, short texts
    shortened     what tools returned, and earlier messages of the user

Each text is shortened by itself, for the question that was open when it came: the user's last message before it, or for
a message of the user its own last line. So a conversation that has grown begins with the same bytes as before, and the
provider's prefix cache stays warm: a new question changes only the user's message that was the last one until then.

A gateway may keep messages to itself: LiteLLM does so with all that the assistant said and with the user's last
message. What a tool returned after the user's last message here may then be for that one. Without a mark or a ratio it
stays whole: else what the open question needs would be left out for the one before it.

With `mark=True`, a shortened text ends with a line that names its original by a hash, for an LLM that has a tool to ask
for it. What is left out can be had, so texts are shortened further: to a quarter instead of what 95 % of the answers
need, and to their beginning where there is no question.

Few lines that report a failure (`error: …`, `FAILED …`) stay in any case: a question seldom has a word of theirs, and a
log without them reads like one of a success.
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
RATIO = 4.0  # tokens before per token after of a text whose original can be asked for
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
_FEW = 0.25  # share of a text's characters up to which lines of failures are few
_CODE = 0.3  # share of a text's lines that look like code, from which on all of it is
_QUESTION_WORDS = 3  # of a line that can be a question
_REMEMBERED = 20_000_000  # characters of texts, before and after


@dataclass(frozen=True, slots=True)
class ShortenedMessages:
    """Messages that are shorter now, and what of them can be asked for."""

    messages: list[dict[str, Any]]  # new ones where something was left out, else those that were given
    tokens_before: int  # of all their text
    tokens_after: int
    originals: dict[str, str]  # the texts that marks name, by hash


@dataclass(frozen=True, slots=True)
class _Text:
    """A text of a message, and what it is shortened for."""

    text: str
    question: str  # "" for none


class MessageShortener:
    """Shortens conversations; remembers texts, since each request brings the whole conversation again."""

    def __init__(self, relevance: Relevance | None = None, count: Count = "reader") -> None:
        """Choose how sentences are chosen, and how tokens are counted.

        :param relevance: As in `zprompt.compress`; None: the default, which is loaded when it is needed.
        :param count: As in `zprompt.compress`.
        """
        self._relevance, self._count = relevance, counter(count)
        self._known: Recent[tuple[_Text, CompressOptions, bool], str] = Recent(_REMEMBERED)

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
        :param ratio: Tokens before per token after, of each text; None: 4 where texts are marked, else as much as 95 %
            of the answers need, if it is sure what the question was.
        :param min_tokens: Shorter texts stay as they are.
        :param mark: Whether shortened texts name their originals.
        :param check: Called before each text; it may raise, to end the work.
        :return: The messages, in the same number and order.
        :raises DocumentTypeError: If a message is not one.
        :raises InvalidTextError: If a text has lone surrogates.
        :raises OptionError: If an option has a value that is not allowed.
        """
        options = CompressOptions(RATIO if mark and ratio is None else ratio, query=query, min_tokens=min_tokens)
        for place, message in enumerate(messages):
            _check(message, place)
        result, before, after = [], 0, 0
        originals: dict[str, str] = {}
        questions = _questions(messages, options.query, guess=mark or ratio is not None)
        for message, question in zip(messages, questions, strict=True):
            written = {}
            for text in dict.fromkeys(_texts(message)):
                check()
                written[text] = text if question is None else self._shortened(_Text(text, question), options, mark)
                if written[text] != text and mark:
                    originals[text_hash(text)] = text
            tokens = {text: self._count(text) for text in {*written, *written.values()}}
            before += sum(tokens[text] for text in _texts(message))
            after += sum(tokens[written[text]] for text in _texts(message))
            result.append(_replaced(message, written))
        return ShortenedMessages(result, before, after, originals)

    def _shortened(self, text: _Text, options: CompressOptions, mark: bool) -> str:
        """Return a text shortened, as it was before if it is still known."""
        key = (text, options, mark)
        written = self._known.get(key)
        if written is None:
            written = self._shorten_text(text, options, mark)
            self._known.put(key, written, len(text.text) + len(written))
        return written

    def _shorten_text(self, text: _Text, options: CompressOptions, mark: bool) -> str:
        """Shorten a text; return it as it is where that does not make it shorter."""
        whole = self._count(text.text)
        if whole < (options.min_tokens or 1) or MARK.search(text.text) or is_code(text.text):
            return text.text
        if text.question:
            own = CompressOptions(ratio=options.ratio, query=text.question, protect=_protected(text))
            relevance = self._relevance or shared_relevance()
            [written] = shorten(own, [text.text], relevance, self._count).documents
        elif mark:
            written = self._opening(text.text, whole / (options.ratio or RATIO))
        else:
            return text.text
        if mark and written != text.text:
            kept = f"{self._count(written):,} of {whole:,} tokens"
            written = f"{written}\n[{kept}; the whole text: hash={text_hash(text.text)}]"
        return written if self._count(written) < whole else text.text

    def _opening(self, text: str, room: float) -> str:
        """Keep the beginning of a text: without a question nothing else is known to matter more."""
        end = 0
        for start, own_end in sentences(text):
            room -= self._count(f" {text[start:own_end].strip()}")
            if end and room < 0:
                break
            end = own_end
        ranges = tuple(merge_ranges([(0, end), *_failures(text)]))
        written, _ = elide(text, KeptText(ranges, 0.0), self._count)
        return written


def text_hash(text: str) -> str:
    """Return the name of a text in marks: 24 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def is_code(text: str) -> bool:
    """Return whether a text is JSON or source code, by its lines: without some of them, it would be broken."""
    bare = text.strip()
    if bare[:1] in ("{", "["):
        try:
            json.loads(bare)
        except (ValueError, RecursionError):
            pass
        else:
            return True
    lines = [line for line in _FENCED.sub("", text).splitlines() if line.strip()]
    return bool(lines) and sum(bool(_CODE_LINE.search(line)) for line in lines) >= _CODE * len(lines)


def _check(message: object, place: int) -> None:
    """Raise DocumentTypeError or InvalidTextError for a message that is not one, with its place."""
    if not isinstance(message, Mapping):
        raise DocumentTypeError(f"messages[{place}] must be an object, got {type(message).__name__}.")
    if message.get("role") not in _ROLES:
        raise DocumentTypeError(
            f"messages[{place}] has the role {message.get('role')!r}. It must be one of {', '.join(_ROLES)}."
        )
    content = message.get("content")
    if content is not None and not isinstance(content, str | list):
        raise DocumentTypeError(
            f"messages[{place}].content must be a text, a list of parts or null, got {type(content).__name__}."
        )
    for text in _texts(message):
        try:
            require_no_surrogates(text)
        except InvalidTextError as error:
            raise InvalidTextError(f"messages[{place}]: {error}") from error


def _questions(messages: Sequence[Mapping[str, Any]], query: str | None, *, guess: bool) -> Iterator[str | None]:
    """Return what each message is shortened for: "" for no question, None for a message that is left alone.

    :param messages: The messages.
    :param query: The question of all of them; None: for each the one that was open.
    :param guess: Whether that may be a question after which another one was kept back.
    """
    users = [place for place, message in enumerate(messages) if message["role"] == "user"]
    last = users[-1] if users else len(messages)
    cached = max((place for place, message in enumerate(messages) if _has_breakpoint(message)), default=-1)
    retrieved = {call for message in messages for call in _retrieve_calls(message)}
    kept_back = not any(message["role"] == "assistant" for message in messages)  # which calls the tools
    asked = ""
    for place, message in enumerate(messages):
        own = message["role"] == "user"
        if own:
            asked = _question(" ".join(_texts(message)))
        left = place <= cached or place == last or message["role"] not in _SHORTENED
        if left or str(message.get("tool_call_id")) in retrieved:
            yield None
        elif place > last and kept_back and not guess:
            yield query or ""
        else:
            yield query or asked


def _question(text: str) -> str:
    """Return the last line that can be a question, or the whole of a text that has none."""
    lines = [line.strip() for line in text.splitlines() if len(line.split()) >= _QUESTION_WORDS]
    return lines[-1] if lines else text.strip()


def _has_breakpoint(message: Mapping[str, Any]) -> bool:
    """Return whether a provider caches the conversation up to here, as Anthropic's does on demand."""
    pending: list[object] = [message]
    while pending:  # a tool's result is a part with parts of its own
        item = pending.pop()
        if isinstance(item, Mapping):
            if item.get("cache_control") is not None:
                return True
            pending.append(item.get("content"))
        elif isinstance(item, list):
            pending += item
    return False


def _retrieve_calls(message: Mapping[str, Any]) -> Iterator[str]:
    """Return the ids of calls that ask for originals: what they return would be shortened to the mark again."""
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") if isinstance(call, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if isinstance(name, str) and RETRIEVE in name and isinstance(call.get("id"), str):
            yield call["id"]


def _texts(message: Mapping[str, Any]) -> Iterator[str]:
    """Return the texts of a message: its content, or the parts of it that are text."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        yield from (part["text"] for part in content if _is_text(part))


def _is_text(part: object) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _replaced(message: Mapping[str, Any], written: Mapping[str, str]) -> dict[str, Any]:
    """Copy a message with other texts."""
    content = message.get("content")
    if isinstance(content, str):
        content = written[content]
    elif isinstance(content, list):
        content = [{**part, "text": written[part["text"]]} if _is_text(part) else part for part in content]
    return {**message, "content": content} if "content" in message else dict(message)


def _protected(text: _Text) -> list[str] | None:
    """Return what stays in any case: fenced code, lines of failures, and the question itself where it is there."""
    kept = [match.group() for match in _FENCED.finditer(text.text) if match.group().strip()]
    kept += dict.fromkeys(text.text[start:end] for start, end in _failures(text.text))
    if text.question and text.question in text.text:
        kept.append(text.question)
    return kept or None


def _failures(text: str) -> list[tuple[int, int]]:
    """Return where the lines are that report a failure, if they are few."""
    found = [match.span() for match in _FAILURE.finditer(text)]
    return found if sum(end - start for start, end in found) <= _FEW * len(text) else []
