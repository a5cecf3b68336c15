"""What a pipeline is told: settings that may change from frame to frame, and the configuration it is made with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from handviz.core.arguments import Fraction, whole
from handviz.core.camera_model import ASSUMED_CAMERA, UNMEASURED, CameraModel, HandSize
from handviz.core.paths import LANDMARKER_FILE, MODELS
from handviz.core.records import DetectorChoice, HandednessSetting, ModelId, SmoothingKind

MAX_HANDS_OF_IMAGES, MAX_HANDS_OF_CLIPS = 10, 2
"""Hands that are reconstructed at most unless another number is given: of an image of its own, and of a stream."""


@dataclass(frozen=True)
class PipelineSettings:
    """What ``Pipeline.apply`` changes from the next frame on."""

    model: ModelId = "final"
    others: tuple[ModelId, ...] = ()
    """Models that run on every frame besides ``model``, which may be among them."""
    camera_model: CameraModel = ASSUMED_CAMERA
    """Of the camera that took the frames."""
    hand_size: HandSize = UNMEASURED
    smoothing: Fraction = 0.3
    """0 (off) to 1; only where frames follow each other."""
    smoothing_kind: SmoothingKind = "kalman"
    side: HandednessSetting = "detected"
    """Override for wrongly detected handedness."""
    max_hands: Annotated[int, whole(1, MAX_HANDS_OF_IMAGES)] = MAX_HANDS_OF_CLIPS
    """How many are followed where frames follow each other."""
    texture: bool = False
    """Give hands a texture (texture_fusion.py)."""


@dataclass(frozen=True)
class PipelineConfig:
    """What stays the same while a pipeline lives."""

    model_dir: Path = MODELS
    hand_model: Path | None = None
    """The user's MANO file; None: the hand model that the networks name, if it is known, or the open hand."""
    landmarker: Path = LANDMARKER_FILE
    detector: DetectorChoice = "handviz"
    max_hands_of_images: int = MAX_HANDS_OF_IMAGES
    """The same of images that do not follow each other, whatever the settings say."""
    video: bool = True
    """Frames follow each other, until ``Pipeline.reset`` says otherwise; if not, each is an image of its own."""
    search_beside: bool = False
    """Search the hands that are not followed yet on a thread of its own, for a live window: a result then depends on
    how long that takes. Otherwise it is done in line."""
    preload_others: bool = True
    """Load the other models of the family in the background too, so that switching between them takes no time."""
    align_to_detector: bool = True
    """Fuse camera and pose with the detector's 2D keypoints (posterior.py)."""
    correct_pose: bool = True
    """Fuse the network's pose with MediaPipe's landmarks (posterior.py)."""
