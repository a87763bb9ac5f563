"""A reader writes Z-tokens, and what it wrote is what the decompressor makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.conftest import SENTENCES
from tests.reader.conftest import random_z_head
from zprompt.codec.codec import Codec
from zprompt.codec.decompressor import Decompressor, KnownWindow
from zprompt.errors import OptionError
from zprompt.reader.generate import Advance, Engine, GenerateOptions, Request
from zprompt.reader.reader import Reader
from zprompt.reader.z_decoding import IncrementalDecompressor, ZTokenHead, ZTokenStepper
from zprompt.zspan.alphabet import ZToken

PROMPTS = [*SENTENCES, "The fox", "?"]
Generate = Callable[..., list[Advance]]


@pytest.fixture
def generate(tiny_reader: Reader, chat_codec: Codec) -> Generate:
    """Give a function that writes texts in Z-tokens, one of each length, together."""

    def run(*limits: int, stops: tuple[str, ...] = (), end_ids: frozenset[int] = frozenset()) -> list[Advance]:
        reader, backbone = tiny_reader, chat_codec.backbone
        engine = Engine(reader.decoder, backbone.output_embeddings, backbone.decode, end_ids)
        prompt = reader.embed("The quick fox")
        requests = [Request(prompt, GenerateOptions(limit, stops=stops)) for limit in limits]
        z_head = random_z_head(chat_codec)
        stepper = ZTokenStepper(chat_codec, reader.decoder, reader.z_embedding, z_head, end_ids, len(limits))
        return list(engine.run(requests, stepper=stepper))

    return run


def text_of(advances: list[Advance]) -> str:
    return "".join(advance.text for advance in advances)


def slow_writing(reader: Reader, z_head: ZTokenHead, count: int) -> list[ZToken]:
    """Write Z-tokens without a cache."""
    embedded = reader.embed("The quick fox")
    tokens: list[ZToken] = []
    for _ in range(count):
        hidden = reader.decoder.run(embedded[None])[:, -1]
        anchor = (hidden @ reader.backbone.output_embeddings.T).argmax(dim=1)
        vector = reader.decoder.embed_tokens(anchor)
        gaps, codes = z_head.choose(hidden, vector)
        tokens.append(ZToken(int(anchor), int(gaps), tuple(codes[0].tolist())))
        embedded = torch.cat((embedded, reader.z_embedding(vector, gaps, codes)))
    return tokens


def restored(codec: Codec, tokens: list[ZToken]) -> list[int]:
    """Restore Z-tokens as the decompressor does, the last one's span left out."""
    whole = [*tokens[:-1], replace(tokens[-1], gap=0, code=(0,) * codec.settings.subcodes)]
    window = KnownWindow(whole, [0] * sum(token.gap for token in whole))
    return Decompressor(codec.backbone, codec.heads).restore([window], 1)[0]


def random_tokens(codec: Codec, count: int, seed: int) -> list[ZToken]:
    random = np.random.default_rng(seed)
    settings, vocab = codec.settings, codec.backbone.vocab_size
    tokens = []
    for gap in random.integers(settings.max_gap + 1, size=count) * random.integers(2, size=count):
        code = random.integers(settings.subcode_size, size=settings.subcodes) * (gap > 0)
        tokens.append(ZToken(int(random.integers(3, vocab)), int(gap), tuple(code.tolist())))
    return tokens


@pytest.mark.parametrize("rows", [1, 3, 7])  # more than 4 are fed in narrow steps
def test_expanding_z_token_by_z_token_is_restoring_them_at_once(chat_codec: Codec, rows: int) -> None:
    texts = [random_tokens(chat_codec, 12 + row, row) for row in range(rows)]
    decompressor = IncrementalDecompressor(chat_codec.backbone, chat_codec.heads, rows)
    found: list[list[int]] = [[] for _ in texts]

    for place in range(max(map(len, texts))):
        given = [tokens[place] if place < len(tokens) else None for tokens in texts]
        for row, ids in enumerate(decompressor.extend(given)):
            found[row] += ids
            assert not ids or ids[-1] == given[row].anchor  # type: ignore[union-attr]

    assert found == [restored(chat_codec, tokens) for tokens in texts]


def test_rows_leave_an_incremental_decompressor(chat_codec: Codec) -> None:
    texts = [random_tokens(chat_codec, 10, seed) for seed in range(3)]
    decompressor = IncrementalDecompressor(chat_codec.backbone, chat_codec.heads, 3)
    found: list[list[int]] = [[], [], []]

    for place in range(10):
        rows = [0, 1, 2] if place < 4 else [2, 0]
        if place == 4:
            decompressor.keep_rows(rows)
        for row, ids in zip(rows, decompressor.extend([texts[row][place] for row in rows]), strict=True):
            found[row] += ids

    assert found[0] == restored(chat_codec, texts[0]) and found[2] == restored(chat_codec, texts[2])


def test_what_is_written_is_what_the_decompressor_makes_of_the_z_tokens(
    generate: Generate, tiny_reader: Reader, chat_codec: Codec
) -> None:
    tokens = slow_writing(tiny_reader, random_z_head(chat_codec), 12)
    ids = restored(chat_codec, tokens)

    advances = generate(len(ids))

    assert len({token.gap for token in tokens}) > 2
    assert text_of(advances) == chat_codec.backbone.decode(ids)
    last = advances[-1]
    assert (last.finish_reason, last.generated_tokens) == ("length", len(ids))
    assert (last.passes, last.z_tokens) == (len(tokens), len(tokens))
    assert last.expansion_passes == len(ids) - len(tokens)


