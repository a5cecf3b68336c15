"""A dataset's hand gets the crop and the labels that a rendered sample of it would have."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.geometry import apply_affine, axis_angle_from_rotation, camera_from_ray
from handviz.core.records import CROP_SIZE
from handviz.data.datasets.cut import canonical_vertices, crop_affine, cut, pose_and_shape
from handviz.data.synthetic.generator import LABELS
from handviz.data.synthetic.viewpoint import sample_jitter
from handviz.hand_models.mano.parameters import posed
from handviz.hand_models.open_hand import load_open_hand
from tests.fake_datasets.hands import TinyHand, in_a_mirror, tiny_hands
from tests.fake_datasets.stand_in_mano import stand_in_template
from tests.memory_dataset import annotated, keypoints_m

TEMPLATE = stand_in_template()


@pytest.fixture(scope="module")
def hands() -> list[TinyHand]:
    return list(tiny_hands(6, seed=3, size=(320, 240), sides=("right", "left")))


def posed_by(labels: dict[str, np.ndarray]) -> np.ndarray:
    """Return the training target (V, 3) of a network."""
    return posed(TEMPLATE, labels["pose"][None], labels["shape"][None])[0]


def through(matrix: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """Project to pixels (N, 2) by homogeneous coordinates."""
    projected = points_m @ matrix.T
    return projected[:, :2] / projected[:, 2:]


def in_crop_px(hand: TinyHand, labels: dict[str, np.ndarray]) -> np.ndarray:
    return apply_affine(labels["crop_from_image"], hand.vertices_px)


def test_all_labels_are_there_in_the_generators_shapes(hands: list[TinyHand]) -> None:
    labels, image = cut(annotated(hands[0]), hands[0].image, TEMPLATE)
    assert {name: value.shape for name, value in labels.items()} == LABELS
    assert np.isnan(labels.pop("hidden_share"))
    assert all(np.isfinite(value).all() for value in labels.values())
    assert image.shape == (CROP_SIZE, CROP_SIZE, 3)
    assert image.dtype == np.uint8


def test_canonical_vertices_land_on_the_projected_ones(hands: list[TinyHand]) -> None:
    """In weak perspective: right to what a hand's own depth does, which every wrong convention exceeds by far."""
    rng = np.random.default_rng(0)
    for hand in hands:
        for jitter in (None, sample_jitter(rng)):
            labels, _ = cut(annotated(hand), hand.image, TEMPLATE, jitter)
            flat = (labels["scale"] * posed_by(labels) @ labels["rotation"].T)[:, :2] + labels["translation"]
            errors_px = np.linalg.norm((flat + 1) * CROP_SIZE / 2 - in_crop_px(hand, labels), axis=1)
            assert np.linalg.det(labels["rotation"]) == pytest.approx(1)
            assert np.median(errors_px) < 4
            assert np.percentile(errors_px, 95) < 12


def test_un_mirroring_returns_to_the_camera(hands: list[TinyHand]) -> None:
    for hand in hands:
        labels, _ = cut(annotated(hand), hand.image, TEMPLATE)
        in_camera = posed_by(labels) @ labels["camera_from_wrist"].T + labels["wrist_camera_m"]
        np.testing.assert_allclose(in_camera, hand.vertices_m, atol=1e-6)
        np.testing.assert_allclose(through(labels["camera_matrix"], in_camera), hand.vertices_px, atol=1e-3)
        # Keypoints are seen in true perspective.
        seen = apply_affine(labels["crop_from_image"], through(labels["camera_matrix"], keypoints_m(hand)))
        np.testing.assert_allclose((labels["keypoints_crop"] + 1) * CROP_SIZE / 2, seen, atol=1e-3)


