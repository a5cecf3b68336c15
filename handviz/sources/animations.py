"""Animated GIF, PNG, WebP and AVIF, whose frames Pillow composes and times."""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from itertools import count, islice
from pathlib import Path

from PIL import Image

from handviz.sources.images import READ_ERRORS, check_pixels, opened_image, rgb_from_image
from handviz.sources.readers import Shown, frame_rate

PROBED_FRAMES = 8
"""So many durations tell the rate."""
FASTEST_MS, USUAL_MS = 10.0, 100.0
"""Browsers show frames that state no more than the first for the second."""


class AnimationReader:
    """Reader of an animated image; a damaged end ends it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with opened_image(path) as image:
            check_pixels(path, *image.size)
            self.count = _frame_count(image)
            durations_ms = list(islice(_durations_ms(image), PROBED_FRAMES)) or [USUAL_MS]
        self.fps = frame_rate(1000 * len(durations_ms) / sum(durations_ms))
        self.has_constant_rate = len(set(durations_ms)) == 1

    def frames(self, number: int, is_interrupted: Callable[[], bool]) -> Generator[Shown, None, None]:
        """Yield from this frame on, or from one on the way if interrupted; each frame is composed from those before."""
        time_ms, at = 0.0, 0
        with opened_image(self._path) as image:
            for at, duration_ms in enumerate(_durations_ms(image)):
                if at >= number or is_interrupted():
                    yield Shown(at, time_ms, partial(rgb_from_image, image.copy()))
                time_ms += duration_ms
            self.count = at + 1

    def close(self) -> None:
        """Do nothing: the file is open while it is read."""


def _frame_count(image: Image.Image) -> int | None:
    with suppress(*READ_ERRORS):
        # An animated PNG may have another image for older programs.
        return int(getattr(image, "n_frames", 1)) - int(getattr(image, "default_image", False))
    return None


def _durations_ms(image: Image.Image) -> Iterator[float]:
    """Compose one frame after the other in ``image``; yield how long each is shown."""
    with suppress(*READ_ERRORS):  # also EOFError at the end
        for number in count(int(getattr(image, "default_image", False))):
            image.seek(number)
            image.load()
            stated = float(image.info.get("duration") or 0)
            yield stated if stated > FASTEST_MS else USUAL_MS
