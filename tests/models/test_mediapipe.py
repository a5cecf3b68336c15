"""The open hand fitted to MediaPipe's landmarks: known hands come back, and what is no hand gets a finite answer."""

import contextlib
import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.core.geometry import procrustes_aligned, rotation_from_axis_angle
from handviz.core.paths import CLIP_FILE, LANDMARK_FILE
from handviz.core.records import CROP_SIZE, FloatArray, HandCrop, NetworkOutput
from handviz.detection.crop import as_the_detector_marks_them, points_in_crop
from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.skinning import joint_transforms, skin
from handviz.models.base import LoadContext
from handviz.models.mediapipe import fit
from handviz.models.mediapipe.family import FAMILY
from handviz.models.mediapipe.fit import fit_to_landmarks
from handviz.models.mediapipe.reconstructor import LandmarkReconstructor, placed_in_crop
from handviz.models.reconstructor import LoadedModel
from handviz.models.shared import SharedNetworks
from handviz.sources.source import open_source
from tests.errors import raises
from tests.hands import made_up_detection
from tests.shared_networks import CountingLandmarks, images_of

TEMPLATE = load_open_hand()
TIPS = [4, 8, 12, 16, 20]


def keypoints_of(angles_deg: FloatArray, shape: FloatArray) -> FloatArray:
    """Return keypoints (N, 21, 3) of the open hand by the generator's skinning."""
    joints, keypoints = (
        regressor @ TEMPLATE.vertices_m for regressor in (TEMPLATE.joint_regressor, TEMPLATE.keypoint_regressor)
    )
    pose = pose_from_angles(angles_deg, joint_axes(joints, keypoints[TIPS]))
    rest = TEMPLATE.vertices_m + np.einsum("vcs,ns->nvc", TEMPLATE.shape_basis, shape)
    moved = joint_transforms(pose, TEMPLATE.joint_regressor @ rest, TEMPLATE.parents)
    return np.asarray(TEMPLATE.keypoint_regressor @ skin(rest, TEMPLATE.skinning_weights, moved))


@pytest.fixture(scope="module")
def known() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Angles, rotations and keypoints in the landmarks' axes of 40 random hands."""
    random = np.random.default_rng(11)
    angles_deg, shape = sample_angles(random, 40), random.normal(0, 1, (40, 10))
    rotation = rotation_from_axis_angle(random.normal(0, 1.5, (40, 3)))
    return angles_deg, rotation, keypoints_of(angles_deg, shape) @ rotation.transpose(0, 2, 1)


def errors_mm(hands: fit.FittedHands, keypoints_m: FloatArray) -> FloatArray:
    found = hands.keypoints_m @ hands.rotation.transpose(0, 2, 1)
    return np.linalg.norm(procrustes_aligned(found, keypoints_m) - keypoints_m, axis=2).mean(axis=1) * 1000


