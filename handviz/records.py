"""Everything that travels between the parts of handviz, one frozen record per arrow.

source -> Frame -> detector -> Detection -> crop -> HandCrop -> reconstructor -> CanonicalHand -> HandMesh -> viewport

Conventions: metres in records, millimetres only in fields named ``_mm``, pixels in fields named ``_px``.
Camera axes: x right, y down, z forward. Image points in pixels, the centre of the first pixel at (0.5, 0.5).
21 keypoints: wrist, thumb 1-4, index 1-4, middle 1-4, ring 1-4, little 1-4.
A transform named ``a_from_b`` maps points of frame b to frame a.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]
Handedness = Literal["left", "right"]
VariantName = Literal["prior", "amvur", "final"]
SmoothingKind = Literal["kalman", "one_euro"]

VARIANTS: tuple[VariantName, ...] = ("prior", "amvur", "final")
SMOOTHING_KINDS: tuple[SmoothingKind, ...] = ("kalman", "one_euro")
CROP_SIZE = 224
KEYPOINT_COUNT = 21
KEYPOINT_PARENTS = (-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    number: int
    """Counts up by one per frame read from this source, dropped frames included."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB, never mirrored."""
    captured_ms: float
    """``time.perf_counter() * 1000`` when the picture was read."""
    name: str = ""
    """File name for pictures of a folder, empty otherwise."""


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera without distortion."""

    focal_px: float
    centre_x_px: float
    centre_y_px: float


@dataclass(frozen=True, eq=False)
class Detection:
    """One hand found in a frame."""

    handedness: Handedness
    """The person's true hand."""
    score: float
    """Confidence of the handedness and presence, 0 to 1."""
    keypoints_px: FloatArray
    """(21, 2) in image pixels."""


@dataclass(frozen=True, eq=False)
class HandCrop:
    """The square picture that the networks see: always a right hand, wrist -> middle knuckle upwards."""

    image: NDArray[np.float32]
    """(224, 224, 3) RGB in [0, 1]; mirrored if ``handedness`` is left."""
    crop_from_image: FloatArray
    """(2, 3) affine, image pixels -> crop pixels; contains the mirror for left hands."""
    detection: Detection


@dataclass(frozen=True, eq=False)
class CanonicalHand:
    """What one ONNX model says about one crop: a right hand in the hand model's rest frame, wrist at the origin."""

    vertices_m: FloatArray
    """(V, 3) mean."""
    vertex_std_m: FloatArray
    """(V, 3) standard deviation along each canonical axis."""
    keypoints_m: FloatArray
    """(21, 3) mean."""
    keypoint_std_m: FloatArray
    """(21, 3) standard deviation along each canonical axis."""
    rotation: FloatArray
    """(3, 3) rotation crop_from_wrist, seen along the ray through the middle of the crop."""
    scale: float
    """Weak perspective: crop half-sides per metre."""
    translation: FloatArray
    """(2,) weak perspective: where the wrist lies in the crop, in [-1, 1], x right, y down."""
    right_hand: float = 1.0
    """How sure the network is, 0 to 1, that the crop shows a right hand; 1 if it does not tell."""
    witness_m: FloatArray | None = None
    """(21, 3) where MediaPipe's own heads, beside the network, say the keypoints are: the crop's axes, origin and size
    of their own, points where MediaPipe marks them (``detect/marking.py``)."""
    presence: float = 0.0
    """How sure those heads are, 0 to 1, that there is a hand; 0 if the network has none."""


@dataclass(frozen=True, eq=False)
class HandTexture:
    """Colours at the hand model's vertices, sRGB in [0, 1]."""

    rgb: FloatArray
    """(V, 3) as the picture's own light shows them, on the sides that it does not see too."""
    albedo: FloatArray
    """(V, 3) as even light of the picture's brightness would show them: what other light can be laid on."""
    visible: FloatArray
    """(V,) how sure the network is, 0 to 1, that this picture shows the vertex: inside it, and with nothing before."""
    seen: FloatArray
    """(V,) how well it was seen so far, 0 (colours are inferred) to 1; ``visible`` where no pictures came before."""
    sampled_px: FloatArray | None = None
    """(V, 2) where in the picture the vertices were looked at, before any smoothing over frames; None: as drawn."""


@dataclass(frozen=True, eq=False)
class HandMesh:
    """One reconstructed hand, un-mirrored, in the camera's axes."""

    handedness: Handedness
    detection_score: float
    variant: VariantName
    vertices_m: FloatArray
    """(V, 3) camera axes, wrist keypoint at the origin."""
    vertex_std_mm: FloatArray
    """(V,) root of the summed variances of the three axes: the expected (RMS) distance from the truth."""
    keypoints_m: FloatArray
    """(21, 3) camera axes, wrist at the origin."""
    keypoint_std_mm: FloatArray
    """(21,) as ``vertex_std_mm``."""
    vertices_px: FloatArray
    """(V, 2) weak-perspective projection into the image."""
    keypoints_px: FloatArray
    """(21, 2) weak-perspective projection into the image."""
    pixels_per_m: float
    """Scale of that projection."""
    camera_from_wrist: FloatArray
    """(3, 3) rotation; for left hands the rotation of the un-mirrored hand's canonical frame."""
    wrist_camera_m: FloatArray
    """(3,) wrist in the camera frame under ``intrinsics``: as metric as the assumed focal length and hand size are."""
    intrinsics: Intrinsics
    texture: HandTexture | None = None
    """None where no texture was asked for."""


@dataclass(frozen=True)
class StageTimes:
    """How long each stage took for one frame, in milliseconds."""

    detect_ms: float = 0.0
    crop_ms: float = 0.0
    reconstruct_ms: float = 0.0
    smooth_ms: float = 0.0
    texture_ms: float = 0.0


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame and the hands in it."""

    frame: Frame
    variant: VariantName
    detections: tuple[Detection, ...] = ()
    hands: tuple[HandMesh, ...] = ()
    times: StageTimes = field(default_factory=StageTimes)
    trouble: str = ""
    """A sentence on what could not be done although it was asked for, such as textures; mostly empty."""
