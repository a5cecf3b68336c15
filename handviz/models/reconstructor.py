"""Runs the networks' ONNX files in ONNX Runtime: crops -> hands."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import shorten
from typing import Any, cast

import numpy as np
import onnxruntime

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.network_files import loaded_file
from handviz.core.onnx_runtime import check_finite, metadata_of, open_session, warm_up
from handviz.core.paths import RESTORE, model_file
from handviz.core.records import (
    DEFAULT_CROP,
    FINE_MAPS,
    KEYPOINT_COUNT,
    CropLandmarks,
    Device,
    FloatArray,
    HandCrop,
    ModelId,
    NetworkFile,
    NetworkOutput,
    RegressionStep,
)
from handviz.core.shape_posterior import is_covariance
from handviz.hand_models.choice import hand_model_of_file, hand_model_or_named, named_in
from handviz.hand_models.template import HandTemplate
from handviz.models.base import LoadContext, ModelSpec
from handviz.models.onnx_contract import (
    CROP_INPUTS,
    FINGERPRINT_KEY,
    HAND_PROBABILITY,
    HEATMAPS,
    INPUT_NAME,
    KEYPOINT_COVARIANCE,
    LANDMARKS,
    MAX_HEATMAP,
    MAX_SPREAD,
    MAX_STEPS,
    MIN_HEATMAP,
    PRESENCE,
    RIGHT_HAND,
    STEP_OUTPUTS,
    Contract,
    Images,
    checked_contract,
    checked_model,
    input_images,
)
from handviz.models.registry import model_spec
from handviz.models.shared import SharedNetworks
from handviz.models.trunk import TRUNK_INPUTS, Trunk

SMALLEST_SCALE, LARGEST_SCALE = 1e-3, 1e6
"""Crop half-sides a metre; a hand that fills its crop has about ten."""
MAX_FAILURE_TEXT = 300
"""Characters of the error of a family that a message has."""
EMPTY_LANDMARKS = CropLandmarks(
    np.zeros(TRUNK_INPUTS["keypoints"], np.float32),
    np.zeros(TRUNK_INPUTS["world_m"], np.float32),
    0.0,
    0.0,
    np.zeros(TRUNK_INPUTS["middle_map"], np.float32),
)
"""For warming up."""
HOW_TO_GET = f"{RESTORE}, or make it with 'python -m handviz train' and 'python -m handviz export'"


class OnnxReconstructor:
    """A model's ONNX file, checked and warmed up: whole, or heads on a trunk (``Contract``)."""

    def __init__(
        self,
        model_path: Path,
        *,
        template: HandTemplate | None = None,
        device: Device = "auto",
        shared: SharedNetworks | None = None,
    ) -> None:
        """Load the file; HandvizError if it is missing, damaged or made for another hand model than ``template``.

        ``template``: None takes the hand model that the file names, if it is known. ``shared``: what other models run
        too; None: its own.
        """
        self._path, self._device = model_path, device
        self._shared = shared or SharedNetworks()
        self._session = open_session(model_path, HOW_TO_GET, device=device)
        metadata = metadata_of(model_path, self._session, HOW_TO_GET)
        self.template: HandTemplate = template or hand_model_or_named(None, metadata.get(FINGERPRINT_KEY, ""))
        """The hand model of its meshes."""
        self.model: ModelId = checked_model(model_path, metadata, self.template.fingerprint, HOW_TO_GET)
        self._contract = checked_contract(model_path, self._session, metadata, HOW_TO_GET)
        self._trunk = self._opened_trunk()
        self._names = list(self._contract.outputs)
        warm_up(self._path, HOW_TO_GET, self._session, self._use, device=device)
        self.provider: str = self._session.get_providers()[0]
        """The execution provider in use."""
        self.file: NetworkFile = self._loaded_file()
        """Its checksum, and whether it is the one that handviz ships; heads are changed where their trunk is."""

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[NetworkOutput]:
        """Return one hand per crop, in order; HandvizError if the network's output is not finite."""
        if not crops:
            return []
        needs_landmarks = self._trunk is not None or bool(self._contract.crop_inputs)
        is_fine = bool(FINE_MAPS.keys() & set(self._contract.crop_inputs))
        landmarks = self._shared.landmarks_of(crops, self._device, fine=is_fine) if needs_landmarks else None
        outputs = self._run(self._inputs(crops, landmarks), len(crops))
        check_finite(self._path, outputs, HOW_TO_GET)
        hands = [_hand(outputs, index, self._contract) for index in range(len(crops))]
        return hands if landmarks is None else list(map(with_landmarks, hands, landmarks))

    def _inputs(
        self, crops: Sequence[HandCrop], landmarks: Sequence[CropLandmarks] | None
    ) -> dict[str, Images] | dict[str, FloatArray]:
        """Return the file's inputs for crops: the images, the trunk's features, or what the landmark network says."""
        if landmarks is None:
            return {INPUT_NAME: self._images(crops)}
        if self._trunk is not None:
            return self._trunk.features(landmarks).feed()
        return crop_inputs(self._contract.crop_inputs, landmarks)

    @property
    def size_px(self) -> int:
        """Side of the crops that it takes."""
        return self._contract.size_px

    @property
    def trunk(self) -> Trunk | None:
        """The trunk of heads; None for a whole file."""
        return self._trunk

    def _images(self, crops: Sequence[HandCrop]) -> Images:
        """Return the crops (B, 3, S, S) in the file's own type; HandvizError if they have another size."""
        if wrong := [crop.size_px for crop in crops if crop.size_px != self.size_px]:
            raise HandvizError(
                f"{self._path} takes crops of {self.size_px} pixels, not {wrong[0]}: correct the model's CropSpec",
                ErrorCode.WRONG_SHAPE,
            )
        return input_images(crops, takes_bytes=self._contract.takes_bytes)

    def _use(self, session: onnxruntime.InferenceSession) -> None:
        """Use this session from now on; run it for one hand and for two, which warms it up."""
        self._session = session
        kind = np.uint8 if self._contract.takes_bytes else np.float32
        for batch in (1, 2):
            if self._contract.crop_inputs:
                inputs = {
                    name: np.zeros((batch, *CROP_INPUTS[name]), np.float32) for name in self._contract.crop_inputs
                }
            elif self._trunk is None:
                images = cast(FloatArray, np.zeros((batch, 3, self.size_px, self.size_px), kind))
                inputs = {INPUT_NAME: images}
            else:
                inputs = dict(self._trunk.features([EMPTY_LANDMARKS] * batch).feed())
            check_finite(self._path, self._run(inputs, batch), HOW_TO_GET)

    def _opened_trunk(self) -> Trunk | None:
        """Return the trunk of heads; HandvizError if it is missing, another, or of other sizes."""
        wanted = self._contract.trunk
        if not wanted:
            return None
        trunk = self._shared.trunk_of(self._path, wanted, self._device)
        if trunk.widths != self._contract.feature_widths:
            raise HandvizError(
                f"{self._path} takes features of sizes {self._contract.feature_widths}, its trunk gives "
                f"{trunk.widths}; {HOW_TO_GET}",
                ErrorCode.MODEL_MISMATCH,
            )
        return trunk

    def _loaded_file(self) -> NetworkFile:
        file = loaded_file(self._path)
        is_changed = self._trunk is not None and self._trunk.file.state == "changed" and file.state == "shipped"
        return replace(file, state="changed") if is_changed else file

    def _run(self, inputs: Mapping[str, Images], count: int) -> dict[str, FloatArray]:
        """Run the inputs of ``count`` crops; return the outputs by name, each with B first."""
        values = cast(list[FloatArray], self._session.run(self._names, dict(inputs)))
        outputs = dict(zip(self._names, values, strict=True))
        for name, shape in self._contract.outputs.items():
            if outputs[name].shape != (count, *shape):
                expected = (count, *shape)
                raise HandvizError(
                    f"{self._path}: {name} has shape {outputs[name].shape}, expected {expected}",
                    ErrorCode.MODEL_FOREIGN,
                )
        return outputs


