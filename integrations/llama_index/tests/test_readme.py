"""What README.md and docs/llama-index.md say runs, with the codec that is shipped."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_index.core
import pytest

PACKAGE = Path(__file__).parents[1]
PAGES = [PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "llama-index.md"]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def tokenizer() -> Iterator[None]:
    """Put the global tokenizer back that the pages replace."""
    before = llama_index.core.global_tokenizer
    yield
    llama_index.core.Settings._tokenizer = None
    llama_index.core.global_tokenizer = before


@pytest.mark.default_model
@pytest.mark.usefixtures("tokenizer")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    found = list(BLOCK.finditer(text))
    assert found
    for match in found:
        code = compile("\n" * text.count("\n", 0, match.start(1)) + match[1], str(page), "exec")
        exec(code, names)
