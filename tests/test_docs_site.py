"""The code in docs/_site: links between files become links between pages, and comments become documentation."""

import ast
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

SITE = Path(__file__).parents[1] / "docs" / "_site"
Site = Callable[[str], ModuleType]
PAGES = {"index.md", "codec.md", "api/codec.md", "figures/codec.md", "figures/reader-card.md", "langchain.md"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(SITE)
    yield import_module
    for name in ("pages", "field_comments"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("uri", "source", "link", "expected"),
    [
        ("index.md", "README.md", "[c](docs/codec.md)", "[c](codec.md)"),
        ("index.md", "README.md", "[c](docs/codec.md#a-b)", "[c](codec.md#a-b)"),
        ("index.md", "README.md", "[f](benchmarks/results/codec.md)", "[f](figures/codec.md)"),
        ("index.md", "README.md", "[l](LICENSE)", "l"),
        ("index.md", "README.md", "[web](https://arxiv.org)", "[web](https://arxiv.org)"),
        ("index.md", "README.md", "`[z](docs/codec.md)`", "`[z](docs/codec.md)`"),
        ("index.md", "README.md", "```\n[z](docs/codec.md)\n```", "```\n[z](docs/codec.md)\n```"),
        ("codec.md", "docs/codec.md", "[gone](gone.md)", "[gone](gone.md)"),
        ("codec.md", "docs/codec.md", "[r](../README.md)", "[r](index.md)"),
        ("api/codec.md", "docs/api/codec.md", "[l](../langchain.md)", "[l](../langchain.md)"),
        (
            "codec.md",
            "docs/codec.md",
            "[card](../zprompt/models/default/reader/README.md)",
            "[card](figures/reader-card.md)",
        ),
    ],
)
def test_links_between_files_become_links_between_pages(
    site: Site, uri: str, source: str, link: str, expected: str
) -> None:
    assert site("pages").turn_links(f"See\n{link}\n", uri, source, PAGES) == f"See\n{expected}\n"


@pytest.mark.parametrize(
    ("source", "comment"),
    [
        ("seconds: float  # of wall clock", "of wall clock"),
        ('mark: str = "#"  # not that one', "not that one"),
        ("field: int", None),
        ("field: int\nother: int  # of another field", None),
        ("field: tuple[\n    int\n]  # over several lines", "over several lines"),
    ],
)
def test_a_field_is_documented_by_its_comment(site: Site, source: str, comment: str | None) -> None:
    assert site("field_comments").comment(source) == comment


def test_a_field_is_documented_by_its_description(site: Site) -> None:
    [node] = ast.parse('ratio: float = Field(default=1.0, description="Tokens per token.")').body
    assert site("field_comments").described(node) == "Tokens per token."
