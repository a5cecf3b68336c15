"""The camera's prior: a net of one hand model for another's cameras, and MediaPipe's landmarks without a net."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.core.gaussian import rotation_from_6d
from handviz.core.records import PALM_KEYPOINTS
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.network import CameraOutput, camera_vector
from handviz.models.amvur.training_camera_prior import as_prior, camera_of_landmarks, rest_palm_cm, rest_rotation
from tests.fake_datasets.stand_in_mano import MANO_FROM_OPEN, stand_in_template


def predicted_camera(rotation: torch.Tensor) -> CameraOutput:
    """Return a net's output for crops with these rotations (B, 3, 3)."""
    scale, shift = torch.full((len(rotation),), 0.08), torch.full((len(rotation), 2), 0.3)
    log_variance = torch.linspace(-4, -2, 9).expand(len(rotation), 9)
    return CameraOutput(camera_vector(rotation, scale, shift), log_variance, rotation, scale, shift)


def test_the_stand_in_lies_as_it_was_turned() -> None:
    np.testing.assert_allclose(rest_rotation(stand_in_template(), load_open_hand()), MANO_FROM_OPEN.T, atol=1e-3)
    np.testing.assert_allclose(rest_rotation(load_open_hand(), load_open_hand()), np.eye(3), atol=1e-9)


def test_a_turned_prior_sees_the_same_hand() -> None:
    rotation = torch.tensor(Rotation.random(4, rng=np.random.default_rng(0)).as_matrix(), dtype=torch.float32)
    to_open = torch.tensor(rest_rotation(stand_in_template(), load_open_hand()), dtype=torch.float32)
    prior = as_prior(predicted_camera(rotation), 0.0, to_open)
    open_points = torch.tensor(load_open_hand().vertices_m[::50])
    mano_points = open_points @ torch.tensor(MANO_FROM_OPEN.T, dtype=torch.float32)
    seen = mano_points @ rotation_from_6d(prior.mean[:, :6]).transpose(1, 2)
    torch.testing.assert_close(seen, open_points @ rotation.transpose(1, 2), atol=2e-4, rtol=0)
    torch.testing.assert_close(prior.mean[:, 6:], predicted_camera(rotation).mean[:, 6:])


def test_uncertainties_are_the_net_s_their_mean_or_the_asked_one() -> None:
    predicted = predicted_camera(torch.eye(3)[None])
    torch.testing.assert_close(as_prior(predicted, 0.0).log_variance, predicted.log_variance)
    rotated = as_prior(predicted, 0.0, torch.eye(3)).log_variance.exp()
    torch.testing.assert_close(rotated[0, :6], predicted.log_variance[0, :6].exp().mean().expand(6))
    torch.testing.assert_close(rotated[0, 6:], predicted.log_variance[0, 6:].exp())
    torch.testing.assert_close(
        as_prior(predicted, 0.5, torch.eye(3)).log_variance, torch.full((1, 9), 2 * math.log(0.5))
    )


# MediaPipe's landmarks.


ROTATIONS = torch.tensor(Rotation.random(6, rng=np.random.default_rng(1)).as_matrix(), dtype=torch.float32)
SCALES, PLACES = torch.linspace(0.05, 0.12, 6), torch.linspace(-0.4, 0.4, 12).reshape(6, 2)
PALM = list(PALM_KEYPOINTS)


def landmarks_of(points_cm: torch.Tensor, presence: float = 1.0) -> torch.Tensor:
    """Return MediaPipe's 128 numbers, without an error, of keypoints (6, 21, 3) seen by the cameras above: world
    landmarks about the hand's centre and of their own size."""
    turned = points_cm @ ROTATIONS.transpose(1, 2)
    screen = SCALES[:, None, None] * turned
    screen[..., :2] += PLACES[:, None]
    world = 0.07 * (turned - turned.mean(dim=1, keepdim=True))
    return torch.cat([screen.flatten(1), world.flatten(1), torch.tensor([[presence, 0.9]]).expand(6, 2)], dim=1)


