"""Conversion of drawn light to a photograph: ambient occlusion, exposure, background, blur and noise."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CROP_SIZE, FloatArray
from handviz.rendering.studio_parts import SUPERSAMPLING, TARGET, StudioImage

GREY_FRACTION, WRONG_EXPOSURE_FRACTION = 0.03, 0.12
CREVICE_NEAR_M, CREVICE_FAR_M = 0.006, 0.05
"""Depth behind the surroundings at which a crevice is darkest, and beyond which it is another object far behind."""
LUMINANCE = np.array([0.30, 0.59, 0.11])


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the supersampled image at its true size."""
    height, width = image.shape[:2]
    size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def crevices(image: StudioImage, px_per_m: float, strength: float) -> NDArray[np.float32]:
    """Return the fraction (H, W) of the light that reaches a pixel: less where its surroundings are in front of it."""
    depth = np.ascontiguousarray(image.depth_m[::SUPERSAMPLING, ::SUPERSAMPLING])
    target = np.abs(image.label[::SUPERSAMPLING, ::SUPERSAMPLING].astype(np.int16) - round(255 * TARGET)) < 20
    if not target.any():
        return np.ones(depth.shape, np.float32)
    # Whatever lies far behind counts as just behind the hand, or gaps between fingers would brighten their sides.
    depth = np.minimum(depth, np.float32(depth[target].max() + 0.01))
    dark = np.zeros(depth.shape, np.float32)
    for radius_m, weight in ((0.004, 0.6), (0.011, 0.5)):
        side = 2 * max(1, round(radius_m * px_per_m)) + 1
        behind = depth - cv2.blur(depth, (side, side))
        fade = np.clip((CREVICE_FAR_M - behind) / CREVICE_FAR_M, 0, 1)
        dark += np.float32(weight) * np.clip(behind / CREVICE_NEAR_M, 0, 1) * fade
    return np.asarray(1 - strength * np.clip(dark, 0, 0.85), np.float32)


def exposure(image: StudioImage, rng: np.random.Generator) -> float:
    """Return a factor for the light that gives the hand a plausible brightness; dark skin stays darker than light."""
    part = image.label[::4, ::4] > round(255 * TARGET) - 20
    goal = rng.uniform(0.50, 0.74)
    if rng.random() < WRONG_EXPOSURE_FRACTION:
        goal = rng.uniform(0.2, 0.42) if rng.random() < 0.6 else rng.uniform(0.78, 0.9)
    if part.sum() < 20:
        return 1.0
    light = float((4 * (image.rgb[::4, ::4][part] / 255.0) ** 2 @ LUMINANCE).mean())
    shown = max(light, 1e-4) ** (1 / 2.2)
    # Cameras expose the whole image for grey, not the hand: half of the way to the goal.
    wanted = goal ** rng.uniform(0.6, 0.9) * shown ** rng.uniform(0.15, 0.35)
    return float(np.clip((wanted / shown) ** 2.2, 0.3, 6.0))


@dataclass(frozen=True)
class Curve:
    """A camera's response from light to brightness."""

    gain: float
    gamma: float

    def __call__(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map linear light (...) to brightness (...) in 0..1."""
        return np.minimum(self.gain * light, 1) ** np.float32(1 / self.gamma)


def sample_curve(rng: np.random.Generator, gain: float = 1.0) -> Curve:
    """Draw the response of any camera."""
    return Curve(gain, float(rng.uniform(1.9, 2.4)))


def develop(
    image: StudioImage,
    behind: NDArray[np.float32],
    curve: Curve,
    light_fraction: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Compose the drawing over a background (H, W, 3) and convert it to display brightness: (H, W, 3) in 0..1.

    ``light_fraction`` (H, W) darkens the drawing where it is below 1, as crevices do.
    """
    brightness = curve(np.asarray(4 * (np.arange(256, dtype=np.float32) / 255) ** 2, np.float32))
    # Nothing was drawn where the label is 0, and black stays black: the average is already weighted by cover.
    shown = _halved(np.asarray(cv2.LUT(np.ascontiguousarray(image.rgb), brightness), np.float32))
    if light_fraction is not None:
        # What light gets into a crevice has been reflected by skin, and is red.
        shown = np.stack([shown[..., i] * light_fraction ** np.float32(p) for i, p in enumerate((0.8, 1.1, 1.15))], 2)
    cover = _halved((image.label > 0).astype(np.float32))[..., None]
    return shown + behind * (1 - cover)


def _motion_blur(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    length = int(rng.integers(3, 12))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    reach = (length - 1) / 2
    ends = [
        tuple(round(float(reach + sign * reach * part)) for part in (np.cos(angle), np.sin(angle))) for sign in (-1, 1)
    ]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)


def _blurred(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Blur some images: most are sharp, a tail is coarse, out of focus or moved."""
    kind = rng.random()
    if kind < 0.15:
        size = int(rng.uniform(56, 170))
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.float32)
    elif kind < 0.45:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.3))), np.float32)
    if rng.random() < 0.08:
        image = _motion_blur(image, rng)
    return image


@lru_cache(maxsize=1)
def _sensor_noise() -> NDArray[np.float32]:
    """Return standard normal noise (320, 320, 3), always the same: images take random parts, as drawing is slow."""
    return np.random.default_rng(22).standard_normal((320, 320, 3), np.float32)


@dataclass(frozen=True, eq=False)
class Tone:
    """A camera's change of all colours alike."""

    contrast: float
    brightness: float
    tint: NDArray[np.float32]
    """(3,)"""
    is_grey: bool

    def __call__(self, colours: NDArray[np.float32]) -> FloatArray:
        """Map colours (..., 3) in 0..1 to (..., 3), which may lie a little beyond."""
        exposed = (colours - 0.5) * np.float32(self.contrast) + np.float32(0.5 + self.brightness)
        exposed = exposed + self.tint
        return np.repeat(exposed.mean(axis=-1, keepdims=True), 3, axis=-1) if self.is_grey else exposed


def _sample_tone(rng: np.random.Generator) -> Tone:
    contrast, brightness = rng.uniform(0.82, 1.2), rng.normal(0, 0.03)
    tint = rng.normal(0, 0.016, 3).astype(np.float32)
    return Tone(contrast, brightness, tint, rng.random() < GREY_FRACTION)


def camera_faults(image: NDArray[np.float32], rng: np.random.Generator) -> tuple[NDArray[np.uint8], Tone]:
    """Add blur, lost resolution, contrast, tint and noise to (224, 224, 3); returns uint8 and the change of colours."""
    image = _blurred(image, rng)
    tone = _sample_tone(rng)
    exposed = tone(image)
    level = rng.uniform(0, 0.012) if rng.random() < 0.85 else rng.uniform(0.012, 0.035)
    y, x = rng.integers(0, 320 - CROP_SIZE, 2)
    exposed = exposed + _sensor_noise()[y : y + CROP_SIZE, x : x + CROP_SIZE] * np.float32(level)
    return (np.clip(exposed, 0, 1) * 255).astype(np.uint8), tone
