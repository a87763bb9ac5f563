"""The bodies of requests.

An unsupported field of OpenAI's API is refused, unless it has a neutral value (`n: 1`, `tools: []`). Nothing is ignored
silently, except `user` and `safety_identifier`, which identify the user and change no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from zprompt.messages import MIN_TOKENS
from zprompt.options import CompressOptions
from zprompt.reader import GenerateOptions, Prompt
from zprompt.serve.errors import BODY_KINDS, ApiError
from zprompt.zspan import require_no_surrogates


def _no_surrogates(text: str) -> str:
    require_no_surrogates(text)
    return text


Text = Annotated[str, AfterValidator(_no_surrogates)]
"""A text that can be encoded: JSON can have lone surrogates, which no tokenizer takes."""

MAX_STOPS = 4  # OpenAI's limit

_Neutral = Mapping[str, tuple[tuple[object, ...], str]]  # by field: its neutral values, and what to do instead

_ONE_ANSWER = "Send the request several times for several answers."
_NO_LOGPROBS = "Leave it out: probabilities are not available."
_NO_TOOLS = "Leave it out: the model calls no tools."
_NO_PENALTY = "Leave it out, or set it to 0."
_TEXT_ONLY = "The model writes plain text: leave it out."
_NOTHING_KEPT = "Nothing is stored: leave it out."

_SAMPLING: _Neutral = {
    "n": ((1,), _ONE_ANSWER),
    "logit_bias": (({},), "Leave it out: tokens cannot be weighted."),
    "presence_penalty": ((0,), _NO_PENALTY),
    "frequency_penalty": ((0,), _NO_PENALTY),
}
_CHAT: _Neutral = {
    **_SAMPLING,
    "logprobs": ((False,), _NO_LOGPROBS),
    "top_logprobs": ((), _NO_LOGPROBS),
    "tools": (([],), _NO_TOOLS),
    "tool_choice": (("none", "auto"), _NO_TOOLS),
    "parallel_tool_calls": ((True, False), _NO_TOOLS),
    "functions": (([],), _NO_TOOLS),
    "function_call": (("none", "auto"), _NO_TOOLS),
    "response_format": (({"type": "text"},), _TEXT_ONLY),
    "modalities": ((["text"],), _TEXT_ONLY),
    "audio": ((), _TEXT_ONLY),
    "prediction": ((), "Leave it out: there is no speculative decoding."),
    "reasoning_effort": (("none",), "Leave it out: the model does not reason."),
    "verbosity": ((), "Leave it out, and say in a message how long the answer should be."),
    "web_search_options": ((), _NO_TOOLS),
    "store": ((False,), _NOTHING_KEPT),
    "metadata": (({},), _NOTHING_KEPT),
    "service_tier": (("auto", "default"), "There is one tier: leave it out."),
    "prompt_cache_key": ((), "Leave it out: prompts are not cached."),
}
_COMPLETION: _Neutral = {
    **_SAMPLING,
    "best_of": ((1,), _ONE_ANSWER),
    "echo": ((False,), "Leave it out, and prepend the prompt yourself."),
    "suffix": (("",), "Leave it out: the model writes from left to right."),
    "logprobs": ((), _NO_LOGPROBS),
}
_MESSAGE: _Neutral = {  # fields of OpenAI's own answers, which clients send back
    "name": ((), "Name the speaker in the content."),
    "refusal": ((), "Leave it out."),
    "annotations": (([],), "Leave it out."),
    "audio": ((), "Leave it out: messages are text."),
    "tool_calls": (([],), _NO_TOOLS),
    "function_call": ((), _NO_TOOLS),
    "tool_call_id": ((), _NO_TOOLS),
}


def _without_neutral(values: object, table: _Neutral) -> object:
    """Remove unsupported fields with neutral values; raise ApiError for other values."""
    if not isinstance(values, Mapping):
        return values
    for name, (neutral, hint) in table.items():
        value = values.get(name)
        if value is not None and value not in neutral:
            raise ApiError(
                400, f"{name!r} is not supported by this server. {hint}", code="unsupported_parameter", param=name
            )
    return {name: value for name, value in values.items() if name not in table and value is not None}


class _Request(BaseModel):
    """Base of all bodies: fields are not converted from other types, none may be unknown, and null means absent."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    unsupported: ClassVar[_Neutral] = {}

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, values: object) -> object:
        return _without_neutral(values, cls.unsupported)


def _texts(name: str, least: int, most: int | None = None) -> BeforeValidator:
    """Return the check of a field that is a string, or a list of so many."""
    count = f"{least} or more" if most is None else f"at most {most}"

    def check(value: object) -> object:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"{name!r} must be a string or a list of {count} strings")
        if len(texts) < least or (most is not None and len(texts) > most):
            raise ValueError(f"{name!r} must have {count} strings, got {len(texts)}")
        for text in texts:
            require_no_surrogates(text)
        return value

    return BeforeValidator(check)


def _content(value: object) -> str:
    """Read the content of a message: a text, or a list of text parts."""
    if isinstance(value, str):
        require_no_surrogates(value)
        return value
    if not isinstance(value, list) or not value:
        kind = _KINDS_OF_JSON.get(type(value), "an empty list")
        raise ValueError(f"a message's content must be a text or a list of parts, not {kind}")
    return "".join(_text_of(part, index) for index, part in enumerate(value))


