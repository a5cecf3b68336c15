"""What crosses the threads, all frozen."""

from dataclasses import dataclass

from handviz.core.records import Frame, FrameResult
from handviz.sources.camera import CameraInfo, CameraRequest
from handviz.sources.source import IMAGES_PREFIX


@dataclass(frozen=True)
class SourceConfig:
    """What goes with a source beside its text."""

    camera: CameraRequest | None = None
    """None: as usual, or no camera."""
    rotation_deg: int = 0


@dataclass(frozen=True)
class SourceLength:
    """A clip turned out shorter or longer than its head says, or a folder has changed."""

    generation: int
    frame_count: int | None
    number: int
    """Of the frame that is shown, as it is counted now."""
    description: str


@dataclass(frozen=True)
class SourceInfo:
    """A source that has been opened."""

    generation: int
    """Counts the sources up; answers of an earlier one are late and dropped."""
    text: str
    """What ``open_source`` was given."""
    name: str
    description: str
    frame_count: int | None
    is_live: bool
    rotation_deg: int = 0
    camera: CameraInfo | None = None
    """Which one it is, as far as that is known."""

    @property
    def short_text(self) -> str:
        """``text``, but for several images, whose paths would fill every line and overflow a datagram, the name."""
        return self.name if self.text.startswith(IMAGES_PREFIX) else self.text


@dataclass(frozen=True, eq=False)
class Job:
    """A frame on its way to the reconstructor."""

    generation: int
    jump: int
    """Counts up whenever the next frame does not follow the last one, as after a seek."""
    frame: Frame
    capture_rate_hz: float


@dataclass(frozen=True, eq=False)
class Answer:
    """A result on its way to the window."""

    generation: int
    result: FrameResult
    capture_rate_hz: float
    inference_rate_hz: float
    dropped: int
    """Frames that the reconstructor was too slow for, over all sources."""
    provider: str
    """The execution provider that really runs, empty without a model."""


@dataclass(frozen=True)
class Status:
    """One sentence for the person in front of the screen."""

    text: str
    is_error: bool = False
    answer: str = ""
    """What was said since the trouble began, to something that the person did: it must not be lost behind that."""
