"""The records that pass between the rooms of handviz, one frozen dataclass per arrow.

source -> Frame -> detector -> Detection -> crop -> HandCrop -> reconstructor -> NetworkOutput -> HandMesh -> viewport

Conventions: metres in records, millimetres only in fields named ``_mm``, pixels in fields named ``_px``.
Camera axes: x right, y down, z forward. Image points in pixels, the centre of the first pixel at (0.5, 0.5).
21 keypoints: wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4.
A transform named ``a_from_b`` maps points of frame b to frame a.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handviz.core.shape_posterior import ShapePosterior
from handviz.core.skeleton import KEYPOINT_COUNT as KEYPOINT_COUNT
from handviz.core.skeleton import KEYPOINT_PARENTS as KEYPOINT_PARENTS
from handviz.core.skeleton import PALM_KEYPOINTS as PALM_KEYPOINTS

FloatArray = NDArray[np.floating]
Handedness = Literal["left", "right"]
Device = Literal["auto", "cpu", "cuda"]
"""``auto``: the graphics card if there is one, else the processor; ``cuda``: the card or an error."""
ModelId = str
"""The id of a model of ``models.registry.list_models``, such as "final"."""
SmoothingKind = Literal["kalman", "one_euro"]
DetectorChoice = Literal["handviz", "mediapipe"]
"""``handviz``: MediaPipe's networks in ONNX Runtime; ``mediapipe``: MediaPipe's own library."""
NetworkState = Literal["shipped", "changed", "own"]
"""By a file's checksum: that of ``models/SHA256SUMS``, another one under a name listed there, or a name that is not."""
NetworkRole = Literal["network", "detector", "texture_net"]
IntrinsicsOrigin = Literal["assumed", "exif", "stated", "calibrated"]

UncertaintyKind = Literal["per_vertex", "constant", "none"]
HandednessSetting = Literal["detected", "left", "right"]
"""Whether handedness comes from the detector, or from the user for all hands."""

SMOOTHING_KINDS: tuple[SmoothingKind, ...] = ("kalman", "one_euro")
CROP_SIZE = 224
"""Side in pixels of the crop of handviz's own networks (``DEFAULT_CROP``)."""
NEAREST_M = 0.01
"""Depth that every point in front of the camera has at least."""
SAME_STD = 0.02
"""Range of standard deviations, as a fraction of the largest one, up to which all are the same: smoothing alone makes
equal ones differ by half a percent, and networks that tell vertices apart by tens of percent."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source."""

    number: int
    """Counts up by one per frame read from this source, dropped frames included."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, never mirrored."""
    captured_ms: float
    """``time.perf_counter() * 1000`` when the image was read."""
    name: str = ""
    """File name for images of a folder, empty otherwise."""
    time_ms: float | None = None
    """The clip's presentation time, from its beginning, whatever speed it plays at; None for other sources."""
    rotation_deg: int = 0
    """How far ``image`` was rotated clockwise after reading: 0, 90, 180 or 270."""
    note: str = ""
    """Message on what was not read, such as further pages; mostly empty."""
    exif_focal_px: float | None = None
    """The focal length that the image's EXIF states, in its pixels; None if it states none."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion."""

    focal_px: float
    """Along x, and along y if ``focal_y_px`` is None."""
    centre_x_px: float
    centre_y_px: float
    focal_y_px: float | None = None
    origin: IntrinsicsOrigin = "stated"
    """``assumed`` by default, by the image's own ``exif``, ``stated`` by the user or a file of the camera,
    ``calibrated`` by a measurement of the camera."""
    focal_std_fraction: float = 0.0
    """Standard deviation of the focal length, as a fraction of it."""

    @property
    def focals_px(self) -> FloatArray:
        """(2,) focal lengths along x and y."""
        return np.array([self.focal_px, self.focal_px if self.focal_y_px is None else self.focal_y_px])

    @property
    def centre_px(self) -> FloatArray:
        """(2,) principal point."""
        return np.array([self.centre_x_px, self.centre_y_px])

    def project(self, points_m: FloatArray) -> FloatArray:
        """Project camera-frame points (..., 3) to image pixels (..., 2); depths below 1 cm count as 1 cm."""
        depths_m = np.maximum(points_m[..., 2:], NEAREST_M)
        return points_m[..., :2] / depths_m * self.focals_px + self.centre_px

    @property
    def matrix(self) -> FloatArray:
        """(3, 3) K."""
        (fx, fy), (cx, cy) = self.focals_px, self.centre_px
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, eq=False)
class PositionUncertainty:
    """Uncertainty of the wrist's position in the camera frame; the focal length's part is in Intrinsics."""

    fit_covariance_m2: FloatArray
    """(3, 3) of ``wrist_camera_m`` given the hand size and the focal length."""
    size_std_fraction: float
    """Standard deviation of the hand size, as a fraction of it: distances are off by as much. All hands of one
    person share this error."""
    size_is_measured: bool = False
    """Whether the user measured it: then both hands in an image have the same error."""


