"""Heatmaps over an image, and which iteration of a hand is drawn."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from handviz.core.records import Detection, HandCrop, Heatmaps
from handviz.core.skeleton import KEYPOINT_NAMES
from handviz.detection.crop import crop_from_image_affine, image_from_map
from handviz.models.onnx_contract import MAX_STEPS
from handviz.rendering.heatmaps import image_with_heatmaps, shown_keypoints, spread_of
from handviz.rendering.iterations import STEP_S, hand_at_step, seconds_to_next_step, step_at, step_note
from handviz.rendering.options import RESULT_STEP, DrawOptions, HeatmapMode
from handviz.rendering.passes import COLOURS
from tests.hands import made_up_hand

GREY = np.full((120, 160, 3), 100, np.uint8)


def with_peak(keypoint: int, row: int, column: int, affine: np.ndarray) -> Heatmaps:
    maps = np.zeros((21, 56, 56), np.float32)
    rows, columns = np.indices((56, 56))
    maps[keypoint] = np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 2.2**2))
    return Heatmaps(maps, affine)


def test_every_keypoint_can_be_chosen() -> None:
    assert get_args(HeatmapMode) == ("none", "all", *KEYPOINT_NAMES)
    assert shown_keypoints("none") == ()
    assert shown_keypoints("all") == tuple(range(21))
    assert [shown_keypoints(name) for name in KEYPOINT_NAMES] == [(number,) for number in range(21)]


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_a_peak_lies_where_its_pixel_of_the_crop_does_in_its_colour(is_mirrored: bool) -> None:
    # Map pixel (column, row) -> image pixel 2 * column + 10, or mirrored.
    affine = np.array([[-2.0, 0, 140], [0, 2, 4]] if is_mirrored else [[2.0, 0, 10], [0, 2, 4]])
    hand = replace(made_up_hand(), heatmaps=with_peak(8, 20, 30, affine))
    shown = image_with_heatmaps(GREY, [hand], "all").astype(int)
    x, y = affine @ [30, 20, 1]
    changed = np.abs(shown - 100).sum(axis=2)
    assert changed[round(y), round(x)] > 60
    towards = (shown - 100)[round(y), round(x)] / (255 * COLOURS[8] - 100)
    np.testing.assert_allclose(towards, 0.85, atol=0.08)
    assert changed[100, 20 if not is_mirrored else 150] == 0


def test_another_joint_or_none_leaves_the_image() -> None:
    affine = np.array([[2.0, 0, 10], [0, 2, 4]])
    hand = replace(made_up_hand(), heatmaps=with_peak(8, 20, 30, affine))
    assert image_with_heatmaps(GREY, [hand], "none") is GREY
    assert image_with_heatmaps(GREY, [made_up_hand()], "all") is GREY
    np.testing.assert_array_equal(image_with_heatmaps(GREY, [hand], "wrist"), GREY)


def test_the_spread_is_the_covariance_of_the_pixels() -> None:
    heatmap = np.zeros((40, 40))
    heatmap[10, 5] = heatmap[10, 15] = 0.8
    mean, covariance, peak = spread_of(heatmap)
    np.testing.assert_allclose(mean, [10, 10])
    np.testing.assert_allclose(covariance, [[25, 0], [0, 0]], atol=1e-12)
    assert peak == pytest.approx(0.8)


def test_empty_and_negative_maps_are_finite() -> None:
    for heatmap in (np.zeros((20, 20)), np.full((20, 20), -1.0)):
        mean, covariance, peak = spread_of(heatmap)
        np.testing.assert_allclose(mean, 9.5)
        assert np.isfinite(covariance).all()
        assert peak <= 0
    maps = Heatmaps(np.full((21, 8, 8), -1.0, np.float32), np.eye(2, 3))
    np.testing.assert_array_equal(image_with_heatmaps(GREY, [replace(made_up_hand(), heatmaps=maps)], "all"), GREY)


def test_a_calibrated_ellipse_is_as_wide_as_it_says() -> None:
    """Of a map with hardly any spread, floor and scale alone make the ellipse: two roots of s f on either side."""
    maps = np.zeros((21, 56, 56), np.float32)
    maps[8, 28, 28] = 1.0
    scale, floor = 4.0, 0.0064
    heatmaps = Heatmaps(maps, np.eye(2, 3), (scale, floor))
    image = np.zeros((56, 56, 3), np.uint8)
    shown = image_with_heatmaps(image, [replace(made_up_hand(), heatmaps=heatmaps)], "index_4").max(axis=2)
    half = 2 * np.sqrt(scale * floor) * 56 / 2
    columns = np.flatnonzero(shown[28] > 60)
    assert columns.min() == pytest.approx(28 - half, abs=1.2)
    assert columns.max() == pytest.approx(28 + half, abs=1.2)


@pytest.mark.parametrize("side", ["left", "right"])
def test_map_pixels_are_pixels_of_the_crop(side) -> None:
    points = np.random.default_rng(1).uniform(60, 200, (21, 2))
    affine = crop_from_image_affine(points, side)
    crop = HandCrop(np.zeros((224, 224, 3), np.uint8), affine, Detection(side, 1.0, points))
    found = image_from_map(crop, 56)
    # The centre of map pixel (column, row) is crop pixel 4 * number + 2, counted from the crop's corner.
    for column, row in ((0, 0), (13, 40)):
        in_image = found @ [column, row, 1] + 0.5
        np.testing.assert_allclose(affine @ [*in_image, 1], [4 * column + 2, 4 * row + 2], atol=1e-9)


def drawn(hand, options: DrawOptions, time_s: float = 0.0):
    return hand_at_step(hand, step_at(hand, options, time_s), options)


def test_a_step_is_drawn_and_the_result_beyond() -> None:
    steps = tuple(made_up_hand() for _ in range(4))
    hand = replace(made_up_hand(), steps=steps)
    assert drawn(hand, DrawOptions()) is hand
    for number in range(4):
        assert drawn(hand, DrawOptions(iteration=number)) is steps[number]
    assert drawn(hand, DrawOptions(iteration=7)) is hand
    plain = made_up_hand()
    assert drawn(plain, DrawOptions(iteration=0)) is plain


def test_the_last_of_the_most_steps_can_be_drawn() -> None:
    steps = tuple(made_up_hand() for _ in range(MAX_STEPS + 1))
    hand = replace(made_up_hand(), steps=steps)
    assert drawn(hand, DrawOptions(iteration=MAX_STEPS)) is steps[-1]
    assert drawn(hand, DrawOptions(iteration=RESULT_STEP)) is hand


def test_in_the_3d_view_a_step_is_where_the_result_is() -> None:
    far = replace(made_up_hand(), wrist_camera_m=np.array([0.0, 0.0, 3.0]))
    hand = replace(made_up_hand(), steps=(far,))
    shown = drawn(hand, DrawOptions(iteration=0, view="orbit"))
    np.testing.assert_array_equal(shown.wrist_camera_m, hand.wrist_camera_m)
    np.testing.assert_array_equal(shown.vertices_m, far.vertices_m)


def test_a_difference_map_is_of_results() -> None:
    hand = replace(made_up_hand(), steps=(made_up_hand(),))
    options = DrawOptions(iteration=0, difference=True)
    assert drawn(hand, options) is hand
    assert step_note([hand], options, 0.0) == ""


def test_played_steps_follow_one_another() -> None:
    steps = tuple(made_up_hand() for _ in range(2))
    hand, options = replace(made_up_hand(), steps=steps), DrawOptions(plays_iterations=True)
    shown = [drawn(hand, options, (number + 0.5) * STEP_S) for number in range(4)]
    assert [one is other for one, other in zip(shown, (*steps, hand, steps[0]), strict=True)] == [True] * 4
    assert seconds_to_next_step(0.25 * STEP_S) == pytest.approx(0.75 * STEP_S)


@pytest.mark.parametrize("far", [False, True])
def test_wild_maps_are_drawn_without_error(far: bool) -> None:
    affine = np.array([[1e9, 0, 1e12], [0, 1e9, 1e12]]) if far else np.array([[1.0, 0, 0], [0, 1, 0]])
    wild = replace(with_peak(8, 20, 30, affine), spread=(1e4, 4.0))
    shown = image_with_heatmaps(GREY, [replace(made_up_hand(), heatmaps=wild)], "all")
    assert shown.shape == GREY.shape


def test_the_legend_says_which_step_is_drawn() -> None:
    hand = replace(made_up_hand(), steps=tuple(made_up_hand() for _ in range(4)))
    notes = [step_note([hand], DrawOptions(iteration=number), 0.0) for number in (0, 2, 4, RESULT_STEP)]
    assert notes == ["Network alone, before iterating", "Network alone, after 2 of 3 iterations", "", ""]
    assert step_note([hand], DrawOptions(plays_iterations=True), 4.5 * STEP_S) == "Result: fused and smoothed"
    assert step_note([made_up_hand()], DrawOptions(iteration=0), 0.0) == ""
