"""Choose samples, the same ones from the same seed."""

import random
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def draw(items: Sequence[Item], count: int, seed: int) -> list[Item]:
    """Choose some of a sequence.

    :param items: The sequence.
    :param count: How many; all, if there are not more.
    :param seed: Of the choice.
    :return: The chosen ones, in their order.
    """
    if count >= len(items):
        return list(items)
    return [items[index] for index in sorted(random.Random(seed).sample(range(len(items)), count))]
