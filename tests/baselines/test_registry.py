"""Methods are made by name, light until they are used, and say why they cannot be."""

import subprocess
import sys

import pytest

from zprompt import baselines as methods
from zprompt.errors import OptionError


def test_methods_are_made_by_name() -> None:
    for name in methods.names():
        if methods.unavailable(name) is None:
            method = methods.create(name)
            assert isinstance(method, methods.Baseline)
            assert method.name == name


def test_listing_and_making_loads_nothing_heavy() -> None:
    program = "import sys; from zprompt import baselines as methods; methods.names(); methods.create('truncation'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "tokenizers"} & set(loaded)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no method 'magic'\. Must be one of ztokens, "):
        methods.create("magic")


def test_the_options_of_a_method_are_listed() -> None:
    assert methods.options_of("truncation") == ("keep", "ratio", "tokenizer")
    for name in methods.names():
        assert set(methods.options_of(name)) & {"codec", "backbone", "tokenizer"}


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(OptionError, match=r"no option 'side'\. Allowed: keep, ratio, tokenizer"):
        methods.create("truncation", side="left")
