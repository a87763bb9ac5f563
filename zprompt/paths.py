"""Say where zprompt keeps what it fetches and converts.

`ZPROMPT_CACHE` names the folder; without it, it is the operating system's cache folder for the user.
"""

import os
from pathlib import Path

import platformdirs


def cache_dir() -> Path:
    """Return the folder for fetched and converted files; it need not exist yet.

    :return: The absolute path.
    """
    chosen = os.environ.get("ZPROMPT_CACHE")
    return (
        Path(chosen).expanduser().absolute()
        if chosen
        else Path(platformdirs.user_cache_dir("zprompt", appauthor=False))
    )
