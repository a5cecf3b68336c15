"""Memory that was given back really goes back to the system, in programs that run all day."""

import ctypes
import sys

# Of glibc's malloc.h.
M_MMAP_THRESHOLD, M_ARENA_MAX = -3, -8
LARGE_BYTES, MOST_ARENAS = 256 * 1024, 2


def return_large_blocks() -> bool:
    """Let large blocks (pictures, the networks' tensors) come from the system one by one; whether that was possible.

    By itself glibc soon takes them from heaps, one set for each of some thirty threads. Pictures are made in one thread
    and freed in another, so those heaps fill with holes: over half an hour the window grew by a third.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)) and bool(mallopt(M_ARENA_MAX, MOST_ARENAS))
