"""The present process: its memory, the cores that it may use, and returning freed memory to the system.

psutil is imported when it is asked: twenty milliseconds that the start of the window need not wait for.
"""

import ctypes
import sys

BYTES_PER_MEGABYTE = 1024 * 1024
# Constants of glibc's malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BYTES, MAX_ARENAS = 256 * 1024, 2


def resident_megabytes() -> float:
    """Return the resident memory."""
    import psutil

    return float(psutil.Process().memory_info().rss) / BYTES_PER_MEGABYTE


def peak_megabytes() -> float:
    """Return the largest resident memory so far."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / BYTES_PER_MEGABYTE
    # Of these systems psutil does not tell the peak.
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (BYTES_PER_MEGABYTE if sys.platform == "darwin" else 1024)


def usable_cores() -> int:
    """Return the number of logical cores that the system lets this process use."""
    import psutil

    process = psutil.Process()
    # macOS does not bind processes to cores.
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def busy_seconds() -> float:
    """Return the processor time that all programs together have taken on all cores, since some fixed moment."""
    import psutil

    times = psutil.cpu_times()._asdict()
    # A guest's time is part of that of the user.
    idle = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(seconds for name, seconds in times.items() if name not in idle))


def return_large_blocks() -> bool:
    """Let glibc map large blocks (images, tensors) one by one, so that freeing them returns them; True if possible.

    By default glibc soon takes them from heaps of some thirty threads. Images are allocated in one thread and freed in
    another, so those heaps fragment: over half an hour the window's memory grew by a third.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(M_ARENA_MAX, MAX_ARENAS))
