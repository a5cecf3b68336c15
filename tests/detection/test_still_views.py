"""Pieces of long images cover them, and close-ups lead back to the image."""

import numpy as np
import pytest

from handviz.core.geometry import apply_affine
from handviz.core.records import Detection
from handviz.detection.still_views import CLOSE_UPS, MAX_PIECES, close_ups, pieces_of, whole
from tests.hands import made_up_detection


@pytest.mark.parametrize(("height", "width"), [(3000, 200), (200, 3000), (30000, 20), (1000, 250)])
def test_pieces_cover_a_long_image_and_overlap(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    pieces = pieces_of(whole(image))
    assert 2 < len(pieces) <= MAX_PIECES
    along = int(width > height) ^ 1
    starts = [apply_affine(piece.image_from_view, np.zeros(2))[along] for piece in pieces]
    ends = [apply_affine(piece.image_from_view, np.array(piece.image.shape[1::-1]))[along] for piece in pieces]
    assert starts[0] == 0
    assert ends[-1] == pytest.approx(max(height, width), abs=1)
    for end, start in zip(ends[:-1], starts[1:], strict=True):
        assert end > start


def test_an_enormous_long_image_is_reduced_first() -> None:
    view = whole(np.zeros((40_000, 800, 3), np.uint8))
    assert view.image.shape[0] * view.image.shape[1] < 17_000_000
    corner = apply_affine(view.image_from_view, np.array(view.image.shape[1::-1]))
    np.testing.assert_allclose(corner, (800, 40_000))


def test_an_image_that_is_not_long_is_one_piece() -> None:
    view = whole(np.zeros((300, 900, 3), np.uint8))
    assert pieces_of(view) == [view]


def test_close_ups_show_the_hand_upright_and_lead_back() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    hand = made_up_detection()
    turned = Detection("right", 1.0, hand.keypoints_px[:, ::-1])
    squares = list(close_ups(whole(rgb), turned))
    assert len(squares) == len(CLOSE_UPS)
    for square in squares:
        side = square.image.shape[0]
        back = np.linalg.inv(np.vstack([square.image_from_view, [0, 0, 1]]))[:2]
        keypoints = apply_affine(back, turned.keypoints_px)
        assert (keypoints > 0).all()
        assert (keypoints < side).all()
        up = keypoints[9] - keypoints[0]
        assert up[1] < 0
        assert up[0] == pytest.approx(0, abs=1e-6)
        assert np.linalg.det(square.image_from_view[:, :2]) > 0