def test_the_rotation_is_that_of_the_ray_and_the_upright_crop(hands: list[TinyHand]) -> None:
    """Computed independently, from the crop's centre and its upward direction."""
    for hand in hands:
        labels, _ = cut(annotated(hand), hand.image, TEMPLATE)
        to_image = np.linalg.inv(np.vstack([labels["crop_from_image"], [0, 0, 1]]))
        centre = (to_image @ [CROP_SIZE / 2, CROP_SIZE / 2, 1])[:2]
        ray = camera_from_ray(centre, hand.intrinsics)
        right, down = (column / np.linalg.norm(column) for column in to_image[:2, :2].T)
        axes = np.stack([ray @ [*right, 0], ray @ [*down, 0], ray[:, 2]])
        np.testing.assert_allclose(labels["rotation"], axes @ labels["camera_from_wrist"], atol=1e-9)


def test_a_left_hand_is_its_mirror_image(hands: list[TinyHand]) -> None:
    hand = hands[0]
    mirrored = in_a_mirror(hand)
    right, left = (cut(annotated(one), one.image, TEMPLATE) for one in (hand, mirrored))
    for name in ("pose", "shape", "rotation", "scale", "translation", "keypoints_crop"):
        np.testing.assert_allclose(left.labels[name], right.labels[name], atol=1e-6, err_msg=name)
    assert np.abs(left.image.astype(int) - right.image).mean() < 1
    assert np.linalg.det(left.labels["camera_from_wrist"]) == pytest.approx(-1)
    assert left.labels["crop_from_image"][0, 0] * right.labels["crop_from_image"][0, 0] < 0


def test_the_wrist_is_found_without_vertices_too(hands: list[TinyHand]) -> None:
    for hand in hands[:2]:
        whole = annotated(hand)
        known, without = (cut(one, hand.image, TEMPLATE).labels for one in (whole, replace(whole, vertices_m=None)))
        np.testing.assert_allclose(without["wrist_camera_m"], known["wrist_camera_m"], atol=1e-3)
        np.testing.assert_allclose(without["translation"], known["translation"], atol=0.02)


def test_what_is_unknown_is_nan(hands: list[TinyHand]) -> None:
    hand = annotated(hands[1])
    flat = replace(hand, mano=None, vertices_m=None, keypoints_m=None)
    labels, _ = cut(flat, hands[1].image, TEMPLATE)
    assert {name: value.shape for name, value in labels.items()} == LABELS
    known = {name for name, value in labels.items() if np.isfinite(value).all()}
    assert known == {"keypoints_crop", "camera_matrix", "crop_from_image"}
    whole = cut(hand, hands[1].image, TEMPLATE).labels
    np.testing.assert_allclose(labels["keypoints_crop"], whole["keypoints_crop"], atol=1e-6)
    assert canonical_vertices(hand, load_open_hand()) is None, "MANO's numbers say nothing about the open hand"
    assert np.isnan(np.concatenate(pose_and_shape(hand, load_open_hand()))).all()


def test_the_crop_shows_the_hand_upright(hands: list[TinyHand]) -> None:
    for hand in hands:
        labels, image = cut(annotated(hand), hand.image, TEMPLATE)
        wrist, knuckle = labels["keypoints_crop"][[0, 9]]
        assert abs(knuckle[0] - wrist[0]) < 1e-6
        assert knuckle[1] < wrist[1]
        x, y = np.clip(np.floor(in_crop_px(hand, labels)).astype(int), 0, CROP_SIZE - 1).T
        from_image = hand.image[tuple(np.clip(np.floor(hand.vertices_px).astype(int), 0, [[319, 239]]).T[::-1])]
        assert np.median(np.abs(image[y, x].astype(int) - from_image)) < 10


def test_jitter_moves_the_crop_and_not_the_hand(hands: list[TinyHand]) -> None:
    hand = annotated(hands[0])
    jitter = sample_jitter(np.random.default_rng(2))
    still, moved = (cut(hand, hands[0].image, TEMPLATE, one).labels for one in (None, jitter))
    assert not np.allclose(crop_affine(hand, jitter), crop_affine(hand))
    rotation = axis_angle_from_rotation(moved["rotation"] @ still["rotation"].T)
    assert 0.001 < np.linalg.norm(rotation) < 0.5
    for name in ("pose", "camera_from_wrist", "wrist_camera_m"):
        np.testing.assert_array_equal(still[name], moved[name])