def _text_of(part: object, index: int) -> str:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind != "text" or not isinstance(part, Mapping):
        raise ValueError(
            f"part {index} has type {kind!r}, but this model reads text only: parts must be objects of type 'text'"
        )
    if not isinstance(text := part.get("text"), str):
        raise ValueError(f"part {index} has no text: 'text' must be a string")
    require_no_surrogates(text)
    return text


_KINDS_OF_JSON = {NoneType: "null", bool: "a boolean", int: "a number", float: "a number", dict: "an object"}


class ChatMessage(_Request):
    """One message of a conversation; its content may hold Z-spans anywhere."""

    unsupported: ClassVar[_Neutral] = _MESSAGE

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_content)]

    @model_validator(mode="before")
    @classmethod
    def _null_content(cls, values: object) -> object:
        """Read null as an empty text in messages of an assistant, where OpenAI's API has it for tool calls."""
        if isinstance(values, Mapping) and values.get("role") == "assistant" and values.get("content") is None:
            return {**values, "content": ""}
        if isinstance(values, Mapping) and "content" in values and values["content"] is None:
            raise ValueError("content must be a text: only the assistant's messages may have null")
        return values

    def plain(self) -> dict[str, str]:
        """Return the message in the reader's form."""
        role = "system" if self.role == "developer" else self.role  # OpenAI's newer name for it
        return {"role": role, "content": self.content}


class StreamOptions(_Request):
    """Options of a stream."""

    unsupported: ClassVar[_Neutral] = {"include_obfuscation": ((False,), "Leave it out: nothing is padded.")}

    include_usage: bool = False


class TextRequest(_Request):
    """Base of both requests for text."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0  # OpenAI's is 1, but a small model is best when greedy
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0  # not in OpenAI's API; clients send it as an extra field
    stop: Annotated[str | list[str], _texts("stop", 0, MAX_STOPS)] = []
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None
    safety_identifier: str | None = None

    @model_validator(mode="after")
    def _only_for_streams(self) -> TextRequest:
        if self.stream_options and not self.stream:
            raise ApiError(
                400,
                "'stream_options' applies to streams only: set 'stream' to true.",
                code="invalid_value",
                param="stream_options",
            )
        return self

    @property
    def prompts(self) -> Sequence[Prompt]:
        """Return the prompts, one for each text."""
        raise NotImplementedError

    @property
    def new_tokens(self) -> int | None:
        """Return the limit of new tokens, or None if the request has none."""
        return self.max_tokens

    @property
    def wants_usage(self) -> bool:
        """Return whether a stream shall end with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage

    def options(self, max_new_tokens: int) -> GenerateOptions:
        """Return the options in the reader's form."""
        return GenerateOptions.of(
            max_new_tokens=max_new_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=self.top_k,
            stop=self.stop,
            seed=self.seed,
        )


class ChatRequest(TextRequest):
    """POST /v1/chat/completions."""

    unsupported: ClassVar[_Neutral] = _CHAT

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None  # OpenAI's newer name of max_tokens

    @property
    def prompts(self) -> Sequence[Prompt]:
        """Return the conversation."""
        return [[message.plain() for message in self.messages]]

    @property
    def new_tokens(self) -> int | None:
        """Return the limit of new tokens, or None if the request has none."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionRequest(TextRequest):
    """POST /v1/completions."""

    unsupported: ClassVar[_Neutral] = _COMPLETION

    prompt: Annotated[str | list[str], _texts("prompt", 1)]

    @property
    def prompts(self) -> Sequence[Prompt]:
        """Return the texts."""
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt


def _documents(value: object) -> object:
    for document in value if isinstance(value, list) else [value]:
        if isinstance(document, str):
            require_no_surrogates(document)
        elif not isinstance(document, dict):
            raise ValueError(
                "input must be a text, an object with a text under 'text', or a list of these, not "
                f"{_KINDS_OF_JSON.get(type(document), 'a list in a list')}"
            )
    return value


Documents = Annotated[Any, AfterValidator(_documents)]
"""A text, a dict with the text under "text", or a list of these."""


class CompressRequest(_Request):
    """POST /v1/compress."""

    input: Documents
    model: str | None = None
    ratio: Annotated[float, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    query: Text | None = None
    # No regular expressions: some would keep the server busy forever.
    protect: list[Text] | None = None
    min_tokens: Annotated[int, Field(ge=1)] | None = None
    on_error: Literal["raise", "passthrough"] = "raise"

    def options(self) -> CompressOptions:
        """Return the options; raise OptionError if they exclude each other."""
        return CompressOptions(**self.model_dump(exclude={"input", "model"}))


class GatewayConfig(_Request):
    """How a gateway wants its messages shortened."""

    mode: Literal["ccr"] | None = None  # "compress, cache, retrieve": the LLM gets a tool that asks for originals


class MessagesRequest(_Request):
    """POST /v1/compress, as gateways use it: messages for any LLM, in the form of OpenAI's API."""

    messages: list[dict[str, Any]]
    model: str | None = None  # the LLM that will read them, not this server's
    config: GatewayConfig = GatewayConfig()
    query: Text | None = None
    ratio: Annotated[float, Field(ge=1)] | None = None
    min_tokens: Annotated[int, Field(ge=1)] = MIN_TOKENS


def _kind(body: object) -> str:
    return BODY_KINDS[isinstance(body, Mapping) and "messages" in body]


CompressBody = Annotated[
    Annotated[CompressRequest, Tag(BODY_KINDS[0])] | Annotated[MessagesRequest, Tag(BODY_KINDS[1])],
    Discriminator(_kind),
]


class DecompressRequest(_Request):
    """POST /v1/decompress."""

    input: Documents
    model: str | None = None
