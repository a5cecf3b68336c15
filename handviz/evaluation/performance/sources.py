"""Sources of the benchmark: hands that it renders into memory, and any source that gives one frame at a time."""

import math
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.records import FloatArray, Frame, Handedness
from handviz.data.synthetic import look
from handviz.data.synthetic.room import Room, gesture_angles, smooth_step
from handviz.data.synthetic.stage import HEIGHT, WIDTH
from handviz.rendering.studio import open_studio
from handviz.rendering.studio_parts import Surface
from handviz.sources.source import InterruptibleSource, Source

Image = NDArray[np.uint8]
FPS = 60.0
IMAGES = 60
"""Rendered for a clip: they are played forwards and backwards, two seconds in all."""
SIDES: tuple[Handedness, ...] = ("right", "left")
GESTURES = ("open", "relaxed", "pinch")
RADIUS_M, DISTANCE_M = 0.15, 0.55
"""Of two hands from the middle of the image, which they never touch across, and from the camera."""


class RenderedHands:
    """Endless source of images in memory, at 60 frames a second; ``seek`` only starts again."""

    is_live = False
    nominal_fps = FPS
    frame_count: int | None = None

    def __init__(self, images: Sequence[Image], hands: int) -> None:
        """``images``: as of ``render``; ``hands``: how many are in view."""
        self._images = images
        self._next = 0
        self.name = f"rendered hands ({hands} in view)"

    @property
    def description(self) -> str:
        """Name, size and rate."""
        height, width = self._images[0].shape[:2]
        return f"{self.name}: {width}x{height}, {FPS:.0f} fps, in memory"

    def read(self) -> Frame:
        """Return the next frame."""
        number, self._next = self._next, self._next + 1
        image = self._images[there_and_back(number, len(self._images))]
        return Frame(number, image, time.perf_counter() * 1000, time_ms=number * 1000 / FPS)

    def seek(self, number: int) -> None:
        """Go to a frame."""
        self._next = max(number, 0)

    def close(self) -> None:
        """Do nothing: no file is open."""


def there_and_back(number: int, count: int) -> int:
    """Return the index of the image of a frame where ``count`` images are played forwards and backwards for ever."""
    if count == 1:
        return 0
    place = number % (2 * count - 2)
    return min(place, 2 * count - 2 - place)


def render(hands: int, count: int = IMAGES, progress: Callable[[], object] = lambda: None) -> list[Image]:
    """Render ``count`` images (480, 640, 3) of one hand or two; HandvizError where nothing can be drawn."""
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    try:
        room, images = Room(studio), []
        for number in range(count):
            # At rest at both ends, where the motion turns.
            phase = (1 - math.cos(math.pi * number / max(count - 1, 1))) / 2
            images.append(room.frame_image([_arm(room, side, phase, hands) for side in SIDES[:hands]], number))
            progress()
        return images
    finally:
        studio.release()


def _arm(room: Room, side: Handedness, phase: float, hands: int) -> Surface:
    """Return an arm at a phase of the motion, 0 to 1."""
    outwards = (1.0 if side == "left" else -1.0) * (1 if hands > 1 else 0)
    shift = 0.0 if side == "right" else 0.7
    yaw, pitch, roll = (amount * math.sin(rate * phase + shift) for amount, rate in ((0.45, 5), (0.25, 7), (0.3, 6)))
    tilt = rotation_from_axis_angle(np.array([pitch, 0, 0])) @ rotation_from_axis_angle(np.array([0, yaw, 0]))
    wrist = rotation_from_axis_angle(np.array([0.2 * math.sin(4 * phase + shift), 0, 0]))
    centre_m = np.array([RADIUS_M * outwards + 0.02 * math.sin(6 * phase + shift), 0.02, DISTANCE_M])
    return room.arm(side, _angles(phase), wrist, rotation_about_z(roll) @ tilt, centre_m)


def _angles(phase: float) -> FloatArray:
    """Return joint angles (15, 3) in degrees: one gesture after the other, each blended into the next."""
    place = phase * (len(GESTURES) - 1)
    index = min(int(place), len(GESTURES) - 2)
    first, second = (gesture_angles(GESTURES[index + step]) for step in (0, 1))
    return first + smooth_step(place - index) * (second - first)


class Gate:
    """What frames pass: all while it is open, otherwise one for each ``let_one``; for several threads."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_open, self._permits = True, 0
        self.newest = -1
        """Number of the frame that passed last."""

    def open(self) -> None:
        """Let all frames pass from now on."""
        with self._condition:
            self._is_open = True
            self._condition.notify_all()

    def hold(self) -> None:
        """Let no frame pass but one for each ``let_one``."""
        with self._condition:
            self._is_open, self._permits = False, 0

    def let_one(self) -> None:
        """Let the next frame pass."""
        with self._condition:
            self._permits = 1
            self._condition.notify_all()

    def wait(self) -> None:
        """Wait until a frame may pass."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_open or self._permits > 0)
            self._permits = 0


class SteppedSource:
    """Another source behind a gate; closing it leaves the gate open."""

    def __init__(self, source: Source, gate: Gate) -> None:
        self._source, self._gate = source, gate
        self.name, self.is_live, self.nominal_fps = source.name, source.is_live, source.nominal_fps

    @property
    def description(self) -> str:
        """That of the source."""
        return self._source.description

    @property
    def frame_count(self) -> int | None:
        """That of the source."""
        return self._source.frame_count

    def read(self) -> Frame | None:
        """Wait for the gate, then return the next frame; the gate stays open for another if there is none."""
        self._gate.wait()
        frame = None
        try:
            frame = self._source.read()
        finally:
            if frame is None:
                self._gate.let_one()
            else:
                self._gate.newest = frame.number
        return frame

    def seek(self, number: int) -> None:
        """Seek in the source."""
        self._source.seek(number)

    def interrupt(self) -> None:
        """Open the gate, and interrupt a seek; from any thread."""
        self._gate.open()
        if isinstance(self._source, InterruptibleSource):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()
