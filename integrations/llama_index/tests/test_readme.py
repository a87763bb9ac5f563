"""What the README says runs, with the codec that is shipped."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_index.core
import pytest

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def tokenizer() -> Iterator[None]:
    """Put the global tokenizer back that the README replaces."""
    before = llama_index.core.global_tokenizer
    yield
    llama_index.core.Settings._tokenizer = None
    llama_index.core.global_tokenizer = before


@pytest.mark.default_model
@pytest.mark.usefixtures("tokenizer")
def test_the_python_of_the_readme_runs() -> None:
    text = README.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "readme"}
    found = list(BLOCK.finditer(text))
    assert found
    for match in found:
        code = compile("\n" * text.count("\n", 0, match.start(1)) + match[1], str(README), "exec")
        exec(code, names)
