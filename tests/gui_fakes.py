"""Fake sources, pipelines and hands that a test controls."""

import threading
from collections.abc import Callable
from dataclasses import fields

import numpy as np
from PyQt6.QtWidgets import QWidget

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import (
    Frame,
    FrameResult,
    Handedness,
    HandMesh,
    HandTexture,
    Intrinsics,
    ModelId,
    StageTimes,
)
from handviz.models.registry import model_labels
from handviz.pipeline.settings import PipelineSettings
from handviz.rendering.hand_shape import ModelDisplay, PlainSurface

UNPLUGGED = "camera 0 stopped delivering images: check that it is plugged in"
FACES = np.array([[0, 1, 2]], dtype=np.int32)
TRIANGLE = ModelDisplay({"": PlainSurface(FACES, 3)}, model_labels())


def frame(number: int = 0, name: str = "") -> Frame:
    """Return a small grey image."""
    return Frame(number, np.full((48, 64, 3), 100, dtype=np.uint8), 0.0, name)


PHOTOGRAPHED, EVENLY_LIT = (0.8, 0.5, 0.3), (0.5, 0.8, 0.3)


def texture(seen: float = 0.0) -> HandTexture:
    """Return one colour under the image's light, another one under uniform light."""
    fraction = np.full(3, seen)
    return HandTexture(np.tile(PHOTOGRAPHED, (3, 1)), np.tile(EVENLY_LIT, (3, 1)), fraction, fraction)


def hand(
    model: ModelId = "final", *, handedness: Handedness = "right", textured: bool = False, track_id: int = 1
) -> HandMesh:
    """Return a hand of three vertices in the image's centre."""
    corners = np.array([[-1.0, 1, 0], [1, 1, 0], [0, -1, 0]])
    middle = np.array([32.0, 24.0])
    return HandMesh(
        handedness=handedness,
        detection_score=0.9,
        model=model,
        vertices_m=corners / 20,
        vertex_std_mm=np.array([2.0, 4.0, 6.0]),
        keypoints_m=np.zeros((21, 3)),
        keypoint_std_mm=np.ones(21),
        camera_from_wrist=np.eye(3),
        wrist_camera_m=np.array([0.0, 0.0, 0.5]),
        intrinsics=Intrinsics(150.0, *middle),
        texture=texture() if textured else None,
        track_id=track_id,
    )


class FakeSource:
    """Frames 0 to ``count`` - 1; a camera gives one whenever the test lets it."""

    name = "fake"
    description = "fake: 64x48, 200 fps"

    def __init__(
        self,
        count: int | None = None,
        *,
        broken: tuple[int, ...] = (),
        names: bool = False,
        nominal_fps: float = 200.0,
    ) -> None:
        self.frame_count = count
        self.is_live = count is None
        self.nominal_fps = nominal_fps
        self.is_closed = False
        self.may_read = threading.Semaphore(0)
        self._broken, self._names, self._next = broken, names, 0
        self._is_free = False

    def let_go(self) -> None:
        """Let a camera wait no more, so that its thread can end."""
        self._is_free = True

    def read(self) -> Frame | None:
        """Do as the real ones."""
        if self.is_live:
            while not self._is_free and not self.may_read.acquire(timeout=0.05):
                pass
        number = self._next
        if self.frame_count is not None and number >= self.frame_count:
            return None
        self._next += 1
        if number in self._broken:
            raise HandvizError(
                UNPLUGGED if self.is_live else f"{number}.jpg: the file is empty", ErrorCode.CAMERA_MISSING
            )
        return frame(number, f"{number}.jpg" if self._names else "")

    def seek(self, number: int) -> None:
        """Do as the real ones."""
        self._next = number

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


class FakePipeline:
    """A pipeline that returns one hand for every frame and records the calls."""

    provider = "CPUExecutionProvider"

    def __init__(self, settings: PipelineSettings | None = None) -> None:
        self.settings = settings or PipelineSettings()
        self.error = ""
        self.told: list[tuple[str, object]] = []
        self.before_process: Callable[[Frame], None] = lambda _: None
        self.is_closed = False

    def process(self, frame: Frame) -> FrameResult:
        """Return one hand."""
        self.before_process(frame)
        model, has_texture = self.settings.model, self.settings.texture
        times = StageTimes(20, 1, 14, 0.2, 4.5 if has_texture else 0.0)
        hands = (hand(model, textured=has_texture),)
        others = {other: (hand(other),) for other in self.settings.others if other != model}
        return FrameResult(frame, model, hands=hands, times=times, error=self.error, others=others)

    def apply(self, settings: PipelineSettings, /) -> None:
        """Record what is another value than before."""
        before, self.settings = self.settings, settings
        self.told += [
            (item.name, getattr(settings, item.name))
            for item in fields(PipelineSettings)
            if getattr(settings, item.name) != getattr(before, item.name)
        ]

    def forget_texture(self) -> None:
        """Record the call."""
        self.told.append(("forget_texture", None))

    def flip_hand(self, track_id: int, /) -> None:
        """Record the call."""
        self.told.append(("flip_hand", track_id))

    def hide_hand(self, track_id: int, /) -> None:
        """Record the call."""
        self.told.append(("hide_hand", track_id))

    def show_all_hands(self) -> None:
        """Record the call."""
        self.told.append(("show_all_hands", None))

    def reset(self, *, video: bool | None = None, same_hands: bool = False) -> None:
        """Record the call."""
        self.told.append(("reset", video))

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


def press_key(window: QWidget, key: str) -> None:
    """Trigger the action of a shortcut, as Qt does for the active window."""
    next(action for action in window.actions() if key in [k.toString() for k in action.shortcuts()]).trigger()
