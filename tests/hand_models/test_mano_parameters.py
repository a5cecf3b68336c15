"""MANO's numbers against the torch layer, in every convention, of both hands."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.hand_models.layer import HandLayer
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.mano.parameters import ManoParameters, posed, template_pose
from handviz.hand_models.template import HandTemplate
from tests.fake_datasets.stand_in_mano import stand_in_template, write_stand_in_mano


@pytest.fixture
def template() -> HandTemplate:
    """Return the stand-in, with pose correctives added."""
    bare = stand_in_template()
    return replace(bare, pose_basis=np.random.default_rng(0).normal(scale=1e-3, size=bare.pose_basis.shape))


def test_posed_is_the_layers_hand(template: HandTemplate) -> None:
    random = np.random.default_rng(1)
    pose, shape = random.normal(scale=0.4, size=(3, 45)), random.normal(size=(3, 10))
    layer = HandLayer(template).double()
    expected = layer(torch.tensor(pose), torch.tensor(shape)).vertices_m.numpy()
    np.testing.assert_allclose(posed(template, pose, shape), expected, atol=1e-7)


def test_all_conventions_say_the_same_pose() -> None:
    template = stand_in_template()
    coefficients = np.random.default_rng(2).normal(size=45)
    relative = coefficients @ template.pose_components
    mirror = np.tile([1.0, -1.0, -1.0], 15)
    poses = {
        ("right", "components"): coefficients,
        ("left", "components"): coefficients,
        ("right", "relative"): relative,
        ("left", "relative"): relative * mirror,
        ("right", "absolute"): relative + template.pose_mean,
        ("left", "absolute"): (relative + template.pose_mean) * mirror,
    }
    for (side, kind), pose in poses.items():
        given = ManoParameters(side, kind, pose, np.zeros(10), np.zeros(3), np.zeros(3))
        np.testing.assert_allclose(template_pose(given, template), relative, atol=1e-6)


def test_both_stand_in_files_are_one_hand(tmp_path) -> None:
    right, left = (load_mano(path) for path in write_stand_in_mano(tmp_path))
    for name in ("vertices_m", "shape_basis", "pose_mean", "pose_components", "faces"):
        np.testing.assert_array_equal(getattr(right, name), getattr(left, name))
    assert abs(right.pose_mean).max() > 0.1
