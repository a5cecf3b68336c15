"""Moments: several cameras see one hand in one room, and things hide it from some of them and not from the others."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.geometry import rotation_from_axis_angle
from handviz.data.synthetic import look, moments
from handviz.data.synthetic.arm import ArmPoser
from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.data.synthetic.generator import Plan, images_file, labels_file, read_manifest, render
from handviz.data.synthetic.moments import keep_to_rule, lights_for, render_moments
from handviz.data.synthetic.sample import scene_maker
from handviz.data.synthetic.scene import camera_from_wrist, seen_from
from handviz.data.synthetic.viewpoint import LEAST_ANGLE_DEG, direction_to, position_of, sample_rig
from handviz.hand_models.open_hand import load_open_hand
from handviz.rendering.studio_parts import BEHIND
from tests.errors import raises, wrong_usage
from tests.rendered_moments import MOMENTS, VIEWS


@pytest.fixture(scope="module")
def labels(rendered_moments: Path) -> dict[str, np.ndarray]:
    """Return the labels of all crops."""
    parts = [read_labels(rendered_moments, shard) for shard in shard_numbers(rendered_moments)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def of_moments(values: np.ndarray) -> np.ndarray:
    """Split the first axis into moments and views."""
    return values.reshape(MOMENTS, VIEWS, *values.shape[1:])


# What is in the files.


def test_views_of_a_moment_are_adjacent_and_in_order(labels: dict[str, np.ndarray]) -> None:
    assert labels["moment"].dtype == labels["view"].dtype == np.int32
    np.testing.assert_array_equal(labels["moment"], np.repeat(np.arange(MOMENTS), VIEWS))
    np.testing.assert_array_equal(labels["view"], np.tile(np.arange(VIEWS), MOMENTS))
    assert labels["is_hand"].all()


def test_no_shard_parts_a_moment(tmp_path: Path, small_shards: None) -> None:
    plan = Plan(tmp_path / "hands", 4, 9, views=3)
    assert list(render(plan, workers=1)) == [3, 3, 3]
    assert read_manifest(plan.directory / "manifest.json").shard_size == 3
    assert [read_labels(plan.directory, shard)["moment"].tolist() for shard in range(3)] == [[0] * 3, [1] * 3, [2] * 3]
    # More views than a shard has crops.
    assert Plan(tmp_path, 4, 16, views=8).shard_size == 8


def test_all_views_show_one_hand(labels: dict[str, np.ndarray]) -> None:
    for name in ("vertices", "pose", "shape"):
        values = of_moments(labels[name])
        assert (values == values[:, :1]).all()
        assert (values[0] != values[1]).any()
    cameras = of_moments(labels["camera_from_wrist"])
    assert all((cameras[:, one] != cameras[:, other]).any() for one, other in combinations(range(VIEWS), 2))


def test_two_views_place_the_keypoints_where_they_are(labels: dict[str, np.ndarray]) -> None:
    """Rays through the keypoints of two crops meet at the truth: the cameras belong together."""
    truth = load_open_hand().keypoint_regressor @ labels["vertices"][0]
    projections, points = [], []
    for row in (0, 1):
        pose = np.column_stack([labels["camera_from_wrist"][row], labels["wrist_camera_m"][row]])
        to_crop = np.vstack([labels["crop_from_image"][row], [0, 0, 1]]) @ labels["camera_matrix"][row]
        projections.append((to_crop @ pose).astype(np.float64))
        points.append(((labels["keypoints_crop"][row] + 1) * 112).T.astype(np.float64))
    found = cv2.triangulatePoints(*projections, *points)
    np.testing.assert_allclose((found[:3] / found[3]).T, truth, atol=2e-4)


def test_things_hide_the_hand_from_some_views_and_not_from_the_others(
    rendered_moments: Path, labels: dict[str, np.ndarray]
) -> None:
    for hidden in of_moments(labels["hidden_share"]):
        heavy = (hidden >= 0.4) & (hidden < 0.9)
        assert 1 <= heavy.sum() <= min(3, VIEWS - 1)
        assert (hidden[~heavy] < 0.3).all()
    shards = [read_shard(rendered_moments, shard) for shard in shard_numbers(rendered_moments)]
    visible, alone = (
        np.concatenate([getattr(shard, name) for shard in shards]) for name in ("visible", "visible_alone")
    )
    assert not (visible & ~alone).any()
    np.testing.assert_allclose(1 - visible.sum(1) / alone.sum(1), labels["hidden_share"], atol=1e-6)


@pytest.mark.parametrize(
    ("hidden", "heavy", "is_kept"),
    [
        ([0.1, 0.5], 1, True),
        ([0.1, 0.5], 2, False),
        ([0.1, 0.35, 0.5], 1, False),
        ([0.1, 0.9, 0.5], 1, False),
        ([0.3, 0.4], 1, False),
        ([0.29, 0.4], 1, True),
    ],
)
def test_the_rule(hidden: list[float], heavy: int, is_kept: bool) -> None:
    assert keep_to_rule(hidden, heavy) == is_kept


def test_a_rule_that_no_scene_keeps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "_shots", lambda *_: None)
    with raises(ErrorCode.BAD_VALUE, match="choose another seed"):
        next(render_moments(np.random.default_rng(0), 1, 2))


# Cameras, things and lights of one room.


def test_cameras_of_a_rig_lie_apart_and_the_first_sees_a_palm_or_a_back() -> None:
    rng = np.random.default_rng(1)
    hands, ends = ArmPoser().sample(rng, 12), []
    for hand in hands:
        cameras = sample_rig(rng, hand.keypoints_m, 8)
        directions = np.array([direction_to(camera, hand.keypoints_m) for camera in cameras])
        angles = np.degrees(np.arccos(np.clip(directions @ directions.T, -1, 1)))[np.triu_indices(8, 1)]
        assert angles.min() > LEAST_ANGLE_DEG - 1e-6
        ends.append(directions[0])
        distances = [np.linalg.norm(camera.wrist_camera_m) for camera in cameras]
        assert 0.15 < min(distances) < max(distances) < 1.15
    # Along the hand, from the fingertips or the elbow, a detector's hands are rarely seen.
    assert np.mean(np.abs(np.array(ends)[:, 1]) < 0.8) > 0.8


def test_a_full_sphere_has_room_for_more_cameras() -> None:
    rng = np.random.default_rng(2)
    keypoints = ArmPoser().sample(rng, 1)[0].keypoints_m
    assert len(sample_rig(rng, keypoints, 60)) == 60


def test_a_thing_made_for_one_view_is_in_its_way() -> None:
    """In the wrist frame it lies between the hand and that camera, and seen from there it is as it was made."""
    rng, maker = np.random.default_rng(3), scene_maker("rig")
    hand = maker.poser.sample(rng, 1)[0]
    cameras = sample_rig(rng, hand.keypoints_m, 3)
    for camera in cameras:
        state = rng.bit_generator.state
        thing = maker.passing(rng, hand, camera, large=True)
        rng.bit_generator.state = state
        made = maker._things.passing(rng, hand, camera, large=True)
        seen = seen_from(camera_from_wrist(camera), thing)
        np.testing.assert_allclose(seen.camera_from_object, made.camera_from_object, atol=1e-9)
        towards = direction_to(camera, hand.keypoints_m)
        assert thing.camera_from_object[:3, 3] @ towards > 0.03


def test_clutter_is_in_no_camera_s_way() -> None:
    rng, maker = np.random.default_rng(4), scene_maker("rig")
    count = 0
    for hand in maker.poser.sample(rng, 6):
        cameras = sample_rig(rng, hand.keypoints_m, 8)
        for body in maker._things.clutter_around(rng, hand, cameras):
            count += 1
            assert body.label == BEHIND
            points = body.mesh.positions @ body.camera_from_object[:3, :3].T + body.camera_from_object[:3, 3]
            for camera in cameras:
                on_the_way = np.linspace(0, 1, 50)[:, None] * position_of(camera)
                assert np.linalg.norm(points[:, None] - on_the_way, axis=2).min() > 0.05
    assert count > 6


def test_lights_stay_in_the_room() -> None:
    rng = np.random.default_rng(5)
    hand = ArmPoser().sample(rng, 1)[0]
    first, second = sample_rig(rng, hand.keypoints_m, 2)
    lights = look.sample_lights(rng, np.zeros(3))
    seen = lights_for(lights, first, second, hand)
    for camera, ones in ((first, lights), (second, seen)):
        in_room = ones.directions @ camera.camera_from_wrist
        np.testing.assert_allclose(in_room, lights.directions @ first.camera_from_wrist, atol=1e-9)
        above = np.array(ones.above) @ camera.camera_from_wrist
        np.testing.assert_allclose(above, [0, -1, 0] @ first.camera_from_wrist, atol=1e-9)
    palm_m = second.camera_from_wrist @ hand.keypoints_m[9] * 0.9 + second.wrist_camera_m
    np.testing.assert_allclose(seen.shadow_centre_m, palm_m)


def test_ambient_light_comes_from_above() -> None:
    """A ball under light from one side alone is bright there, wherever that side is."""
    maker = scene_maker("rig")
    ball = maker.body(np.random.default_rng(0), np.array([0, 0, 0.5]), (0.1, 0.1), 1.0)
    lights = look.sample_lights(np.random.default_rng(0), np.array([0, 0, 0.5]))
    lights = replace(lights, directions=np.eye(3)[:2], colours=np.zeros((2, 3)), shadow_strength=0.0)
    lights = replace(lights, ambient_above=np.ones(3), ambient_below=np.zeros(3))
    normals = ball.mesh.normals @ ball.camera_from_object[:3, :3].T
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    for angle in (0.0, 1.0, 2.5):
        above = rotation_from_axis_angle(np.array([0.3, 0, angle])) @ [0, -1, 0]
        light = maker.studio.bake(ball, replace(lights, above=tuple(above))).sum(1)
        assert light[normals @ above > 0.7].mean() > 4 * light[normals @ above < -0.7].mean()


# Seeds, stops and options.


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    plans = [Plan(tmp_path / name, seed, 4, views=2) for name, seed in (("first", 3), ("again", 3), ("other", 4))]
    for plan in plans:
        assert list(render(plan, workers=1)) == [4]
    files = [(labels_file(plan.directory, 0), images_file(plan.directory, 0)) for plan in plans]
    first, again, other = ([path.read_bytes() for path in pair] for pair in files)
    assert first == again
    assert first[0] != other[0]


def test_a_stopped_run_goes_on(tmp_path: Path, small_shards: None) -> None:
    assert list(render(Plan(tmp_path / "hands", 5, 4, views=2), workers=1)) == [4]
    first = images_file(tmp_path / "hands", 0).stat().st_mtime_ns
    plan = Plan(tmp_path / "hands", 5, 10, views=2)
    assert list(render(plan, workers=1)) == [4, 4, 2]
    before = labels_file(plan.directory, 1).read_bytes()
    images_file(plan.directory, 1).unlink()
    assert list(render(plan, workers=1)) == [4, 2, 4]
    assert labels_file(plan.directory, 1).read_bytes() == before
    assert images_file(plan.directory, 0).stat().st_mtime_ns == first


@pytest.mark.parametrize("views", [1, 4])
def test_other_numbers_of_views_are_not_mixed(tmp_path: Path, views: int) -> None:
    list(render(Plan(tmp_path / "hands", 5, 4, views=2), workers=1))
    with raises(ErrorCode.FOLDER_TAKEN, match=f"views 2, not {views}.*another folder"):
        next(render(Plan(tmp_path / "hands", 5, 4, views=views), workers=1))


def test_single_crops_say_nothing_of_views(tmp_path: Path) -> None:
    list(render(Plan(tmp_path / "hands", 5, 1), workers=1))
    assert "views" not in json.loads((tmp_path / "hands" / "manifest.json").read_text())
    assert "moment" not in read_labels(tmp_path / "hands", 0)


@pytest.mark.parametrize(("count", "views"), [(7, 2), (17, 17), (4, 0)])
def test_moments_are_whole(tmp_path: Path, count: int, views: int) -> None:
    with raises(ErrorCode.BAD_VALUE):
        Plan(tmp_path, 0, count, views=views)


@pytest.mark.parametrize(
    "words", [["--hidden", "0.1", "0.5"], ["--no-hand", "0.1"], ["--generator", "2"]], ids=lambda words: words[0]
)
def test_options_of_single_crops_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    out = tmp_path / "hands"
    assert main(["synthesize", "--out", str(out), "--count", "1", "--views", "2", "--workers", "1", *words]) == 1
    assert words[0] in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("views", ["0", "17", "two"])
def test_no_rig_has_so_many_cameras(tmp_path: Path, capsys: pytest.CaptureFixture[str], views: str) -> None:
    with wrong_usage():
        main(["synthesize", "--out", str(tmp_path / "hands"), "--views", views])
    assert "--views" in capsys.readouterr().err


def test_the_command_renders_moments_and_shows_a_row_of_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, sheet = tmp_path / "hands", tmp_path / "sheet.png"
    words = ["synthesize", "--count", "2", "--views", "3", "--seed", "3", "--workers", "1"]
    assert main([*words, "--out", str(folder), "--preview", str(sheet)]) == 0
    assert "2 moments of 3 views" in capsys.readouterr().out
    assert cv2.imread(str(sheet)).shape == (4 * 224, 3 * 224, 3)
    assert json.loads((folder / "manifest.json").read_text())["views"] == 3


@pytest.mark.parametrize(("lacking", "there"), [("moment", "view"), ("view", "moment")])
def test_of_moment_and_view_neither_is_alone(copied_moments: Path, lacking: str, there: str) -> None:
    path = labels_file(copied_moments, 0)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != lacking}
    np.savez(path, **arrays)
    with raises(ErrorCode.FILE_DAMAGED, match=f"holds {there} without {lacking}"):
        read_labels(copied_moments, 0)
