"""Ask Linux how much memory this process takes, at most.

It is VmHWM, since getrusage's ru_maxrss starts at the peak of the process that this one was started from. Writing 5 to
clear_refs lets it start again from what is resident now, so that a peak can be said of a part of a process's life; what
an allocator keeps for later counts all the same.
"""

from pathlib import Path


def reset_peak() -> bool:
    """Let the peak start again from what is resident now.

    :return: False where the system does not allow it: the peak is that of the whole process then.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return False
    return True


def peak_megabytes() -> float:
    """Ask Linux for this process's peak resident memory.

    :return: Megabytes.
    """
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM"))
