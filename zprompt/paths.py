"""The folders in which zprompt keeps what it fetches and converts, and what cannot be had again.

`ZPROMPT_CACHE` names the first; without that, it is the operating system's cache folder for the user. The second is the
operating system's folder for the user's data, which no cleaning empties.
"""

import os
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
