"""Camera calibration from images of a checkerboard (Zhang 2000, by OpenCV), with checks of the views."""

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
"""Of the longer side: the largest motion of corners in a still view, and the smallest to a new one."""
MIN_TILT_DEG, MIN_SPREAD, MAX_RMS_FRACTION, MAX_FOCAL_STD_FRACTION = 15.0, 0.4, 0.003, 0.02
MODEL = cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
"""K and two coefficients of radial distortion. Without those a distorting lens would get a wrong focal length (4 %
shorter for k1 of 0.1), which is worse than ignoring them afterwards."""
TILT_REMEDY = "tilt the board to the left, to the right, back and forth, by about 30°."
HALF_PIXEL = 0.5
"""OpenCV's pixel centres lie at whole numbers, those of handviz at halves."""


@dataclass(frozen=True)
class Board:
    """A checkerboard by its number of inner corners; squares may have any size."""

    columns: int = 9
    rows: int = 6

    def points(self) -> NDArray[np.float32]:
        """Return the corners (columns * rows, 3), row by row, in squares."""
        across, down = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        return np.stack([across.ravel(), down.ravel(), np.zeros(across.size)], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The camera that the views determine; handviz uses its intrinsics and ignores its distortion."""

    intrinsics: Intrinsics
    size: tuple[int, int]
    views: int
    rms_px: float
    """Reprojection error of the corners."""
    distortion_px: float
    """Largest displacement of an image corner by the lens's distortion."""


def find_corners(image: NDArray[np.uint8], board: Board) -> FloatArray | None:
    """Return the board's inner corners (N, 2) in an RGB image, in handviz's pixels; None if not all are found."""
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
    """Collects views of a board that are still and differ from earlier ones."""

    def __init__(self, board: Board, size: tuple[int, int]) -> None:
        self.board, self.size = board, size
        self.views: list[FloatArray] = []
        self._before: FloatArray | None = None

    def offer(self, corners: FloatArray | None, *, must_be_still: bool) -> str:
        """Add a view if it is useful; returns an empty message if it was added, else what to do."""
        before, self._before = self._before, corners
        longer = max(self.size)
        if corners is None:
            return "No board found: all of it has to be visible, flat and evenly lit."
        if len(self.views) >= MAX_VIEWS:
            return "There are enough views."
        if must_be_still and (before is None or _moved(before, corners) > STILL_FRACTION * longer):
            return "Hold the board still."
        if any(_moved(kept, corners) < NEW_FRACTION * longer for kept in self.views):
            return (
                "This view is like an earlier one: tilt the board another way, or move it to another part of the image."
            )
        self.views.append(corners)
        return ""


def calibrate(views: Sequence[FloatArray], board: Board, size: tuple[int, int]) -> Calibration:
    """Estimate the camera that fits the views best; HandvizError if they do not determine it."""
    if len(views) < MIN_VIEWS:
        raise HandvizError(
            f"{len(views)} of at least {MIN_VIEWS} views of the board: add more", ErrorCode.TOO_FEW_VIEWS
        )
    _check_spread(views, size)
    points = [board.points()] * len(views)
    corners = [(view - HALF_PIXEL).astype(np.float32)[:, None] for view in views]
    guess: Any = None
    try:
        rms, found, distortion, rotations, _, stds, _, _ = cv2.calibrateCameraExtended(
            points, corners, size, guess, guess, flags=MODEL
        )
    except cv2.error as error:
        raise HandvizError(
            f"These views do not determine the camera: {TILT_REMEDY}", ErrorCode.VIEWS_TOO_ALIKE
        ) from error
    matrix: FloatArray = np.asarray(found, np.float64)
    _check_tilt([np.asarray(rotation, np.float64) for rotation in rotations])
    (fx, fy), (cx, cy) = matrix[[0, 1], [0, 1]], matrix[:2, 2] + HALF_PIXEL
    fraction = float(np.max(np.ravel(stds)[:2] / [fx, fy]))
    _check_fit(float(rms), fraction, size)
    std_fraction = max(fraction, FOCAL_STD_FRACTIONS["calibrated"])
    known = Intrinsics(float(fx), float(cx), float(cy), float(fy), origin="calibrated", focal_std_fraction=std_fraction)
    try:
        check_intrinsics(known, size)
    except HandvizError as error:
        raise HandvizError(
            f"These views give an impossible camera ({error}): {TILT_REMEDY}", ErrorCode.VIEWS_TOO_ALIKE
        ) from error
    return Calibration(
        known, size, len(views), float(rms), _distortion_px(matrix, np.asarray(distortion, np.float64), size)
    )


def _moved(before: FloatArray, after: FloatArray) -> float:
    """Return the mean displacement of the corners, which may be listed from either end."""
    if len(before) != len(after):
        return math.inf
    return min(float(np.linalg.norm(before - other, axis=1).mean()) for other in (after, after[::-1]))


def _check_spread(views: Sequence[FloatArray], size: tuple[int, int]) -> None:
    every = np.concatenate(list(views))
    if (np.ptp(every, axis=0) / size).min() < MIN_SPREAD:
        raise HandvizError(
            "All views are in one part of the image: show the board near its edges too.", ErrorCode.VIEWS_TOO_ALIKE
        )


def _check_tilt(rotations: Sequence[FloatArray]) -> None:
    """Raise HandvizError for boards of the same orientation, which do not determine the focal length."""
    normals = np.array([cv2.Rodrigues(rotation)[0][:, 2] for rotation in rotations])
    normals *= np.sign(normals[:, 2:])
    widest_deg = math.degrees(math.acos(min(max(float((normals @ normals.T).min()), -1.0), 1.0)))
    if not widest_deg >= MIN_TILT_DEG:
        raise HandvizError(
            f"The board is tilted nearly the same way in all views ({widest_deg:.0f}° difference): {TILT_REMEDY}",
            ErrorCode.VIEWS_TOO_ALIKE,
        )


def _check_fit(rms_px: float, fraction: float, size: tuple[int, int]) -> None:
    if not rms_px <= MAX_RMS_FRACTION * max(size):
        raise HandvizError(
            f"The reprojection error is {rms_px:.1f} px: check that the board is flat, its inner corners are counted "
            "correctly, and the camera's focus is fixed",
            ErrorCode.VIEWS_DISAGREE,
        )
    if not fraction <= MAX_FOCAL_STD_FRACTION:
        raise HandvizError(
            f"The focal length is only known to {fraction:.0%}: add views with more tilt.",
            ErrorCode.TOO_FEW_VIEWS,
        )


def _distortion_px(matrix: FloatArray, distortion: FloatArray, size: tuple[int, int]) -> float:
    """Return the largest displacement of the image's corners by the distortion."""
    corners = np.array([(0, 0), (size[0], 0), (0, size[1]), size], np.float64) - HALF_PIXEL
    rays = np.linalg.solve(matrix, np.concatenate([corners, np.ones((4, 1))], axis=1).T).T
    distorted, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, distortion)
    return float(np.linalg.norm(distorted[:, 0] - corners, axis=1).max())
