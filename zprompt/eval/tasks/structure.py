"""Parse JSON and code after the way back, and compare what they mean.

    parses     json.loads, or Python's own parser, takes it
    the same   it gives the same value, or the same syntax tree, as the source

A method without a way back is judged by what it left.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zprompt.eval.figures import Share
from zprompt.eval.samples import Sample
from zprompt.eval.tasks.protocol import Left, Scores

if TYPE_CHECKING:
    from zprompt.eval.workshop import Workshop


class Structure:
    """JSON and Python."""

    name, title, main = "structure", "Structure", "the same"
    figures = ("parses", "the same")
    restores = True

    def __init__(self, source: str, samples: Sequence[Sample]) -> None:
        """Hold the samples.

        :param source: Where they are from.
        :param samples: One text each, of the group "json" or "code".
        """
        self.source, self.samples = source, samples

    def score(self, left: Sequence[Left], workshop: Workshop) -> Scores:
        """Parse what is back.

        :param left: What a method left of each sample.
        :param workshop: Not needed.
        :return: Whether it parses, and whether it is the same.
        """
        parsed = [(parse(one.sample.texts[0], one.sample.group), parse(one.back[0], one.sample.group)) for one in left]
        return Scores(
            {
                "parses": [Share(float(back is not None)) for _, back in parsed],
                "the same": [Share(float(back is not None and back == source)) for source, back in parsed],
            }
        )


def parse(text: str, kind: str) -> str | None:
    """Read a text and write what it means in one way.

    :param text: The text.
    :param kind: "json" or "code".
    :return: What it means; None if it does not parse, or there is nothing in it.
    """
    try:
        if kind == "json":
            return json.dumps(json.loads(text), sort_keys=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken escape is no syntax error
            tree = ast.parse(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return ast.dump(tree) if tree.body else None
