"""The Python in the README and docs/ runs, and the commands on all pages exist.

A Python block that cannot run here says so in its title: ```python title="Not run: needs a server".
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from zprompt.cli.main import app

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [README, *DOCS, *sorted((ROOT / "zprompt" / "models").glob("*/README.md"))]
INTEGRATIONS = [ROOT / "integrations" / "langchain", ROOT / "integrations" / "llama_index"]
ADAPTER_PAGES = {"langchain.md", "llama-index.md"}  # run by the tests of the integrations

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON_FENCE = re.compile(r"^(.*)```python\b(.*)$", re.MULTILINE)
NOT_RUN = re.compile(r' title="[^"]*Not run: [^"]+"')
ENDS = {"|", "||", "&&", ";", ">", ">>", "<", "&"}


def blocks(page: Path, *languages: str) -> list[tuple[int, str]]:
    """Return the code blocks of a page in some languages, each with its first line."""
    text = page.read_text("utf-8")
    return [(text.count("\n", 0, match.start(2)), match[2]) for match in BLOCK.finditer(text) if match[1] in languages]


def commands(script: str) -> Iterator[list[str]]:
    """Yield the arguments of every call of zprompt in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        while words:
            end = next((index for index, word in enumerate(words) if word in ENDS), len(words))
            if words[:1] == ["zprompt"]:
                yield words[1:end]
            words = words[end + 1 :]


def check_command(arguments: list[str]) -> None:
    """Parse a command line without running it; unknown commands and options raise."""
    command: Any = get_command(app)  # a class of Click or of Typer, depending on Typer's version
    context: Any = None
    while True:
        context = command.context_class(command, parent=context, info_name=command.name)
        _, arguments, _ = command.make_parser(context).parse_args(args=list(arguments))
        if not hasattr(command, "commands"):
            return
        if not arguments:  # `zprompt --version`
            return
        if (subcommand := command.get_command(context, arguments[0])) is None:
            raise KeyError(arguments[0])
        command, arguments = subcommand, arguments[1:]


@pytest.mark.default_model
@pytest.mark.parametrize(
    "page",
    [page for page in [README, *DOCS] if blocks(page, "python") and page.name not in ADAPTER_PAGES],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in INTEGRATIONS:
        monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    for line, block in blocks(page, "python"):
        code = compile("\n" * line + block, str(page), "exec")  # so that tracebacks show the line of the page
        exec(code, names)


@pytest.mark.parametrize("page", [README, *DOCS], ids=lambda page: str(page.relative_to(ROOT)))
def test_python_that_is_not_run_says_so(page: Path) -> None:
    for before, after in PYTHON_FENCE.findall(page.read_text("utf-8")):
        assert (before, after) == ("", "") or NOT_RUN.fullmatch(after), f"{page.name}: {before}```python{after}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for _, block in blocks(page, "bash", "console", "sh"):
        for arguments in commands(block):
            check_command(arguments)


def test_the_readme_shows_every_command() -> None:
    shown = {arguments[0] for _, block in blocks(README, "bash", "console") for arguments in commands(block)}
    tree: Any = get_command(app)
    assert shown == set(tree.commands)


@pytest.mark.parametrize(
    "line", ["zprompt fly", "zprompt compress --wings", "zprompt train reader --data", "zprompt -x"]
)
def test_a_command_that_does_not_exist_is_detected(line: str) -> None:
    [arguments] = commands(line)
    with pytest.raises(Exception, match=r"fly|--wings|--data|-x"):
        check_command(arguments)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("$ zprompt pull  # fetches", [["pull"]]),
        ("cat a | zprompt compress - > b && zprompt stats b", [["compress", "-"], ["stats", "b"]]),
        ("zprompt compress a \\\n  --ratio 4", [["compress", "a", "--ratio", "4"]]),
        ("pip install zprompt", []),
    ],
)
def test_commands_are_found_in_scripts(line: str, expected: list[list[str]]) -> None:
    assert list(commands(line)) == expected
