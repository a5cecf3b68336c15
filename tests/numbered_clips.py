"""Clips whose frames carry their number as a pattern, so that a test sees which one it was given."""

from collections.abc import Sequence
from pathlib import Path

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
