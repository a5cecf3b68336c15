"""Times of the stages of the program's start; recording one costs nothing."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from handviz.core.errors import ErrorCode, HandvizError

STARTED_VARIABLE = "HANDVIZ_STARTED_S"
"""Environment: when the process was asked for, ``time.time()``; only a measured start has it."""
LINE = "stage "
MAX_START_S = 120
noted: list[tuple[str, float]] = []
"""Name and ``time.time()``."""


# When the program reached which stage of its start; noting one costs nothing.


def note(stage: str) -> None:
    """Record that this stage is reached; of repeated calls the first counts."""
    if all(stage != known for known, _ in noted):
        noted.append((stage, time.time()))


def lines() -> list[str]:
    """Return what a measured process prints: stages with seconds since its start was requested."""
    started_s = float(os.environ.get(STARTED_VARIABLE, noted[0][1] if noted else 0.0))
    return [f"{LINE}{at_s - started_s:.3f} {name}" for name, at_s in noted]


def measure_starts(command: Sequence[str], count: int, report: Callable[[str], None]) -> float:
    """Start the program ``count`` times, report the median of every stage; return that of the last, in seconds.

    The first start warms the disk and does not count. Raises HandvizError where a start fails.
    """
    runs = [_start(command) for _ in range(count + 1)][1:]
    before_s = 0.0
    report(f"median of {count} starts with a warm disk, in seconds: since the start, and this stage alone")
    for stage in runs[0]:
        at_s = statistics.median(run[stage] for run in runs)
        report(f"  {stage:34} {at_s:6.2f} {at_s - before_s:6.2f}")
        before_s = at_s
    return before_s


def _start(command: Sequence[str]) -> dict[str, float]:
    environment = {**os.environ, STARTED_VARIABLE: repr(time.time())}
    try:
        done = subprocess.run(
            [sys.executable, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=MAX_START_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HandvizError(
            f"the program showed no hands within {MAX_START_S} s: has its source any?", ErrorCode.OPTION_CONFLICT
        ) from error
    # The stages are the result of that process.
    told = [line.partition(LINE)[2].split(" ", 1) for line in done.stdout.splitlines() if LINE in line]
    if done.returncode != 0 or not told:
        raise HandvizError(
            f"the program did not start (status {done.returncode}): {done.stderr[-2000:]}", ErrorCode.CANCELLED
        )
    return {name: float(seconds) for seconds, name in told}
