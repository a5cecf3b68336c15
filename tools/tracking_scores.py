"""Scores of followed hands against the truth of a rendered clip (numpy)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from handviz.core.metrics import pa_mpjpe_mm
from handviz.core.records import Detection, FloatArray, HandMesh
from handviz.detection.crop import as_the_detector_marks_them
from handviz.evaluation.definitions import acceleration_errors_mm
from tools.motion_scores import MOVING_PX_PER_S, lag_ms
from tools.tracking_clips import TrackedClip

SAME_HAND = 0.35
"""Largest mean distance of found from true keypoints of the same hand, in longer sides of the true hand's box."""
EXPECTED_FRACTION = 0.7
"""Of a hand's keypoints that must be visible, so that it has to be found; one that shows less may be."""
FAR_OFF = 1e6


@dataclass(frozen=True, eq=False)
class FoundHand:
    """A hand in one frame, as a tracker has it."""

    detection: Detection
    raw: HandMesh
    smoothed: HandMesh


@dataclass(frozen=True, eq=False)
class Tally:
    """What was counted and measured in clips; tallies of several clips are added."""

    expected: int = 0
    """hands that should be found, summed over frames"""
    found: int = 0
    """of those"""
    false_hands: int = 0
    """found where none is, or twice, summed over frames"""
    switches: int = 0
    """changes of a hand's number while it is in the image"""
    renumbered: int = 0
    """hands that came back and got another number"""
    wrong_side: int = 0
    """hands of the other side, summed over frames"""
    until_found: tuple[int, ...] = ()
    """frames from each hand's coming to its first detection"""
    until_gone: tuple[int, ...] = ()
    """frames with a false hand after each hand's leaving"""
    error_percent: FloatArray = field(default_factory=lambda: np.zeros(0))
    """of each hand found: mean distance of the detector's keypoints, % of the longer side of the true box"""
    pa_mm: FloatArray = field(default_factory=lambda: np.zeros(0))
    """of each hand found: PA-MPJPE before smoothing"""
    jitter_percent: FloatArray = field(default_factory=lambda: np.zeros(0))
    """acceleration errors of the detector's keypoints, % of the box's longer side a frame squared"""
    jitter_mm: FloatArray = field(default_factory=lambda: np.zeros(0))
    """acceleration errors from the wrist, before smoothing, mm a frame squared"""
    smoothed_jitter_mm: FloatArray = field(default_factory=lambda: np.zeros(0))
    late_px: FloatArray = field(default_factory=lambda: np.zeros((0, 21, 2)))
    """of the overlay from the truth, before smoothing, in frames in which the hand moves"""
    smoothed_late_px: FloatArray = field(default_factory=lambda: np.zeros((0, 21, 2)))
    speed_px: FloatArray = field(default_factory=lambda: np.zeros((0, 21, 2)))
    """true speed in those frames, a second"""

    def __add__(self, other: "Tally") -> "Tally":
        """Return the tally of both."""
        added: dict[str, Any] = {}
        for item in fields(self):
            mine, its = getattr(self, item.name), getattr(other, item.name)
            added[item.name] = np.concatenate([mine, its]) if isinstance(mine, np.ndarray) else mine + its
        return Tally(**added)

    def summary(self) -> dict[str, float]:
        """Return the figures of a table; nan where nothing was measured."""
        return {
            "expected": self.expected,
            "recall_percent": 100 * self.found / self.expected if self.expected else float("nan"),
            "false_hands": self.false_hands,
            "switches": self.switches,
            "renumbered": self.renumbered,
            "wrong_side": self.wrong_side,
            "until_found_mean": _of(np.mean, np.array(self.until_found)),
            "until_found_max": _of(np.max, np.array(self.until_found)),
            "until_gone_max": _of(np.max, np.array(self.until_gone)),
            "error_median_percent": _of(np.median, self.error_percent),
            "error_95_percent": _of(lambda values: np.percentile(values, 95), self.error_percent),
            "pa_mm": _of(np.mean, self.pa_mm),
            "jitter_percent": _of(np.mean, self.jitter_percent),
            "jitter_mm": _of(np.mean, self.jitter_mm),
            "smoothed_jitter_mm": _of(np.mean, self.smoothed_jitter_mm),
            "lag_ms": lag_ms(self.late_px, self.speed_px),
            "smoothed_lag_ms": lag_ms(self.smoothed_late_px, self.speed_px),
        }


def _of(summarise: Callable[[FloatArray], Any], values: FloatArray) -> float:
    return float(summarise(values)) if len(values) else float("nan")


def tally(clip: TrackedClip, frames: Sequence[Sequence[FoundHand]]) -> Tally:
    """Compare the hands found in each frame of a clip with its truth."""
    truth = _Truth(clip)
    matches = [truth.matched(row, found) for row, found in enumerate(frames)]
    false_hands = np.array([len(found) - len(match) for found, match in zip(frames, matches, strict=True)])
    total = Tally(false_hands=int(false_hands.sum()))
    for index in range(len(clip.sides)):
        hands = [match.get(index) for match in matches]
        total += _counted(truth, index, hands, false_hands) + _measured(truth, index, hands)
    return total


