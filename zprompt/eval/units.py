"""What the name of a figure says: its unit, and whether less of it is better.

"… s", "… s, READER"             seconds
"… tokens/s"                     a speed
"… ratio", "bits …", "KV MB"     as they say
BLEU                             0 to 100
all else                         a share, 0 to 1, which is written in per cent
"""

import re

_SECONDS = re.compile(r" s(?:,|$)")
_DIGITS = {"ratio": 2, "bits": 1, "BLEU": 1, "KV MB": 1, "tokens/s": 0}


def digits(name: str) -> int | None:
    """Say how a figure is written.

    :param name: Its name.
    :return: Digits after the point; None for a share.
    """
    if _SECONDS.search(name):
        return 2
    return next((digits for part, digits in _DIGITS.items() if part in name), None)


def less_is_better(name: str) -> bool:
    """Say which way a figure is good.

    :param name: Its name.
    :return: True for seconds, bits and megabytes.
    """
    return bool(_SECONDS.search(name)) or name.startswith(("bits", "KV MB"))
