"""The generator: what it says of a hand is what it drew, and a seed always gives the same."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import trimesh

from handviz.__main__ import main
from handviz.data.synthetic import backgrounds, develop, generator, look, pose, props, sample
from handviz.data.synthetic.arm import ArmPoser
from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.data.synthetic.generator import Plan, labels_file, pictures_file, render
from handviz.data.synthetic.preview import write_preview
from handviz.data.synthetic.scene import SceneMaker, weak_perspective
from handviz.data.synthetic.scene import labels as scene_labels
from handviz.data.synthetic.viewpoint import Camera, project, sample_camera
from handviz.detect.crop import camera_from_crop, crop_from_image_affine
from handviz.errors import HandvizError
from handviz.hand_model.layer import HandLayer
from handviz.hand_model.open_hand import load_open_hand
from handviz.records import Intrinsics

SAMPLES = 32


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "SHARD_SIZE", 4)


@pytest.fixture(scope="module")
def labels(rendered_hands):
    parts = [read_labels(rendered_hands, shard) for shard in (0, 1)]
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}


@pytest.fixture(scope="module")
def vertices(labels):
    """(32, 778, 3) canonical, from pose and shape alone."""
    pose, shape = (torch.from_numpy(labels[name]).float() for name in ("pose", "shape"))
    return HandLayer(load_open_hand())(pose, shape).vertices_m.numpy().astype(np.float64)


@pytest.fixture(scope="module")
def keypoints(vertices):
    return load_open_hand().keypoint_regressor @ vertices


@pytest.fixture(scope="module")
def visible(rendered_hands):
    return np.concatenate([read_shard(rendered_hands, shard).visible for shard in (0, 1)])


def in_camera(points, labels):
    """Canonical points (N, K, 3) -> camera axes."""
    return points @ labels["camera_from_wrist"].transpose(0, 2, 1) + labels["wrist_camera_m"][:, None]


def crop_px(labels):
    return (labels["keypoints_crop"] + 1) * 112


# What the labels say.


def test_every_sample_is_there_and_finite(rendered_hands, labels):
    assert shard_numbers(rendered_hands) == [0, 1]
    shapes = {name: values.shape for name, values in labels.items()}
    assert shapes == {
        "pose": (32, 45),
        "shape": (32, 10),
        "rotation": (32, 3, 3),
        "scale": (32,),
        "translation": (32, 2),
        "keypoints_crop": (32, 21, 2),
        "camera_from_wrist": (32, 3, 3),
        "wrist_camera_m": (32, 3),
        "camera_matrix": (32, 3, 3),
        "crop_from_image": (32, 2, 3),
        "hidden_share": (32,),
    }
    assert all(np.isfinite(values).all() for values in labels.values())
    assert read_shard(rendered_hands, 1).pictures.shape == (16, 224, 224, 3)
    distances_m = np.linalg.norm(labels["wrist_camera_m"], axis=1)
    assert 0.15 < distances_m.min() < distances_m.max() < 1.15


def test_rotations_are_proper_and_belong_to_the_crop_s_own_camera(labels):
    for name in ("rotation", "camera_from_wrist"):
        turns = labels[name]
        expected = np.broadcast_to(np.eye(3), turns.shape)
        np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), expected, atol=1e-6)
        np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-6)
    for row in range(SAMPLES):
        matrix = labels["camera_matrix"][row]
        intrinsics = Intrinsics(matrix[0, 0], matrix[0, 2], matrix[1, 2])
        turn = camera_from_crop(labels["crop_from_image"][row], intrinsics) @ labels["rotation"][row]
        np.testing.assert_allclose(turn, labels["camera_from_wrist"][row], atol=1e-5)


def test_camera_matrix_and_crop_take_the_hand_to_its_keypoints(labels, keypoints):
    homogeneous = in_camera(keypoints, labels) @ labels["camera_matrix"].transpose(0, 2, 1)
    image_px = homogeneous[..., :2] / homogeneous[..., 2:]
    affine = labels["crop_from_image"]
    in_crop_px = image_px @ affine[:, :, :2].transpose(0, 2, 1) + affine[:, None, :, 2]
    np.testing.assert_allclose(in_crop_px, crop_px(labels), atol=0.01)
    assert (np.abs(labels["keypoints_crop"]) < 1).mean() > 0.97


def weak_perspective_error(rows, keypoints):
    """(N, 21) crop half-sides between the weak-perspective and the true keypoints."""
    turned = (keypoints @ rows["rotation"].transpose(0, 2, 1))[..., :2]
    found = rows["scale"][:, None, None] * turned + rows["translation"][:, None]
    return np.linalg.norm(found - rows["keypoints_crop"], axis=-1)


def test_weak_perspective_is_close_to_the_true_keypoints(labels, keypoints):
    error = weak_perspective_error(labels, keypoints)
    distance_m = np.linalg.norm(labels["wrist_camera_m"], axis=1)
    # The crop's half-side is about a decimetre, the hand's depth some centimetres.
    assert (error.mean(axis=1) < 0.045 / distance_m).all()
    assert (error.max(axis=1) < 0.125 / distance_m).all()


def test_weak_perspective_is_closer_for_far_hands():
    random, intrinsics = np.random.default_rng(6), Intrinsics(600.0, 320.0, 240.0)
    hand, turn = ArmPoser().sample(random, 1)[0], pose.sample_view(random)
    errors = []
    for distance_m in (0.3, 0.6, 1.2):
        position = np.array([0.05, -0.02, 1.0]) * distance_m
        points_px = project(hand.keypoints_m @ turn.T + position, intrinsics)
        camera = Camera(intrinsics, (640, 480), turn, position, crop_from_image_affine(points_px, "right"))
        rows = {name: np.asarray(value)[None] for name, value in scene_labels(hand, camera).items()}
        errors.append(weak_perspective_error(rows, hand.keypoints_m[None]).mean())
    assert 1.8 < errors[0] / errors[1] < 2.8
    assert 1.8 < errors[1] / errors[2] < 2.4


def test_scale_and_translation_are_least_squares():
    random = np.random.default_rng(0)
    points, in_crop = random.normal(size=(21, 3)), random.normal(size=(21, 2))
    rotation = pose.sample_view(random)
    flat = (points @ rotation.T)[:, :2]
    system = np.zeros((42, 3))
    system[:, 0] = flat.ravel()
    system[::2, 1] = system[1::2, 2] = 1
    expected = np.linalg.lstsq(system, in_crop.ravel(), rcond=None)[0]
    scale, translation = weak_perspective(points, rotation, in_crop)
    np.testing.assert_allclose([scale, *translation], expected)


# What the pictures show.


def test_visible_keypoints_lie_on_the_drawn_hand(rendered_hands, labels, visible):
    masks = []
    for shard in (0, 1):
        with np.load(pictures_file(rendered_hands, shard)) as archive:
            masks += list(np.unpackbits(archive["mask_bits"], axis=1).reshape(-1, 224, 224))
    seen = visible @ load_open_hand().keypoint_regressor.T > 0.3
    hits = []
    for mask, points, chosen in zip(masks, crop_px(labels), seen, strict=True):
        cells = np.floor(points[chosen]).astype(int)
        cells = cells[((cells >= 0) & (cells < 224)).all(axis=1)]
        hits += list(cv2.dilate(mask, np.ones((3, 3)))[cells[:, 1], cells[:, 0]])
        assert 0.02 < mask.mean() < 0.8
    assert len(hits) > 150
    assert np.mean(hits) > 0.97


def test_the_drawn_hand_is_brighter_or_darker_where_the_mask_says(rendered_hands):
    """Pictures and masks belong together: their edges fall on each other."""
    with np.load(pictures_file(rendered_hands, 0)) as archive:
        masks = np.unpackbits(archive["mask_bits"], axis=1).reshape(-1, 224, 224)
    contrast = []
    for picture, mask in zip(read_shard(rendered_hands, 0).pictures, masks, strict=True):
        smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 2)
        steps = np.abs(np.diff(smooth, axis=1)).sum(axis=2)
        border = np.diff(mask.astype(int), axis=1) != 0
        contrast.append(steps[border].mean() / steps.mean())
    assert np.median(contrast) > 2


@pytest.mark.usefixtures("only_the_hand")
def test_what_is_visible_without_occluders_faces_the_camera():
    template, shares = load_open_hand(), []
    samples = list(generator.render_samples(np.random.default_rng(11), 6))
    for known, _, mask, visible, alone in samples:
        assert (visible == alone).all()
        rows = {name: np.asarray(value)[None] for name, value in known.items()}
        pose, shape = (torch.from_numpy(rows[name]).float() for name in ("pose", "shape"))
        hand = in_camera(HandLayer(template)(pose, shape).vertices_m.numpy(), rows)[0]
        normals = trimesh.Trimesh(hand, template.faces, process=False).vertex_normals
        facing = (normals * -hand).sum(axis=1) / np.linalg.norm(hand, axis=1)
        shares.append((facing[visible] > -0.2).mean())
        assert 0.05 < visible.mean() < 0.75
        assert facing[visible].mean() > facing[~visible].mean() + 0.3
        assert mask.any()
    assert np.mean(shares) > 0.9


@pytest.fixture
def only_the_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes without anything but the arm."""

    monkeypatch.setattr(SceneMaker, "things", lambda *_, **__: [])