def _hand(outputs: dict[str, FloatArray], index: int, contract: Contract) -> NetworkOutput:
    vertex_std_m, keypoint_std_m = (
        outputs[f"{kind}_std_m"][index] if f"{kind}_std_m" in outputs else None for kind in ("vertex", "keypoint")
    )
    constant_std_m = contract.constant_std_m
    if constant_std_m is not None:
        vertex_std_m = np.full(outputs["vertices_m"][index].shape, constant_std_m)
        keypoint_std_m = np.full(outputs["keypoints_m"][index].shape, constant_std_m)
    return NetworkOutput(
        vertices_m=outputs["vertices_m"][index],
        vertex_std_m=vertex_std_m,
        keypoints_m=outputs["keypoints_m"][index],
        keypoint_std_m=keypoint_std_m,
        rotation=outputs["rotation"][index],
        scale=float(outputs["scale"][index]),
        translation=outputs["translation"][index],
        right_hand=float(outputs[RIGHT_HAND][index]) if RIGHT_HAND in outputs else 1.0,
        landmarks_m=outputs[LANDMARKS][index] if LANDMARKS in outputs else None,
        presence=float(outputs[PRESENCE][index]) if PRESENCE in outputs else 0.0,
        hand_probability=float(outputs[HAND_PROBABILITY][index]) if HAND_PROBABILITY in outputs else None,
        keypoint_covariance_m2=outputs[KEYPOINT_COVARIANCE][index] if KEYPOINT_COVARIANCE in outputs else None,
        heatmaps=outputs[HEATMAPS][index].copy() if HEATMAPS in outputs else None,
        heatmap_spread=contract.heatmap_spread,
        steps=_steps(*(outputs[name][index] for name in STEP_OUTPUTS)) if STEP_OUTPUTS[0] in outputs else (),
    )


