"""The Python in README.md and docs/langchain.md runs, with the shipped codec."""

from pathlib import Path

import pytest
from pages import run_python

PACKAGE = Path(__file__).parents[1]
PAGES = [PACKAGE / "README.md", PACKAGE.parents[1] / "docs" / "langchain.md"]


@pytest.mark.default_model
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(page: Path) -> None:
    run_python(page)
