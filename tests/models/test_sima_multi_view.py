"""MVR-Hand as a model of several views: its file is checked, its mesh is placed by all views, for both sides."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
import torch
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode
from handviz.core.geometry import apply_affine
from handviz.core.multiview import ViewHand
from handviz.core.records import CropLandmarks, Detection, FloatArray, HandCrop, Handedness
from handviz.detection.crop import (
    as_the_detector_marks_them,
    camera_from_crop,
    crop_from_image_affine,
)
from handviz.hand_models.open_hand import load_open_hand
from handviz.models.base import LoadContext
from handviz.models.multiview import ViewCrop
from handviz.models.onnx_contract import CROP_INPUTS
from handviz.models.sima_hand.export import export_onnx
from handviz.models.sima_hand.model import Inputs, ModelConfig, build_model
from handviz.models.sima_hand.multi_view import SPREAD, SimaMultiView, Spread, jackknife_variance, load
from tests.core.test_multiview import camera, seen
from tests.errors import raises
from tests.models.test_sima_networks import awake

pytestmark = pytest.mark.slow
VIEWS, SIZE = 3, 1.1
POSITION_M = np.array([0.02, -0.03, 0.04])
WORLD_FROM_HAND = Rotation.from_euler("zyx", (30, 200, -40), degrees=True).as_matrix()
NAME = "handviz_sima_mvr.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a network of random weights."""
    path = tmp_path_factory.mktemp("mvr")
    torch.manual_seed(3)
    network = awake(build_model(ModelConfig("mvr"), load_open_hand()))
    check = Inputs(torch.rand(2, 3, 112, 14, 14), torch.rand(2, 3, 128))
    export_onnx(network, load_open_hand(), path / NAME, {"handviz.commit": "abc"}, 12.5, check)
    return path


@pytest.fixture(scope="module")
def network(folder) -> SimaMultiView:
    return load(LoadContext(folder))


class RightNetwork:
    """Answers as a network does that is right: for the hand at rest, ``SIZE`` times as large, in the world."""

    def __init__(self, side: Handedness) -> None:
        self.template = load_open_hand()
        keypoints = self.template.keypoint_regressor @ self.template.vertices_m
        self.wrist = keypoints[0]
        self.right_m = keypoints - self.wrist
        self.mirror = np.array([-1.0 if side == "left" else 1.0, 1, 1])
        self.world_m = POSITION_M + SIZE * (self.right_m * self.mirror) @ WORLD_FROM_HAND.T
        marked = POSITION_M + SIZE * as_the_detector_marks_them(self.right_m * self.mirror) @ WORLD_FROM_HAND.T
        hands, marks = seen(self.world_m, count=VIEWS), seen(marked, count=VIEWS)
        self.views = [self._view(hand, mark, side) for hand, mark in zip(hands, marks, strict=True)]

    def _view(self, hand: ViewHand, mark: ViewHand, side: Handedness) -> ViewCrop:
        affine = crop_from_image_affine(hand.keypoints_px, side)
        self.half = 112
        in_crop = apply_affine(affine, mark.keypoints_px) / self.half - 1
        landmarks = CropLandmarks(
            np.column_stack([in_crop, np.zeros(21)]).astype(np.float32),
            np.zeros((21, 3), np.float32),
            1.0,
            1.0,
            np.random.default_rng(0).random((112, 14, 14), np.float32),
        )
        detection = Detection(side, 0.9, hand.keypoints_px)
        image = np.zeros((224, 224, 3), np.uint8)
        return ViewCrop(hand.name, HandCrop(image, affine, detection, landmarks), hand.camera)

    def __call__(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        batch, count = inputs["middle_map"].shape[:2]
        rotations, scales, shifts = [], [], []
        for view in self.views[:count]:
            to_camera = camera_from_crop(view.crop.crop_from_image, view.camera.intrinsics)
            camera_from_hand = view.camera.camera_from_world[:3, :3] @ WORLD_FROM_HAND
            rotation = to_camera.T @ (camera_from_hand * self.mirror)
            assert np.linalg.det(rotation) == pytest.approx(1)
            pixels = view.camera.intrinsics.project(view.camera.in_camera(self.world_m))
            in_crop = apply_affine(view.crop.crop_from_image, pixels) / self.half - 1
            flat = (self.right_m @ rotation.T)[:, :2]
            centred, target = flat - flat.mean(axis=0), in_crop - in_crop.mean(axis=0)
            scale = (centred * target).sum() / np.square(centred).sum()
            rotations.append(rotation)
            scales.append(scale)
            shifts.append(in_crop.mean(axis=0) - scale * flat.mean(axis=0))
        vertices = np.repeat((self.template.vertices_m)[None], batch, axis=0)
        if batch > 1:  # each view left out moves one axis by as many millimetres as its number
            vertices = vertices + np.arange(batch)[:, None, None] * np.array([0.001, 0, 0])
        return {
            "vertices_m": vertices,
            "keypoints_m": np.repeat((self.right_m + self.wrist)[None], batch, axis=0),
            "rotation": np.repeat(np.stack(rotations)[None], batch, axis=0),
            "scale": np.repeat(np.array(scales)[None], batch, axis=0),
            "translation": np.repeat(np.stack(shifts)[None], batch, axis=0) - self._of_wrist(rotations, scales),
            "hand_probability": np.full((batch, count), 0.9),
        }

    def _of_wrist(self, rotations: list[FloatArray], scales: list[float]) -> FloatArray:
        """Return what the canonical wrist, which is not at the origin, adds to the place in each crop."""
        pairs = zip(rotations, scales, strict=True)
        return np.stack([scale * (rotation @ self.wrist)[:2] for rotation, scale in pairs])


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_network_that_is_right_gives_the_true_hand_in_the_first_camera(network, monkeypatch, side) -> None:
    right = RightNetwork(side)
    monkeypatch.setattr(network, "run", right)
    hand = network.reconstruct(right.views)
    wanted = camera(0).in_camera(right.world_m)
    # The weak perspective of the views is what is not exact.
    assert np.linalg.norm(hand.keypoints_m + hand.wrist_camera_m - wanted, axis=1).max() < 0.006
    wrist = (right.template.vertices_m - right.wrist) * right.mirror * SIZE
    vertices = camera(0).in_camera(POSITION_M + wrist @ WORLD_FROM_HAND.T)
    assert np.linalg.norm(hand.vertices_m + hand.wrist_camera_m - vertices, axis=1).max() < 0.008
    assert np.linalg.det(hand.camera_from_wrist) == pytest.approx(1)
    assert (hand.handedness, hand.model) == (side, "sima_mvr")
    # Of 0, 1 and 2 mm: (N - 1) / N times 2 mm^2.
    one = (
        hand.vertex_std_mm / (hand.keypoints_m[9] @ hand.keypoints_m[9] / (right.right_m[9] @ right.right_m[9])) ** 0.5
    )
    np.testing.assert_allclose(one**2, 3 * SPREAD.floor_mm**2 + SPREAD.factor * 4 / 3, rtol=1e-6)


def test_the_network_s_numbers_make_a_hand_with_uncertainty(network) -> None:
    views = RightNetwork("right").views
    hand = network.reconstruct(views)
    assert np.isfinite(hand.vertices_m).all()
    assert hand.vertex_std_mm.shape == (778,)
    assert hand.keypoint_covariance_mm2.shape == (21, 3, 3)
    assert hand.hand_model == network.template.fingerprint


def test_views_that_are_left_out_give_the_jackknife_s_variance(network) -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(8, 50_000))
    # Of a mean, the jackknife's variance is the usual estimate of the mean's variance.
    without = (values.sum(axis=0) - values) / 7
    np.testing.assert_allclose(jackknife_variance(without), values.var(axis=0, ddof=1) / 8)
    assert (Spread(3.0, 1.0).std_m(np.zeros((2, 4, 3))) == 0.003).all()
    inputs = {name: random.random((1, 3, *CROP_INPUTS[name]), np.float32) for name in network._inputs}
    found = network.left_out(inputs)["vertices_m"]
    alone = network.run({name: value[:, [0, 2]] for name, value in inputs.items()})["vertices_m"]
    np.testing.assert_allclose(found[1], alone[0], atol=1e-6)


