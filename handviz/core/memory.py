"""The process's resident memory, and returning freed memory to the system."""

import ctypes
import sys
from pathlib import Path

BYTES_PER_MEGABYTE = 1024 * 1024
# Constants of glibc's malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BYTES, MAX_ARENAS = 256 * 1024, 2


class _WindowsCounters(ctypes.Structure):
    """PROCESS_MEMORY_COUNTERS of psapi.h."""

    _fields_ = (
        ("cb", ctypes.c_uint32),
        ("PageFaultCount", ctypes.c_uint32),
        *((f"size_{index}", ctypes.c_size_t) for index in range(8)),
    )


def resident_megabytes() -> float | None:
    """Return the resident memory; None where the system does not provide it."""
    if sys.platform.startswith("linux"):
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * resource.getpagesize() / BYTES_PER_MEGABYTE
    return _windows_megabytes("size_1")


def peak_megabytes() -> float | None:
    """Return the largest resident memory so far; None where the system does not provide it."""
    if sys.platform == "win32":
        return _windows_megabytes("size_0")
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (BYTES_PER_MEGABYTE if sys.platform == "darwin" else 1024)


def _windows_megabytes(field: str) -> float | None:
    if sys.platform != "win32":
        return None
    counters = _WindowsCounters(cb=ctypes.sizeof(_WindowsCounters))
    kernel = ctypes.WinDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    process = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.K32GetProcessMemoryInfo(process, ctypes.byref(counters), counters.cb):
        return None
    return float(getattr(counters, field)) / BYTES_PER_MEGABYTE


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
