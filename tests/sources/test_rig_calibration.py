"""The cameras of a rig are placed from drawn boards; mirrored images and cameras that see no board are named."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode
from handviz.core.records import FloatArray, Intrinsics
from handviz.sources.checkerboard import Board
from handviz.sources.rig_calibration import board_corners, extrinsics_from_board
from tests.boards import board_image
from tests.errors import raises

BOARD, SIZE, SQUARE_M = Board(9, 6), (480, 360), 0.03
CAMERAS = {
    "left": Intrinsics(460.0, 243.0, 178.0),
    "right": Intrinsics(480.0, 238.0, 183.0, focal_y_px=476.0),
    "top": Intrinsics(450.0, 240.0, 180.0),
}
BOARDS = (((5, 10, 0), (0.2, 0.1, 15.0)), ((-20, 5, 20), (1.0, -0.5, 16.0)), ((10, -25, -170), (-0.5, 0.5, 15.5)))
"""Board poses in the left camera: degrees, squares."""


def true_poses() -> dict[str, FloatArray]:
    """Return camera from world (4, 4) in metres; the world is the left camera's."""
    poses: dict[str, FloatArray] = {"left": np.eye(4), "right": np.eye(4), "top": np.eye(4)}
    for name, angles, position in (
        ("right", (2, 25, -3), (-0.2, 0.01, 0.05)),
        ("top", (-22, 3, 4), (0.01, -0.18, 0.04)),
    ):
        poses[name][:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        poses[name][:3, 3] = position
    return poses


def drawn(name: str, moment: int) -> np.ndarray:
    """Draw what a camera sees of a board."""
    angles, position = BOARDS[moment]
    pose = true_poses()[name]
    turn = pose[:3, :3] @ Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    place = (pose[:3, :3] @ (np.array(position) * SQUARE_M) + pose[:3, 3]) / SQUARE_M
    in_camera = Rotation.from_matrix(turn).as_euler("xyz", degrees=True)
    return board_image(CAMERAS[name], SIZE, in_camera.tolist(), place.tolist(), BOARD)


@pytest.fixture(scope="module")
def corners() -> dict[str, list[FloatArray | None]]:
    """Return the corners of all drawn boards."""
    return {name: [board_corners(drawn(name, moment), BOARD) for moment in range(len(BOARDS))] for name in CAMERAS}


def error(found: FloatArray, true: FloatArray) -> tuple[float, float]:
    """Return degrees and millimetres between two poses."""
    turn = Rotation.from_matrix(found[:3, :3] @ true[:3, :3].T).magnitude()
    return float(np.degrees(turn)), 1000 * float(np.linalg.norm(found[:3, 3] - true[:3, 3]))


def test_drawn_boards_place_all_cameras(corners: dict[str, list[FloatArray | None]]) -> None:
    assert all(found is not None for of in corners.values() for found in of)
    found = extrinsics_from_board(corners, CAMERAS, BOARD, SQUARE_M)
    assert (found.moments, list(found.camera_from_world)) == (3, list(CAMERAS))
    assert max(found.rms_px.values()) < 0.2
    for name, true in true_poses().items():
        degrees, millimetres = error(found.camera_from_world[name], true)
        assert degrees < 0.3
        assert millimetres < 3
    np.testing.assert_array_equal(found.camera_from_world["left"], np.eye(4))


def test_one_board_is_enough_and_a_chain_of_boards_too(corners: dict[str, list[FloatArray | None]]) -> None:
    one = extrinsics_from_board({name: of[:1] for name, of in corners.items()}, CAMERAS, BOARD, SQUARE_M)
    chain = {"left": [corners["left"][0], None], "right": [corners["right"][0], corners["right"][1]]}
    chain["top"] = [None, corners["top"][1]]
    for found in (one, extrinsics_from_board(chain, CAMERAS, BOARD, SQUARE_M)):
        for name, true in true_poses().items():
            degrees, millimetres = error(found.camera_from_world[name], true)
            assert degrees < 1
            assert millimetres < 10


def test_the_squares_side_scales_the_rig(corners: dict[str, list[FloatArray | None]]) -> None:
    small, large = (extrinsics_from_board(corners, CAMERAS, BOARD, side) for side in (SQUARE_M, 2 * SQUARE_M))
    np.testing.assert_allclose(
        large.camera_from_world["right"][:3, 3], 2 * small.camera_from_world["right"][:3, 3], rtol=1e-3
    )


def test_a_mirrored_camera_fits_no_board_in_several_poses(corners: dict[str, list[FloatArray | None]]) -> None:
    mirrored = [board_corners(drawn("right", moment)[:, ::-1].copy(), BOARD) for moment in range(len(BOARDS))]
    assert all(found is not None for found in mirrored)
    with raises(ErrorCode.VIEWS_DISAGREE):
        extrinsics_from_board({**corners, "right": mirrored}, CAMERAS, BOARD, SQUARE_M)


def test_a_board_that_moved_between_the_images_fits_no_cameras(corners: dict[str, list[FloatArray | None]]) -> None:
    moved = corners["top"][1:] + corners["top"][:1]
    with raises(ErrorCode.VIEWS_DISAGREE):
        extrinsics_from_board({**corners, "top": moved}, CAMERAS, BOARD, SQUARE_M)


def test_what_is_missing_is_named(corners: dict[str, list[FloatArray | None]]) -> None:
    with raises(ErrorCode.TOO_FEW_VIEWS, match="top"):
        extrinsics_from_board({**corners, "top": [None] * 3}, CAMERAS, BOARD, SQUARE_M)
    with raises(ErrorCode.TOO_FEW_VIEWS):
        extrinsics_from_board({"left": corners["left"]}, CAMERAS, BOARD, SQUARE_M)
    with raises(ErrorCode.TOO_FEW_VIEWS):
        extrinsics_from_board(corners, {"left": CAMERAS["left"]}, BOARD, SQUARE_M)
    with raises(ErrorCode.WRONG_SHAPE):
        extrinsics_from_board({**corners, "top": []}, CAMERAS, BOARD, SQUARE_M)
    with raises(ErrorCode.WRONG_SHAPE, match="top"):
        extrinsics_from_board({**corners, "top": [np.zeros((3, 2))] * 3}, CAMERAS, BOARD, SQUARE_M)
    with raises(ErrorCode.BAD_VALUE):
        extrinsics_from_board(corners, CAMERAS, BOARD, 30.0)
    with raises(ErrorCode.BAD_VALUE):
        board_corners(np.zeros((64, 64, 3), np.uint8), Board(9, 7))
    assert board_corners(np.zeros((64, 64, 3), np.uint8), BOARD) is None
