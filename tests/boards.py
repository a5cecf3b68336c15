"""Rendered checkerboards of a camera of known K."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handviz.core.records import Intrinsics
from handviz.sources.checkerboard import Board

SQUARE_PX = 40
FINER = 3


def board_image(
    camera: Intrinsics,
    size: tuple[int, int],
    rotation_angle_deg: Sequence[float],
    position: Sequence[float],
    board: Board,
) -> NDArray[np.uint8]:
    """Render the board (H, W, 3) rotated by Euler angles, its centre at ``position`` in squares, antialiased."""
    columns, rows = board.columns + 1, board.rows + 1
    tiles = (np.add.outer(np.arange(rows), np.arange(columns)) % 2 == 0) * 215 + 20
    drawn = np.kron(np.pad(tiles, 1, constant_values=235), np.ones((SQUARE_PX, SQUARE_PX))).astype(np.uint8)
    # Pixels of the drawing (edges at whole numbers) -> squares around the middle, corner (0, 0) being the first inner.
    to_squares = np.array([[1 / SQUARE_PX, 0, -(columns + 2) / 2], [0, 1 / SQUARE_PX, -(rows + 2) / 2], [0, 0, 1]])
    turn = Rotation.from_euler("xyz", rotation_angle_deg, degrees=True).as_matrix()
    homography = camera.matrix @ np.stack([turn[:, 0], turn[:, 1], np.asarray(position, float)], axis=1) @ to_squares
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    finer = np.diag([FINER, FINER, 1.0])
    in_opencv = np.linalg.inv(half) @ finer @ homography @ half
    large = cv2.warpPerspective(
        drawn, in_opencv, (size[0] * FINER, size[1] * FINER), flags=cv2.INTER_LINEAR, borderValue=(90, 90, 90)
    )
    small = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return np.repeat(small[:, :, None], 3, axis=2).astype(np.uint8)


VIEWS: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = (
    ((25, 0, 0), (0, 0, 14)),
    ((-25, 0, 5), (2, 1, 14)),
    ((0, 28, 0), (-3, -1, 14)),
    ((0, -28, 0), (3, 1, 15)),
    ((20, 20, 10), (-3, 2, 16)),
    ((-20, 20, -10), (3, -2, 16)),
    ((15, -25, 0), (-4, -2.5, 18)),
    ((-18, -18, 15), (4, 2.5, 18)),
    ((5, 5, 0), (0, 0, 12)),
)
"""Rotations in degrees and positions in squares that suit a calibration."""
