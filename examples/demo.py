"""Compress a real text, look at its tiling, and get it back: what `make demo` runs.

Give it a file to see another text: `python examples/demo.py FILE`.
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

import zprompt
from zprompt.cli.tiling import print_tiling

TIDES = Path(__file__).parent / "texts" / "tides.txt"
SHOWN = 600  # characters of a Z-span


def main(path: Path) -> None:
    """Show each step for the text of a file."""
    console = Console(highlight=False)
    text = path.read_bytes().decode()
    codec = zprompt.load()

    console.print(Rule(f"{path.name} in Z-tokens: the bold anchors stay, the rest is let go"))
    explanation = codec.explain(text)
    print_tiling(explanation, console)

    span = explanation.span  # codec.compress(text).documents gives the same
    console.print(Rule("The Z-span that stands for the text"))
    console.print(span[:SHOWN] + "…" * (len(span) > SHOWN), markup=False)

    restored = codec.decompress(span)
    console.print(Rule("The text that comes back"))
    console.print(restored, markup=False)

    stats = explanation.stats
    console.print(Rule("The outcome"))
    console.print(f"{stats.source_tokens:,} tokens of text became {stats.z_tokens:,} Z-tokens: {stats.ratio:.2f} to 1.")
    if restored.encode() != path.read_bytes():
        sys.exit("The restored text DIFFERS from the original.")
    console.print("The restored text is [bold green]byte-identical[/] to the original.")
    console.print(f"\nAs a page: zprompt inspect {path} --html tiling.html", markup=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else TIDES)
