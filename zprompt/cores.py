"""Count the cores that this process may use; a container or `taskset` may allow fewer than the machine has."""

import os


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
