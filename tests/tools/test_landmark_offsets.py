"""Positions of the detector's keypoints, measured from points whose shift is known."""

import numpy as np
import pytest

import tools
from handviz.detection.crop import MARKED_TOWARDS, as_the_detector_marks_them
from tests.errors import wrong_usage
from tools.landmark_offsets import fraction_of_the_way, table


@pytest.fixture
def true():
    return np.random.default_rng(0).uniform(-0.6, 0.6, (50, 21, 2))


def test_a_known_shift_is_found(true):
    marks = as_the_detector_marks_them(true)
    for keypoint, (other, fraction) in MARKED_TOWARDS.items():
        assert fraction_of_the_way(marks, true, keypoint, other) == pytest.approx(fraction, abs=1e-9)
    assert fraction_of_the_way(marks, true, 6, 5) == pytest.approx(0, abs=1e-9)


def test_bones_seen_from_their_end_tell_nothing(true):
    true[:, 8] = true[:, 7] + 1e-3
    assert np.isnan(fraction_of_the_way(true, true, 8, 7))


def test_the_table_sets_what_is_measured_beside_what_is_in_use(true):
    lines = table(as_the_detector_marks_them(true), true).splitlines()
    assert lines[0] == "50 clear hands"
    assert lines[4 + 8] == "| 8 | 0.26 | " + lines[4 + 8].split("| ")[3] + "| 0.26 to 7 |"
    assert len(lines) == 4 + 21


def test_the_command_refuses_no_crops(capsys, tmp_path):
    with wrong_usage():
        tools.run("landmark_offsets", ["--data", str(tmp_path), "--count", "0"])
    assert "--count" in capsys.readouterr().err
    assert tools.run("landmark_offsets", ["--data", str(tmp_path)]) == 1
    assert "holds no rendered hands" in capsys.readouterr().err
