"""Create baselines by name; their modules are imported on demand.

names()                                   all of them, usable here or not
unavailable("llmlingua")                  why not, or None
options_of("truncation")                  the options that it takes
create("truncation", keep="end")          the baseline
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from zprompt.baselines.protocol import Baseline
from zprompt.errors import BaselineUnavailableError, OptionError


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a baseline is, and what it needs."""

    module: str  # in zprompt.baselines
    class_name: str
    needs: tuple[tuple[str, str], ...] = ()  # modules that zprompt does not depend on, and how to install each


_ENTRIES = {
    "ztokens": _Entry("ztokens", "ZTokens"),
    "focus-z": _Entry("ztokens", "FocusZ"),
    "focus-text": _Entry("ztokens", "FocusText"),
    "sentences-words": _Entry("ztokens", "SentencesByWords"),
    "sentences-embeddings": _Entry("ztokens", "SentencesByEmbeddings"),
    "pruning": _Entry("pruning", "Pruning"),
    "ltsc-ztokens": _Entry("ltsc.variants", "LtscZTokens"),
    "ltsc-text": _Entry("ltsc.variants", "ReadableLtsc"),
    "ltsc": _Entry("ltsc.variants", "Ltsc"),
    "ltsc-tuned": _Entry("ltsc.variants", "TunedLtsc"),
    "random": _Entry("simple", "RandomPruning"),
    "truncation": _Entry("simple", "Truncation"),
    "llmlingua": _Entry("peers", "LLMLingua", (("llmlingua", "pip install llmlingua"),)),
    "delta-ltsc": _Entry("peers", "DeltaLtsc", (("delta", "pip install delta-ltsc"),)),
    "selective-context": _Entry(
        "peers",
        "SelectiveContext",
        (
            ("selective_context", "pip install selective-context"),
            ("spacy", "pip install spacy"),
            ("en_core_web_sm", "python -m spacy download en_core_web_sm, which needs a network"),
        ),
    ),
}


def names() -> tuple[str, ...]:
    """List the names of all baselines, ours first."""
    return tuple(_ENTRIES)


def unavailable(name: str) -> str | None:
    """Return why a baseline cannot be used here, or None if the packages that it needs are installed."""
    missing = [(module, remedy) for module, remedy in _entry(name).needs if find_spec(module) is None]
    if not missing:
        return None
    remedies = "; ".join(f"{module} ({remedy})" for module, remedy in missing)
    return f"The baseline {name!r} needs packages that are not installed: {remedies}."


def create(name: str, **options: Any) -> Baseline:  # noqa: ANN401 - each baseline has its own
    """Create a baseline.

    :param name: One of `names()`.
    :param options: As its class takes them; docs/baselines.md lists them.
    :return: The baseline.
    :raises BaselineUnavailableError: If a package that it needs is missing; the message names it.
    :raises OptionError: If there is no such baseline, or it has no such option.
    """
    if reason := unavailable(name):
        raise BaselineUnavailableError(reason)
    allowed = options_of(name)
    if unknown := sorted(set(options) - set(allowed)):
        raise OptionError(
            f"The baseline {name!r} has no option {unknown[0]!r}. Allowed: {', '.join(allowed) or 'none'}."
        )
    baseline_class: Any = class_of(name)  # a protocol says nothing about constructors
    baseline: Baseline = baseline_class(**options)
    return baseline


def options_of(name: str) -> tuple[str, ...]:
    """List the options that `create` takes for a baseline."""
    return tuple(inspect.signature(class_of(name)).parameters)


def class_of(name: str) -> type[Baseline]:
    """Import the class of a baseline, whose attributes say what it can do."""
    entry = _entry(name)
    baseline_class: type[Baseline] = getattr(import_module(f"zprompt.baselines.{entry.module}"), entry.class_name)
    return baseline_class


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise OptionError(f"Unknown baseline {name!r}. Must be one of {', '.join(_ENTRIES)}.")
    return _ENTRIES[name]
