"""How many cores this process may use, which a container or `taskset` can make fewer than the machine has."""

import os


def cores() -> int:
    """Return the cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
