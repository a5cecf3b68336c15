"""A long run: resources are sampled while settings change, and a stated rule decides whether they grew."""

import gc
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import psutil

from handviz.core.records import FloatArray

RULES = {
    "memory_mb": (0.03, 15.0),
    "threads": (0.0, 0.0),
    "gl_objects": (0.0, 0.0),
    "python_blocks": (0.02, 20_000.0),
}
"""By how much the last quarter's median may lie above the second quarter's: the larger of a fraction and a number."""
MIN_SAMPLES = 8


@dataclass(frozen=True)
class Sample:
    """The process's resources at one time."""

    at_s: float
    memory_mb: float
    threads: int
    gl_objects: int
    python_blocks: int
    """Of memory that Python has allocated. Not its objects: their list holds those that another thread is building,
    which then fail to grow."""


def take_sample(at_s: float, memory_mb: float, gl_objects: int) -> Sample:
    """Sample the resources after a garbage collection, so that objects collected late do not count as leaked."""
    gc.collect()
    return Sample(at_s, memory_mb, _threads(), gl_objects, sys.getallocatedblocks())


def _threads() -> int:
    return int(psutil.Process().num_threads())


@dataclass(frozen=True)
class Growth:
    """One quantity over the run."""

    name: str
    first: float
    last: float
    per_hour: float
    """slope of a line through the samples after the first quarter"""
    early: float
    """median of the second quarter: caches have filled by then"""
    late: float
    """median of the last quarter"""
    holds: bool


def growths(samples: Sequence[Sample]) -> list[Growth]:
    """Return whether each quantity stays within the rule; at least eight samples are needed."""
    assert len(samples) >= MIN_SAMPLES
    times_s = np.array([sample.at_s for sample in samples])
    names = [item.name for item in fields(Sample) if item.name != "at_s"]
    return [_growth(name, times_s, np.array([getattr(one, name) for one in samples], float)) for name in names]


def _growth(name: str, times_s: FloatArray, values: FloatArray) -> Growth:
    quarter = len(values) // 4
    early, late = float(np.median(values[quarter : 2 * quarter])), float(np.median(values[-quarter:]))
    fraction, number = RULES[name]
    slope = float(np.polyfit(times_s[quarter:], values[quarter:], 1)[0]) * 3600
    allowed = max(fraction * early, number)
    return Growth(name, float(values[0]), float(values[-1]), slope, early, late, late - early <= allowed)


def has_grown(found: Sequence[Growth]) -> bool:
    """Return whether anything that the system tells has grown."""
    return any(not one.holds and math.isfinite(one.late) for one in found)


def report(found: Sequence[Growth], failures: Sequence[str] = ()) -> list[str]:
    """Return the lines of a report; the last is the verdict, which also names frames and requests that failed."""
    head = f"{'':16}{'first':>11}{'last':>11}{'per hour':>11}{'2nd quarter':>13}{'4th quarter':>13}"
    rows = [
        f"{one.name:16}{one.first:11.1f}{one.last:11.1f}{one.per_hour:11.1f}{one.early:13.1f}{one.late:13.1f}  "
        + ("holds" if one.holds else "GROWS" if math.isfinite(one.late) else "is not available on this system")
        for one in found
    ]
    verdict = (
        "something grew"
        if has_grown(found)
        else "nothing grew"
        if all(one.holds for one in found)
        else "nothing grew of that"
    )
    if failures:
        verdict += f", {len(failures)} frames or requests FAILED, the first: {failures[0]}"
    return [head, *rows, f"verdict: {verdict}"]
