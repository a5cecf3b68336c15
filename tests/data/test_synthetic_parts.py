"""What a rendered hand is made of: poses, views, shapes, bodies of things, skin and backgrounds."""

import numpy as np
import pytest

from handviz.data.synthetic import backgrounds, develop, look, pose, things
from handviz.hand_models.open_hand import load_open_hand


def test_poses_that_are_kept_have_fingers_apart():
    template = load_open_hand()
    sampler, free = pose.PoseSampler(template), np.random.default_rng(2)
    poses = sampler.sample(free, 60)
    assert poses.shape == (60, 45)
    assert (sampler.finger_gap_m(poses) > pose.CLOSEST_FINGERS_M).mean() > 0.8
    # Two fingers that cross are nearer than two at rest.
    crossed = np.zeros((1, 45))
    crossed[0, 11], crossed[0, 20] = 0.35, -0.35
    apart, together = sampler.finger_gap_m(np.zeros((1, 45))), sampler.finger_gap_m(crossed)
    both = (together, sampler.finger_gap_m(-crossed))
    assert min(gap[0] for gap in both) < apart[0] - 0.005


def test_views_are_rotations_of_every_kind():
    random = np.random.default_rng(3)
    views = np.stack([pose.sample_view(random) for _ in range(300)])
    np.testing.assert_allclose(np.linalg.det(views), 1)
    np.testing.assert_allclose(views @ views.transpose(0, 2, 1), np.broadcast_to(np.eye(3), views.shape), atol=1e-12)
    towards_camera = views[:, 2, 2]
    assert (towards_camera > 0.7).mean() > 0.2
    assert (towards_camera < -0.7).mean() > 0.2
    assert (np.abs(towards_camera) < 0.3).mean() > 0.1


def test_shapes_are_standard_normal_within_their_limit():
    shapes = pose.sample_shape(np.random.default_rng(4), 4000)
    assert np.abs(shapes[:, 1:]).max() == pose.SHAPE_LIMIT
    assert np.abs(shapes[:, 0]).max() == pytest.approx(pose.SHAPE_LIMIT * pose.SIZE_SPREAD)
    assert shapes.std() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("body", [things.box, things.ball, things.cylinder, things.bottle])
def test_bodies_have_unit_size_and_normals_outwards(body):
    mesh = body()
    np.testing.assert_allclose(np.ptp(mesh.positions, axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-9)
    if body is not things.bottle:  # its neck and cap are no star around the middle
        assert ((mesh.positions * mesh.normals).sum(axis=1) > 0).all()
    assert mesh.faces.max() < len(mesh.positions)


def test_skin_covers_light_and_dark_and_nothing_leaves_the_range():
    random = np.random.default_rng(5)
    backs = np.array([look.skin_material(random).back for _ in range(200)])
    assert backs.min() >= 0
    assert backs.max() <= 1
    brightness = backs.mean(axis=1)
    assert brightness.max() > 10 * brightness.min()
    bank = backgrounds.BackgroundBank(2)
    for _ in range(30):
        image = bank.take(random)
        assert image.dtype == np.float32
        assert 0 <= image.min() <= image.max() <= 1
        assert develop.camera_faults(image, random)[0].dtype == np.uint8
