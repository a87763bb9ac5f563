"""Make the pages that docs/ does not hold: what lies elsewhere in the repository, and the command line.

    README.md                        →  index.md                 included, not copied: each is written once
    zprompt/models/learned-codes/README.md →  figures/learned-codes.md    … and so on, see INCLUDED
    the program zprompt itself       →  cli.md                   `typer utils docs` writes it from the commands

Links are written for the repository, where people read Markdown as files. Here they are turned to the pages that the
files have become. A link to a file that is no page becomes its name alone: the site knows no address of the repository.
"""

import posixpath
import re
import subprocess
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
INCLUDED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/results/codec.md": "figures/codec.md",
    "benchmarks/results/codec-rate-distortion.png": "figures/codec-rate-distortion.png",
    "zprompt/models/learned-codes/README.md": "figures/learned-codes.md",
    "zprompt/models/default/reader/README.md": "figures/reader-card.md",
    "zprompt/models/ltsc/reader/README.md": "figures/ltsc-reader-card.md",
    "integrations/langchain/README.md": "langchain.md",  # links only: the page says more than the package's README
    "integrations/llama_index/README.md": "llama-index.md",
}
SOURCES = {page: source for source, page in INCLUDED.items() if not source.startswith("integrations")}

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"^ *(```+|~~~+).*?^ *\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
COMMAND_LIST = re.compile(r"^\*\*Commands\*\*:\n\n(?:\* .*\n)+\n", re.MULTILINE)  # cut short; the contents have them


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages.

    :param files: The files of docs/.
    :param config: The site's configuration.
    :return: The same, and the pages.
    """
    for page, source in SOURCES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    files.append(File.generated(config, "cli.md", content=command_line()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links to pages.

    :param markdown: The page.
    :param page: Which it is.
    :param config: The site's configuration.
    :param files: All files of the site.
    :return: The page, with other links.
    """
    uri = page.file.src_uri
    return turn_links(markdown, uri, SOURCES.get(uri, f"docs/{uri}"), set(files.src_uris))


def turn_links(markdown: str, uri: str, source: str, pages: set[str]) -> str:
    """Turn links between files of the repository to links between pages.

    :param markdown: A page.
    :param uri: Where it is in the site.
    :param source: Where it is in the repository.
    :param pages: Where all pages and images of the site are.
    :return: The page, with other links; code stays as it is.
    """

    def turn(match: re.Match[str]) -> str:
        path, hash_, anchor = match["target"].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        found = INCLUDED.get(target, target.removeprefix("docs/"))
        if found in pages:
            return f"{match['image']}[{match['text']}]({_relative(found, uri)}{hash_}{anchor})"
        # What is not there at all stays a link, so that mkdocs complains.
        return match["text"] if (ROOT / target).exists() and not target.startswith("docs/") else match[0]

    end, parts = 0, []
    for code in CODE.finditer(markdown):
        parts += [LINK.sub(turn, markdown[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, LINK.sub(turn, markdown[end:])])


def command_line() -> str:
    """Write the reference of the command line.

    :return: The page.
    """
    words = [sys.executable, "-m", "typer", "zprompt.cli.main", "utils", "docs", "--name", "zprompt"]
    done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, encoding="utf-8")
    return COMMAND_LIST.sub("", done.stdout)


def _relative(target: str, page: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(page) or ".")
