"""A camera's K from images of a checkerboard (Zhang 2000, by OpenCV), with a sentence where they do not tell it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.camera_model import check_intrinsics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import FOCAL_STD_FRACTIONS
from handviz.core.records import FloatArray, Intrinsics

MAX_SEARCH_PX = 1600
MIN_VIEWS, ENOUGH_VIEWS, MAX_VIEWS = 6, 12, 40
STILL_FRACTION, NEW_FRACTION = 0.004, 0.025
"""Of the longer side: how far corners may move in a still view, and how far they have to in a new one."""
MIN_TILT_DEG, MIN_SPREAD, MAX_RMS_FRACTION, MAX_FOCAL_STD_FRACTION = 15.0, 0.4, 0.003, 0.02
MODEL = cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
"""K and two coefficients of radial distortion. Without those a lens that bends rays would be given a wrong focal length
(k1 of 0.1 makes it 4 % shorter), which is more than what it costs to leave them out afterwards."""
LEAN = "lean the board to the left, to the right, back and forth, by about 30°."
HALF_PIXEL = 0.5
"""OpenCV's pixel centres lie at whole numbers, ours at halves."""


@dataclass(frozen=True)
class Board:
    """A checkerboard by its inner corners, where four squares meet; squares may have any size."""

    columns: int = 9
    rows: int = 6

    def points(self) -> NDArray[np.float32]:
        """(columns * rows, 3) in squares, row by row."""
        across, down = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        return np.stack([across.ravel(), down.ravel(), np.zeros(across.size)], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the views say of the camera; handviz then draws straight rays and leaves the bend out."""

    intrinsics: Intrinsics
    size: tuple[int, int]
    views: int
    rms_px: float
    """How far corners lie from where K puts them."""
    distortion_px: float
    """How far, at the worst corner of the image, the lens bends rays away from where K has them."""


def find_corners(image: NDArray[np.uint8], board: Board) -> FloatArray | None:
    """Inner corners (N, 2) of the board in an RGB image, in our pixels; None if it is not wholly seen."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    smaller = min(1.0, MAX_SEARCH_PX / max(grey.shape))
    if smaller < 1:
        grey = cv2.resize(grey, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
    flags = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
    found, corners = cv2.findChessboardCornersSB(grey, (board.columns, board.rows), flags=flags)
    if not found or corners is None:
        return None
    return (np.asarray(corners, np.float64).reshape(-1, 2) + HALF_PIXEL) / smaller


class ViewCollector:
    """Keeps the views of a board that are still and differ from those before."""

    def __init__(self, board: Board, size: tuple[int, int]) -> None:
        self.board, self.size = board, size
        self.views: list[FloatArray] = []
        self._before: FloatArray | None = None

    def offer(self, corners: FloatArray | None, *, must_be_still: bool) -> str:
        """Take a view or leave it; an empty sentence says that it was taken, another one what to do."""
        before, self._before = self._before, corners
        longer = max(self.size)
        if corners is None:
            return "No board found: all of it has to be seen, flat and lit evenly."
        if len(self.views) >= MAX_VIEWS:
            return "These are views enough."
        if must_be_still and (before is None or _moved(before, corners) > STILL_FRACTION * longer):
            return "Hold the board still."
        if any(_moved(kept, corners) < NEW_FRACTION * longer for kept in self.views):
            return "This view is known: lean the board another way, or move it to another part of the image."
        self.views.append(corners)
        return ""


def calibrate(views: Sequence[FloatArray], board: Board, size: tuple[int, int]) -> Calibration:
    """K that explains the views best; HandvizError with a sentence where they do not tell it."""
    if len(views) < MIN_VIEWS:
        raise HandvizError(f"{len(views)} of at least {MIN_VIEWS} views of the board", ErrorCode.TOO_FEW_VIEWS)
    _check_spread(views, size)
    points = [board.points()] * len(views)
    corners = [(view - HALF_PIXEL).astype(np.float32)[:, None] for view in views]
    guess: Any = None
    try:
        rms, found, bend, turns, _, stds, _, _ = cv2.calibrateCameraExtended(
            points, corners, size, guess, guess, flags=MODEL
        )
    except cv2.error as error:
        raise HandvizError(f"These views do not tell the camera: {LEAN}", ErrorCode.VIEWS_TOO_ALIKE) from error
    matrix: FloatArray = np.asarray(found, np.float64)
    _check_tilt([np.asarray(turn, np.float64) for turn in turns])
    (fx, fy), (cx, cy) = matrix[[0, 1], [0, 1]], matrix[:2, 2] + HALF_PIXEL
    fraction = float(np.max(np.ravel(stds)[:2] / [fx, fy]))
    _check_fit(float(rms), fraction, size)
    sure = max(fraction, FOCAL_STD_FRACTIONS["calibrated"])
    known = Intrinsics(float(fx), float(cx), float(cy), float(fy), origin="calibrated", focal_std_fraction=sure)
    try:
        check_intrinsics(known, size)
    except HandvizError as error:
        raise HandvizError(
            f"These views give an impossible camera ({error}): {LEAN}", ErrorCode.VIEWS_TOO_ALIKE
        ) from error
    return Calibration(
        known, size, len(views), float(rms), _acceleration_px(matrix, np.asarray(bend, np.float64), size)
    )


def _moved(before: FloatArray, after: FloatArray) -> float:
    """Mean distance of the corners; the same board may be read from either end."""
    if len(before) != len(after):
        return math.inf
    return min(float(np.linalg.norm(before - other, axis=1).mean()) for other in (after, after[::-1]))


def _check_spread(views: Sequence[FloatArray], size: tuple[int, int]) -> None:
    every = np.concatenate(list(views))
    if (np.ptp(every, axis=0) / size).min() < MIN_SPREAD:
        raise HandvizError(
            "All views lie in one part of the image: show the board near its edges too.", ErrorCode.VIEWS_TOO_ALIKE
        )


def _check_tilt(turns: Sequence[FloatArray]) -> None:
    """Boards that all face the same way leave the focal length open."""
    normals = np.array([cv2.Rodrigues(turn)[0][:, 2] for turn in turns])
    normals *= np.sign(normals[:, 2:])
    widest_deg = math.degrees(math.acos(min(max(float((normals @ normals.T).min()), -1.0), 1.0)))
    if not widest_deg >= MIN_TILT_DEG:
        raise HandvizError(
            f"The board leans nearly the same way in all views ({widest_deg:.0f}° apart): {LEAN}",
            ErrorCode.VIEWS_TOO_ALIKE,
        )


def _check_fit(rms_px: float, fraction: float, size: tuple[int, int]) -> None:
    if not rms_px <= MAX_RMS_FRACTION * max(size):
        raise HandvizError(
            f"Corners are {rms_px:.1f} px off: is the board flat, are its inner corners counted right, "
            "and does the camera keep its focus?",
            ErrorCode.VIEWS_DISAGREE,
        )
    if not fraction <= MAX_FOCAL_STD_FRACTION:
        raise HandvizError(
            f"The focal length is known to {fraction:.0%} only: more views, leaning more, are needed.",
            ErrorCode.TOO_FEW_VIEWS,
        )


def _acceleration_px(matrix: FloatArray, bend: FloatArray, size: tuple[int, int]) -> float:
    """How far from the image's corners the lens shows the rays that K sends through them."""
    corners = np.array([(0, 0), (size[0], 0), (0, size[1]), size], np.float64) - HALF_PIXEL
    rays = np.linalg.solve(matrix, np.concatenate([corners, np.ones((4, 1))], axis=1).T).T
    seen, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, bend)
    return float(np.linalg.norm(seen[:, 0] - corners, axis=1).max())
