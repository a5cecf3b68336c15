"""Frozen records that are passed between threads."""

from dataclasses import dataclass

from handviz.core.records import Frame, FrameResult
from handviz.sources.camera import CameraInfo, CameraRequest
from handviz.sources.source import IMAGES_PREFIX


@dataclass(frozen=True)
class SourceConfig:
    """Settings of a source."""

    camera: CameraRequest | None = None
    """None for the defaults, or for no camera"""
    rotation_deg: int = 0


@dataclass(frozen=True)
class SourceLength:
    """New length of a clip whose header was wrong, or of a folder that has changed."""

    generation: int
    frame_count: int | None
    number: int
    """present number of the frame that is shown"""
    description: str


@dataclass(frozen=True)
class SourceInfo:
    """A source that has been opened."""

    generation: int
    """number of the source; answers of earlier ones are dropped"""
    text: str
    """argument of ``open_source``"""
    name: str
    description: str
    frame_count: int | None
    is_live: bool
    rotation_deg: int = 0
    camera: CameraInfo | None = None
    """the camera, None while unknown"""

    @property
    def short_text(self) -> str:
        """``text``; for several images, whose paths are too long for a line or a datagram, the name."""
        return self.name if self.text.startswith(IMAGES_PREFIX) else self.text


@dataclass(frozen=True, eq=False)
class FrameRequest:
    """Frame to reconstruct."""

    generation: int
    jump: int
    """counts discontinuities such as seeks"""
    frame: Frame
    capture_rate_hz: float


@dataclass(frozen=True, eq=False)
class Answer:
    """Result for the window."""

    generation: int
    result: FrameResult
    capture_rate_hz: float
    inference_rate_hz: float
    dropped: int
    """frames skipped so far because the reconstruction was too slow, over all sources"""
    provider: str
    """the execution provider in use, empty without a model"""


@dataclass(frozen=True)
class Status:
    """Message for the user."""

    text: str
    is_error: bool = False
    answer: str = ""
    """reply to a user action since the error began, shown instead of the error in the status bar"""
