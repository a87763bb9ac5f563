"""Texts that are written together are those that each would be alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zprompt.llm.llama import LlamaDecoder
from zprompt.reader.generate import Advance, Engine, Request, Sampling
from zprompt.reader.reader import Reader

GREEDY = Sampling()
LENGTHS = (1, 2, 7, 64, 65, 130)


@pytest.fixture
def make_engine(tiny_reader: Reader) -> Callable[..., Engine]:
    def make(end_ids: frozenset[int] = frozenset()) -> Engine:
        head = tiny_reader.backbone.output_embeddings
        return Engine(tiny_reader.decoder, head, tiny_reader.backbone.decode, end_ids)

    return make


def prompt(decoder: LlamaDecoder, length: int) -> Tensor:
    random = torch.Generator().manual_seed(length)
    return decoder.embed_tokens(torch.randint(3, decoder.shape.vocab_size, (length,), generator=random)).detach()


def text_of(advances: list[Advance], row: int = 0) -> str:
    return "".join(advance.text for advance in advances if advance.row == row)


def plain_greedy(reader: Reader, embedded: Tensor, count: int) -> list[int]:
    """Decode without a cache, a batch or anything else that could go wrong."""
    ids: list[int] = []
    for _ in range(count):
        said = reader.decoder.embed_tokens(torch.tensor(ids, dtype=torch.long))
        hidden = reader.decoder.run(torch.cat((embedded, said))[None])
        ids.append(int((hidden[0, -1] @ reader.backbone.output_embeddings.T).argmax()))
    return ids


def test_greedy_decoding_is_the_argmax_of_the_whole_text_each_time(
    make_engine: Callable[..., Engine], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)

    advances = list(make_engine().run([Request(embedded, 30, GREEDY, ())]))

    assert text_of(advances) == tiny_reader.backbone.decode(plain_greedy(tiny_reader, embedded, 30))
    assert advances[-1].finish_reason == "length" and advances[-1].generated_tokens == 30


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.5, top_p=0.95, seed=3)], ids=["greedy", "sampled"])
def test_a_batch_of_unequal_prompts_writes_what_each_writes_alone(
    make_engine: Callable[..., Engine], tiny_reader: Reader, sampling: Sampling
) -> None:
    # Each leaves the batch at another time, in another order than they came.
    requests = [
        Request(prompt(tiny_reader.decoder, length), limit, sampling, ())
        for length, limit in zip(LENGTHS, (30, 5, 80, 1, 70, 12), strict=True)
    ]
    engine = make_engine()

    together = list(engine.run(requests))

    for row, request in enumerate(requests):
        alone = list(engine.run([request]))
        assert text_of(together, row) == text_of(alone)
        assert max(advance.generated_tokens for advance in together if advance.row == row) == request.max_new_tokens


def test_rows_of_a_batch_have_their_own_options(make_engine: Callable[..., Engine], tiny_reader: Reader) -> None:
    embedded = prompt(tiny_reader.decoder, 9)
    samplings = [GREEDY, Sampling(temperature=2.0, seed=1), Sampling(temperature=2.0, seed=1)]

    advances = list(make_engine().run([Request(embedded, 20, sampling, ()) for sampling in samplings]))

    greedy, sampled, again = (text_of(advances, row) for row in range(3))
    assert greedy != sampled == again  # the same seed says the same, wherever in the batch


def test_a_text_ends_at_an_end_token_without_showing_it(
    make_engine: Callable[..., Engine], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    ids = plain_greedy(tiny_reader, embedded, 30)
    end = next(token_id for place, token_id in enumerate(ids) if place > 3 and token_id not in ids[:place])
    before = ids[: ids.index(end)]

    advances = list(make_engine(frozenset({end})).run([Request(embedded, 30, GREEDY, ())]))

    assert text_of(advances) == tiny_reader.backbone.decode(before)
    assert advances[-1].finish_reason == "stop"
    assert advances[-1].generated_tokens == len(before) + 1


def test_a_text_ends_before_a_stop_string(make_engine: Callable[..., Engine], tiny_reader: Reader) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    whole = text_of(list(make_engine().run([Request(embedded, 30, GREEDY, ())])))
    stop = whole[7:10]

    advances = list(make_engine().run([Request(embedded, 30, GREEDY, (stop,))]))

    assert text_of(advances) == whole[: whole.index(stop)]
    assert advances[-1].finish_reason == "stop"
    assert advances[-1].generated_tokens < 30


def test_the_beginning_of_a_stop_string_is_shown_when_the_text_ends(
    make_engine: Callable[..., Engine], tiny_reader: Reader
) -> None:
    embedded = prompt(tiny_reader.decoder, 20)
    whole = text_of(list(make_engine().run([Request(embedded, 10, GREEDY, ())])))

    advances = list(make_engine().run([Request(embedded, 10, GREEDY, (whole[-3:] + "never",))]))

    assert text_of(advances) == whole
    assert advances[-1].finish_reason == "length"


def test_texts_come_as_they_are_written(make_engine: Callable[..., Engine], tiny_reader: Reader) -> None:
    requests = [Request(prompt(tiny_reader.decoder, length), 3, GREEDY, ()) for length in (4, 6)]

    advances = list(make_engine().run(requests))

    assert [(advance.row, advance.generated_tokens) for advance in advances] == [
        (0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3),
    ]  # fmt: skip