def test_the_crop_is_black_where_the_picture_s_end_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "BORDER_SHARE", 1.0)
    outside = 0
    for shown in generator.render_samples(np.random.default_rng(3), 12):
        width, height = 2 * shown.labels["camera_matrix"][:2, 2]
        image_from_crop = np.linalg.inv(np.vstack([shown.labels["crop_from_image"], [0, 0, 1]]))
        y, x = np.mgrid[0:224, 0:224] + 0.5
        image_px = np.stack([x, y, np.ones_like(x)], axis=-1) @ image_from_crop[:2].T
        margin_px = 2 / abs(np.linalg.det(shown.labels["crop_from_image"][:, :2])) ** 0.5
        beyond = ((image_px < -margin_px) | (image_px > np.array([width, height]) + margin_px)).any(axis=-1)
        if 0.01 < beyond.mean() < sample.BORDER_LARGEST - 0.05:
            outside += 1
            assert shown.picture[beyond].max() == 0
            assert shown.picture[~beyond].mean() > 25
        elif beyond.mean() > sample.BORDER_LARGEST + 0.05:
            assert (shown.picture[beyond] > 0).mean() > 0.3
    assert outside > 1


def test_few_pictures_end_in_black():
    random, cameras = np.random.default_rng(4), []
    for hand in ArmPoser().sample(random, 200):
        cameras.append(sample_camera(random, hand.keypoints_m))
    ends = [sample.shown_part(random, camera) is not None for camera in cameras]
    assert 0.01 < np.mean(ends) < 0.13