@dataclass(frozen=True, eq=False)
class Detection:
    """One hand found in a frame."""

    handedness: Handedness
    """The person's true left or right hand."""
    score: float
    """Confidence of the handedness and presence, 0 to 1."""
    keypoints_px: FloatArray
    """(21, 2) in image pixels."""
    support: float | None = None
    """Sum of the squared scores of the views of a still image that agree on the hand; None in a stream."""
    track_id: int = 0
    """Number of the hand over frames (``detection.tracking.HandTracker``), from 1; 0: not tracked."""
    side_is_stated: bool = False
    """Whether the user stated the handedness of this hand, which then nothing else changes."""
    crop: "HandCrop | None" = None
    """The crop, as ``DEFAULT_CROP`` says, in which the landmark network saw the hand, if it was found so."""


@dataclass(frozen=True)
class CropSpec:
    """The square around a hand that a model takes."""

    size_px: int = CROP_SIZE
    """Its side in the model's input."""
    side_per_extent: float = 1.8
    """Its side in the image, per longer side of the box of the 21 keypoints in its axes."""
    is_upright: bool = True
    """Whether the direction from the wrist to the middle knuckle points up; otherwise the image's axes are kept."""


DEFAULT_CROP = CropSpec()
"""The crop of handviz's own networks."""


FINE_MAPS: dict[str, tuple[int, ...]] = {"map_56": (24, 56, 56), "map_28": (40, 28, 28)}
"""Fields of ``CropLandmarks`` that are there for models that need finer places, with their shapes."""


@dataclass(frozen=True, eq=False)
class CropLandmarks:
    """What MediaPipe's landmark network says of one crop of a right hand."""

    keypoints: FloatArray
    """(21, 3) crop half-sides, x right, y down, in [-1, 1] inside the crop; depth from the wrist."""
    world_m: FloatArray
    """(21, 3) metres, in the crop's axes, about an origin of MediaPipe's own."""
    presence: float
    """Probability, 0 to 1, that the crop shows a hand."""
    right_hand: float
    """Probability, 0 to 1, that the hand is a right one."""
    middle_map: FloatArray
    """(112, 14, 14) output of the network's first blocks, from which the trunk of handviz's own networks goes on."""
    map_56: FloatArray | None = None
    """(24, 56, 56) output of earlier blocks, for models that need finer places; None if it was left out."""
    map_28: FloatArray | None = None
    """(40, 28, 28) as ``map_56``."""


