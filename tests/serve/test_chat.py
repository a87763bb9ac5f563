"""Conversations through OpenAI's own client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.byte_codec import FINGERPRINT, write_span
from tests.serve.conftest import MODEL, Running
from tests.serve.fake_reader import FakeReader

SPAN = write_span("twelve bytes")  # 3 Z-tokens for 12 source tokens


def test_a_message_is_answered(server: Running) -> None:
    done = server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one two three"}], max_tokens=10
    )

    [choice] = done.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "one two three", "stop")
    assert done.id.startswith("chatcmpl-") and done.object == "chat.completion" and done.model == MODEL
    assert done.system_fingerprint == f"fp_{FINGERPRINT}"


def test_a_z_token_is_one_prompt_token_and_usage_says_what_it_stands_for(server: Running) -> None:
    content = f"Read {SPAN} and answer"
    done = server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": content}])

    assert done.usage
    assert done.usage.prompt_tokens == 3 + 3
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.usage.model_extra == {"z_tokens": 3, "source_tokens": 12}


def test_z_spans_may_stand_in_any_message(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": SPAN}, {"role": "user", "content": f"{SPAN} {SPAN}"}],
    )

    assert reader.prepare(reader.prompts[0]).size.z_tokens == 9


def test_a_prompt_is_read_once(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "one"}])

    assert reader.reads == 1


def test_an_answer_that_is_cut_off_says_so(server: Running) -> None:
    done = server.openai().chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "one two three"}], max_completion_tokens=2
    )

    assert (done.choices[0].message.content, done.choices[0].finish_reason) == ("one two", "length")
    assert done.usage and done.usage.completion_tokens == 2


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

    [asked] = reader.options
    assert (asked.max_new_tokens, asked.stops) == (7, ("\n", "END"))
    sampling = asked.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.seed) == (0.5, 0.9, 20, 3)


def test_without_a_limit_an_answer_takes_the_default_or_what_fits(
    serve: Callable[..., Running], reader: FakeReader
) -> None:
    server = serve(default_new_tokens=50)
    for words in (10, 990):
        server.openai().chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * words}])

    assert [asked.max_new_tokens for asked in reader.options] == [50, 10]


def test_content_may_come_in_parts_and_developers_are_the_system(server: Running, reader: FakeReader) -> None:
    server.openai().chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]},
        ],
    )

    assert reader.prompts == [[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "one two"}]]


def test_an_answer_can_be_sent_back(server: Running) -> None:
    client = server.openai()
    first = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "one"}])
    sent = [first.choices[0].message.model_dump(), {"role": "user", "content": "two"}]

    second = client.chat.completions.create(model=MODEL, messages=sent)  # type: ignore[arg-type]

    assert second.choices[0].message.content == "two"


def test_what_asks_for_nothing_is_no_error(server: Running) -> None:
    done = server.openai().chat.completions.create(
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

    assert done.choices[0].message.content == "one"


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


def test_the_first_piece_comes_before_the_last_is_written(serve: Callable[..., Running], reader: FakeReader) -> None:
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
def test_characters_of_all_kinds_come_through(server: Running, stream: bool) -> None:
    text = "naïve 漢字 🙂 \u2028 \x7f end"
    client = server.openai()
    if stream:
        pieces = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], stream=True)
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    else:
        done = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}])
        said = done.choices[0].message.content or ""

    assert said == " ".join(text.split())
