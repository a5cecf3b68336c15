"""Errors of camera priors are angles, differences and ratios to what was stated."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import tools
from handviz.core.gaussian import Gaussian
from handviz.models.amvur.network import camera_vector
from handviz.models.truth import Truth
from tools.camera_prior import camera_errors, table

HANDS = 40


def turned_by(angles_deg: np.ndarray) -> tuple[Gaussian, Truth]:
    """Return cameras that are off by these angles, by 0.1 in ln s and 0.05 in T, with a standard deviation of 0.05."""
    random = np.random.default_rng(0)
    true = Rotation.random(HANDS, rng=random)
    axes = random.normal(size=(HANDS, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    off = true * Rotation.from_rotvec(axes * np.radians(angles_deg)[:, None])
    rotation, found = (torch.tensor(part.as_matrix(), dtype=torch.float32) for part in (true, off))
    scale, place = torch.full((HANDS,), 0.08), torch.zeros(HANDS, 2)
    truth = Truth(torch.empty(HANDS, 0, 3), torch.empty(HANDS, 21, 2), rotation, scale, place)
    mean = camera_vector(found, scale * np.exp(0.1), place + 0.05)
    return Gaussian(mean, torch.full((HANDS, 9), 2 * np.log(0.05))), truth


def test_errors_are_those_that_were_made() -> None:
    angles = np.linspace(1, 170, HANDS)
    errors = camera_errors(*turned_by(angles))
    np.testing.assert_allclose(errors.rotation_deg, angles, atol=0.1)
    np.testing.assert_allclose(errors.numbers[:, 6], 0.1, atol=1e-5)
    np.testing.assert_allclose(errors.numbers[:, 7:], 0.05, atol=1e-5)
    np.testing.assert_allclose(errors.std, 0.05, atol=1e-6)


def test_the_table_has_a_row_of_all_hands_and_one_of_the_certain() -> None:
    angles = np.repeat([10.0, 30.0], HANDS // 2)
    lines = table(camera_errors(*turned_by(angles)), np.repeat([0.99, 0.5], HANDS // 2)).splitlines()
    first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:])
    assert first[1:5] == ["40", "20.0", "20.0", "30.0"]
    assert second[1:7] == ["20", "10.0", "10.0", "10.0", "+0.10, 0.00", "0.05"]
    assert second[7].endswith(", 2.0, 1.0")
    assert len(first) == len(second) == lines[0].count("|") - 1


@pytest.mark.slow
def test_the_command_measures_the_landmarks(cached_hands: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("camera_prior", [str(cached_hands), "--count", "8"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("landmarks")
    assert "| all | 8 |" in printed
