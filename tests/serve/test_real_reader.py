"""The server with a real reader: a tiny random Llama, whose answers are meaningless but deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import openai
import pytest

from tests.codec.conftest import SETTINGS
from tests.conftest import SENTENCES, save_llama
from tests.reader.conftest import train_chat_tokenizer, write_random_reader
from tests.serve.conftest import MODEL, Running, running, until
from zprompt.codec.codec import Codec
from zprompt.llm import Backbone, load_backbone
from zprompt.reader.reader import Reader, load_reader
from zprompt.serve import ServerSettings


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    folder = save_llama(tmp_path_factory.mktemp("backbones") / "chat", train_chat_tokenizer())
    return load_backbone(str(folder), device="cpu")


@pytest.fixture(scope="module")
def real_reader(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Reader:
    codec = Codec(backbone, SETTINGS, name="chat")
    folder = write_random_reader(tmp_path_factory.mktemp("readers") / "tiny", codec)
    return load_reader(str(folder), codec=codec)


@pytest.fixture(scope="module")
def real_server(real_reader: Reader) -> Iterator[Running]:
    with running(real_reader, ServerSettings(max_request_bytes=100_000)) as run:
        yield run


def compressed(server: Running, text: str) -> str:
    span: str = server.http().post("/v1/compress", json={"input": text}).json()["output"]
    return span


def test_texts_go_to_z_spans_and_back(real_server: Running) -> None:
    spans = [compressed(real_server, text) for text in SENTENCES]
    restored = real_server.http().post("/v1/decompress", json={"input": spans}).json()["output"]

    assert restored == SENTENCES


@pytest.mark.parametrize("stream", [True, False])
def test_the_server_answers_as_the_reader_does(real_server: Running, real_reader: Reader, stream: bool) -> None:
    messages = [{"role": "user", "content": f"Read {compressed(real_server, SENTENCES[0])} and say something."}]
    expected = real_reader.generate(messages, max_new_tokens=12)

    completion = real_server.openai().chat.completions.create(
        model=MODEL, messages=messages, max_tokens=12, stream=stream
    )  # type: ignore[call-overload]
    reply = (
        "".join(piece.choices[0].delta.content or "" for piece in completion)
        if stream
        else completion.choices[0].message.content
    )

    assert reply == expected.text
    if not stream:
        assert completion.usage.prompt_tokens == expected.usage.prompt_positions
        assert completion.usage.completion_tokens == expected.usage.generated_tokens
        extra = {"z_tokens": expected.usage.z_tokens, "source_tokens": expected.usage.source_tokens}
        assert completion.usage.model_extra == extra and extra["z_tokens"] > 0


def test_a_seed_gives_the_same_text_whatever_else_is_in_the_batch(real_server: Running) -> None:
    client = real_server.openai()

    def ask(seed: int) -> str:
        options = {"max_tokens": 8, "temperature": 1.0, "seed": seed}
        return client.completions.create(model=MODEL, prompt=SENTENCES[1], **options).choices[0].text  # type: ignore[call-overload, no-any-return]

    alone = [ask(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(ask, range(6)))

    assert together == alone
    assert len(set(alone)) > 1


def test_what_the_reader_refuses_is_a_bad_request(real_server: Running, backbone: Backbone) -> None:
    client = real_server.openai()
    span = compressed(real_server, SENTENCES[2])
    foreign = Codec(backbone, replace(SETTINGS, margin=2e-4)).compress(SENTENCES[2]).documents
    cases = {
        "context_length_exceeded": "word " * 2000,
        "truncated_span": span[:-1],
        "forged_span": span[:-2] + ("0" if span[-2] != "0" else "1") + "]",
        "wrong_codec": foreign,
    }
    for code, prompt in cases.items():
        with pytest.raises(openai.BadRequestError) as raised:
            client.completions.create(model=MODEL, prompt=prompt)
        assert raised.value.code == code
    with pytest.raises(openai.APIStatusError) as too_large:
        client.completions.create(model=MODEL, prompt="word " * 30_000)
    assert too_large.value.status_code == 413


def test_a_closed_stream_stops_the_generation(real_server: Running) -> None:
    before = real_server.metric("zprompt_generated_tokens_total")
    stream = real_server.openai().completions.create(
        model=MODEL, prompt=SENTENCES[0], max_tokens=900, temperature=1.0, seed=1, stream=True
    )
    next(iter(stream))
    stream.close()

    until(lambda: real_server.metric("zprompt_running") == 0)
    assert (
        real_server.metric("zprompt_generated_tokens_total") == before
    )  # tokens are counted at the end, which was not reached