@pytest.fixture
def keypoints_cm() -> torch.Tensor:
    """(6, 21, 3) of hands of six sizes, each with its own bent fingers, the palm at rest."""
    template = load_open_hand()
    points = 100 * torch.tensor(template.keypoint_regressor @ template.vertices_m, dtype=torch.float32)
    bent = points + torch.randn(6, 21, 3, generator=torch.Generator().manual_seed(0))
    bent[:, PALM] = points[PALM]
    return bent


def test_the_palm_s_landmarks_give_the_camera_that_sees_them(keypoints_cm: torch.Tensor) -> None:
    """Whatever the fingers do."""
    found = camera_of_landmarks(landmarks_of(keypoints_cm), rest_palm_cm(load_open_hand())).mean
    torch.testing.assert_close(found, camera_vector(ROTATIONS, SCALES, PLACES), atol=1e-4, rtol=0)


def test_a_larger_hand_seems_nearer_and_is_turned_alike(keypoints_cm: torch.Tensor) -> None:
    """One image tells no size: the prior's is that of the mean hand."""
    found = camera_of_landmarks(landmarks_of(1.2 * keypoints_cm), rest_palm_cm(load_open_hand())).mean
    torch.testing.assert_close(found, camera_vector(ROTATIONS, 1.2 * SCALES, PLACES), atol=1e-4, rtol=0)


def test_landmarks_with_errors_give_the_least_squares_of_scipy_and_numpy(keypoints_cm: torch.Tensor) -> None:
    landmarks = landmarks_of(keypoints_cm) + 0.05 * torch.randn(6, 128, generator=torch.Generator().manual_seed(1))
    palm_cm = rest_palm_cm(load_open_hand())
    found = camera_of_landmarks(landmarks, palm_cm).mean
    centre = palm_cm.mean(dim=0).numpy()
    rest = palm_cm.numpy() - centre
    for row in range(6):
        screen, world = (part.reshape(21, 3)[PALM].numpy() for part in landmarks[row, :126].split(63))
        seen, world = screen[:, :2], world - world.mean(axis=0)
        size = np.linalg.norm(world[:, :2]) / np.linalg.norm(seen - seen.mean(axis=0))
        points = np.column_stack([size * (seen - seen.mean(axis=0)), world[:, 2]])
        rotation = Rotation.align_vectors(points, rest)[0].as_matrix()
        turned = (rest @ rotation.T)[:, :2]
        # (scale, Tx, Ty) of seen = scale * turned + T
        columns = [[*point, 1.0, 0.0] for point in turned[:, :1]] + [[*point, 0.0, 1.0] for point in turned[:, 1:]]
        (scale, *place), *_ = np.linalg.lstsq(np.array(columns), seen.T.reshape(-1), rcond=None)
        np.testing.assert_allclose(rotation_from_6d(found[row, :6]).numpy(), rotation, atol=1e-3)
        assert float(found[row, 6]) == pytest.approx(math.log(10 * scale), abs=1e-3)
        np.testing.assert_allclose(found[row, 7:].numpy(), place - scale * (rotation @ centre)[:2], atol=1e-3)


def test_uncertainties_are_stated_and_grow_where_no_hand_is_certain(keypoints_cm: torch.Tensor) -> None:
    palm_cm = rest_palm_cm(load_open_hand())
    certain, doubtful, none = (
        camera_of_landmarks(landmarks_of(keypoints_cm, presence), palm_cm).log_variance.exp().sqrt()
        for presence in (1.0, 0.5, 0.0)
    )
    torch.testing.assert_close(certain[0], torch.tensor([0.2] * 7 + [0.1] * 2))
    torch.testing.assert_close(doubtful, 2 * certain)
    torch.testing.assert_close(none, 10 * certain)
    asked = camera_of_landmarks(landmarks_of(keypoints_cm, 0.5), palm_cm, 0.3).log_variance
    torch.testing.assert_close(asked, torch.full((6, 9), 2 * math.log(0.3)))


def test_landmarks_of_no_hand_give_a_finite_camera() -> None:
    found = camera_of_landmarks(torch.zeros(2, 128), rest_palm_cm(load_open_hand()))
    assert torch.isfinite(found.mean).all()
    rotation = rotation_from_6d(found.mean[:, :6])
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(2))
