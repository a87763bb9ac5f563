"""Make methods by name; what a method needs is imported when it is asked for.

names()                                   all of them, whether they can be used here or not
unavailable("llmlingua")                  why not, or None
options_of("truncation")                  what it can be made with
create("truncation", keep="end")          the method
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from zprompt.baselines.protocol import Baseline
from zprompt.errors import BaselineUnavailableError, OptionError


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a method is, and what it needs."""

    module: str
    maker: str  # the class
    needs: tuple[tuple[str, str], ...] = ()  # modules beside those that zprompt depends on, and how to get each


_ENTRIES = {
    "ztokens": _Entry("zprompt.baselines.ztokens", "ZTokens"),
    "shorthand": _Entry("zprompt.baselines.ztokens", "Shorthand"),
    "pruning": _Entry("zprompt.baselines.pruning.method", "Pruning"),
    "ltsc-ztokens": _Entry("zprompt.baselines.ltsc.method", "LtscZTokens"),
    "ltsc-text": _Entry("zprompt.baselines.ltsc.method", "ReadableLtsc"),
    "ltsc": _Entry("zprompt.baselines.ltsc.method", "Ltsc"),
    "ltsc-tuned": _Entry("zprompt.baselines.ltsc.method", "TunedLtsc"),
    "random": _Entry("zprompt.baselines.random_pruning", "RandomPruning"),
    "truncation": _Entry("zprompt.baselines.truncation", "Truncation"),
    "llmlingua": _Entry("zprompt.baselines.peers.llmlingua", "LLMLingua", (("llmlingua", "pip install llmlingua"),)),
    "delta-ltsc": _Entry("zprompt.baselines.peers.delta_ltsc", "DeltaLtsc", (("delta", "pip install delta-ltsc"),)),
    "selective-context": _Entry(
        "zprompt.baselines.peers.selective_context",
        "SelectiveContext",
        (
            ("selective_context", "pip install selective-context"),
            ("spacy", "pip install spacy"),
            ("en_core_web_sm", "python -m spacy download en_core_web_sm, which needs a network"),
        ),
    ),
}


def names() -> tuple[str, ...]:
    """List all methods.

    :return: Their names, ours first.
    """
    return tuple(_ENTRIES)


def unavailable(name: str) -> str | None:
    """Say why a method cannot be used here.

    :param name: One of `names()`.
    :return: The reason, or None if what it needs is installed; what it needs may still turn out to be broken.
    """
    missing = [(module, remedy) for module, remedy in _entry(name).needs if find_spec(module) is None]
    if not missing:
        return None
    remedies = "; ".join(f"{module} ({remedy})" for module, remedy in missing)
    return f"The method {name!r} needs what is not installed here: {remedies}."


def create(name: str, **options: Any) -> Baseline:  # noqa: ANN401 - each method's own
    """Make a method.

    :param name: One of `names()`.
    :param options: As its class takes them; docs/methods.md lists them.
    :return: The method.
    :raises BaselineUnavailableError: If it cannot be used here; the message says why.
    :raises OptionError: If there is no such method, or it has no such option.
    """
    if reason := unavailable(name):
        raise BaselineUnavailableError(reason)
    allowed = options_of(name)
    if unknown := sorted(set(options) - set(allowed)):
        raise OptionError(f"The method {name!r} has no option {unknown[0]!r}. Allowed: {', '.join(allowed) or 'none'}.")
    method: Baseline = _maker(name)(**options)
    return method


def options_of(name: str) -> tuple[str, ...]:
    """List the options of a method.

    :param name: One of `names()`.
    :return: Names of the options, as `create` takes them.
    :raises OptionError: If there is no such method.
    """
    return tuple(inspect.signature(_maker(name)).parameters)


def _maker(name: str) -> Callable[..., Baseline]:
    """Import the class of a method."""
    entry = _entry(name)
    maker: Callable[..., Baseline] = getattr(import_module(entry.module), entry.maker)
    return maker


def _entry(name: str) -> _Entry:
    """Find a method."""
    if name not in _ENTRIES:
        raise OptionError(f"There is no method {name!r}. Must be one of {', '.join(_ENTRIES)}.")
    return _ENTRIES[name]
