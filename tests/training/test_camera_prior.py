"""A camera net of one hand model as the prior of another's cameras."""

import math

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from handviz.core.gaussian import rotation_from_6d
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.amvur.network import CameraOutput, camera_vector
from handviz.models.amvur.training_camera_prior import as_prior, rest_rotation
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
