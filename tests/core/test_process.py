"""The process's cores and memory."""

import os
import subprocess
import sys
import time

import pytest

from handviz.core.paths import PROJECT_ROOT
from handviz.core.process import busy_seconds, usable_cores

SCRIPT = """
import resource, sys
from pathlib import Path
from handviz.core.process import return_large_blocks

if sys.argv[1] == "return":
    assert return_large_blocks()
paused = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
# From the first one that is freed glibc learns to take such blocks from its heap.
del (first := [bytearray(1_000_000)])[:]
before, blocks, kept = paused(), [], []
for _ in range(60):
    blocks.append(bytearray(1_000_000))
    kept.append(bytearray(2000))
blocks.clear()
print(paused() - before)
"""


def held_after_freeing(mode: str) -> int:
    """Return the bytes that a process still holds of 60 MB that it has freed."""
    command = [sys.executable, "-c", SCRIPT, mode]
    return int(subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is Linux'")
def test_freed_images_are_not_held() -> None:
    assert held_after_freeing("return") < 5_000_000 < held_after_freeing("as it is")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not bind processes to cores")
def test_only_the_cores_that_the_process_may_use_count() -> None:
    allowed = os.sched_getaffinity(0)
    assert usable_cores() == len(allowed)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_the_time_of_all_programs_grows_with_this_one() -> None:
    before_s, own_s = busy_seconds(), time.process_time()
    while time.process_time() - own_s < 0.2:
        pass
    # The system counts in hundredths.
    assert busy_seconds() - before_s > 0.1