# Seeds, resuming, and folders that are something else.


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    plans = [Plan(tmp_path / name, seed, 4) for name, seed in (("first", 3), ("again", 3), ("other", 4))]
    for plan in plans:
        assert list(render(plan, workers=1)) == [4]
    first, again, other = (labels_file(plan.directory, 0).read_bytes() for plan in plans)
    assert first == again
    assert first != other
    pictures = [pictures_file(plan.directory, 0).read_bytes() for plan in plans]
    assert pictures[0] == pictures[1] != pictures[2]


def test_only_what_is_missing_is_rendered_again(tmp_path):
    plan = Plan(tmp_path / "hands", 5, 10)
    assert list(render(plan, workers=1)) == [4, 4, 2]
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in plan.directory.glob("shard*")}
    pictures_file(plan.directory, 1).unlink()
    assert list(render(plan, workers=1)) == [4, 2, 4]
    for path in plan.directory.glob("shard*"):
        content, changed_ns = before[path.name]
        assert path.read_bytes() == content
        assert (path.stat().st_mtime_ns == changed_ns) == ("00001" not in path.name)
    assert not list(plan.directory.glob("*.part"))


def test_more_samples_go_into_the_same_folder(tmp_path):
    assert list(render(Plan(tmp_path / "hands", 5, 2), workers=1)) == [2]
    assert list(render(Plan(tmp_path / "hands", 5, 6), workers=1)) == [4, 2]
    assert len(read_shard(tmp_path / "hands", 0).pictures) == 4


