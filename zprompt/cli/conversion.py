"""Files in, files out: what `compress` and `decompress` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

from zprompt.cli.contents import read_content
from zprompt.cli.files import plan_outputs, read_sources, write_text


def convert_files(
    paths: Sequence[Path] | None,
    out: Path | None,
    field: str | None,
    rename: Callable[[str], str],
    convert: Callable[[list[str]], Sequence[str]],
) -> None:
    """Read all texts, convert them in one call, and write them.

    Nothing is written before all is converted: an error leaves no half of the outputs.

    :param paths: Files and folders; none for stdin.
    :param out: A file or a folder; None for stdout.
    :param field: The field that holds the text of JSON lines; None goes by the files' names.
    :param rename: Gives the name of an output in a folder from its source's name.
    :param convert: Gives another text for each.
    """
    sources = read_sources(paths, out)
    targets = plan_outputs(sources, out, rename)
    contents = [read_content(source, field) for source in sources.members]
    texts = [text for content in contents for text in content.texts]
    converted = iter(convert(texts) if texts else [])
    outputs = [content.render(list(islice(converted, len(content.texts)))) for content in contents]
    for target, output in zip(targets, outputs, strict=True):
        write_text(target, output)
