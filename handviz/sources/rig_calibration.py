"""Where the cameras of a rig stand, from images of one checkerboard that they see together.

Every camera's K is known (``checkerboard.calibrate``). The board's pose in each image comes from its corners, the
cameras' from the poses of the same board, and all of them together are those with the smallest reprojection error.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import axis_angle_from_rotation, rotation_from_axis_angle
from handviz.core.multiview import CalibratedView, reprojection_errors_px, rigid_inverse
from handviz.core.records import FloatArray, Intrinsics
from handviz.sources.checkerboard import HALF_PIXEL, Board, find_corners

MAX_RMS_FRACTION = 0.003
"""Of the larger centre coordinate of K, times two: about the image's longer side."""
SQUARE_LIMITS_M = (0.001, 1.0)
REMEDY = "keep cameras and board still while each moment's images are taken, and do not mirror them"


@dataclass(frozen=True, eq=False)
class RigCalibration:
    """Poses of a rig's cameras; the world is the first camera's frame."""

    camera_from_world: dict[str, FloatArray]
    """(4, 4) of every camera, metres"""
    rms_px: dict[str, float]
    """Reprojection error of the corners in every camera."""
    moments: int
    """How many were used."""


def board_corners(image: NDArray[np.uint8], board: Board) -> FloatArray | None:
    """Return the inner corners (N, 2) of an RGB image from the same end of the board in every view; None if not found.

    The first one is that inner corner whose neighbouring inner square is dark. Raises HandvizError for a board that
    looks the same upside down.
    """
    if (board.columns + board.rows) % 2 == 0:
        raise HandvizError(
            f"a board of {board.columns} x {board.rows} inner corners looks the same upside down: use one with an odd "
            "and an even number, such as 9 x 6",
            ErrorCode.BAD_VALUE,
        )
    corners = find_corners(image, board)
    if corners is None:
        return None
    grid = corners.reshape(board.rows, board.columns, 2)
    first, last = (_brightness(image, corner) for corner in (grid[:2, :2], grid[-2:, -2:]))
    return corners if first <= last else corners[::-1].copy()


def _brightness(image: NDArray[np.uint8], square: FloatArray) -> float:
    """Return the mean brightness of the inner half of a square by its corners (2, 2, 2)."""
    centre = square.mean(axis=(0, 1))
    inner = (centre + (square - centre) / 2)[[0, 0, 1, 1], [0, 1, 1, 0]]
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, np.round(inner - HALF_PIXEL).astype(np.int32), 1)
    return float(image[mask > 0].mean())


def extrinsics_from_board(
    corners: Mapping[str, Sequence[FloatArray | None]],
    intrinsics: Mapping[str, Intrinsics],
    board: Board,
    square_m: float,
) -> RigCalibration:
    """Return the cameras' poses from corners (N, 2) of one board, None where a camera does not see it.

    ``corners``: of every camera by name, one for each moment, as ``board_corners`` gives them, in images without
    distortion; ``square_m``: the side of the board's squares. Every camera has to see the board together with another
    one that is already placed; several moments with the board in different poses are better than one.
    Raises HandvizError if a camera cannot be placed, or if no poses fit.
    """
    names = list(corners)
    _check(corners, intrinsics, board, square_m)
    points_m = board.points().astype(np.float64) * square_m
    boards = {
        (name, moment): _board_pose(found, intrinsics[name], points_m)
        for name in names
        for moment, found in enumerate(corners[name])
        if found is not None
    }
    cameras, placed = _placed(names, boards)
    cameras, placed = _refined(cameras, placed, corners, intrinsics, points_m)
    rms = {name: _rms_px(name, cameras[name], placed, corners, intrinsics, points_m) for name in names}
    for name in names:
        limit_px = MAX_RMS_FRACTION * 2 * float(intrinsics[name].centre_px.max())
        if not rms[name] <= limit_px:
            raise HandvizError(
                f"the board's corners lie {rms[name]:.1f} px off in camera {name}: {REMEDY}", ErrorCode.VIEWS_DISAGREE
            )
    return RigCalibration(cameras, rms, len(placed))


