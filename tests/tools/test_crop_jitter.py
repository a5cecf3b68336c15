"""The difference of two crops is the jitter that takes one to the other."""

import numpy as np
import pytest

import tools
from handviz.data.synthetic import viewpoint
from handviz.detection.crop import CROP_SIDE_PER_EXTENT, crop_from_image_affine
from tests.errors import wrong_usage
from tools.crop_jitter import crop_difference, table


def test_crop_difference_is_the_jitter_that_makes_one_crop_of_the_other():
    random = np.random.default_rng(0)
    true_px = random.uniform(100, 300, (21, 2))
    found_px = true_px + random.normal(0, 8, (21, 2))
    rotation_angle_deg, right, down, ratio = crop_difference(true_px, found_px)
    again = crop_from_image_affine(
        true_px,
        "right",
        rotation_rad=np.radians(rotation_angle_deg),
        shift=np.array([right, down]),
        side_per_extent=CROP_SIDE_PER_EXTENT * np.exp(ratio),
    )
    np.testing.assert_allclose(again, crop_from_image_affine(found_px, "right"), atol=1e-9)
    np.testing.assert_allclose(crop_difference(true_px, true_px), 0, atol=1e-9)


def test_the_table_holds_percentiles_and_robust_uncertainties():
    lines = table(np.random.default_rng(1).normal([3, 0, 0, 0], [2, 1, 1, 1], (4000, 4)), 5000)
    assert lines[0].startswith("4000 right hands found in 5000")
    values = [float(word) for word in lines[2].split()[2:]]
    assert values[2] == pytest.approx(3, abs=0.15)
    assert values[-1] == pytest.approx(2, abs=0.15)


def test_the_command_says_what_it_cannot_do(capsys):
    with wrong_usage():
        tools.run("crop_jitter", ["--count", "0"])
    assert "--count" in capsys.readouterr().err


def test_sampled_jitter_follows_what_was_measured():
    random = np.random.default_rng(2)
    rows = [viewpoint.sample_jitter(random) for _ in range(4000)]
    rotation_angle_deg = np.degrees([row.rotation_rad for row in rows])
    assert np.percentile(rotation_angle_deg, [16, 50, 84]) == pytest.approx([-3.7, 0.3, 6.9], abs=2)
    shift = np.array([row.shift for row in rows])
    assert np.percentile(shift[:, 0], [16, 84]) == pytest.approx([-0.013, 0.014], abs=0.004)
    assert np.percentile(shift[:, 1], [16, 84]) == pytest.approx([-0.038, 0.023], abs=0.006)
    log_side = np.log([row.side_per_extent / CROP_SIDE_PER_EXTENT for row in rows])
    assert -0.12 < np.median(log_side) < -0.04
    assert viewpoint.LOG_SIDE_RANGE[0] <= log_side.min() < -0.3
    assert log_side.max() <= viewpoint.LOG_SIDE_RANGE[1] + 1e-9
