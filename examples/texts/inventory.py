"""Keep count of what is in a warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field


class OutOfStockError(Exception):
    """More was asked for than there is."""


@dataclass(frozen=True)
class Item:
    """A kind of thing that can be stored."""

    name: str
    price: float  # in euros
    weight: float  # in kilograms


@dataclass
class Inventory:
    """The items in a warehouse, and how many there are of each."""

    counts: dict[Item, int] = field(default_factory=dict)

    def add(self, item: Item, count: int = 1) -> None:
        """Put items into the warehouse."""
        if count < 1:
            raise ValueError(f"count must be at least 1, but it is {count}")
        self.counts[item] = self.counts.get(item, 0) + count

    def remove(self, item: Item, count: int = 1) -> None:
        """Take items out of the warehouse."""
        available = self.counts.get(item, 0)
        if count > available:
            raise OutOfStockError(f"{count} of {item.name!r} were asked for, but there are only {available}")
        self.counts[item] = available - count
        if self.counts[item] == 0:
            del self.counts[item]

    def total_price(self) -> float:
        """Add up the prices of all items."""
        return sum(item.price * count for item, count in self.counts.items())

    def total_weight(self) -> float:
        """Add up the weights of all items."""
        return sum(item.weight * count for item, count in self.counts.items())

    def lightest(self, limit: int) -> Iterator[Item]:
        """List the lightest items, one after the other."""
        yield from sorted(self.counts, key=lambda item: item.weight)[:limit]


if __name__ == "__main__":
    inventory = Inventory()
    inventory.add(Item("lamp", price=39.90, weight=1.2), count=10)
    inventory.add(Item("table", price=249.00, weight=18.5), count=2)
    print(f"{inventory.total_price():.2f} euros, {inventory.total_weight():.1f} kilograms")
