"""Runs the ONNX file of MVR-Hand: crops of one hand in calibrated views -> its mesh, placed by all of them.

The network gives one mesh of all views, and for each view where it sees it. Mesh and place are put together by least
squares over all views (``core.rig_placing``). Where views are left out in turn, the mesh changes: that spread is its
uncertainty (``Spread``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.multiview import ViewHand
from handviz.core.network_files import loaded_file
from handviz.core.onnx_runtime import check_finite, metadata_of, open_session, warm_up
from handviz.core.paths import RESTORE, model_file
from handviz.core.records import (
    DEFAULT_CROP,
    KEYPOINT_COUNT,
    CropLandmarks,
    FloatArray,
    HandCrop,
    HandMesh,
    NetworkFile,
    PositionUncertainty,
)
from handviz.core.rig_placing import RigPlace, ViewedPoints, mean_rotation, place_in_rig
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.detection.crop import (
    MIRROR,
    as_the_detector_marks_them,
    camera_from_crop,
    covariances_mm2,
    total_std_mm,
)
from handviz.hand_models.choice import hand_model_of_file, named_in
from handviz.models.base import LoadContext
from handviz.models.multiview import ViewCrop
from handviz.models.onnx_contract import CROP_INPUTS, checked_model
from handviz.models.reconstructor import LARGEST_SCALE, SMALLEST_SCALE, crop_inputs

MODEL_ID = "sima_mvr"
HOW_TO_GET = f"{RESTORE}, or make it with 'python -m handviz train' and 'python -m handviz export'"
WRIST = 0


@dataclass(frozen=True)
class Spread:
    """How the standard deviation of a point along an axis follows from what leaving views out changes.

    Its variance is ``floor_mm``^2 + ``factor`` times the jackknife's variance, (N - 1) / N times the sum of the squared
    differences from their mean (Efron and Stein 1981). ``python -m tools.rig_spread`` fits both on rendered moments.
    """

    floor_mm: float
    factor: float

    def std_m(self, left_out_m: FloatArray) -> FloatArray:
        """Return standard deviations (K, 3) of points (N, K, 3) found without each of N views."""
        return np.sqrt((self.floor_mm / MILLIMETRES_PER_METRE) ** 2 + self.factor * jackknife_variance(left_out_m))


SPREAD = Spread(floor_mm=5.05, factor=0.556)


def jackknife_variance(left_out: FloatArray) -> FloatArray:
    """Return the variance (...) of an estimate from those (N, ...) without each of N observations; 0 for one."""
    count = len(left_out)
    return np.asarray((count - 1) / count * np.square(left_out - left_out.mean(axis=0)).sum(axis=0))


class SimaMultiView:
    """MVR-Hand as a ``MultiViewModel``."""

    id, crop = MODEL_ID, DEFAULT_CROP

    def __init__(self, path: Path, context: LoadContext) -> None:
        """Load the file; HandvizError if it is missing, damaged or made for another hand model."""
        self._path, self._shared, self._device = path, context.shared, context.device
        self._session = open_session(path, HOW_TO_GET, device=context.device)
        metadata = metadata_of(path, self._session, HOW_TO_GET)
        self.template = hand_model_of_file(context.hand_model, named_in(path))
        if checked_model(path, metadata, self.template.fingerprint, HOW_TO_GET) != MODEL_ID:
            raise HandvizError(f"{path} is not the network of several views; {HOW_TO_GET}", ErrorCode.MODEL_MISMATCH)
        self._inputs = self._checked_inputs()
        warm_up(path, HOW_TO_GET, self._session, self._use, device=context.device)
        self.file: NetworkFile = loaded_file(path)

    def reconstruct(self, views: Sequence[ViewCrop], /) -> HandMesh:
        """Return the hand that two or more views show, in the frame of the first one's camera."""
        crops = [view.crop for view in views]
        landmarks = self._shared.landmarks_of(crops, self._device)
        inputs = {name: value[None] for name, value in crop_inputs(self._inputs, landmarks).items()}
        found = self.run(inputs)
        check_finite(self._path, found, HOW_TO_GET)
        std_m = SPREAD.std_m(self.left_out(inputs)["vertices_m"])
        return _hand(found, std_m, views, landmarks, self.template.fingerprint, self.template.keypoint_regressor)

    def left_out(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Return what the network gives without each of the N views of a hand: outputs of a batch of N."""
        count = len(next(iter(inputs.values()))[0])
        others = np.array([[other for other in range(count) if other != view] for view in range(count)])
        found = self.run({name: value[0][others] for name, value in inputs.items()})
        check_finite(self._path, found, HOW_TO_GET)
        return found

    def run(self, inputs: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Run the network on inputs (B, N, ...); HandvizError if its outputs have not the shapes that they must."""
        names = [item.name for item in self._session.get_outputs()]
        values = cast(list[FloatArray], self._session.run(names, dict(inputs)))
        outputs = dict(zip(names, values, strict=True))
        batch, views = next(iter(inputs.values())).shape[:2]
        shapes = _output_shapes(batch, views, self.template.vertex_count)
        wrong = {name: values.shape for name, values in outputs.items() if shapes.get(name) != values.shape}
        if wrong or outputs.keys() != shapes.keys():
            raise HandvizError(
                f"{self._path} gives {wrong or list(outputs)}, expected {shapes}; {HOW_TO_GET}", ErrorCode.MODEL_FOREIGN
            )
        scale = outputs["scale"]
        if ((scale < SMALLEST_SCALE) | (scale > LARGEST_SCALE)).any():
            raise HandvizError(f"{self._path} gives impossible scales; {HOW_TO_GET}", ErrorCode.MODEL_FOREIGN)
        return outputs

    def _checked_inputs(self) -> tuple[str, ...]:
        found = {item.name: (item.type, list(item.shape[2:])) for item in self._session.get_inputs()}
        known = {name: ("tensor(float)", list(shape)) for name, shape in CROP_INPUTS.items()}
        are_free = all(not isinstance(size, int) for item in self._session.get_inputs() for size in item.shape[:2])
        if not are_free or any(known.get(name) != kind for name, kind in found.items()):
            raise HandvizError(
                f"{self._path}: its inputs are {found}, expected some of {CROP_INPUTS} of float32 for any number of "
                f"hands and views; {HOW_TO_GET}",
                ErrorCode.MODEL_FOREIGN,
            )
        return tuple(found)

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        self._session = session
        self.run({name: np.zeros((1, 2, *CROP_INPUTS[name]), np.float32) for name in self._inputs})


def _output_shapes(batch: int, views: int, vertex_count: int) -> dict[str, tuple[int, ...]]:
    return {
        "vertices_m": (batch, vertex_count, 3),
        "keypoints_m": (batch, KEYPOINT_COUNT, 3),
        "rotation": (batch, views, 3, 3),
        "scale": (batch, views),
        "translation": (batch, views, 2),
        "hand_probability": (batch, views),
    }


def _hand(
    found: Mapping[str, FloatArray],
    std_m: FloatArray,
    views: Sequence[ViewCrop],
    landmarks: Sequence[CropLandmarks],
    fingerprint: str,
    regressor: FloatArray,
) -> HandMesh:
    """Return the hand of a batch of one, un-mirrored, in the frame of the first view's camera."""
    first = views[0]
    is_left = first.crop.detection.handedness == "left"
    side = MIRROR if is_left else np.ones(3)
    keypoints = found["keypoints_m"][0].astype(np.float64)
    wrist = keypoints[WRIST]
    place = _placed((keypoints - wrist) * side, found, views, landmarks, side)
    camera = first.camera.camera_from_world[:3, :3]
    rotation = camera @ place.rotation
    keypoint_std_m = _keypoint_std_m(std_m, regressor)
    turn = place.size * rotation.T
    covariance = camera @ place.position_covariance_m2 @ camera.T
    return HandMesh(
        handedness=first.crop.detection.handedness,
        detection_score=first.crop.detection.score,
        model=MODEL_ID,
        vertices_m=(found["vertices_m"][0] - wrist) * side @ turn,
        vertex_std_mm=total_std_mm(std_m * place.size),
        keypoints_m=(keypoints - wrist) * side @ turn,
        keypoint_std_mm=total_std_mm(keypoint_std_m * place.size),
        camera_from_wrist=rotation,
        wrist_camera_m=first.camera.in_camera(place.position_m),
        intrinsics=first.camera.intrinsics,
        keypoint_covariance_mm2=covariances_mm2(keypoint_std_m * place.size, rotation),
        vertex_covariance_mm2=covariances_mm2(std_m * place.size, rotation),
        position_uncertainty=PositionUncertainty(covariance, place.size_std, size_is_measured=True),
        hand_model=fingerprint,
        track_id=first.crop.detection.track_id,
        hand_probability=float(found["hand_probability"][0].mean()),
    )


def _placed(
    keypoints_m: FloatArray,
    found: Mapping[str, FloatArray],
    views: Sequence[ViewCrop],
    landmarks: Sequence[CropLandmarks],
    side: FloatArray,
) -> RigPlace:
    """Return where all views see the true hand's keypoints (21, 3): the network's own points, and MediaPipe's."""
    seen, rotations = [], []
    mine = np.concatenate([keypoints_m, as_the_detector_marks_them(keypoints_m)])
    right_m = found["keypoints_m"][0]
    for number, (view, marks) in enumerate(zip(views, landmarks, strict=True)):
        rotation = found["rotation"][0, number]
        in_crop = found["scale"][0, number] * (right_m @ rotation.T)[:, :2] + found["translation"][0, number]
        points_px = _in_image(np.concatenate([in_crop, marks.keypoints[:, :2]]), view.crop)
        extent_px = ViewHand(view.name, view.camera, points_px[:KEYPOINT_COUNT]).extent_px
        seen.append(ViewedPoints(view.camera, points_px, extent_px))
        in_camera = camera_from_crop(view.crop.crop_from_image, view.camera.intrinsics, view.crop.half_px) @ rotation
        rotations.append(view.camera.camera_from_world[:3, :3].T @ (in_camera * side))
    return place_in_rig(mine, seen, mean_rotation(np.stack(rotations)))


def _in_image(in_crop: FloatArray, crop: HandCrop) -> FloatArray:
    return apply_affine(invert_affine(crop.crop_from_image), (in_crop.astype(np.float64) + 1) * crop.half_px)


def _keypoint_std_m(std_m: FloatArray, regressor: FloatArray) -> FloatArray:
    """Return standard deviations (21, 3) of keypoints, whose vertices' errors go together."""
    return np.asarray(regressor @ std_m)


def load(context: LoadContext) -> SimaMultiView:
    """Load the network from the context's folder; HandvizError if it cannot be used."""
    return SimaMultiView(model_file(MODEL_ID, context.model_dir), context)
