"""Animated GIF, PNG, WebP and AVIF, whose frames Pillow composes and times."""

from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

from PIL import Image

from handviz.sources.clips import Shown, frame_rate
from handviz.sources.images import READ_ERRORS, check_pixels, rgb_from_image

PROBED_FRAMES = 8
"""So many durations tell the rate."""
FASTEST_MS, USUAL_MS = 10.0, 100.0
"""Browsers show frames that state no more than the first for the second."""


class AnimationReader:
    """Reader of an animated image; a damaged end ends it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with Image.open(path) as image:
            check_pixels(path, *image.size)
            self.count: int | None = frame_count(image)
            durations_ms = [_duration_ms(image, number) for number in range(min(self.count, PROBED_FRAMES))]
        self.fps = frame_rate(1000 * len(durations_ms) / sum(durations_ms))
        self.has_constant_rate = len(set(durations_ms)) == 1

    def frames(self, number: int, is_interrupted: Callable[[], bool]) -> Generator[Shown, None, None]:
        """Yield from this frame on, or from one on the way if interrupted; each frame is composed from those before."""
        time_ms = 0.0
        with Image.open(self._path) as image:
            for at in range(frame_count(image)):
                try:
                    duration_ms = _duration_ms(image, at)
                    shown = image.copy() if at >= number or is_interrupted() else None
                except READ_ERRORS:
                    self.count = at
                    return
                if shown is not None:
                    yield Shown(at, time_ms, partial(rgb_from_image, shown))
                time_ms += duration_ms

    def close(self) -> None:
        """Do nothing: the file is open while it is read."""


def frame_count(image: Image.Image) -> int:
    """Return the number of frames that are played: an animated PNG may have another image for older programs."""
    return getattr(image, "n_frames", 1) - getattr(image, "default_image", False)


def _duration_ms(image: Image.Image, number: int) -> float:
    image.seek(number + getattr(image, "default_image", False))
    image.load()
    stated = float(image.info.get("duration") or 0)
    return stated if stated > FASTEST_MS else USUAL_MS