def test_a_shorter_text_is_the_beginning_of_a_longer_one(generate: Generate, tiny_reader: Reader) -> None:
    whole = text_of(generate(40))

    together = generate(*range(1, 40))

    for row, limit in enumerate(range(1, 40)):
        advances = [advance for advance in together if advance.row == row]
        assert whole.startswith(text_of(advances).rstrip("\ufffd"))
        assert (advances[-1].generated_tokens, advances[-1].finish_reason) == (limit, "length")


def test_the_span_before_the_end_is_not_said(generate: Generate, tiny_reader: Reader, chat_codec: Codec) -> None:
    tokens = slow_writing(tiny_reader, random_z_head(chat_codec), 30)
    anchors = [token.anchor for token in tokens]
    place = next(n for n in range(2, 30) if anchors[n] not in anchors[:n] and tokens[n - 1].gap)

    advances = generate(200, end_ids=frozenset({anchors[place]}))

    ids = restored(chat_codec, tokens[:place])
    assert text_of(advances) == chat_codec.backbone.decode(ids)
    last = advances[-1]
    assert (last.finish_reason, last.generated_tokens) == ("stop", len(ids) + 1)
    assert (last.passes, last.z_tokens) == (place + 1, place)


def test_a_stop_string_ends_a_text_within_a_span(generate: Generate, tiny_reader: Reader) -> None:
    whole = text_of(generate(40))

    for at in range(3, len(whole) - 4, 5):
        stop = whole[at : at + 3]
        advances = generate(40, stops=(stop,))
        assert text_of(advances) == whole[: whole.index(stop)]
        assert advances[-1].finish_reason == "stop"


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.0, "seed": 5}], ids=["greedy", "sampled"])
def test_a_batch_writes_what_each_prompt_would_alone(writing_reader: Reader, sampling: dict[str, float]) -> None:
    limits = [3, 30, 9, 17, 24, 1, 30, 12]
    options = [GenerateOptions.of(max_new_tokens=limit, space="z", **sampling) for limit in limits]  # type: ignore[arg-type]

    said = {d.index: d.generation for d in writing_reader.run(PROMPTS, options) if d.generation}

    for index, prompt in enumerate(PROMPTS):
        alone = writing_reader.complete(prompt, max_new_tokens=limits[index], space="z", **sampling)  # type: ignore[call-overload]
        assert said[index] == alone


def test_the_pieces_of_a_stream_are_the_text(writing_reader: Reader) -> None:
    wholes = writing_reader.complete(PROMPTS, max_new_tokens=30, stop=["ou"], space="z")

    for prompt, whole in zip(PROMPTS, wholes, strict=True):
        stream = writing_reader.complete(prompt, max_new_tokens=30, stop=["ou"], space="z", stream=True)
        parts = list(stream)

        assert "".join(parts) == whole.text and all(parts)
        assert stream.generation == whole


def test_usage_counts_z_tokens_and_passes(writing_reader: Reader) -> None:
    prompt = [{"role": "user", "content": "The fox"}]
    plain = writing_reader.generate(prompt, max_new_tokens=30).usage
    written = writing_reader.generate(prompt, max_new_tokens=30, space="z").usage

    assert (plain.reader_passes, plain.written_z_tokens, plain.expansion_passes) == (plain.generated_tokens, 0, 0)
    assert written.written_z_tokens == written.reader_passes < written.generated_tokens == 30
    assert written.expansion_passes >= 30 - written.written_z_tokens


def test_texts_and_z_tokens_are_written_in_one_call(writing_reader: Reader) -> None:
    options = [GenerateOptions.of(max_new_tokens=12, space=space) for space in ("z", "text", "z")]  # type: ignore[arg-type]

    said = {d.index: d.generation for d in writing_reader.run(PROMPTS[:3], options, 2) if d.generation}

    spaces = ["z", "text", "z"]
    for index, space in enumerate(spaces):
        alone = writing_reader.complete(PROMPTS[index], max_new_tokens=12, space=space)  # type: ignore[call-overload]
        assert said[index] == alone


def test_answers_can_be_written_in_z_tokens(writing_reader: Reader) -> None:
    answer = writing_reader.answer("Who?", SENTENCES[:2], max_new_tokens=9, space="z")

    assert answer.usage.written_z_tokens > 0


def test_a_reader_without_a_z_token_head_says_how_to_get_one(tiny_reader: Reader) -> None:
    with pytest.raises(OptionError, match="zprompt train z-head"):
        tiny_reader.generate([{"role": "user", "content": "Hi"}], space="z")
    with pytest.raises(OptionError, match="space must be one of"):
        tiny_reader.complete("Hi", space="latent")  # type: ignore[call-overload]


def test_a_z_token_without_a_gap_has_no_code(chat_codec: Codec) -> None:
    z_head = random_z_head(chat_codec)
    hidden = torch.randn(200, chat_codec.backbone.hidden_size, generator=torch.Generator().manual_seed(0))

    gaps, codes = z_head.choose(hidden, hidden.flip(0))

    assert (gaps == 0).any() and (gaps > 0).any()
    assert not codes[gaps == 0].any() and codes[gaps > 0].any()
    for gap, code in zip(gaps.tolist(), codes.tolist(), strict=True):
        chat_codec.alphabet.pack(ZToken(5, gap, tuple(code)))
