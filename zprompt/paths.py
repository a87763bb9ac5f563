"""Locate the cache folder and the data folder, and list files.

The cache holds what can be fetched or converted again: `ZPROMPT_CACHE`, or else the operating system's cache folder of
the user. What cannot be had again goes into the operating system's data folder of the user, which no cleaning empties.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the absolute path of the folder for what is fetched and converted; it need not exist yet."""
    chosen = os.environ.get("ZPROMPT_CACHE")
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(platformdirs.user_cache_dir("zprompt", appauthor=False))
    )


def data_dir() -> Path:
    """Return the absolute path of the folder for what cannot be had again; it need not exist yet."""
    return Path(platformdirs.user_data_dir("zprompt", appauthor=False))


def walk(folder: Path, out: Path | None = None) -> Iterator[Path]:
    """List the files of a folder in order, at any depth, except hidden files, links, and what lies in `out`."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_symlink() or (out is not None and path.absolute() == out.absolute()):
            continue
        if path.is_dir():
            yield from walk(path, out)
        elif path.is_file():
            yield path