def _steps(
    vertices_m: FloatArray, rotation: FloatArray, scale: FloatArray, translation: FloatArray
) -> tuple[RegressionStep, ...]:
    return tuple(
        RegressionStep(vertices_m[number], rotation[number], float(scale[number]), translation[number])
        for number in range(len(scale))
    )


def crop_inputs(names: Sequence[str], landmarks: Sequence[CropLandmarks]) -> dict[str, FloatArray]:
    """Return fields of what the landmark network says of crops as batches; HandvizError if one was left out."""
    values = {name: [getattr(one, name) for one in landmarks] for name in names}
    for name, of_crops in values.items():
        if any(value is None for value in of_crops):
            raise HandvizError(
                f"the crops' landmarks lack {name}: leave the landmarks out, so that they are computed",
                ErrorCode.BAD_VALUE,
            )
    return {name: np.stack(of_crops).astype(np.float32) for name, of_crops in values.items()}


def with_landmarks(hand: NetworkOutput, landmarks: CropLandmarks) -> NetworkOutput:
    """Return the hand with what MediaPipe's landmark network says of its crop."""
    return replace(hand, right_hand=landmarks.right_hand, landmarks_m=landmarks.world_m, presence=landmarks.presence)


def load_onnx(name: ModelId, context: LoadContext) -> OnnxReconstructor:
    """Load the ONNX file of a model from the context's folder; HandvizError if it cannot be used."""
    path = model_file(name, context.model_dir)
    template = hand_model_of_file(context.hand_model, named_in(path))
    network = OnnxReconstructor(path, template=template, device=context.device, shared=context.shared)
    if network.model != name:
        raise HandvizError(f"{path} holds the model {network.model}, expected {name}", ErrorCode.MODEL_MISMATCH)
    wanted_px = model_spec(name).crop.size_px
    if network.size_px != wanted_px:
        raise HandvizError(
            f"{path} takes crops of {network.size_px} pixels, but the model {name} of {wanted_px}: export it again",
            ErrorCode.MODEL_MISMATCH,
        )
    return network