@dataclass(frozen=True, eq=False)
class HandCrop:
    """The square input of a model: always a right hand, as its ``CropSpec`` says."""

    image: NDArray[np.uint8]
    """(S, S, 3) RGB; mirrored if ``handedness`` is left."""
    crop_from_image: FloatArray
    """(2, 3) affine, image pixels -> crop pixels; contains the mirror for left hands."""
    detection: Detection
    landmarks: CropLandmarks | None = None
    """What the landmark network said of this crop, if it has seen it already."""

    @property
    def size_px(self) -> int:
        """S."""
        return self.image.shape[0]

    @property
    def half_px(self) -> float:
        """Half of S: crop pixels per unit of the crop's [-1, 1]."""
        return self.image.shape[0] / 2


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What a model says of one crop: a right hand in the hand model's rest frame, wrist at the origin."""

    vertices_m: FloatArray
    """(V, 3) mean."""
    keypoints_m: FloatArray
    """(21, 3) mean."""
    rotation: FloatArray
    """(3, 3) rotation crop_from_wrist, seen along the ray through the centre of the crop."""
    scale: float
    """Weak perspective: crop half-sides per metre."""
    translation: FloatArray
    """(2,) weak perspective: the wrist in the crop, in [-1, 1], x right, y down."""
    vertex_std_m: FloatArray | None = None
    """(V, 3) standard deviation along each canonical axis; None if the model predicts no uncertainty."""
    keypoint_std_m: FloatArray | None = None
    """(21, 3) as ``vertex_std_m``."""
    right_hand: float = 1.0
    """Probability, 0 to 1, that the crop shows a right hand; 1 if the model does not predict it."""
    landmarks_m: FloatArray | None = None
    """(21, 3) world landmarks of MediaPipe's heads beside the network: the crop's axes, own origin and scale, at
    MediaPipe's points (``detection.crop.as_the_detector_marks_them``)."""
    presence: float = 0.0
    """Those heads' probability, 0 to 1, of a hand; 0 if the model has none."""
    hand_probability: float | None = None
    """The model's own probability, 0 to 1, that the crop shows a hand; None if it does not predict it."""
    keypoint_covariance_m2: FloatArray | None = None
    """(63, 63) of the errors of the keypoints' x, y and z, canonical axes, as far as no rotation, scaling and
    translation of the whole hand explains them; None if the model does not predict how they hang together."""
    heatmaps: FloatArray | None = None
    """(21, S, S) one map a keypoint over the whole crop, about 1 where the model sees it; None if it predicts none."""
    heatmap_spread: tuple[float, float] = (1.0, 0.0)
    """``Heatmaps.spread`` of these."""
    steps: tuple["RegressionStep", ...] = ()
    """The hand before the first iteration and after each but the last, whose hand is the output itself."""


@dataclass(frozen=True, eq=False)
class RegressionStep:
    """A hand on the way of an iterative regression: right, canonical, as ``NetworkOutput`` has it."""

    vertices_m: FloatArray
    """(V, 3)"""
    rotation: FloatArray
    """(3, 3)"""
    scale: float
    translation: FloatArray
    """(2,)"""


@dataclass(frozen=True, eq=False)
class PlacedHand:
    """A model's hand on its way into the camera frame: refined, and perhaps measured and placed."""

    hand: NetworkOutput
    """Refined by what the pipeline knows besides (``pipeline/posterior.py``)."""
    wrist_camera_m: FloatArray | None = None
    """(3,) wrist in the camera frame, if it was fitted to the detector's keypoints; else only ``hand``'s scale and
    translation are known."""
    wrist_covariance_m2: FloatArray | None = None
    """(3, 3) of that position by the fit, with the hand size known and keypoints independent."""
    size_std_fraction: float | None = None
    """Standard deviation of a measured hand size, as a fraction; None if it was not measured."""
    shape: ShapePosterior | None = None
    """In the axes of ``hand``; None if the model predicts no uncertainty."""


@dataclass(frozen=True, eq=False)
class HandTexture:
    """Colours at the hand model's vertices, sRGB in [0, 1]."""

    rgb: FloatArray
    """(V, 3) under the image's light, also on the sides that it does not show."""
    albedo: FloatArray
    """(V, 3) under uniform light of the image's brightness, for relighting."""
    visible: FloatArray
    """(V,) probability, 0 to 1, that this image shows the vertex: inside it and not occluded."""
    seen: FloatArray
    """(V,) how well it was observed so far, 0 (colours are inferred) to 1; ``visible`` in the first image."""
    sampled_px: FloatArray | None = None
    """(V, 2) where the image was sampled, before any smoothing over frames; None: as drawn."""