def test_known_hands_come_back_up_to_the_prior(known: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    angles_deg, rotation, keypoints_m = known
    hands = fit_to_landmarks(1.4 * as_the_detector_marks_them(keypoints_m) + 0.3)
    assert errors_mm(hands, keypoints_m).mean() < 3.5
    assert hands.residual_m.mean() < 0.0035
    used = angles_deg.std(axis=0) > 0
    assert np.abs(hands.angles_deg - angles_deg)[:, used].mean() < 7
    assert not hands.angles_deg[:, ~used].any()
    turned = np.trace(hands.rotation @ rotation.transpose(0, 2, 1), axis1=1, axis2=2)
    assert np.degrees(np.arccos((turned.mean() - 1) / 2)) < 8


def test_certain_landmarks_give_the_exact_hand(
    known: tuple[FloatArray, FloatArray, FloatArray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "LANDMARK_STD_M", np.full(3, 1e-5))
    monkeypatch.setattr(fit, "STEPS", 40)
    keypoints_m = known[2]
    hands = fit_to_landmarks(as_the_detector_marks_them(keypoints_m))
    assert np.median(errors_mm(hands, keypoints_m)) < 0.01
    assert np.median(hands.residual_m) < 1e-5


def test_vertices_keypoints_and_wrist_belong_together(known: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    hands = fit_to_landmarks(known[2][:3])
    expected = keypoints_of(hands.angles_deg, hands.shape)
    np.testing.assert_allclose(hands.keypoints_m, expected - expected[:, :1], atol=1e-6)
    np.testing.assert_allclose(TEMPLATE.keypoint_regressor @ hands.vertices_m, hands.keypoints_m, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(hands.rotation), 1, atol=1e-9)


def test_a_batch_equals_single_hands(known: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    landmarks = as_the_detector_marks_them(known[2][:6])
    together = fit_to_landmarks(landmarks)
    for index, one in enumerate(landmarks):
        for alone, among in zip(fit_to_landmarks(one[None]), together, strict=True):
            np.testing.assert_allclose(alone[0], among[index], atol=1e-6)


def test_a_left_hand_in_the_right_hands_place_fits_worse(known: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    marks = as_the_detector_marks_them(known[2])
    right, left = fit_to_landmarks(marks), fit_to_landmarks(marks * [-1, 1, 1])
    assert left.residual_m.mean() > 2 * right.residual_m.mean()
    np.testing.assert_allclose(np.linalg.det(left.rotation), 1, atol=1e-9)


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((1, 21, 3)),
        np.full((1, 21, 3), 7.5),
        np.linspace(0, 1, 21)[None, :, None] * np.ones(3),
        np.random.default_rng(0).normal(0, 1, (1, 21, 3)) * [1, 1, 0],
        np.random.default_rng(1).normal(0, 1e5, (1, 21, 3)),
        np.random.default_rng(2).normal(0, 1e-200, (1, 21, 3)),
        np.random.default_rng(3).normal(0, 1, (50, 21, 3)),
    ],
    ids=["zeros", "one point", "a line", "flat", "huge", "tiny", "noise"],
)
def test_landmarks_of_no_hand_give_a_possible_hand(landmarks: FloatArray) -> None:
    hands = fit_to_landmarks(landmarks)
    assert all(np.isfinite(array).all() for array in hands)
    drawn = sample_angles(np.random.default_rng(0), fit.SAMPLES)
    assert (hands.angles_deg >= drawn.min(axis=0) - 1e-6).all()
    assert (hands.angles_deg <= drawn.max(axis=0) + 1e-6).all()
    assert np.abs(hands.shape).max() <= fit.SHAPE_LIMIT
    assert np.ptp(hands.vertices_m, axis=1).max() < 0.4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_landmarks_that_are_not_finite_are_refused(value: float) -> None:
    landmarks = np.zeros((2, 21, 3))
    landmarks[1, 4, 2] = value
    with raises(ErrorCode.NOT_FINITE, match="restore"):
        fit_to_landmarks(landmarks)


def test_other_shapes_are_refused_and_no_hands_are_none() -> None:
    with raises(ErrorCode.WRONG_SHAPE, match="21"):
        fit_to_landmarks(np.zeros((21, 3)))
    assert len(fit_to_landmarks(np.zeros((0, 21, 3))).vertices_m) == 0


def crop_of(keypoints_px: FloatArray) -> HandCrop:
    detection = dataclasses.replace(made_up_detection("right"), keypoints_px=keypoints_px)
    image = np.random.default_rng(0).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    return HandCrop(image, np.eye(2, 3), detection)


def placed(crop: HandCrop, keypoints_m: FloatArray) -> FloatArray:
    """Return the keypoints (21, 2) that scale and translation give in the crop's [-1, 1]."""
    scale, translation = placed_in_crop(crop, keypoints_m)
    hand = NetworkOutput(np.zeros((1, 3)), keypoints_m, np.eye(3), scale, translation)
    return points_in_crop(keypoints_m - keypoints_m[0], hand)[:, :2]


def test_a_hand_is_placed_at_the_detectors_keypoints(known: tuple[FloatArray, FloatArray, FloatArray]) -> None:
    keypoints_m = known[2][0]
    in_crop = 5.5 * as_the_detector_marks_them(keypoints_m)[:, :2] + [0.2, -0.1]
    points = placed(crop_of((in_crop + 1) * CROP_SIZE / 2), keypoints_m)
    np.testing.assert_allclose(points, 5.5 * keypoints_m[:, :2] + [0.2, -0.1], atol=1e-9)


@pytest.mark.parametrize("keypoints_px", [np.zeros((21, 2)), np.full((21, 2), 112.0)])
def test_without_keypoints_a_hand_fills_its_crop(
    keypoints_px: FloatArray, known: tuple[FloatArray, FloatArray, FloatArray]
) -> None:
    marks = as_the_detector_marks_them(placed(crop_of(keypoints_px), known[2][0]))
    low, high = marks.min(axis=0), marks.max(axis=0)
    np.testing.assert_allclose(low + high, 0, atol=1e-9)
    assert (high - low).max() * CROP_SIZE / 2 == pytest.approx(CROP_SIZE / 1.8)


def test_the_spec_says_what_the_model_gives() -> None:
    (spec,) = FAMILY.models
    assert (FAMILY.id, spec.id, spec.family, spec.hand_model) == ("mediapipe", "mediapipe", "mediapipe", "open_hand")
    assert spec.provides == {"landmarks"}
    assert spec.file == LANDMARK_FILE
    assert spec.file.is_file()


def test_the_shipped_file_gives_hands_of_the_open_hand() -> None:
    (spec,) = FAMILY.models
    model = LoadedModel(spec, LoadContext(device="cpu"))
    crops = [crop_of(np.zeros((21, 2))), crop_of(np.random.default_rng(1).uniform(40, 180, (21, 2)))]
    first, second = model.reconstruct(crops)
    assert model.template.fingerprint == TEMPLATE.fingerprint
    assert first.landmarks_m is not None
    assert first.vertex_std_m is None
    assert first.keypoint_std_m is None
    expected = fit_to_landmarks(first.landmarks_m[None])
    np.testing.assert_allclose(first.vertices_m, expected.vertices_m[0], atol=1e-6)
    np.testing.assert_allclose(first.rotation, expected.rotation[0], atol=1e-6)
    assert first.presence == pytest.approx(second.presence, abs=1e-5)
    assert 0 <= first.presence <= 1
    assert 0 <= first.right_hand <= 1


def test_landmarks_of_the_crop_are_taken_and_no_network_runs() -> None:
    network = CountingLandmarks()
    model = LandmarkReconstructor(LoadContext(device="cpu", shared=SharedNetworks(network)))  # type: ignore[arg-type]
    assert model.reconstruct([]) == []
    crop = crop_of(np.zeros((21, 2)))
    known = dataclasses.replace(crop, landmarks=network.of_images(images_of([crop]))[0])
    runs = network.runs
    (taken,) = model.reconstruct([known])
    assert network.runs == runs
    model.reconstruct([dataclasses.replace(crop, image=255 - crop.image)])
    (computed,) = model.reconstruct([crop])
    assert network.runs == runs + 2
    np.testing.assert_array_equal(taken.vertices_m, computed.vertices_m)
    assert taken.landmarks_m is known.landmarks.world_m


@pytest.mark.slow
def test_an_image_gets_hands_without_uncertainty(tmp_path: Path) -> None:
    with contextlib.closing(open_source(str(CLIP_FILE))) as source:
        frame = source.read()
    assert frame is not None
    image, out = tmp_path / "hand.png", tmp_path / "out"
    cv2.imwrite(str(image), frame.image[..., ::-1])
    options = ["--model", "mediapipe", "--no-overlays"]
    assert main(["reconstruct", str(image), "--out", str(out), *options]) == 0
    (entry,) = json.loads((out / "hands.json").read_text())
    assert entry["variant"] == "mediapipe"
    assert entry["hands"]
    for hand in entry["hands"]:
        assert (hand["keypoint_std_mm"], hand["vertex_std_mm"]) == (None, None)
        assert hand["distance_from_detector"] < 0.1
        assert (out / hand["mesh"]).is_file()
