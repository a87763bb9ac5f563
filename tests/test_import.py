"""`import zprompt` is light: heavy libraries are imported with the first codec."""

import subprocess
import sys

import pytest

import zprompt

HEAVY = {"torch", "transformers", "numpy", "tokenizers", "safetensors", "gguf", "peft", "pydantic"}
LIMIT = 0.3  # seconds


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "modules",
    ["zprompt", "zprompt, zprompt.errors, zprompt.results, zprompt.documents, zprompt.page, zprompt.progress"],
)
def test_importing_loads_no_heavy_library(modules: str) -> None:
    loaded = run(f"import sys, {modules}; print(*sys.modules)").split()
    assert not HEAVY & set(loaded)


def test_importing_takes_less_than_a_third_of_a_second() -> None:
    program = "import time; start = time.process_time(); import zprompt; print(time.process_time() - start)"
    assert min(float(run(program)) for _ in range(3)) < LIMIT  # the best of three: the machine may be busy


def test_every_public_name_exists() -> None:
    for name in zprompt.__all__:
        assert getattr(zprompt, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'expand'"):
        _ = zprompt.expand
