"""Run the Python on a page of documentation."""

import re
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_python(page: Path) -> None:
    """Run the Python blocks of a page one after the other, in one namespace."""
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    blocks = list(_BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        code = compile("\n" * text.count("\n", 0, block.start(1)) + block[1], str(page), "exec")
        exec(code, names)