def _check(
    corners: Mapping[str, Sequence[FloatArray | None]],
    intrinsics: Mapping[str, Intrinsics],
    board: Board,
    square_m: float,
) -> None:
    low, high = SQUARE_LIMITS_M
    if not low <= square_m <= high:
        raise HandvizError(
            f"squares of {square_m:g} m are none of a board: give their side in metres", ErrorCode.BAD_VALUE
        )
    if len(corners) < 2 or corners.keys() - intrinsics.keys():
        raise HandvizError(
            "two or more cameras are calibrated together, each with known intrinsics: calibrate those first",
            ErrorCode.TOO_FEW_VIEWS,
        )
    if len({len(of) for of in corners.values()}) != 1:
        raise HandvizError(
            "every camera needs one entry for each moment: write None where it does not see the board",
            ErrorCode.WRONG_SHAPE,
        )
    shape = (board.columns * board.rows, 2)
    for name, found in ((name, found) for name, of in corners.items() for found in of if found is not None):
        if found.shape != shape or not np.isfinite(found).all():
            raise HandvizError(
                f"camera {name} needs {shape[0]} finite corners, as board_corners finds them", ErrorCode.WRONG_SHAPE
            )


def _board_pose(corners: FloatArray, camera: Intrinsics, points_m: FloatArray) -> FloatArray:
    """Return camera from board (4, 4)."""
    found, rotation, position = cv2.solvePnP(points_m, corners, camera.matrix, None, flags=cv2.SOLVEPNP_IPPE)
    if not found:
        raise HandvizError(f"the board's pose cannot be found: {REMEDY}", ErrorCode.VIEWS_DISAGREE)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], np.ravel(position)
    return pose


def _placed(
    names: Sequence[str], boards: Mapping[tuple[str, int], FloatArray]
) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
    """Return camera from world of all cameras, and world from board of the moments that one of them sees."""
    cameras: dict[str, FloatArray] = {names[0]: np.eye(4)}
    placed: dict[int, FloatArray] = {}
    for _ in itertools.repeat(None, len(names)):
        for (name, moment), pose in boards.items():
            if name in cameras and moment not in placed:
                placed[moment] = rigid_inverse(cameras[name]) @ pose
        for (name, moment), pose in boards.items():
            if name not in cameras and moment in placed:
                cameras[name] = pose @ rigid_inverse(placed[moment])
    if lonely := [name for name in names if name not in cameras]:
        raise HandvizError(
            f"camera {lonely[0]} never sees the board at the same time as {names[0]} or a camera placed by it: add "
            "moments in which it does",
            ErrorCode.TOO_FEW_VIEWS,
        )
    return cameras, placed


def _refined(
    cameras: Mapping[str, FloatArray],
    placed: Mapping[int, FloatArray],
    corners: Mapping[str, Sequence[FloatArray | None]],
    intrinsics: Mapping[str, Intrinsics],
    points_m: FloatArray,
) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
    """Return the poses with the smallest squared reprojection error of all corners; the first camera stays."""
    names, moments = list(cameras), list(placed)

    def poses(numbers: FloatArray) -> tuple[dict[str, FloatArray], dict[int, FloatArray]]:
        found = [_pose(row) for row in numbers.reshape(-1, 6)]
        others = dict(zip(names[1:], found, strict=False))
        return {names[0]: cameras[names[0]], **others}, dict(zip(moments, found[len(others) :], strict=True))

    def residuals(numbers: FloatArray) -> FloatArray:
        of_cameras, of_boards = poses(numbers)
        rows = []
        for name, moment in itertools.product(names, moments):
            seen = corners[name][moment]
            if seen is not None:
                camera = CalibratedView(intrinsics[name], of_cameras[name])
                world_m = points_m @ of_boards[moment][:3, :3].T + of_boards[moment][:3, 3]
                rows.append((intrinsics[name].project(camera.in_camera(world_m)) - seen).ravel())
        return np.concatenate(rows)

    start = [*(cameras[name] for name in names[1:]), *placed.values()]
    found = least_squares(residuals, np.concatenate([_numbers(pose) for pose in start]), method="lm", xtol=1e-10)
    return poses(found.x)


def _numbers(pose: FloatArray) -> FloatArray:
    """Return axis-angle and translation (6,) of a pose."""
    return np.concatenate([axis_angle_from_rotation(pose[:3, :3]), pose[:3, 3]])


def _pose(numbers: FloatArray) -> FloatArray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_from_axis_angle(numbers[:3]), numbers[3:]
    return pose


def _rms_px(
    name: str,
    camera_from_world: FloatArray,
    placed: Mapping[int, FloatArray],
    corners: Mapping[str, Sequence[FloatArray | None]],
    intrinsics: Mapping[str, Intrinsics],
    points_m: FloatArray,
) -> float:
    camera = CalibratedView(intrinsics[name], camera_from_world)
    errors = [
        reprojection_errors_px([camera], seen[None], points_m @ pose[:3, :3].T + pose[:3, 3])
        for moment, pose in placed.items()
        if (seen := corners[name][moment]) is not None
    ]
    return float(np.sqrt(np.square(np.concatenate(errors)).mean()))