class LoadedModel:
    """A model in use: what its spec says, and its answers, checked."""

    def __init__(self, spec: ModelSpec, context: LoadContext) -> None:
        """Load it; HandvizError says what is wrong, whatever its family raises."""
        self.spec = spec
        with _failures_named(spec, "load"):
            reconstructor = spec.load(context)
            self.template: HandTemplate = reconstructor.template
            self.provider: str = reconstructor.provider
            self.file: NetworkFile = reconstructor.file
            are_known = isinstance(self.template, HandTemplate) and isinstance(self.file, NetworkFile)
            if not are_known or not isinstance(self.provider, str):
                raise TypeError("its template is no HandTemplate, its file no NetworkFile, or its provider no text")
        self._reconstructor = reconstructor

    def reconstruct(self, crops: Sequence[HandCrop]) -> list[NetworkOutput]:
        """Return one hand per crop, in order; HandvizError if the model fails or its answer is not what it must be."""
        if not crops:
            return []
        with _failures_named(self.spec, "answer"):
            hands = self._reconstructor.reconstruct(crops)
            check_answer(self.spec, self.template, hands, len(crops))
        return [_with_known_landmarks(self.spec, hand, crop) for hand, crop in zip(hands, crops, strict=True)]


def _with_known_landmarks(spec: ModelSpec, hand: NetworkOutput, crop: HandCrop) -> NetworkOutput:
    """Return the hand of a model without landmarks with those of its crop, if it has the landmark network's crop.

    Presence and side are judged by them; the mesh is not refined by landmarks that the model does not give
    (``pipeline.reconstruction``).
    """
    if hand.landmarks_m is not None or crop.landmarks is None or spec.crop != DEFAULT_CROP:
        return hand
    return with_landmarks(hand, crop.landmarks)


def check_answer(spec: ModelSpec, template: HandTemplate, hands: Sequence[NetworkOutput], count: int) -> None:
    """Raise HandvizError unless there are ``count`` hands, finite and of the model's shapes."""
    if len(hands) != count:
        raise _foreign(spec, f"{len(hands)} hands for {count} crops")
    vertices, keypoints = (template.vertex_count, 3), (KEYPOINT_COUNT, 3)
    shapes = {"vertices_m": vertices, "keypoints_m": keypoints, "rotation": (3, 3), "translation": (2,), "scale": ()}
    optional: dict[str, tuple[int, ...]] = {"vertex_std_m": vertices, "keypoint_std_m": keypoints}
    optional |= {"landmarks_m": keypoints, "hand_probability": ()}
    optional |= {"keypoint_covariance_m2": (3 * KEYPOINT_COUNT, 3 * KEYPOINT_COUNT)}
    of_step: dict[str, tuple[int, ...]] = {
        name: shapes[name] for name in ("vertices_m", "rotation", "translation", "scale")
    }
    shapes |= {"right_hand": (), "presence": ()}
    for hand in hands:
        for name, shape in (shapes | optional).items():
            value = getattr(hand, name)
            if value is not None or name not in optional:
                _check_array(spec, name, value, shape, template)
        if hand.heatmaps is not None:
            side = np.shape(hand.heatmaps)[-1] if np.ndim(hand.heatmaps) == 3 else 0
            side = min(max(side, MIN_HEATMAP), MAX_HEATMAP)
            _check_array(spec, "heatmaps", hand.heatmaps, (KEYPOINT_COUNT, side, side), template)
            _check_array(spec, "heatmap_spread", hand.heatmap_spread, (2,), template)
            if not all(0 <= part <= most for part, most in zip(hand.heatmap_spread, MAX_SPREAD, strict=True)):
                raise _foreign(spec, f"a heatmap_spread of {hand.heatmap_spread}")
        if len(hand.steps) > MAX_STEPS:
            raise _foreign(spec, f"{len(hand.steps)} steps, more than {MAX_STEPS}")
        for step in hand.steps:
            for name, shape in of_step.items():
                _check_array(spec, f"{name} of a step", getattr(step, name), shape, template)
        for scale in (hand.scale, *(step.scale for step in hand.steps)):
            if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
                raise _foreign(spec, f"a scale of {scale:g} crop half-sides a metre")
        _check_deviations(spec, hand)


