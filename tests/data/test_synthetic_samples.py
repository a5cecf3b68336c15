"""Rendered hands: what the labels say of a hand is what the image shows."""

import cv2
import numpy as np
import pytest
import torch
import trimesh

from handviz.core.geometry import project_points
from handviz.core.records import Intrinsics
from handviz.data.labels import weak_perspective
from handviz.data.synthetic import generator, pose, sample
from handviz.data.synthetic.arm import ArmPoser
from handviz.data.synthetic.dataset import read_labels, read_shard, shard_numbers
from handviz.data.synthetic.generator import images_file
from handviz.data.synthetic.scene import SceneMaker
from handviz.data.synthetic.scene import labels as scene_labels
from handviz.data.synthetic.viewpoint import Camera, sample_camera
from handviz.detection.crop import camera_from_crop, crop_from_image_affine
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand

SAMPLES = 32


@pytest.fixture(scope="module")
def labels(rendered_hands):
    parts = [read_labels(rendered_hands, shard) for shard in (0, 1)]
    return {name: np.concatenate([part[name] for part in parts]).astype(np.float64) for name in parts[0]}


@pytest.fixture(scope="module")
def vertices(labels):
    """Return canonical vertices (32, 778, 3)."""
    return labels["vertices"]


@pytest.fixture(scope="module")
def keypoints(vertices):
    return load_open_hand().keypoint_regressor @ vertices


@pytest.fixture(scope="module")
def visible(rendered_hands):
    return np.concatenate([read_shard(rendered_hands, shard).visible for shard in (0, 1)])


def in_camera(points, labels):
    """Transform canonical points (N, K, 3) to camera axes."""
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
        "vertices": (32, 778, 3),
        "is_hand": (32,),
    }
    assert all(np.isfinite(values).all() for values in labels.values())
    assert read_shard(rendered_hands, 1).images.shape == (16, 224, 224, 3)
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
    """Return the distance (N, 21), crop half-sides, between weak-perspective and true keypoints."""
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
    poser = ArmPoser()
    hand, turn, hand_ids = poser.sample(random, 1)[0], pose.sample_view(random), poser.arm.hand_ids
    errors = []
    for distance_m in (0.3, 0.6, 1.2):
        position = np.array([0.05, -0.02, 1.0]) * distance_m
        points_px = project_points(hand.keypoints_m @ turn.T + position, intrinsics)
        camera = Camera(intrinsics, (640, 480), turn, position, crop_from_image_affine(points_px, "right"))
        rows = {name: np.asarray(value)[None] for name, value in scene_labels(hand, camera, hand_ids).items()}
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


# What the images show.


def test_visible_keypoints_lie_on_the_drawn_hand(rendered_hands, labels, visible):
    masks = []
    for shard in (0, 1):
        with np.load(images_file(rendered_hands, shard)) as archive:
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
    """Images and masks belong together: their edges fall on each other."""
    with np.load(images_file(rendered_hands, 0)) as archive:
        masks = np.unpackbits(archive["mask_bits"], axis=1).reshape(-1, 224, 224)
    contrast = []
    for image, mask in zip(read_shard(rendered_hands, 0).images, masks, strict=True):
        smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), 2)
        steps = np.abs(np.diff(smooth, axis=1)).sum(axis=2)
        border = np.diff(mask.astype(int), axis=1) != 0
        contrast.append(steps[border].mean() / steps.mean())
    assert np.median(contrast) > 2


@pytest.mark.usefixtures("only_the_hand")
def test_what_is_visible_without_occluders_faces_the_camera():
    template, fractions = load_open_hand(), []
    samples = list(generator.render_samples(np.random.default_rng(11), 6))
    for known, _, mask, visible, alone, _ in samples:
        assert (visible == alone).all()
        rows = {name: np.asarray(value)[None] for name, value in known.items()}
        pose, shape = (torch.from_numpy(rows[name]).float() for name in ("pose", "shape"))
        hand = in_camera(HandLayer(template)(pose, shape).vertices_m.numpy(), rows)[0]
        normals = trimesh.Trimesh(hand, template.faces, process=False).vertex_normals
        facing = (normals * -hand).sum(axis=1) / np.linalg.norm(hand, axis=1)
        fractions.append((facing[visible] > -0.2).mean())
        assert 0.05 < visible.mean() < 0.75
        assert facing[visible].mean() > facing[~visible].mean() + 0.3
        assert mask.any()
    assert np.mean(fractions) > 0.9


@pytest.fixture
def only_the_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw scenes with the arm alone."""

    monkeypatch.setattr(SceneMaker, "things", lambda *_, **__: [])


def test_the_crop_is_black_where_the_image_s_end_is_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sample, "BORDER_FRACTION", 1.0)
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
            assert shown.image[beyond].max() == 0
            assert shown.image[~beyond].mean() > 25
        elif beyond.mean() > sample.BORDER_LARGEST + 0.05:
            assert (shown.image[beyond] > 0).mean() > 0.3
    assert outside > 1


def test_few_images_end_in_black():
    random, cameras = np.random.default_rng(4), []
    for hand in ArmPoser().sample(random, 200):
        cameras.append(sample_camera(random, hand.keypoints_m))
    ends = [sample.shown_part(random, camera) is not None for camera in cameras]
    assert 0.01 < np.mean(ends) < 0.13


def test_bounds_that_no_hand_keeps_are_said():
    assert "between 0.5 and 0.6 of a hand" in sample._never_within((0.5, 0.6))
    assert "None" not in sample._never_within(None)
