"""Bad requests get the right status, in OpenAI's form, and change nothing."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.cli.byte_codec import write_span
from tests.serve.conftest import MODEL, Running, error_of
from tests.serve.fake_reader import FAULT, FakeReader

SPAN = write_span("twelve bytes")
FORGED = SPAN[:-2] + ("0" if SPAN[-2] != "0" else "1") + "]"
CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "one"}]}


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/compress", "/v1/decompress"])
@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"null", b"[]", b'"text"', b"\xff\xfe", b"{} {}", b"[" * 100_000, b'{"seed": ' + b"1" * 9999 + b"}"],
    ids=["cut", "empty", "null", "list", "string", "no UTF-8", "two", "deep", "digits"],
)
def test_a_body_that_is_no_json_object_is_refused(server: Running, path: str, body: bytes) -> None:
    assert error_of(server, path, body, 400)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "one"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "king", "content": "one"}]}, "messages.0.role"),
        ({"model": None}, "model"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": 1 << 70}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"invented": 1}, "invented"),
    ],
    ids=str,
)
def test_a_value_that_is_not_allowed_is_named(
    server: Running, reader: FakeReader, change: dict[str, Any], param: str
) -> None:
    error = error_of(server, "/v1/chat/completions", CHAT | change, 400)

    assert error["param"] is not None and error["param"].startswith(param)
    assert reader.batches == []


@pytest.mark.parametrize(
    "change",
    [{"messages": [{"role": "user", "content": "\ud83d"}]}, {"stop": "\ud83d"}, {"\ud83d": 1}, {"model": "\ud83d"}],
    ids=ascii,
)
def test_half_a_surrogate_pair_is_a_client_error(server: Running, change: dict[str, Any]) -> None:
    error_of(server, "/v1/chat/completions", CHAT | change, 404 if "model" in change else 400)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("top_logprobs", 3),
        ("logit_bias", {"50256": -100}),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("tool_choice", "required"),
        ("functions", [{"name": "f"}]),
        ("response_format", {"type": "json_object"}),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("store", True),
        ("reasoning_effort", "high"),
    ],
)
def test_an_unsupported_parameter_is_refused_by_name(
    server: Running, reader: FakeReader, name: str, value: object
) -> None:
    error = error_of(server, "/v1/chat/completions", CHAT | {name: value}, 400)

    assert (error["param"], error["code"]) == (name, "unsupported_parameter")
    assert "not supported" in error["message"]
    assert reader.batches == []


@pytest.mark.parametrize(
    "change", [{"best_of": 2}, {"echo": True}, {"suffix": "end"}, {"logprobs": 0}, {"prompt": [1, 2, 3]}], ids=str
)
def test_unsupported_parameters_of_completions_are_refused(server: Running, change: dict[str, Any]) -> None:
    error = error_of(server, "/v1/completions", {"model": MODEL, "prompt": "one"} | change, 400)

    assert error["param"].startswith(next(iter(change)))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "user", "content": "one", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "one", "tool_call_id": "1"},
    ],
    ids=["image", "name", "calls", "tool"],
)
def test_messages_with_more_than_text_are_refused(server: Running, message: dict[str, Any]) -> None:
    error_of(server, "/v1/chat/completions", CHAT | {"messages": [message]}, 400)


@pytest.mark.parametrize(
    ("span", "code"),
    [
        (SPAN[:-3], "truncated_span"),
        (FORGED, "forged_span"),
        (SPAN.replace("[z2:", "[z1:"), "span_version"),
        (SPAN.replace(":3:", ":03:"), "damaged_span"),
    ],
    ids=["truncated", "forged", "version", "damaged"],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_damaged_span_is_refused(server: Running, reader: FakeReader, span: str, code: str, stream: bool) -> None:
    body = CHAT | {"messages": [{"role": "user", "content": f"Read {span}"}], "stream": stream}

    assert error_of(server, "/v1/chat/completions", body, 400)["code"] == code
    assert reader.batches == []


def test_a_damaged_span_is_not_decompressed(server: Running) -> None:
    assert error_of(server, "/v1/decompress", {"input": FORGED}, 400)["code"] == "forged_span"


def test_a_span_of_another_codec_is_refused(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.serve.fake_reader.FINGERPRINT", "ba9876543210")
    body = CHAT | {"messages": [{"role": "user", "content": SPAN}]}

    assert error_of(server, "/v1/chat/completions", body, 400)["code"] == "wrong_codec"


def test_a_prompt_that_does_not_fit_is_refused_before_anything_runs(server: Running, reader: FakeReader) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        server.openai().chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 990}], max_tokens=20
        )

    assert raised.value.code == "context_length_exceeded"
    assert reader.batches == []


def test_an_unknown_model_is_not_found(server: Running) -> None:
    client = server.openai()
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "one"}])
    assert raised.value.code == "model_not_found" and "zprompt" in str(raised.value)

    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("org/gpt-9")
    assert error_of(server, "/v1/compress", {"input": "a", "model": "gpt-9"}, 404)["code"] == "model_not_found"


def test_an_answer_that_takes_too_long_is_cancelled(serve: Callable[..., Running], reader: FakeReader) -> None:
    reader.seconds = 0.02
    server = serve(timeout=0.2)
    with pytest.raises(openai.APIStatusError) as raised:
        server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 100}])

    assert (raised.value.status_code, raised.value.code) == (504, "timeout")
    assert server.metric('zprompt_cancelled_total{reason="timeout"}') == 1
    assert reader.steps < 50


def test_a_stream_that_takes_too_long_ends_with_an_error(serve: Callable[..., Running], reader: FakeReader) -> None:
    reader.seconds = 0.02
    stream = (
        serve(timeout=0.2)
        .openai()
        .chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 100}], stream=True)
    )
    with pytest.raises(openai.APIError, match=r"within 0\.2 seconds"):
        list(stream)

    assert reader.steps < 50


@pytest.mark.parametrize("stream", [True, False])
def test_an_internal_error_is_logged_and_its_details_are_not_sent(
    server: Running, caplog: pytest.LogCaptureFixture, stream: bool
) -> None:
    body = CHAT | {"messages": [{"role": "user", "content": FAULT}], "stream": stream}
    with caplog.at_level(logging.ERROR, "zprompt.serve"):
        error = error_of(server, "/v1/chat/completions", body, 500)

    assert error["type"] == "server_error"
    assert "secret" not in error["message"] and "secret" in caplog.text
    completion = server.openai().completions.create(model=MODEL, prompt="and on it goes")
    assert completion.choices[0].text == "and on it goes"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/nowhere", 404), ("GET", "/v1/compress", 405)])
def test_unknown_paths_and_methods_are_refused(server: Running, method: str, path: str, status: int) -> None:
    answer = server.http().request(method, path)

    assert answer.status_code == status
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_a_body_with_another_content_type_than_json_is_refused_with_the_remedy(server: Running) -> None:
    answer = server.http().post("/v1/compress", content=b'{"input": "a"}', headers={"Content-Type": "text/plain"})

    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]["message"]


def test_too_many_prompts_in_one_request_are_refused(serve: Callable[..., Running]) -> None:
    body = {"model": MODEL, "prompt": ["one"] * 5}

    assert error_of(serve(batch_size=4), "/v1/completions", body, 400)["code"] == "too_many_prompts"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            [{"type": "text", "text": "one"}, {"type": "image_url", "image_url": {"url": "x"}}],
            "part 1 has type 'ima",
        ),
        ([{"type": "text"}], "part 0 has no text"),
        ([], "empty list"),
        (None, "content must be a text"),
        (5, "not a number"),
        ({"type": "text", "text": "one"}, "not an object"),
    ],
)
def test_content_that_is_no_text_is_explained_in_plain_words(server: Running, content: object, message: str) -> None:
    error = error_of(server, "/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": content}]}, 400)

    assert message in error["message"] and "Text" not in error["message"]
    assert error["param"].startswith("messages.0")


def test_input_that_is_no_document_is_explained_in_plain_words(server: Running) -> None:
    for document, message in [(5, "not a number"), ([["a"]], "a list in a list"), (None, "missing")]:
        error = error_of(server, "/v1/compress", {"input": document}, 400)
        assert (error["param"], message in error["message"]) == ("input", True), error


def test_bad_requests_change_nothing(server: Running) -> None:
    before = server.openai().completions.create(model=MODEL, prompt="one two").choices[0].text
    for body in (b"{", b"[]", json.dumps({"model": MODEL, "prompt": FORGED}).encode()):
        error_of(server, "/v1/completions", body, 400)

    assert server.openai().completions.create(model=MODEL, prompt="one two").choices[0].text == before
    assert server.texts.waiting == 0
    with server.texts.admit():  # no place in the queue was lost
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop": ["a"] * 5}, "'stop' must have at most 4 strings, got 5"),
        ({"stop": 5}, "'stop' must be a string or a list of at most 4 strings"),
        ({"prompt": []}, "'prompt' must have 1 or more strings, got 0"),
        ({"prompt": [1, 2]}, "'prompt' must be a string or a list of 1 or more strings"),
    ],
)
def test_a_wrong_list_of_texts_is_described(server: Running, change: dict[str, Any], message: str) -> None:
    error = error_of(server, "/v1/completions", {"model": MODEL, "prompt": "one"} | change, 400)

    assert error["message"].rstrip(".") == message and error["param"] == next(iter(change))
