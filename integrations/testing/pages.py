"""Run what a page of documentation says."""

import re
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_python(page: Path) -> None:
    """Run the Python blocks of a page one after the other, with one set of names."""
    text = page.read_text("utf-8")
    names: dict[str, Any] = {"__name__": "page"}
    found = list(_BLOCK.finditer(text))
    assert found
    for match in found:
        code = compile("\n" * text.count("\n", 0, match.start(1)) + match[1], str(page), "exec")
        exec(code, names)
