"""Clips whose frames carry their number as a pattern, so that a test sees which one it was given."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, BITS = 160, 96, 10
BAR_PX = WIDTH // BITS


def pattern(number: int) -> NDArray[np.uint8]:
    """Draw (96, 160, 3): bars for the bits of the number, lowest at the left."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for bit in range(BITS):
        image[20:76, bit * BAR_PX : (bit + 1) * BAR_PX] = 255 * (number >> bit & 1)
    return image


def number_in(image: NDArray[np.uint8]) -> int:
    """Return the number that the bars encode."""
    bars = [image[30:66, bit * BAR_PX + 4 : (bit + 1) * BAR_PX - 4].mean() > 128 for bit in range(BITS)]
    return sum(int(is_set) << bit for bit, is_set in enumerate(bars))


def write_clip(path: Path, codec: str, count: int = 60, fps: float = 25.0) -> Path:
    """Write frames 0 to ``count`` - 1; "MPG2" has frames that are coded from later ones."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (WIDTH, HEIGHT))
    assert writer.isOpened(), f"OpenCV writes no {codec} here"
    for number in range(count):
        writer.write(pattern(number))
    writer.release()
    return path


def write_uneven_clip(path: Path, ticks: Sequence[int], fps: float = 50.0) -> Path:
    """Write a clip of variable rate: frame i is shown at ``ticks[i] / fps`` seconds."""
    options = [cv2.VIDEOWRITER_PROP_RAW_VIDEO, 1]
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, fps, (WIDTH, HEIGHT), options)
    assert writer.isOpened()
    for number, tick in enumerate(ticks):
        writer.set(cv2.VIDEOWRITER_PROP_PTS, float(tick))
        writer.write(cv2.imencode(".jpg", pattern(number))[1])
    writer.release()
    return path


def encode_clip(
    path: Path,
    codec: str = "libx264",
    *,
    ticks: Sequence[int] = range(60),
    fps: int = 25,
    pixels: str = "yuv420p",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    prepare: Callable[[av.VideoStream], None] = lambda _: None,
    **options: str,
) -> Path:
    """Write a clip by PyAV: frame i, of ``size`` (width, height), is shown at ``ticks[i] / fps`` seconds."""
    logs = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={**logs, **options})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        prepare(stream)
        for number, tick in enumerate(ticks):
            image = cv2.resize(pattern(number), size, interpolation=cv2.INTER_NEAREST)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pixels)
            frame.pts, frame.time_base = int(tick), Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
