"""Landmarks whose errors are made as large as on photographs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.core import metrics
from handviz.detection.crop import as_the_detector_marks_them
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.landmark_numbers import LANDMARK_NUMBERS
from handviz.models.truth import Truth
from handviz.training.augmentation import (
    NUMBERS,
    LandmarkNoise,
    true_landmarks,
    with_errors_of_photographs,
)

COUNT = 400


@pytest.fixture(scope="module")
def regressor():
    return torch.tensor(load_open_hand().keypoint_regressor, dtype=torch.float32)


@pytest.fixture(scope="module")
def truth():
    vertices = torch.tensor(load_open_hand().vertices_m, dtype=torch.float32)[None] * 100
    rotations = torch.linalg.qr(torch.randn(COUNT, 3, 3, generator=torch.Generator().manual_seed(1)))[0]
    rotations = rotations * torch.linalg.det(rotations)[:, None, None]
    points = torch.rand(COUNT, 21, 2, generator=torch.Generator().manual_seed(2)) - 0.5
    return Truth(vertices.expand(COUNT, -1, -1), points, rotations, torch.full((COUNT,), 0.1), torch.zeros(COUNT, 2))


def landmarks_with_error(truth, regressor, error):
    """Return landmarks with errors of ``error`` decimetres in every world coordinate; presence is 1."""
    keypoints = (regressor @ truth.vertices_cm) @ truth.rotation.transpose(1, 2) / 10
    predicted = torch.from_numpy(as_the_detector_marks_them(keypoints.numpy()))
    predicted = predicted + error * torch.randn(predicted.shape, generator=torch.Generator().manual_seed(3))
    screen = torch.zeros(COUNT, NUMBERS)
    return torch.cat([screen, predicted.flatten(1), torch.ones(COUNT, 2)], dim=1)


def error_mm(landmarks, truth, regressor):
    keypoints = (regressor @ truth.vertices_cm) @ truth.rotation.transpose(1, 2)
    wanted = as_the_detector_marks_them(keypoints.double().numpy()) / 100
    return metrics.pa_mpjpe_mm(landmarks[:, NUMBERS : 2 * NUMBERS].view(-1, 21, 3).double().numpy() / 10, wanted)


def test_landmarks_without_error_stay(truth, regressor):
    predicted = landmarks_with_error(truth, regressor, 0.0)
    true = true_landmarks(predicted, truth, regressor)
    assert true.landmarks.shape == (COUNT, LANDMARK_NUMBERS)
    assert true.error_mm.max() < 1e-3
    torch.testing.assert_close(true.landmarks[:, NUMBERS:], predicted[:, NUMBERS:], atol=1e-4, rtol=0)
    torch.testing.assert_close(true.landmarks[:, 2], torch.zeros(COUNT))


def test_errors_become_those_of_photographs(truth, regressor):
    predicted = landmarks_with_error(truth, regressor, 0.35)
    true = true_landmarks(predicted, truth, regressor)
    before = error_mm(predicted, truth, regressor)
    np.testing.assert_allclose(true.error_mm.numpy(), before, rtol=1e-3)
    assert before.mean() > 30
    noise = LandmarkNoise(fraction=1.0)
    moved = with_errors_of_photographs(
        predicted, true.landmarks, true.error_mm, noise, torch.Generator().manual_seed(0)
    )
    after = error_mm(moved, truth, regressor)
    assert np.median(after) == pytest.approx(noise.median_mm, rel=0.15)
    assert (after <= before + 1e-3).all()


def test_only_the_fraction_is_moved_and_the_seed_decides(truth, regressor):
    predicted = landmarks_with_error(truth, regressor, 0.35)
    true = true_landmarks(predicted, truth, regressor)

    def moved(seed):
        generator = torch.Generator().manual_seed(seed)
        return with_errors_of_photographs(
            predicted, true.landmarks, true.error_mm, LandmarkNoise(fraction=0.25), generator
        )

    same = (moved(1) == predicted).all(dim=1).float().mean()
    assert 0.65 < same < 0.85
    assert torch.equal(moved(1), moved(1))
    assert not torch.equal(moved(1), moved(2))
    assert torch.equal(moved(1)[:, 2 * NUMBERS :], predicted[:, 2 * NUMBERS :])


def test_landmarks_of_a_crop_without_a_hand_stay_as_they_are(truth, regressor):
    landmarks = landmarks_with_error(truth, regressor, 0.1)
    known = torch.arange(COUNT) % 2 == 0
    whole = true_landmarks(landmarks, truth, regressor)
    found = true_landmarks(landmarks, replace(truth, is_hand=known), regressor)
    torch.testing.assert_close(found.landmarks[~known], landmarks[~known], rtol=0, atol=0)
    assert (found.error_mm[~known] == 0).all()
    torch.testing.assert_close(found.landmarks[known], whole.landmarks[known])
    torch.testing.assert_close(found.error_mm[known], whole.error_mm[known])
