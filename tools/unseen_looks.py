"""Camera effects that no rendered training image has, applied to images of a moving hand with known ground truth."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, Frame, Handedness, Intrinsics
from handviz.data.synthetic import look
from handviz.data.synthetic.motion import HandMotion, MotionPoser, motion_frames
from handviz.data.synthetic.room import Room
from handviz.data.synthetic.stage import HEIGHT, WIDTH
from handviz.rendering.studio import open_studio

RATE_HZ = 12.5
Image = NDArray[np.float32]
"""(480, 640, 3) RGB, 0 to 1"""
LUMINANCE = np.array([0.30, 0.59, 0.11], np.float32)


def plain(frame_image: Image) -> Image:
    """Return the image as rendered, like those of training."""
    return frame_image


def stretched(frame_image: Image) -> Image:
    """Make pixels 1.43 times as wide as high: an image shown in a wrong format."""
    half = round(0.35 * WIDTH)
    return _resized(frame_image[:, WIDTH // 2 - half : WIDTH // 2 + half])


def squeezed(frame_image: Image) -> Image:
    """Make pixels 1.43 times as high as wide: a wide image in a narrow format."""
    half = round(0.35 * HEIGHT)
    return _resized(frame_image[HEIGHT // 2 - half : HEIGHT // 2 + half])


def thermal(frame_image: Image) -> Image:
    """Blur, and replace colours by the false colours of a thermal camera."""
    grey = cv2.GaussianBlur(frame_image @ LUMINANCE, (0, 0), 2)
    coloured = cv2.applyColorMap((np.clip(grey, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(coloured[..., ::-1] / np.float32(255), np.float32)


def haze(frame_image: Image) -> Image:
    """Blur, with little contrast."""
    return np.asarray(cv2.GaussianBlur(0.6 + 0.35 * (frame_image - 0.5), (0, 0), 2.0), np.float32)


def blue(frame_image: Image) -> Image:
    """Add a strong blue cast."""
    return np.asarray(frame_image * np.array([0.3, 0.6, 1.2]) + np.array([0, 0.02, 0.1]), np.float32)


def coarse(frame_image: Image) -> Image:
    """Reduce to 110 x 82 pixels."""
    return _resized(cv2.resize(frame_image, (110, 82), interpolation=cv2.INTER_AREA))


def hard(frame_image: Image) -> Image:
    """Convert to grey, nearly black and white."""
    grey = 1 / (1 + np.exp(-14 * (frame_image @ LUMINANCE - 0.5)))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def fisheye(frame_image: Image) -> Image:
    """Enlarge the centre: strong barrel distortion."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    x, y = columns / (WIDTH / 2) - 1, (rows - HEIGHT / 2) / (WIDTH / 2)
    factor = (1 + 0.55 * (x**2 + y**2)) / 1.25
    map_x, map_y = (x * factor + 1) * (WIDTH / 2), y * factor * (WIDTH / 2) + HEIGHT / 2
    return np.asarray(cv2.remap(frame_image, map_x, map_y, cv2.INTER_LINEAR), np.float32)


def _resized(frame_image: NDArray[np.generic]) -> Image:
    return np.asarray(cv2.resize(np.asarray(frame_image, np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))


LOOKS: Mapping[str, Callable[[Image], Image]] = MappingProxyType(
    {one.__name__: one for one in (plain, stretched, squeezed, thermal, haze, blue, coarse, hard, fisheye)}
)


@dataclass(frozen=True, eq=False)
class TrueClip:
    """Images of one moving hand, and its true positions."""

    frames: tuple[Frame, ...]
    keypoints_m: FloatArray
    """(F, 21, 3) in the camera's frame"""
    handedness: Handedness
    intrinsics: Intrinsics
    """of the pinhole camera before the look"""


def true_clip(name: str, seed: int, seconds: float) -> TrueClip:
    """Render a clip with an effect of ``LOOKS``; the same seed gives the same motion."""
    times_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    motion = HandMotion(seed, seconds, MotionPoser())
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    try:
        clip = Room(studio)
        frames = tuple(_looking(name, motion_frames(clip, motion, times_s)))
    finally:
        studio.release()
    keypoints_m = np.stack([motion.at(float(time_s)).keypoints_m for time_s in times_s])
    return TrueClip(frames, keypoints_m, motion.handedness, clip.intrinsics)


def _looking(name: str, images: Iterator[NDArray[np.uint8]]) -> Iterator[Frame]:
    for number, frame_image in enumerate(images):
        seen = np.clip(LOOKS[name](frame_image.astype(np.float32) / np.float32(255)), 0, 1)
        yield Frame(number, (seen * 255).astype(np.uint8), number * 1000 / RATE_HZ)
