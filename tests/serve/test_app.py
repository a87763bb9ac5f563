"""Chats, completions, compression, health and metrics, through OpenAI's own client and plain HTTP."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cli.byte_codec import FINGERPRINT, write_span
from tests.serve.conftest import MODEL, Running, until
from tests.serve.fake_reader import FakeReader

SPAN = write_span("twelve bytes")  # 3 Z-tokens for 12 source tokens
DOCUMENTS: list[Any] = ["a text", ["two", "texts"], {"id": 7, "text": "a document"}, [{"text": "a"}, "b"], []]


def test_a_message_is_answered(server: Running) -> None:
    completion = server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one two three"}], max_tokens=10
    )

    [choice] = completion.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "one two three", "stop")
    assert (
        completion.id.startswith("chatcmpl-") and completion.object == "chat.completion" and completion.model == MODEL
    )
    assert completion.system_fingerprint == f"fp_{FINGERPRINT}"


def test_a_z_token_counts_as_one_prompt_token_and_usage_has_its_source_tokens(server: Running) -> None:
    content = f"Read {SPAN} and answer"
    completion = server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])

    assert completion.usage
    assert completion.usage.prompt_tokens == 3 + 3
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    assert completion.usage.model_extra == {"z_tokens": 3, "source_tokens": 12}


def test_z_spans_may_stand_in_any_message(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": SPAN}, {"role": "user", "content": f"{SPAN} {SPAN}"}],
    )

    assert reader.prepare(reader.prompts[0]).size.z_tokens == 9


def test_a_prompt_is_read_once(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "one"}])

    assert reader.reads == 1


def test_an_answer_that_is_cut_off_has_finish_reason_length(server: Running) -> None:
    completion = server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one two three"}], max_completion_tokens=2
    )

    assert (completion.choices[0].message.content, completion.choices[0].finish_reason) == ("one two", "length")
    assert completion.usage and completion.usage.completion_tokens == 2


def test_options_reach_the_reader(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "one"}],
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        seed=3,
        stop=["\n", "END"],
        extra_body={"top_k": 20},
    )

    [options] = reader.options
    assert (options.max_new_tokens, options.stops) == (7, ("\n", "END"))
    sampling = options.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.5, 0.9, 20, 3)


def test_without_a_limit_an_answer_has_the_default_length_or_what_fits(
    serve: Callable[..., Running], reader: FakeReader
) -> None:
    server = serve(default_new_tokens=50)
    for words in (10, 990):
        server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * words}])

    assert [options.max_new_tokens for options in reader.options] == [50, 10]


def test_a_request_of_an_agent_without_tools_is_accepted_as_by_openai(server: Running) -> None:
    empty_reply = {"role": "assistant", "content": None}
    message = {"role": "user", "content": "Explain a[z1:z2] in Python."}
    body = {"model": MODEL, "messages": [message, empty_reply, message], "parallel_tool_calls": False, "tools": []}

    assert post(server, "/v1/chat/completions", **body)["choices"][0]["message"]["content"] == message["content"]


def test_content_may_come_in_parts_and_developer_messages_count_as_system(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        ],
    )

    assert reader.prompts == [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two"}]]


def test_an_answer_can_be_sent_back_in_the_next_request(server: Running) -> None:
    client = server.openai()
    first = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "one"}])
    messages = [first.choices[0].message.model_dump(), {"role": "user", "content": "two"}]

    second = client.chat.completions.create(model=MODEL, messages=messages)  # type: ignore[arg-type]

    assert second.choices[0].message.content == "two"


def test_parameters_at_their_neutral_values_are_accepted(server: Running) -> None:
    completion = server.openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "one"}],
        n=1,
        presence_penalty=0,
        frequency_penalty=0.0,
        logprobs=False,
        response_format={"type": "text"},
        tools=[],
        user="me",
    )

    assert completion.choices[0].message.content == "one"


def test_a_stream_gives_the_text_in_pieces(server: Running) -> None:
    stream = server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one two three"}], stream=True
    )
    chunks = list(stream)

    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == ["one", " two", " three"]
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * 4 + ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_ends_with_its_usage_if_asked(server: Running) -> None:
    stream = server.openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"{SPAN} one"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    *chunks, last = list(stream)

    assert last.choices == [] and last.usage
    assert last.usage.prompt_tokens == 4 and last.usage.model_extra == {"z_tokens": 3, "source_tokens": 12}
    assert all(chunk.usage is None for chunk in chunks)


def test_the_first_piece_arrives_before_the_last_is_generated(
    serve: Callable[..., Running], reader: FakeReader
) -> None:
    reader.seconds = 0.05
    stream = (
        serve()
        .openai()
        .chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 40}], stream=True)
    )

    next(iter(stream))

    assert reader.steps < 20
    stream.close()


@pytest.mark.parametrize("stream", [True, False])
def test_characters_of_all_kinds_are_transmitted(server: Running, stream: bool) -> None:
    text = "naïve 漢字 🙂 \u2028 \x7f end"
    client = server.openai()
    if stream:
        pieces = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], stream=True)
        reply = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    else:
        completion = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])
        reply = completion.choices[0].message.content or ""

    assert reply == " ".join(text.split())


def test_a_text_is_completed(server: Running) -> None:
    completion = server.openai().completions.create(model=MODEL, prompt="one two three", max_tokens=2)

    [choice] = completion.choices
    assert (choice.text, choice.finish_reason) == ("one two", "length")
    assert completion.object == "text_completion" and completion.id.startswith("cmpl-")


def test_several_prompts_are_several_choices_of_one_batch(server: Running, reader: FakeReader) -> None:
    completion = server.openai().completions.create(model=MODEL, prompt=["one", "two three", write_span("four")])

    assert [(choice.index, choice.text) for choice in completion.choices][:2] == [(0, "one"), (1, "two three")]
    assert reader.batches == [3]
    assert completion.usage and completion.usage.prompt_tokens == 4
    assert completion.usage.model_extra == {"z_tokens": 1, "source_tokens": 4}


def test_several_prompts_are_told_apart_by_index_in_a_stream(server: Running) -> None:
    stream = server.openai().completions.create(
        model=MODEL, prompt=["a b", "c d e"], stream=True, stream_options={"include_usage": True}
    )
    texts = {0: "", 1: ""}
    usage = None
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
        usage = usage or chunk.usage

    assert texts == {0: "a b", 1: "c d e"}
    assert usage and usage.prompt_tokens == 5


def test_the_model_is_listed_and_described(server: Running) -> None:
    client = server.openai()

    [model] = client.models.list().data
    assert model.id == MODEL
    assert client.models.retrieve(MODEL).model_extra == {"max_model_len": 1000, "codec": FINGERPRINT}


def test_health_is_reported_without_a_key(server: Running) -> None:
    answer = server.http().get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "waiting": 0})


def test_metrics_count_requests_and_tokens(fresh_server: Running) -> None:
    fresh_server.openai().completions.create(model=MODEL, prompt=f"{write_span('twelve bytes')} one")
    fresh_server.http().post("/v1/completions", content=b"{")
    fresh_server.http().get("/v1/made/up")

    def count(status: int, path: str) -> float:
        return fresh_server.metric(f'zprompt_requests_total{{path="{path}",status="{status}"}}')

    assert count(200, "/v1/completions") == count(400, "/v1/completions") == count(404, "other") == 1
    names = ("prompt_positions", "z_tokens", "source_tokens", "generated_tokens")
    assert [fresh_server.metric(f"zprompt_{name}_total") for name in names] == [4, 3, 12, 2]
    assert fresh_server.metric("zprompt_batch_size_sum") == 1
    assert fresh_server.metric("zprompt_first_piece_seconds_count") == 1
    assert fresh_server.metric("zprompt_waiting") == fresh_server.metric("zprompt_running") == 0


def post(server: Running, path: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    answer = server.http().post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("documents", DOCUMENTS, ids=str)
def test_documents_come_back_as_they_were(server: Running, documents: object) -> None:
    compressed = post(server, "/v1/compress", input=documents)
    restored = post(server, "/v1/decompress", input=compressed["output"])

    assert restored["output"] == documents
    assert compressed["codec"] == restored["codec"] == FINGERPRINT
    assert compressed["stats"]["exact"] is None  # not verified


def test_spans_are_restored_in_place(server: Running) -> None:
    restored = post(server, "/v1/decompress", input=f"before {write_span('inside')} after")

    assert restored["output"] == "before inside after"


def test_a_ratio_that_was_missed_is_in_the_stats(server: Running, reader: FakeReader) -> None:
    reader.codec.missed = "ratio 9 was requested, but"

    assert post(server, "/v1/compress", input="text", ratio=9)["stats"]["missed"] == reader.codec.missed


@pytest.mark.parametrize("text", ["Explain a[z1:z2] in Python.", "y = x[z2:n]", "A Z-span is [z2:…]."])
def test_a_message_that_only_looks_like_a_span_is_answered(server: Running, text: str) -> None:
    completion = server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])

    assert completion.choices[0].message.content == text


def test_options_reach_the_codec(server: Running, reader: FakeReader) -> None:
    post(
        server,
        "/v1/compress",
        input="text",
        model="zprompt",
        ratio=4,
        query="Who?",
        protect=["1834"],
        min_tokens=2,
        on_error="passthrough",
    )

    assert reader.codec.calls == [
        {"ratio": 4.0, "query": "Who?", "protect": ["1834"], "min_tokens": 2, "on_error": "passthrough"}
    ]


def test_regular_expressions_are_not_accepted_from_clients(server: Running, reader: FakeReader) -> None:
    answer = server.http().post("/v1/compress", json={"input": "a" * 30, "protect": "(a+)+$"})

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "protect")
    assert reader.codec.calls == []


def test_half_a_surrogate_pair_in_a_document_causes_no_internal_error(server: Running) -> None:
    body = b'{"input": {"text": "a", "note": "\\ud83d"}}'
    answer = server.http().post("/v1/compress", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 200
    assert b"\\ud83d" in answer.content

    body = b'{"input": "half: \\ud83d"}'
    answer = server.http().post("/v1/compress", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_compression_stops_at_the_time_limit(serve: Callable[..., Running], reader: FakeReader) -> None:
    reader.codec.steps = 500
    server = serve(timeout=0.1)

    answer = server.http().post("/v1/compress", json={"input": "text"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")
    until(lambda: server.metric('zprompt_running{queue="conversions"}') == 0)
    assert reader.codec.steps_done < 100


def test_chat_and_compression_do_not_wait_for_one_another(server: Running, reader: FakeReader) -> None:
    reader.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(server.openai().completions.create, model=MODEL, prompt="one")
        until(reader.begun.is_set)

        assert post(server, "/v1/compress", input="text")["output"] == write_span("text")
        assert not pending.done()

        reader.gate.set()
        assert pending.result().choices[0].text == "one"


def test_compressions_wait_for_one_another(server: Running, reader: FakeReader) -> None:
    reader.codec.steps = 50
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, server, "/v1/compress", input="one")
        until(lambda: reader.codec.steps_done > 0)
        second = pool.submit(post, server, "/v1/compress", input="two")
        until(lambda: server.conversions.waiting == 1)

        assert first.result()["output"] == write_span("one")
        assert second.result()["output"] == write_span("two")
