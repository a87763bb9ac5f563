"""Tokens are drawn from what the options leave, the same ones for the same seed."""

import pytest
import torch
from torch import Tensor

from zprompt.errors import OptionError
from zprompt.reader.generate import Sampler, Sampling

LOGITS = torch.tensor([0.5, 0.25, 0.15, 0.1]).log()[torch.tensor([3, 0, 2, 1])]  # the likeliest is token 1


def draws(sampling: Sampling, logits: Tensor = LOGITS, count: int = 2000) -> list[int]:
    sampler = Sampler(sampling)
    return [sampler.draw(logits) for _ in range(count)]


def test_tokens_come_as_often_as_they_are_likely() -> None:
    drawn = torch.tensor(draws(Sampling(temperature=1.0, seed=0), count=5000)).bincount() / 5000

    torch.testing.assert_close(drawn, torch.tensor([0.1, 0.5, 0.15, 0.25]), atol=0.03, rtol=0)


def test_a_low_temperature_leaves_the_likeliest() -> None:
    assert set(draws(Sampling(temperature=1e-4, seed=0))) == {1}


@pytest.mark.parametrize(("top_k", "left"), [(1, {1}), (2, {1, 3}), (4, {0, 1, 2, 3}), (99, {0, 1, 2, 3})])
def test_top_k_leaves_the_k_likeliest(top_k: int, left: set[int]) -> None:
    assert set(draws(Sampling(temperature=1.0, top_k=top_k, seed=0))) == left


@pytest.mark.parametrize(("top_p", "left"), [(1e-6, {1}), (0.49, {1}), (0.6, {1, 3}), (0.8, {1, 3, 2})])
def test_top_p_leaves_the_fewest_that_sum_to_it(top_p: float, left: set[int]) -> None:
    assert set(draws(Sampling(temperature=1.0, top_p=top_p, seed=0))) == left


def test_the_same_seed_draws_the_same_and_another_one_does_not() -> None:
    one, again, other = (draws(Sampling(temperature=1.0, seed=seed), count=50) for seed in (7, 7, 8))

    assert one == again != other


def test_no_seed_is_another_one_each_time() -> None:
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
        {"seed": 1 << 64},
    ],
)
def test_options_that_nothing_can_be_drawn_with_are_refused(options: dict[str, float]) -> None:
    [name] = options
    with pytest.raises(OptionError, match=name):
        Sampling(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, -1, (1 << 63) - 1, -(1 << 63)])
def test_every_seed_of_64_bits_will_do(seed: int) -> None:
    assert draws(Sampling(temperature=1.0, seed=seed), count=1)
