"""Shorten a passage for an LLM that knows no Z-tokens: the anchors of its Z-span, as text.

    python examples/shorthand.py [FILE]

A Z-span is noise to GPT, Claude or an ordinary Llama. What they can read is the anchors. THIS LOSES TEXT: what was
between the anchors is gone for such a model, an ellipsis stands for it, and nothing says what was there. It takes more
tokens than the Z-span has Z-tokens, since each ellipsis is one, too. Words that must not be lost have to be protected.
Where an ordinary LLM is to answer well, a method that prunes for that purpose (LLMLingua) is made for it; this is not.
From the Z-span itself the text still comes back whole.
"""

import re
import sys
from collections import Counter
from pathlib import Path

import zprompt

LIGHTHOUSE = Path(__file__).parent / "library" / "lighthouse.txt"


def kept(pattern: str, text: str, short: str) -> str:
    """Return how many matches of a pattern a text's shorthand still has, as "this many of that many"."""
    there, left = (Counter(re.findall(pattern, one)) for one in (text, short))
    return f"{(there & left).total()} of {there.total()}"


def main(path: Path) -> None:
    """Show the shorthand of a file's text at several ratios."""
    text = path.read_text("utf-8")
    codec = zprompt.load()
    count = codec.backbone.encode
    print(f"{text}\n{len(count(text))} tokens\n")
    for ratio, protect in ((2, None), (2, r"\d+|[A-Z]\w+"), (4, r"\d+|[A-Z]\w+")):
        result = codec.compress(text, ratio=ratio, protect=protect)
        short = codec.shorthand(result.documents)
        print(f"--- ratio {ratio}, {'numbers and names protected' if protect else 'nothing protected'}\n{short}\n")
        words, numbers = kept(r"\w+", text, short), kept(r"\d+", text, short)
        print(f"{result.stats.z_tokens} Z-tokens, but {len(count(short))} tokens to an ordinary LLM;", end=" ")
        print(f"{words} words and {numbers} numbers are left\n")
        assert codec.decompress(result.documents) == text


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else LIGHTHOUSE)