def uncertainty_kind(vertex_std_mm: FloatArray | None) -> UncertaintyKind:
    """Return whether standard deviations (V,) differ from vertex to vertex, are all the same, or are None."""
    if vertex_std_mm is None:
        return "none"
    return "constant" if np.ptp(vertex_std_mm) <= SAME_STD * np.max(vertex_std_mm) else "per_vertex"


HEATMAP_CUT = 0.25
"""Fraction of a heatmap's peak under which its pixels count as background where its keypoint is read off."""


@dataclass(frozen=True, eq=False)
class Heatmaps:
    """A model's heatmaps of a hand's keypoints, and where in the image they lie."""

    maps: FloatArray
    """(21, S, S) about 1 where the model sees the keypoint"""
    image_from_map: FloatArray
    """(2, 3) affine from map pixels, whose centres are whole numbers, to image pixels; mirrors for left hands"""
    spread: tuple[float, float] = (1.0, 0.0)
    """Scale s, floor f: a keypoint's covariance is s (C + f), C that of its map, in square halves of the map's side"""


@dataclass(frozen=True, eq=False)
class HandMesh:
    """One reconstructed hand, un-mirrored, in the camera's axes."""

    handedness: Handedness
    detection_score: float
    model: ModelId
    vertices_m: FloatArray
    """(V, 3) camera axes, wrist keypoint at the origin."""
    keypoints_m: FloatArray
    """(21, 3) camera axes, wrist at the origin."""
    camera_from_wrist: FloatArray
    """(3, 3) rotation; for left hands the rotation of the un-mirrored hand's canonical frame."""
    wrist_camera_m: FloatArray
    """(3,) wrist in the camera frame under ``intrinsics``: as metric as the focal length and the hand's size are."""
    intrinsics: Intrinsics
    vertex_std_mm: FloatArray | None = None
    """(V,) root of the summed variances of the three axes: the expected (RMS) distance from the truth; None if the
    model predicts no uncertainty."""
    keypoint_std_mm: FloatArray | None = None
    """(21,) as ``vertex_std_mm``."""
    texture: HandTexture | None = None
    """None if no texture was requested."""
    keypoint_covariance_mm2: FloatArray | None = None
    """(21, 3, 3) covariances of the keypoints in the camera's axes; the trace is ``keypoint_std_mm`` squared."""
    vertex_covariance_mm2: FloatArray | None = None
    """(V, 3, 3) as ``keypoint_covariance_mm2``."""
    shape: ShapePosterior | None = None
    """In the camera's axes, which the standard deviations come from; None if the model predicts no uncertainty."""
    position_uncertainty: PositionUncertainty | None = None
    """None if it was not estimated."""
    hand_model: str = ""
    """Fingerprint of the vertices' hand model (``hand_models.choice``); empty: the open hand."""
    track_id: int = 0
    """Of its detection: the same number in all frames, from 1; 0: not tracked."""
    hand_probability: float | None = None
    """The model's own probability, 0 to 1, that its crop shows a hand; None if it does not predict it."""
    heatmaps: "Heatmaps | None" = None
    """None if the model predicts none."""
    steps: tuple["HandMesh", ...] = ()
    """The hands of the model alone before its first iteration and after each, the last one too, without uncertainty;
    none of a model that does not iterate."""

    @cached_property
    def vertices_px(self) -> FloatArray:
        """(V, 2) pinhole projection of ``vertices_m + wrist_camera_m`` under ``intrinsics``."""
        return self.intrinsics.project(self.vertices_m + self.wrist_camera_m)

    @cached_property
    def keypoints_px(self) -> FloatArray:
        """(21, 2) pinhole projection of the keypoints under ``intrinsics``."""
        return self.intrinsics.project(self.keypoints_m + self.wrist_camera_m)

    @cached_property
    def pixels_per_m(self) -> float:
        """Scale of that projection at the mean depth of the keypoints."""
        depth_m = max(float((self.keypoints_m[:, 2] + self.wrist_camera_m[2]).mean()), NEAREST_M)
        return math.sqrt(np.prod(self.intrinsics.focals_px)) / depth_m

    @cached_property
    def uncertainty(self) -> UncertaintyKind:
        """Whether each vertex has a standard deviation of its own, all have the same, or there is none."""
        return uncertainty_kind(self.vertex_std_mm)

    @property
    def wrist_std_m(self) -> FloatArray | None:
        """(3,) standard deviation of ``wrist_camera_m`` along each axis: fit, hand size and focal length."""
        if self.position_uncertainty is None:
            return None
        size = self.wrist_camera_m * self.position_uncertainty.size_std_fraction
        # A focal length g instead of f scales the depth by g / f and leaves x and y unchanged.
        focal_z = self.wrist_camera_m[2] * self.intrinsics.focal_std_fraction
        variance = np.diag(self.position_uncertainty.fit_covariance_m2) + size**2
        return np.sqrt(variance + np.array([0.0, 0.0, focal_z**2]))