def test_files_that_are_no_multi_view_network_are_named(folder, tmp_path) -> None:
    with raises(ErrorCode.MODEL_MISSING, "handviz_sima_mvr.onnx is missing"):
        load(LoadContext(tmp_path))
    (tmp_path / NAME).write_bytes((folder / NAME).read_bytes()[:5000])
    with raises(ErrorCode.MODEL_DAMAGED):
        load(LoadContext(tmp_path))
    model = onnx.load(folder / NAME)
    for entry in model.metadata_props:
        if entry.key in ("handviz.model", "handviz.variant"):
            entry.value = "sima"
    onnx.save(model, tmp_path / NAME)
    with raises(ErrorCode.MODEL_MISMATCH, "not the network of several views"):
        load(LoadContext(tmp_path))


def test_outputs_that_are_not_what_they_must_be_are_named(network, monkeypatch) -> None:
    right = RightNetwork("right")

    class Session:
        def __init__(self, changed: dict[str, FloatArray]) -> None:
            self.changed = changed

        def get_outputs(self):
            return network_outputs

        def run(self, names, inputs):
            found = right(inputs) | self.changed
            return [found[name] for name in names]

    network_outputs = network._session.get_outputs()
    for changed, code in (
        ({"scale": np.full((1, 3), np.inf)}, ErrorCode.MODEL_FOREIGN),
        ({"vertices_m": np.zeros((1, 5, 3))}, ErrorCode.MODEL_FOREIGN),
        ({"vertices_m": np.full((1, 778, 3), np.nan)}, ErrorCode.NOT_FINITE),
    ):
        monkeypatch.setattr(network, "_session", Session(changed))
        with raises(code):
            network.reconstruct(right.views)


def test_presence_is_the_mean_of_all_views(network, monkeypatch) -> None:
    right = RightNetwork("right")
    monkeypatch.setattr(
        network, "run", lambda inputs: right(inputs) | {"hand_probability": np.array([[0.2, 0.4, 0.9]])}
    )
    assert network.reconstruct(right.views).hand_probability == pytest.approx(0.5)