class _Truth:
    """A clip's truth; arrays over its T frames and K hands."""

    def __init__(self, clip: TrackedClip) -> None:
        self.clip = clip
        self.shown: NDArray[np.bool_] = np.asarray(np.isfinite(clip.keypoints_m).all(axis=(2, 3)))
        self.px = np.where(
            self.shown[..., None, None], clip.intrinsics.project(np.nan_to_num(clip.keypoints_m)), np.nan
        )
        marks_m = as_the_detector_marks_them(clip.keypoints_m)
        self.marks_px = np.where(self.shown[..., None, None], clip.intrinsics.project(np.nan_to_num(marks_m)), np.nan)
        width, height = clip.intrinsics.centre_px * 2
        inside = np.all((self.px >= 0) & (self.px < [width, height]), axis=3)
        self.present: NDArray[np.bool_] = np.asarray(self.shown & np.any(inside, axis=2))
        """(T, K) at least in part in the image, perhaps behind another hand"""
        self.expected: NDArray[np.bool_] = self.present & (clip.visible.mean(axis=2) >= EXPECTED_FRACTION)
        self.extent_px = np.ptp(self.px, axis=2).max(axis=2)

    def matched(self, row: int, found: Sequence[FoundHand]) -> dict[int, FoundHand]:
        """Return the found hand of each true one that has one, by the least sum of distances."""
        if not found:
            return {}
        keypoints_px = np.stack([hand.detection.keypoints_px for hand in found])
        apart = np.linalg.norm(self.marks_px[row][:, None] - keypoints_px, axis=3).mean(axis=2)
        apart = apart / self.extent_px[row][:, None]
        apart = np.where(self.present[row][:, None] & (apart < SAME_HAND), apart, FAR_OFF)
        pairs = zip(*linear_sum_assignment(apart), strict=True)
        return {int(true): found[one] for true, one in pairs if apart[true, one] < FAR_OFF}

    def stays(self, index: int) -> Iterator[NDArray[np.int64]]:
        """Yield the frames of each time that a hand is in the image, from its coming to its leaving."""
        rows = np.flatnonzero(self.present[:, index])
        if len(rows):
            yield from np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)


def _counted(truth: _Truth, index: int, hands: Sequence[FoundHand | None], false_hands: NDArray[np.int64]) -> Tally:
    """Count what happens to one hand; ``hands`` (T) are those found where it is."""
    expected = truth.expected[:, index]
    found_there = np.array([hand is not None for hand in hands])
    sides = np.array([hand is not None and hand.raw.handedness != truth.clip.sides[index] for hand in hands])
    switches, renumbered, until_found, until_gone, last = 0, 0, list[int](), list[int](), 0
    for rows in truth.stays(index):
        numbers = [hand.raw.track_id for row in rows if (hand := hands[row]) is not None]
        renumbered += bool(numbers) and last not in (0, numbers[0])
        switches += int(np.count_nonzero(np.diff(numbers)))
        last = numbers[-1] if numbers else last
        due = rows[expected[rows]]
        if len(due):
            seen = np.flatnonzero(
                found_there & (np.arange(len(hands)) >= rows[0]) & (np.arange(len(hands)) <= rows[-1])
            )
            until_found.append(max(int(seen[0] - due[0]), 0) if len(seen) else len(due))
        if rows[-1] + 1 < len(hands):
            after = false_hands[rows[-1] + 1 :] == 0
            until_gone.append(int(after.argmax()) if after.any() else len(after))
    return Tally(
        expected=int(expected.sum()),
        found=int((expected & found_there).sum()),
        switches=switches,
        renumbered=renumbered,
        wrong_side=int((expected & sides).sum()),
        until_found=tuple(until_found),
        until_gone=tuple(until_gone),
    )


def _measured(truth: _Truth, index: int, hands: Sequence[FoundHand | None]) -> Tally:
    """Measure one hand where it is expected and found."""
    rows = np.array([row for row, hand in enumerate(hands) if hand is not None and truth.expected[row, index]], int)
    if not len(rows):
        return Tally()
    found = [hand for row in rows if (hand := hands[row]) is not None]
    true_m = truth.clip.keypoints_m[rows, index]
    detected_px = np.stack([hand.detection.keypoints_px for hand in found])
    extent_px = truth.extent_px[rows, index]
    away_px = detected_px - truth.marks_px[rows, index]
    raw_m, smoothed_m = (np.stack([getattr(hand, kind).keypoints_m for hand in found]) for kind in ("raw", "smoothed"))
    speed_px = _speeds(truth, index)[rows]
    moving = np.nan_to_num(np.linalg.norm(speed_px, axis=2).mean(axis=1)) > MOVING_PX_PER_S
    raw_px, smoothed_px = (
        np.stack([getattr(hand, kind).keypoints_px for hand in found]) for kind in ("raw", "smoothed")
    )
    centre = np.flatnonzero(rows[2:] - rows[:-2] == 2)
    rooted_m = true_m - true_m[:, :1]
    relative = away_px / extent_px[:, None, None]
    return Tally(
        error_percent=100 * np.linalg.norm(relative, axis=2).mean(axis=1),
        pa_mm=pa_mpjpe_mm(raw_m, true_m),
        # Differences of fractions, not millimetres, from none: hence the factor.
        jitter_percent=acceleration_errors_mm(relative, np.zeros_like(relative))[centre] / 10,
        jitter_mm=acceleration_errors_mm(raw_m - raw_m[:, :1], rooted_m)[centre],
        smoothed_jitter_mm=acceleration_errors_mm(smoothed_m - smoothed_m[:, :1], rooted_m)[centre],
        late_px=(raw_px - truth.px[rows, index])[moving],
        smoothed_late_px=(smoothed_px - truth.px[rows, index])[moving],
        speed_px=speed_px[moving],
    )


def _speeds(truth: _Truth, index: int) -> FloatArray:
    """Return a hand's true speed (T, 21, 2) in pixels a second; nan at both ends of its shot."""
    px, times_s, shots = truth.px[:, index], truth.clip.times_s, truth.clip.shots
    speeds = np.full_like(px, np.nan)
    within = np.flatnonzero(shots[2:] == shots[:-2]) + 1
    steps_s = (times_s[within + 1] - times_s[within - 1])[:, None, None]
    speeds[within] = (px[within + 1] - px[within - 1]) / steps_s
    return speeds
