"""Tokens are sampled as the options say; a text is streamed in whole characters and ends where it should; a batch
generates the same texts as each prompt alone.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from torch import Tensor

from zprompt.errors import OptionError
from zprompt.llm import Backbone
from zprompt.llm.llama import LlamaDecoder
from zprompt.reader.generate import (
    Advance,
    BatchGenerator,
    Detokenizer,
    GenerateOptions,
    Request,
    Sampler,
    Sampling,
    StopFinder,
)
from zprompt.reader.reader import Reader

GREEDY = Sampling()
LENGTHS = (1, 2, 7, 64, 65, 130)
LOGITS = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()[torch.tensor([3, 0, 2, 1])]  # token 1 is the likeliest


def draws(sampling: Sampling, logits: Tensor = LOGITS, count: int = 2000) -> list[int]:
    sampler = Sampler(sampling)
    return [sampler.draw(logits) for _ in range(count)]


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    drawn = torch.tensor(draws(Sampling(temperature=1.0, seed=0), count=5000)).bincount() / 5000

    torch.testing.assert_close(drawn, torch.tensor([0.1, 0.5, 0.15, 0.25]), atol=0.03, rtol=0)


def test_a_low_temperature_leaves_the_likeliest_token() -> None:
    assert set(draws(Sampling(temperature=1e-4, seed=0))) == {1}


@pytest.mark.parametrize(("top_k", "allowed"), [(1, {1}), (2, {1, 3}), (4, {0, 1, 2, 3}), (99, {0, 1, 2, 3})])
def test_top_k_leaves_the_k_likeliest_tokens(top_k: int, allowed: set[int]) -> None:
    assert set(draws(Sampling(temperature=1.0, top_k=top_k, seed=0))) == allowed


@pytest.mark.parametrize(("top_p", "allowed"), [(1e-6, {1}), (0.49, {1}), (0.6, {1, 3}), (0.8, {1, 3, 2})])
def test_top_p_leaves_the_fewest_tokens_that_sum_to_it(top_p: float, allowed: set[int]) -> None:
    assert set(draws(Sampling(temperature=1.0, top_p=top_p, seed=0))) == allowed


def test_the_same_seed_draws_the_same_tokens_and_another_seed_does_not() -> None:
    first, again, other = (draws(Sampling(temperature=1.0, seed=seed), count=50) for seed in (7, 7, 8))

    assert first == again != other


def test_without_a_seed_each_sampler_draws_other_tokens() -> None:
    assert draws(Sampling(temperature=1.0), count=50) != draws(Sampling(temperature=1.0), count=50)


def test_impossible_tokens_are_never_drawn() -> None:
    logits = torch.full((100,), -torch.inf)
    logits[[3, 5]] = 0.0

    assert set(draws(Sampling(temperature=2.0, seed=0), logits)) == {3, 5}


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"temperature": None},
        {"top_k": 2.5},
        {"seed": 1 << 64},
        {"seed": 1.5},
        {"seed": "7"},
    ],
)
def test_impossible_sampling_options_are_refused(options: dict[str, object]) -> None:
    [name] = options
    with pytest.raises(OptionError, match=name):
        Sampling(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"max_new_tokens": 2.5}, {"max_new_tokens": 0}, {"stop": 3}, {"stop": [1]}])
def test_other_options_are_checked_too(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(OptionError, match=name):
        GenerateOptions.of(**options)


@pytest.mark.parametrize("seed", [0, -1, (1 << 63) - 1, -(1 << 63), np.int64(3), 2.0])
def test_every_seed_of_64_bits_is_allowed(seed: int) -> None:
    assert draws(Sampling(temperature=1.0, seed=seed), count=1)


def pieces(backbone: Backbone, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(backbone.decode)
    return [*(detokenizer.feed(token_id) for token_id in ids), detokenizer.finish()]


def cut_at_stop(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    finder = StopFinder(stops)
    shown = ""
    for piece in pieces:
        shown += finder.feed(piece)
        if finder.found:
            return shown, True
    return shown + finder.finish(), False


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=20))
def test_any_text_is_streamed_in_whole_characters(chat_backbone: Backbone, text: str) -> None:
    parts = pieces(chat_backbone, chat_backbone.encode(text))

    assert "".join(parts) == text
    assert "\ufffd" in text or not any("\ufffd" in part for part in parts)


def test_a_character_waits_for_its_last_byte(chat_backbone: Backbone) -> None:
    ids = chat_backbone.encode("🚀")
    assert len(ids) == 4  # one token per byte

    assert pieces(chat_backbone, ids) == ["", "", "", "🚀", ""]


def test_invalid_bytes_are_shown_once_no_character_can_follow_from_them(chat_backbone: Backbone) -> None:
    broken = chat_backbone.encode("🚀")[:2]
    [letter] = chat_backbone.encode("a")

    assert pieces(chat_backbone, [*broken, letter]) == ["", "", "\ufffda", ""]
    assert pieces(chat_backbone, broken) == ["", "", "\ufffd"]


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(0, 400), max_size=30))
def test_the_pieces_of_any_tokens_add_up_to_their_text(chat_backbone: Backbone, ids: list[int]) -> None:
    assert "".join(pieces(chat_backbone, ids)) == chat_backbone.decode(ids)


def test_a_decoder_that_strips_the_first_space_strips_no_other() -> None:
    tokenizer = Tokenizer(models.WordLevel({"▁a": 0, "▁b": 1, "c": 2}, unk_token="c"))
    tokenizer.decoder = decoders.Metaspace()
    detokenizer = Detokenizer(tokenizer.decode)

    assert [detokenizer.feed(token_id) for token_id in [0, 1, 2, 1]] == ["a", " b", "c", " b"]


def test_tokens_without_text_give_empty_pieces() -> None:
    detokenizer = Detokenizer(lambda ids: "".join("ab "[i] for i in ids if i < 3))

    assert [detokenizer.feed(token_id) for token_id in [7, 0, 7, 7, 1]] == ["", "a", "", "", "b"]
    assert detokenizer.finish() == ""


@pytest.mark.parametrize(
    ("stops", "parts", "expected"),
    [
        (["END"], ["some E", "N", "D more"], ("some ", True)),
        (["END"], ["some E", "N", "d"], ("some ENd", False)),
        (["END"], ["EN"], ("EN", False)),
        (["\n\n"], ["a\n", "b\n", "\n"], ("a\nb", True)),
        (["abab"], ["ab", "abab"], ("", True)),
        (["aab"], ["aa", "ab"], ("a", True)),
        ([], ["a", "b"], ("ab", False)),
        (["x", "yy"], ["ayyx"], ("a", True)),
        (["b", "abc"], ["abc"], ("a", True)),  # "b" is complete first
        (["cd", "bcd"], ["abcd"], ("a", True)),  # both are complete at once: the longer one counts
        (["é"], ["caf", "é!"], ("caf", True)),
    ],
)
def test_a_text_ends_before_its_first_stop_string(
    stops: list[str], parts: list[str], expected: tuple[str, bool]
) -> None:
    assert cut_at_stop(stops, parts) == expected


def test_a_possible_stop_string_is_held_back_until_it_is_certain() -> None:
    finder = StopFinder(["\nuser:"])

    assert [finder.feed(part) for part in ["yes", "\n", "us", "ual", "\nuser", ":"]] == [
        "yes",
        "",
        "",
        "\nusual",
        "",
        "",
    ]
    assert finder.found


@settings(max_examples=200, deadline=None)
@given(
    text=st.text("abc", max_size=12),
    stops=st.lists(st.text("abc", min_size=1, max_size=4), max_size=3),
    data=st.data(),
)
def test_the_end_does_not_depend_on_the_pieces_of_the_text(text: str, stops: list[str], data: st.DataObject) -> None:
    boundaries = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=5))})
    pieces = [text[start:end] for start, end in pairwise(boundaries)]

    assert cut_at_stop(stops, pieces) == cut_at_stop(stops, list(text))


@pytest.fixture
def make_generator(tiny_reader: Reader) -> Callable[..., BatchGenerator]:
    def make(end_ids: frozenset[int] = frozenset()) -> BatchGenerator:
        backbone = tiny_reader.backbone
        return BatchGenerator(tiny_reader.decoder, backbone.logits, backbone.decode, end_ids)

    return make


def request(embedded: Tensor, max_new_tokens: int, sampling: Sampling = GREEDY, stops: tuple[str, ...] = ()) -> Request:
    return Request(embedded, GenerateOptions(max_new_tokens, sampling, stops))


def prompt(decoder: LlamaDecoder, length: int) -> Tensor:
    random = torch.Generator().manual_seed(length)
    return decoder.embed_tokens(torch.randint(3, decoder.shape.vocab_size, (length,), generator=random)).detach()


def text_of(advances: list[Advance], row: int = 0) -> str:
    return "".join(advance.text for advance in advances if advance.row == row)


def plain_greedy(reader: Reader, embedded: Tensor, count: int) -> list[int]:
    """Decode greedily without a cache or a batch, as a reference."""
    ids: list[int] = []
    for _ in range(count):
        generated = reader.decoder.embed_tokens(torch.tensor(ids, dtype=torch.long))
        hidden = reader.decoder.run(torch.cat((embedded, generated))[None])
        ids.append(int((hidden[0, -1] @ reader.backbone.output_embeddings.T).argmax()))
    return ids


def test_greedy_decoding_takes_the_argmax_given_the_whole_text(
    make_generator: Callable[..., BatchGenerator], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)

    advances = list(make_generator().run([request(embedded, 30)]))

    assert text_of(advances) == tiny_reader.backbone.decode(plain_greedy(tiny_reader, embedded, 30))
    assert advances[-1].finish_reason == "length" and advances[-1].generated_tokens == 30


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_p=0.95, seed=3)], ids=["greedy", "sampled"])
def test_a_batch_of_unequal_prompts_generates_what_each_does_alone(
    make_generator: Callable[..., BatchGenerator], tiny_reader: Reader, sampling: Sampling
) -> None:
    # They finish at different times, and not in the order of the batch.
    requests = [
        request(prompt(tiny_reader.decoder, length), limit, sampling)
        for length, limit in zip(LENGTHS, (30, 5, 80, 1, 70, 12), strict=True)
    ]
    generator = make_generator()

    together = list(generator.run(requests))

    for row, single in enumerate(requests):
        alone = list(generator.run([single]))
        assert text_of(together, row) == text_of(alone)
        assert (
            max(advance.generated_tokens for advance in together if advance.row == row) == single.options.max_new_tokens
        )


def test_rows_of_a_batch_have_their_own_options(
    make_generator: Callable[..., BatchGenerator], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 9)
    samplings = [GREEDY, Sampling(temperature=2.0, seed=1), Sampling(temperature=2.0, seed=1)]

    advances = list(make_generator().run([request(embedded, 20, sampling) for sampling in samplings]))

    greedy, sampled, again = (text_of(advances, row) for row in range(3))
    assert greedy != sampled == again  # the row in the batch does not matter


def test_a_text_ends_at_an_end_token_without_showing_it(
    make_generator: Callable[..., BatchGenerator], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    ids = plain_greedy(tiny_reader, embedded, 30)
    end = next(token_id for index, token_id in enumerate(ids) if index > 3 and token_id not in ids[:index])
    before = ids[: ids.index(end)]

    advances = list(make_generator(frozenset({end})).run([request(embedded, 30)]))

    assert text_of(advances) == tiny_reader.backbone.decode(before)
    assert advances[-1].finish_reason == "stop"
    assert advances[-1].generated_tokens == len(before) + 1


def test_a_text_ends_before_a_stop_string(make_generator: Callable[..., BatchGenerator], tiny_reader: Reader) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    whole = text_of(list(make_generator().run([request(embedded, 30)])))
    stop = whole[7:10]

    advances = list(make_generator().run([request(embedded, 30, stops=(stop,))]))

    assert text_of(advances) == whole[: whole.index(stop)]
    assert advances[-1].finish_reason == "stop"
    assert advances[-1].generated_tokens < 30


def test_the_beginning_of_a_stop_string_is_shown_when_the_text_ends(
    make_generator: Callable[..., BatchGenerator], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    whole = text_of(list(make_generator().run([request(embedded, 10)])))

    advances = list(make_generator().run([request(embedded, 10, stops=(whole[-3:] + "never",))]))

    assert text_of(advances) == whole
    assert advances[-1].finish_reason == "length"


def test_rows_advance_one_token_at_a_time(make_generator: Callable[..., BatchGenerator], tiny_reader: Reader) -> None:
    requests = [request(prompt(tiny_reader.decoder, length), 3) for length in (4, 6)]

    advances = list(make_generator().run(requests))

    assert [(advance.row, advance.generated_tokens) for advance in advances] == [
        (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3),
    ]  # fmt: skip
