"""Importing the package loads no model library, since a process that swaps in stored Z-spans needs none."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_importing_the_package_does_not_import_torch() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from llama_index.postprocessor.zprompt import ZPromptPostprocessor\n"
        "ZPromptPostprocessor()\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def test_the_namespace_packages_above_have_no_init_file() -> None:
    assert not list((ROOT / "llama_index").glob("*.py"))
    assert not list((ROOT / "llama_index" / "postprocessor").glob("*.py"))
