"""The fit of the posterior's errors, on made-up hands whose errors are known."""

import numpy as np
import pytest

import tools
from handviz.core.geometry import apply_affine, invert_affine, rotation_from_axis_angle
from handviz.core.records import CROP_SIZE, Detection, HandCrop, Intrinsics, NetworkOutput
from handviz.detection.crop import CropView, as_the_detector_marks_them, crop_from_image_affine
from handviz.pipeline.error_model import error_model
from tests.errors import wrong_usage
from tools.fit_posterior import DEGREES_OF_FIT, LIFT, TEMPLATE, Seen, fitted, robust_covariance, table

CAMERA = Intrinsics(600.0, 320.0, 240.0)


def made_up(random: np.random.Generator) -> Seen:
    """Return a hand whose network errs by 4 mm, world landmarks by 8 mm and 2D landmarks by 0.03 half-sides."""
    wrist_m = np.array([0.02, 0.05, 0.45]) + random.normal(0, 0.02, 3)
    turn = rotation_from_axis_angle(random.normal(0, 0.5, 3))
    true_m = TEMPLATE.vertices_m - TEMPLATE.keypoint_regressor[0] @ TEMPLATE.vertices_m
    keypoints_m = TEMPLATE.keypoint_regressor @ true_m
    marked_m = as_the_detector_marks_them(keypoints_m) @ turn.T
    affine = crop_from_image_affine(CAMERA.project(marked_m + wrist_m), "right")
    view = CropView(affine, CAMERA)
    marks = view.in_crop(marked_m + wrist_m) + random.normal(0, 0.03, (21, 2))
    pixels = apply_affine(invert_affine(affine), (marks + 1) * CROP_SIZE / 2)
    crop = HandCrop(np.zeros((CROP_SIZE, CROP_SIZE, 3), np.uint8), affine, Detection("right", 1.0, pixels))
    moved = random.normal(0, 0.004, (21, 3))
    spread = random.uniform(0.9, 1.1, 21)[:, None] * np.ones(3)
    rotation = view.camera_from_crop.T @ rotation_from_axis_angle(random.normal(0, 0.1, 3)) @ turn
    hand = NetworkOutput(
        vertices_m=true_m + LIFT @ (moved - moved[0]),
        keypoints_m=keypoints_m + moved - moved[0],
        keypoint_std_m=0.004 * spread,
        vertex_std_m=0.004 * random.uniform(0.9, 1.1, true_m.shape),
        rotation=rotation,
        scale=float(600 * 2 / (wrist_m[2] * np.ptp(pixels, axis=0).max() * 1.8)),
        translation=marks[0],
        landmarks_m=(marked_m + random.normal(0, 0.008, (21, 3))) @ view.camera_from_crop,
        presence=1.0,
    )
    return Seen(hand, crop, CAMERA, true_m, turn, wrist_m)


@pytest.fixture(scope="module")
def hands() -> list[Seen]:
    random = np.random.default_rng(5)
    return [made_up(random) for _ in range(500)]


def test_what_is_fitted_covers_hands_that_were_not(hands: list[Seen]) -> None:
    errors = fitted(hands[:400])
    lines = table(hands[400:], errors)
    assert lines[0].startswith("PA-MPJPE, mm: network")
    network_mm, fused_mm = (float(part.split()[1]) for part in lines[0].split(": ", 1)[1].split(";")[0].split(", "))
    assert fused_mm < network_mm
    covered = [float(part.rsplit(": ", 1)[1]) for part in lines[1].split("covered ")[1].split(", ")]
    np.testing.assert_allclose(covered, [50, 68, 90, 95], atol=6)
    # Landmarks count as much as on photographs: less accurate ones of the fit are reduced.
    assert np.trace(errors.world) / np.trace(errors.shape) == pytest.approx((8 / 4) ** 2, rel=0.6)


def test_a_few_wild_rows_do_not_stand_for_all() -> None:
    random = np.random.default_rng(3)
    rows = random.normal(0, 1, (400, 6))
    rows[:8] *= 40
    variances = np.diag(robust_covariance(rows))
    assert variances.max() < 3
    calm = np.diag(robust_covariance(random.normal(0, 1, (4000, 6))))
    # Of normal rows the scale of a t is a little below the variance.
    np.testing.assert_allclose(calm, 1, atol=2 / DEGREES_OF_FIT)


def test_the_shipped_errors_are_those_of_a_hand() -> None:
    errors = error_model()
    for name in ("shape", "world", "image"):
        assert np.linalg.eigvalsh(getattr(errors, name)).min() > 0
    assert 0.001 < errors.usual_std_m.min() < errors.usual_std_m.max() < 0.02
    assert 0.01 < errors.camera_std.min() < errors.camera_std.max() < 0.3


def test_no_hands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with wrong_usage():
        tools.run("fit_posterior", ["--count", "0"])
    assert "--count" in capsys.readouterr().err
