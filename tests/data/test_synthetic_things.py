"""Things around rendered hands: where they lie, what they hide, what shadow they cast."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import trimesh

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.data.synthetic import backgrounds, develop, generator, look, sample, things
from handviz.data.synthetic.arm import ArmPoser, object_transform
from handviz.data.synthetic.dataset import read_labels, shard_numbers
from handviz.data.synthetic.generator import Plan, render
from handviz.data.synthetic.scene import SceneMaker, hidden_fraction
from handviz.rendering.studio import clip_from_camera, open_studio
from handviz.rendering.studio_parts import OCCLUDER, TARGET, Lights, Material, StudioImage, Surface, Textures
from tests.errors import raises, wrong_usage

GREY = Material(*[(0.5, 0.5, 0.5)] * 5, mottle=0.0, gloss=0.0)
pytestmark = pytest.mark.usefixtures("small_shards")


@pytest.fixture(scope="module")
def poser():
    return ArmPoser()


# Worn things.


@pytest.mark.parametrize(("finger", "link"), [(1, 0), (2, 1), (3, 0), (4, 0)])
def test_a_ring_lies_on_the_finger(poser, finger, link):
    outlines = things.Outlines(poser.arm)
    for hand in poser.sample(np.random.default_rng(finger), 3):
        section = things.finger_section(outlines, hand, finger, link, 0.5)
        assert section is not None
        assert 0.004 < section.radii.min() <= section.radii.max() < 0.016
        skin = trimesh.Trimesh(hand.vertices_m, poser.arm.faces, process=False)
        points = section.centre + section.directions * section.radii[:, None]
        cuts = trimesh.intersections.mesh_plane(skin, section.axes[2], section.centre)
        on_skin = (cuts[:, :1] + np.linspace(0, 1, 30)[None, :, None] * (cuts[:, 1:] - cuts[:, :1])).reshape(-1, 3)
        assert np.linalg.norm(points[:, None] - on_skin, axis=-1).min(axis=1).max() < 0.0006
        mesh = things.band(section, 0.002, 0.001)
        start, end = hand.keypoints_m[1 + 4 * finger + link], hand.keypoints_m[2 + 4 * finger + link]
        np.testing.assert_allclose(mesh.positions.mean(0), (start + end) / 2, atol=0.008)


def test_a_watch_goes_round_the_forearm_with_its_dial_on_the_back(poser):
    for hand in poser.sample(np.random.default_rng(4), 3):
        section = things.wrist_section(things.Outlines(poser.arm), hand.vertices_m, poser.arm, 0.04)
        assert section is not None
        assert 0.012 < section.radii.min() <= section.radii.max() < 0.045
        place = things.dial_transform(section, np.array([0, 0, 1.0]), 0.03, 0.008)
        assert place[2, 3] > section.centre[2] + 0.008
        assert np.linalg.norm(place[:3, 3] - section.centre) == pytest.approx(section.radii.mean(), abs=0.012)


def test_a_plane_beside_the_limb_cuts_nothing(poser):
    hand = poser.sample(np.random.default_rng(0), 1)[0]
    far = np.array([0.0, 5.0, 0.0])
    assert things.Outlines(poser.arm).cut(hand.vertices_m, [5], far, np.array([0.0, 1, 0])) is None


# What things hide.


def test_hidden_fraction_counts_what_was_seen_alone():
    alone = np.array([True, True, True, True, False])
    assert hidden_fraction(np.array([True, True, True, False, False]), alone) == 0.25
    assert hidden_fraction(alone, alone) == 0
    assert hidden_fraction(np.zeros(5, bool), np.zeros(5, bool)) == 0


def _box_before(fraction_of_way: float):
    def made(self, rng, hand, camera, *, cover=False):
        middle = camera.camera_from_wrist @ hand.keypoints_m[9] + camera.wrist_camera_m
        place = object_transform(np.eye(3), np.array([0.09, 0.09, 0.01]), middle * fraction_of_way)
        return [Surface(things.box(), GREY, OCCLUDER, place)]

    return made


def test_nothing_is_hidden_without_things_and_something_behind_a_box(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "MAX_HIDDEN", 2.0)
    found = {}
    for name, made in (("none", lambda *_, **__: []), ("before", _box_before(0.7)), ("behind", _box_before(1.6))):
        monkeypatch.setattr(SceneMaker, "things", made)
        found[name] = list(generator.render_samples(np.random.default_rng(5), 4))
    fractions = {name: [float(one.labels["hidden_share"]) for one in samples] for name, samples in found.items()}
    assert fractions["none"] == [0, 0, 0, 0]
    assert max(fractions["behind"]) < 0.02
    assert min(fractions["before"]) > 0.1
    for free, covered in zip(found["none"], found["before"], strict=True):
        assert covered.visible.sum() < free.visible.sum()
        assert not (covered.visible & ~free.visible).sum() > 25


@pytest.mark.parametrize("bounds", [(0.0, 0.1), (0.5, 1.0)])
def test_bounds_of_what_is_hidden_are_kept(bounds):
    samples = list(generator.render_samples(np.random.default_rng(8), 6, bounds))
    fractions = [float(one.labels["hidden_share"]) for one in samples]
    assert len(fractions) == 6
    assert all(sample.within(fraction, bounds) for fraction in fractions)
    assert (bounds[0] <= np.array(fractions)).all()
    assert (np.array(fractions) <= bounds[1]).all()


def test_the_upper_bound_belongs_to_the_range_only_if_it_is_one():
    assert sample.within(0.5, (0.5, 1.0))
    assert not sample.within(0.5, (0.0, 0.5))
    assert sample.within(1.0, (0.5, 1.0))


def test_bounds_that_no_scene_meets_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(SceneMaker, "things", lambda *_, **__: [])
    monkeypatch.setattr(sample, "HAND_TRIES", 1)
    with raises(ErrorCode.BAD_VALUE):
        next(generator.render_samples(np.random.default_rng(0), 1, (0.5, 1.0)))


def test_bounds_are_written_down_and_not_mixed(tmp_path):
    arguments = ["synthesize", "--count", "2", "--workers", "1", "--out", str(tmp_path / "hands")]
    assert main([*arguments, "--hidden", "0", "0.5"]) == 0
    assert json.loads((tmp_path / "hands" / "manifest.json").read_text())["hidden"] == [0.0, 0.5]
    assert (read_labels(tmp_path / "hands", 0)["hidden_share"] < 0.5).all()
    with raises(ErrorCode.FOLDER_TAKEN, match=r"hidden \(0\.0, 0\.5\), not None"):
        next(render(Plan(tmp_path / "hands", 0, 2), workers=1))
    with wrong_usage():
        main([*arguments, "--hidden", "0.5", "0.2"])


def test_a_smaller_count_leaves_further_shards_unread(tmp_path):
    assert list(render(Plan(tmp_path / "hands", 5, 8), workers=1)) == [4, 4]
    assert shard_numbers(tmp_path / "hands") == [0, 1]
    assert list(render(Plan(tmp_path / "hands", 5, 4), workers=1)) == [4]
    assert shard_numbers(tmp_path / "hands") == [0]
    assert list(render(Plan(tmp_path / "hands", 5, 8), workers=1)) == [4, 4]
    assert shard_numbers(tmp_path / "hands") == [0, 1]


def test_held_things_touch_the_hand_and_leave_most_of_it_outside(poser):
    from handviz.data.synthetic.viewpoint import sample_camera

    maker, random = things.ThingMaker(poser), np.random.default_rng(9)
    for hand in poser.sample(random, 12):
        camera = sample_camera(random, hand.keypoints_m)
        surface = maker.held(random, hand, camera)
        points = hand.vertices_m[poser.arm.hand_ids] @ camera.camera_from_wrist.T + camera.wrist_camera_m
        own = np.linalg.inv(surface.camera_from_object)
        local = points @ own[:3, :3].T + own[:3, 3]
        size_m = np.linalg.norm(surface.camera_from_object[:3, :3], axis=0)
        outside_m = np.linalg.norm(np.maximum(np.abs(local) - 0.5, 0) * size_m, axis=1)
        assert outside_m.min() < 0.03
        assert (np.abs(local) < 0.45).all(axis=1).mean() < 0.35


# Light.


@pytest.fixture(scope="module")
def studio():
    made = open_studio(Textures(look.noise_texture()))
    yield made
    made.release()


def test_a_thing_between_light_and_wall_casts_a_shadow(studio):
    """A wall and a small box before it are lit from the upper left."""
    towards = np.array([-0.6, -0.5, -0.62])
    lights = Lights(
        np.stack([towards / np.linalg.norm(towards), [0, 0, -1.0]]),
        np.array([[0.8] * 3, [0.0] * 3]),
        np.full(3, 0.2),
        np.full(3, 0.2),
        shadow_strength=1.0,
        shadow_centre_m=(0.0, 0.0, 0.5),
    )
    wall = Surface(
        things.box(), GREY, TARGET, object_transform(np.eye(3), np.array([0.4, 0.4, 0.02]), np.array([0, 0, 0.51]))
    )
    small = np.full(3, 0.05)
    box = Surface(things.box(), GREY, OCCLUDER, object_transform(np.eye(3), small, np.array([-0.05, -0.05, 0.42])))
    matrix = np.array([[300.0, 0, 112], [0, 300, 112], [0, 0, 1]])
    projection = clip_from_camera(np.eye(2, 3), matrix)
    shaded = studio.draw([wall, box], lights, projection).rgb.astype(float)
    bright = studio.draw([wall, box], replace(lights, shadow_strength=0.0), projection).rgb.astype(float)
    # The box's middle is 0.08 m before the wall: its shadow lies that far along the light.
    x, y = np.array([-0.05, -0.05]) - towards[:2] * (0.08 / 0.62)
    column, row = (int(2 * (112 + 300 * part / 0.5)) for part in (x, y))
    assert shaded[row, column].mean() < 0.7 * bright[row, column].mean()
    np.testing.assert_allclose(shaded[330, 120], bright[330, 120], atol=2)


def test_crevices_are_darker_than_open_skin():
    depth = np.full((448, 448), 0.5, np.float32)
    depth[:, 216:232] = 0.508
    image = StudioImage(np.zeros((448, 448, 3), np.uint8), np.full((448, 448), 255, np.uint8), depth)
    fraction = develop.crevices(image, 900.0, 0.6)
    assert fraction[100, 112] < 0.75
    assert fraction[100, 30] == 1


def test_a_dark_hand_is_exposed_longer_than_a_bright_one():
    def gain(level: int) -> float:
        rgb = np.full((448, 448, 3), level, np.uint8)
        label = np.full((448, 448), 255, np.uint8)
        image = StudioImage(rgb, label, np.ones((448, 448), np.float32))
        return float(np.mean([develop.exposure(image, np.random.default_rng(seed)) for seed in range(20)]))

    assert gain(40) > 2 * gain(160)


def test_hands_are_mostly_well_exposed():
    levels = [
        cv2.cvtColor(one.image, cv2.COLOR_RGB2GRAY)[one.mask > 0].mean()
        for one in generator.render_samples(np.random.default_rng(12), 24)
        if one.mask.sum() > 500
    ]
    assert np.mean([70 < level < 215 for level in levels]) > 0.6


# Backgrounds.


def test_backgrounds_follow_their_seed_alone():
    first, again, other = (
        [backgrounds.BackgroundBank(seed).take(np.random.default_rng(1)) for _ in range(2)] for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.array(first) - np.array(other)).mean() > 0.02
    shapes = {backgrounds.draw(np.random.default_rng(seed)).shape for seed in range(12)}
    assert shapes == {(352, 352, 3)}


def test_what_things_hide_was_visible_without_them():
    for one in generator.render_samples(np.random.default_rng(12), 3, (0.5, 1.0)):
        hidden = one.visible_alone & ~one.visible
        assert not (one.visible & ~one.visible_alone).any()
        assert hidden.sum() / one.visible_alone.sum() == pytest.approx(float(one.labels["hidden_share"]))
