"""The colours of all vertices of a rendered hand."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.data.synthetic.develop import Curve, Tone
from handviz.data.synthetic.sample import VertexLight, bake, colours, scene_maker
from handviz.data.synthetic.viewpoint import sample_camera
from handviz.rendering.studio_parts import Lights, Material

SKIN = (0.5, 0.3, 0.2)
FROM_THE_CAMERA = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])


@pytest.fixture(scope="module")
def scene():
    """Return a hand of one colour and its transform."""
    rng = np.random.default_rng(4)
    maker = scene_maker()
    hand = maker.poser.sample(rng, 1)[0]
    camera = sample_camera(rng, hand.keypoints_m)
    surface = maker.hand_surface(rng, hand, camera)
    one_colour = Material(SKIN, SKIN, SKIN, cloth=SKIN, cloth_second=SKIN, mottle=0.0, sleeve_thickness_m=0.0)
    marks = surface.mesh.marks * [1, 1, 0]
    return maker, replace(surface, material=one_colour, mesh=replace(surface.mesh, marks=marks)), camera


def drawn(scene, lights):
    """Return the light of the vertices, and which of them face the camera."""
    maker, surface, camera = scene
    maker.draw([surface], lights, camera)
    ids = maker.poser.arm.hand_ids
    turn = surface.camera_from_object[:3, :3]
    towards = -(surface.mesh.positions @ turn.T + surface.camera_from_object[:3, 3])
    cosine = np.einsum("vc,vc->v", surface.mesh.normals @ turn.T, towards / np.linalg.norm(towards, axis=1)[:, None])
    return bake(maker.studio, surface, lights, ids), cosine[ids]


def lights(sun, ambient):
    return Lights(FROM_THE_CAMERA, np.array([[sun] * 3, [0.0] * 3]), np.full(3, ambient), np.full(3, ambient))


def test_the_albedo_is_the_material_s_own_on_every_side(scene):
    light, _ = drawn(scene, lights(0.9, 0.2))
    np.testing.assert_allclose(light.albedo, np.tile(SKIN, (778, 1)), rtol=0.02)


def test_sides_turned_away_get_less_light_and_even_light_is_that_of_the_camera_s_side(scene):
    light, cosine = drawn(scene, lights(0.9, 0.2))
    away = light.lit[cosine < -0.7]
    assert len(away) > 100
    np.testing.assert_allclose(away, np.tile(np.multiply(SKIN, 0.2), (len(away), 1)), rtol=0.03)
    square = cosine > 0.95
    np.testing.assert_allclose(light.lit[square].mean(0), np.multiply(SKIN, 1.1), rtol=0.05)
    np.testing.assert_allclose(light.even.mean(0), light.lit[cosine > 0].mean(0), rtol=0.02)
    assert np.ptp(light.even, axis=0).max() < 0.02


def test_the_camera_s_curve_and_tone_reach_every_vertex():
    linear = np.array([[0.25, 0.25, 0.25], [4.0, 0.0, 1.0]], np.float32)
    light = VertexLight(linear, linear, linear * 0.5)
    found = colours(light, Curve(1.0, 2.0), Tone(1.0, 0.0, np.array([0.1, 0.0, 0.0], np.float32), is_grey=False))
    assert found.lit[0].tolist() == [round(255 * 0.6), 128, 128]
    assert found.lit[1].tolist() == [255, 0, 255]
    grey = colours(light, Curve(1.0, 2.0), Tone(1.0, 0.0, np.zeros(3, np.float32), is_grey=True))
    assert len(set(grey.lit[1].tolist())) == 1