def test_damaged_labels_are_rendered_again(tmp_path, rendered_hands):
    plan = Plan(tmp_path / "hands", 5, 2)
    list(render(plan, workers=1))
    content = labels_file(plan.directory, 0).read_bytes()
    labels_file(plan.directory, 0).write_bytes(content[:300])
    list(render(plan, workers=1))
    assert labels_file(plan.directory, 0).read_bytes() == content


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(HandvizError, match="choose another folder"):
            next(render(Plan(place, 0, 4), workers=1))
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["file", "holiday.jpg"]


@pytest.mark.parametrize(("key", "value"), [("seed", 8), ("generator_version", 0), ("hand_model", "another")])
def test_samples_of_another_seed_generator_or_hand_are_not_mixed(tmp_path, rendered_hands, key, value):
    manifest = json.loads((rendered_hands / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, key: value}))
    with pytest.raises(HandvizError, match=f"{key} {value}.*choose another folder"):
        next(render(Plan(tmp_path, 7, 4), workers=1))


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "7"])
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(HandvizError, match=r"manifest.json is damaged"):
        next(render(Plan(tmp_path, 7, 4), workers=1))


# Reading back.


@pytest.fixture
def copied(tmp_path, rendered_hands) -> Path:
    return Path(shutil.copytree(rendered_hands, tmp_path / "copy"))


def test_an_empty_folder_says_how_to_fill_it(tmp_path):
    with pytest.raises(HandvizError, match="handviz synthesize --out"):
        shard_numbers(tmp_path)


@pytest.mark.parametrize("file_of", [labels_file, pictures_file])
def test_a_truncated_shard_is_named(copied, file_of):
    os.truncate(file_of(copied, 1), 1000)
    with pytest.raises(HandvizError, match=rf"{file_of(copied, 1).name} is damaged.*run synthesize again"):
        read_shard(copied, 1)
    assert len(read_shard(copied, 0).pictures) == 16


def test_labels_that_are_missing_are_named(copied):
    labels_file(copied, 0).unlink()
    with pytest.raises(HandvizError, match=r"labels.npz is missing.*run synthesize again"):
        read_shard(copied, 0)


@pytest.mark.parametrize("picture", [np.zeros((10, 10, 3), np.uint8), None])
def test_a_picture_that_is_none_is_named(copied, picture):
    with np.load(pictures_file(copied, 0)) as archive:
        arrays = dict(archive)
    first = arrays["jpeg_end"][0]
    content = np.full(first, 7, np.uint8) if picture is None else generator.encode(picture, 90)
    arrays["jpeg"] = np.concatenate([content, arrays["jpeg"][first:]])
    arrays["jpeg_end"] += len(content) - first
    np.savez(pictures_file(copied, 0), **arrays)
    with pytest.raises(HandvizError, match="not a 224 x 224 JPEG"):
        read_shard(copied, 0)


