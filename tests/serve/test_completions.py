"""Bare texts, models, and what the server says of itself."""

from __future__ import annotations

from tests.cli.byte_codec import FINGERPRINT, write_span
from tests.serve.conftest import MODEL, Running
from tests.serve.fake_reader import FakeReader


def test_a_text_is_gone_on_with(server: Running) -> None:
    done = server.openai().completions.create(model=MODEL, prompt="one two three", max_tokens=2)

    [choice] = done.choices
    assert (choice.text, choice.finish_reason) == ("one two", "length")
    assert done.object == "text_completion" and done.id.startswith("cmpl-")


def test_several_prompts_are_several_choices_written_together(server: Running, reader: FakeReader) -> None:
    done = server.openai().completions.create(model=MODEL, prompt=["one", "two three", write_span("four")])

    assert [(choice.index, choice.text) for choice in done.choices][:2] == [(0, "one"), (1, "two three")]
    assert reader.batches == [3]
    assert done.usage and done.usage.prompt_tokens == 4
    assert done.usage.model_extra == {"z_tokens": 1, "source_tokens": 4}


def test_several_prompts_are_told_apart_in_a_stream(server: Running) -> None:
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

    [listed] = client.models.list().data
    assert listed.id == MODEL
    assert client.models.retrieve(MODEL).model_extra == {"max_model_len": 1000, "codec": FINGERPRINT}


def test_health_is_there_for_everyone(server: Running) -> None:
    answer = server.http().get("/healthz")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "waiting": 0})


def test_metrics_count_requests_and_tokens(own_server: Running) -> None:
    own_server.openai().completions.create(model=MODEL, prompt=f"{write_span('twelve bytes')} one")
    own_server.http().post("/v1/completions", content=b"{")
    own_server.http().get("/v1/made/up")

    def count(status: int, path: str) -> float:
        return own_server.metric(f'zprompt_requests_total{{path="{path}",status="{status}"}}')

    assert count(200, "/v1/completions") == count(400, "/v1/completions") == count(404, "other") == 1
    names = ("prompt_positions", "z_tokens", "source_tokens", "generated_tokens")
    assert [own_server.metric(f"zprompt_{name}_total") for name in names] == [4, 3, 12, 2]
    assert own_server.metric("zprompt_batch_size_sum") == 1
    assert own_server.metric("zprompt_first_piece_seconds_count") == 1
    assert own_server.metric("zprompt_waiting") == own_server.metric("zprompt_running") == 0