def left_out_text(count: int, left_out: int) -> str:
    """Return how many of the hands found are there, such as "10 of 12 hands"; empty if none was left out."""
    return f"{count} of {count + left_out} hands" if left_out else ""


@dataclass(frozen=True)
class StageTimes:
    """The time of each stage for one frame, in milliseconds."""

    detect_ms: float = 0.0
    crop_ms: float = 0.0
    reconstruct_ms: float = 0.0
    smooth_ms: float = 0.0
    texture_ms: float = 0.0


@dataclass(frozen=True)
class NetworkFile:
    """A file of a network as it was loaded (core/network_files.py)."""

    file: str
    """Its name without the folder."""
    sha256: str
    state: NetworkState


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and the hands in it."""

    frame: Frame
    model: ModelId
    detections: tuple[Detection, ...] = ()
    hands: tuple[HandMesh, ...] = ()
    times: StageTimes = field(default_factory=StageTimes)
    error: str = ""
    """Message on what was requested but could not be done, such as textures; mostly empty."""
    crops: tuple[HandCrop, ...] = ()
    """The network's input for each hand: index i belongs to ``hands[i]``; empty if no crops were made."""
    others: Mapping[ModelId, tuple[HandMesh, ...]] = field(default_factory=dict)
    """In comparisons: the other models' hands, as many as ``hands`` and in the same order."""
    other_errors: Mapping[ModelId, str] = field(default_factory=dict)
    """In comparisons: why a model is not among ``others``."""
    compared: tuple[ModelId, ...] = ()
    """In comparisons: all models that were asked, in the order of the registry, ``model`` among them."""
    networks: Mapping[NetworkRole, NetworkFile] = field(default_factory=dict)
    """The files that made these hands; without the texture net where there are no textures."""
    hidden: int = 0
    """How many of the hands found in the frame the user has hidden; they are not among ``hands``."""
    failure: str = ""
    """Why ``model`` gave no hands: it could not be loaded, or did not answer as it must; mostly empty."""
    left_out: int = 0
    """How many hands were found in a still image beyond the most that are reconstructed; always 0 in streams."""

    @property
    def is_compared(self) -> bool:
        """Whether other models ran too."""
        return bool(self.others or self.other_errors)

    def of_model(self, model: ModelId) -> "FrameResult":
        """Return the same frame with another model's hands; without hands if it did not run or found none."""
        if model == self.model:
            return self
        return replace(
            self,
            model=model,
            hands=self.others.get(model, ()),
            others={},
            other_errors={},
            compared=(),
            networks={},
            failure="",
        )