def _check_array(spec: ModelSpec, name: str, value: Any, shape: tuple[int, ...], template: HandTemplate) -> None:
    """Raise HandvizError unless a value has a shape and is finite."""
    if np.shape(value) != shape:
        found = f"{name} of shape {np.shape(value)}, expected {shape} of the hand model {template.name}"
        raise _foreign(spec, found)
    if not np.isfinite(value).all():
        raise HandvizError(
            f"the model {spec} returned {name} that are not finite: restore, correct or uninstall it",
            ErrorCode.NOT_FINITE,
        )


def _check_deviations(spec: ModelSpec, hand: NetworkOutput) -> None:
    """Raise HandvizError unless vertices and keypoints both have standard deviations, none negative, or both none."""
    if (hand.vertex_std_m is None) != (hand.keypoint_std_m is None):
        raise _foreign(spec, "standard deviations of vertices or keypoints alone")
    stds_m = [std_m for std_m in (hand.vertex_std_m, hand.keypoint_std_m) if std_m is not None]
    if any((np.asarray(std_m) < 0).any() for std_m in stds_m):
        raise _foreign(spec, "negative standard deviations")
    if hand.keypoint_covariance_m2 is not None and not is_covariance(hand.keypoint_covariance_m2):
        raise _foreign(spec, "a covariance of keypoints that is not symmetric or has negative variances")


def _foreign(spec: ModelSpec, what: str) -> HandvizError:
    return HandvizError(f"the model {spec} returned {what}: correct or uninstall it", ErrorCode.MODEL_FOREIGN)


@contextmanager
def _failures_named(spec: ModelSpec, what: str) -> Iterator[None]:
    """Turn whatever a family raises into a HandvizError that names the model."""
    try:
        yield
    except HandvizError:
        raise
    except (Exception, SystemExit) as error:
        raise HandvizError(
            f"the model {spec} of the family {spec.family} did not {what} ({_in_a_line(error)}): "
            "correct or uninstall it",
            ErrorCode.MODEL_FOREIGN,
        ) from error


def _in_a_line(error: BaseException) -> str:
    """Return an error of others for a message: its lines as one, and not without end."""
    return shorten(f"{type(error).__name__}: {error}", MAX_FAILURE_TEXT, placeholder="…")


class ModelCache:
    """The loaded models by id, loaded by one thread on request; every method may be called from any thread."""

    def __init__(self, context: LoadContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="load-network")
        self._models: dict[ModelId, Future[LoadedModel]] = {}

    @property
    def shared(self) -> SharedNetworks:
        """The networks that its models share."""
        return self._context.shared

    @property
    def device(self) -> Device:
        """Where its models run."""
        return self._context.device

    def request(self, model: ModelId) -> Future[LoadedModel]:
        """Return the model or its loading; one that failed is loaded again, since its file may exist by now."""
        with self._lock:
            known = self._models.get(model)
            if known is None or (known.done() and known.exception() is not None):
                known = self._models[model] = self._loader.submit(self._load, model)
            return known

    def requested(self) -> Mapping[ModelId, Future[LoadedModel]]:
        """Return all models that were requested so far."""
        with self._lock:
            return dict(self._models)

    def close(self) -> None:
        """Stop the loading thread."""
        self._loader.shutdown(wait=True, cancel_futures=True)

    def _load(self, model: ModelId) -> LoadedModel:
        return LoadedModel(model_spec(model), self._context)
