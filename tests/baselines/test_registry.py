"""Baselines are created by name, load nothing heavy until they are used, and say why they are unavailable."""

import subprocess
import sys

import pytest

from zprompt import baselines
from zprompt.errors import OptionError


def test_baselines_are_created_by_name() -> None:
    for name in baselines.names():
        if baselines.unavailable(name) is None:
            baseline = baselines.create(name)
            assert isinstance(baseline, baselines.Baseline)
            assert baseline.name == name


def test_every_class_declares_its_capabilities() -> None:
    declared = {name: (cls.own_length, cls.output) for name in baselines.names() if (cls := baselines.class_of(name))}
    assert {name for name, (own_length, _) in declared.items() if own_length} == {
        *("ltsc", "ltsc-text", "ltsc-tuned", "delta-ltsc")
    }
    assert {name for name, (_, output) in declared.items() if output == "ids"} == {"ltsc", "ltsc-tuned", "delta-ltsc"}
    assert {name for name, (_, output) in declared.items() if output == "z"} == {"ztokens", "focus-z", "ltsc-ztokens"}


def test_listing_and_creating_loads_nothing_heavy() -> None:
    program = (
        "import sys; from zprompt import baselines; baselines.names(); baselines.create('truncation');"
        "baselines.create('ltsc-text'); print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "onnxruntime"} & set(loaded)


def test_an_unknown_baseline_is_refused() -> None:
    with pytest.raises(OptionError, match=r"Unknown baseline 'magic'\. Must be one of ztokens, "):
        baselines.create("magic")


def test_the_options_of_a_baseline_are_listed() -> None:
    assert baselines.options_of("truncation") == ("keep", "ratio", "tokenizer")
    for name in baselines.names():
        assert set(baselines.options_of(name)) & {"codec", "backbone", "tokenizer"}


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no option 'side'\. Allowed: keep, ratio, tokenizer"):
        baselines.create("truncation", side="left")
