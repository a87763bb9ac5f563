"""The folder in which zprompt keeps what it fetches and converts.

`ZPROMPT_CACHE` names it; without that, it is the operating system's cache folder for the user.
"""

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the absolute path of the folder; it need not exist yet."""
    chosen = os.environ.get("ZPROMPT_CACHE")
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(platformdirs.user_cache_dir("zprompt", appauthor=False))
    )
