"""What README.md and docs/llama-index.md say runs, with the codec that is shipped."""

from collections.abc import Iterator
from pathlib import Path

import llama_index.core
import pytest
from pages import run_python

PACKAGE = Path(__file__).parents[1]
PAGES = [PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "llama-index.md"]


@pytest.fixture
def tokenizer() -> Iterator[None]:
    """Restore the global tokenizer that the pages replace."""
    before = llama_index.core.global_tokenizer
    yield
    llama_index.core.Settings._tokenizer = None
    llama_index.core.global_tokenizer = before


@pytest.mark.default_model
@pytest.mark.usefixtures("tokenizer")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    run_python(page)