def rewritten(path, **changes):
    """The file with other arrays; None leaves one out."""
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("jpeg_end", lambda ends: ends.astype(float)),
        ("jpeg_end", lambda ends: ends[-1]),
        ("jpeg_end", lambda ends: np.concatenate([ends[:1], ends[:-1]])),
        ("jpeg_end", lambda ends: np.concatenate([ends[1:2], ends[1:]])),
        ("jpeg_end", lambda ends: ends[1:]),
        ("jpeg", lambda data: data.astype(np.int16)),
        ("jpeg", lambda data: data[:-5]),
        ("visible", lambda bits: bits[1:]),
        ("visible_alone", lambda bits: bits.astype(np.int64)),
    ],
)
def test_pictures_of_other_kinds_or_numbers_are_named(copied, name, change):
    path = pictures_file(copied, 0)
    with np.load(path) as archive:
        changed = change(archive[name])
    rewritten(path, **{name: changed})
    with pytest.raises(HandvizError, match=r"shard_00000_pictures.npz.*run synthesize again"):
        read_shard(copied, 0)


@pytest.mark.parametrize("scale", [np.full(16, "eight"), np.ones(15), np.full(16, np.inf), np.float32(8)])
def test_labels_of_other_kinds_or_numbers_are_named(copied, scale):
    rewritten(labels_file(copied, 0), scale=scale)
    with pytest.raises(HandvizError, match=r"shard_00000_labels.npz: .*run synthesize again"):
        read_labels(copied, 0)


def test_labels_of_an_older_generator_are_named(copied):
    rewritten(labels_file(copied, 0), hidden_share=None)
    with pytest.raises(HandvizError, match=r"lacks hidden_share: .* an older generator.*another folder"):
        read_labels(copied, 0)


@pytest.mark.parametrize("wrong", [{"count": "many"}, {"shard_size": 0}, {"count": 1.5}, {"shard_size": [4]}])
def test_a_manifest_without_numbers_is_named(copied, wrong):
    path = copied / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | wrong))
    with pytest.raises(HandvizError, match=r"manifest.json is damaged"):
        shard_numbers(copied)


def test_a_foreign_shard_is_named(copied):
    (copied / "shard_last_pictures.npz").write_bytes(b"")
    with pytest.raises(HandvizError, match=r"shard_last_pictures.npz is not a file of synthesize"):
        shard_numbers(copied)


def test_bounds_that_no_hand_keeps_are_said():
    assert "between 0.5 and 0.6 of a hand" in sample._never_within((0.5, 0.6))
    assert "None" not in sample._never_within(None)


def test_the_preview_is_a_sheet_of_pictures_and_skeletons(tmp_path, rendered_hands):
    write_preview(rendered_hands, tmp_path / "new" / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "new" / "sheet.png"))
    assert sheet.shape == (4 * 224, 8 * 224, 3)
    np.testing.assert_array_equal(sheet[:224, :224, ::-1], read_shard(rendered_hands, 0).pictures[0])
    changed = (sheet[:224] != sheet[224:448]).any(axis=2).mean()
    assert 0.005 < changed < 0.2


def test_the_command_renders_and_shows(tmp_path):
    folder, sheet = tmp_path / "hands", tmp_path / "sheet.png"
    arguments = ["synthesize", "--count", "4", "--seed", "3", "--workers", "1"]
    assert main([*arguments, "--out", str(folder), "--preview", str(sheet)]) == 0
    assert len(read_shard(folder, 0).pictures) == 4
    assert cv2.imread(str(sheet)).shape == (2 * 224, 8 * 224, 3)


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--seed", "-1"], ["--workers", "0"]])
def test_the_command_says_what_it_cannot_do(tmp_path, capsys, wrong):
    assert main(["synthesize", "--out", str(tmp_path / "hands"), *wrong]) == 1
    assert "must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "hands").exists()


# The parts.


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


@pytest.mark.parametrize("body", [props.box, props.ball, props.cylinder, props.bottle])
def test_bodies_have_unit_size_and_normals_outwards(body):
    mesh = body()
    np.testing.assert_allclose(np.ptp(mesh.positions, axis=0), 1, atol=0.03)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-9)
    if body is not props.bottle:  # its neck and cap are no star around the middle
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
        picture = bank.take(random)
        assert picture.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 1
        assert develop.camera_faults(picture, random).dtype == np.uint8
