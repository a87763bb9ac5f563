"""What a task is: samples, and how what a method leaves of them is scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from zprompt.baselines.protocol import Shortened
from zprompt.eval.figures import Figure, Share
from zprompt.eval.samples import Sample

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Left:
    """What a method left of a sample."""

    sample: Sample
    shortened: tuple[Shortened, ...]  # of each text
    restored: tuple[str, ...] | None  # by the method's own way back; None if it has none, or the task needs none

    @property
    def back(self) -> tuple[str, ...]:
        """Give what can be had of the texts in the end.

        :return: The restored texts, or the shortened ones where there is no way back.
        """
        return self.restored if self.restored is not None else tuple(one.text for one in self.shortened)


@dataclass(slots=True)
class Scores:
    """What a task found of one method at one ratio."""

    shares: dict[str, list[Share | None]] = field(default_factory=dict)  # figures, of each sample in order
    whole: dict[str, Figure] = field(default_factory=dict)  # figures that are more than the sum of samples
    times: dict[str, list[Share | None]] = field(default_factory=dict)  # as `shares`, and other in every run
    missing: dict[str, str] = field(default_factory=dict)  # figures that could not be had: why


class Task(Protocol):
    """Something that a shortened text is for."""

    name: str
    title: str  # what a report says it is
    main: str  # the figure that is plotted and compared
    restores: bool  # whether texts go the way back first
    source: str  # where its samples are from
    samples: Sequence[Sample]

    @property
    def figures(self) -> tuple[str, ...]:
        """List all figures that it may give, as a report shows them.

        :return: Their names.
        """

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Judge what is left of all samples.

        :param left: What a method left of each.
        :param workshop: Readers and a tokenizer.
        :return: The scores.
        """
