"""Random skin, cloth, light and camera faults."""

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.records import CROP_SIZE, FloatArray
from handviz.render.studio import SUPERSAMPLING, Lights, Material, StudioPicture

# sRGB of skin from very light to very dark (individual typology angle of about 60 to -50 degrees).
SKIN_TONES = np.array(
    [
        [0.96, 0.85, 0.77],
        [0.93, 0.77, 0.66],
        [0.87, 0.68, 0.55],
        [0.77, 0.57, 0.43],
        [0.63, 0.44, 0.32],
        [0.48, 0.32, 0.23],
        [0.34, 0.22, 0.16],
        [0.24, 0.155, 0.115],
    ]
)
PALM_TINT = np.array([0.90, 0.66, 0.56])
NAIL_TINT = np.array([0.95, 0.76, 0.72])


def linear_from_srgb(colour: FloatArray) -> FloatArray:
    """Approximate sRGB decoding."""
    return np.clip(colour, 0, 1) ** 2.2


def noise_texture() -> NDArray[np.uint8]:
    """(256, 256) noise of several octaves that repeats without a seam; always the same."""
    rng = np.random.default_rng(20)
    total = np.zeros((256, 256))
    for cells, weight in ((16, 1.0), (64, 0.7), (256, 0.5)):
        grid = np.tile(rng.uniform(0, 1, (cells, cells)), (3, 3))
        grown = cv2.resize(grid, (768, 768), interpolation=cv2.INTER_CUBIC)
        total += weight * grown[256:512, 256:512]
    total = (total - total.min()) / np.ptp(total)
    return (total * 255).astype(np.uint8)


def _colour(rng: np.random.Generator) -> FloatArray:
    return linear_from_srgb(rng.uniform(0.02, 0.98, 3) * rng.uniform(0.3, 1.0))


def skin_material(rng: np.random.Generator) -> Material:
    """Skin of any tone, palm and nails apart, with a sleeve's cloth."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    low = int(tone)
    back = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    back = back * (1 + rng.normal(0, 0.035, 3))
    paler = np.clip(rng.normal(0.35, 0.15) + 0.05 * tone, 0, 0.85)
    palm = back + (PALM_TINT * rng.uniform(0.85, 1.05) - back) * paler
    nail = rng.uniform(0, 1, 3) if rng.random() < 0.08 else back + (NAIL_TINT - back) * rng.uniform(0.2, 0.7)
    shown_back, shown_palm, shown_nail = (tuple(linear_from_srgb(colour)) for colour in (back, palm, nail))
    return Material(
        shown_back,
        shown_palm,
        shown_nail,
        cloth=tuple(_colour(rng)),
        cloth_second=tuple(_colour(rng)),
        cloth_stripes_per_m=float(rng.uniform(10, 150)) if rng.random() < 0.3 else 0.0,
        mottle=float(rng.uniform(0.3, 1.3)),
        gloss=float(rng.uniform(0, 0.22)),
        sleeve_thickness_m=float(rng.uniform(0.001, 0.012)),
        noise_shift=(*rng.uniform(0, 1, 2), float(rng.normal())),
    )


def glove_material(rng: np.random.Generator) -> Material:
    """A thin glove of one colour."""
    base, second = _colour(rng), _colour(rng)
    skin = skin_material(rng)
    palm = base if rng.random() < 0.5 else second
    return Material(tuple(base), tuple(palm), tuple(base), skin.cloth, skin.cloth_second, mottle=0.6, gloss=0.1)


def thing_material(rng: np.random.Generator) -> Material:
    """Any object; one in five is of the colour of skin, so that colour alone never tells a hand."""
    if rng.random() < 0.2:
        return skin_material(rng)
    base, second = _colour(rng), _colour(rng)
    return Material(
        tuple(base), tuple(second), tuple(base), tuple(base), tuple(second),
        mottle=float(rng.uniform(0, 1.5)),
        gloss=float(rng.uniform(0, 0.7)),
        noise_shift=tuple(rng.uniform(0, 1, 3)),
    )  # fmt: skip


def sample_lights(rng: np.random.Generator) -> Lights:
    """From dim and flat to hard side light, with a tint."""
    directions = rng.normal(size=(2, 3))
    directions[:, 2] = -np.abs(directions[:, 2]) * rng.uniform(0.1, 1.6)
    directions[:, 1] -= rng.uniform(0, 1.2)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tint = 1 + rng.normal(0, 0.09, 3)
    strength = np.array([rng.uniform(0.15, 1.2), rng.choice([0.0, 1.0]) * rng.uniform(0, 0.5)])
    ambient = rng.uniform(0.12, 0.7) * (1 + rng.normal(0, 0.08, 3))
    return Lights(
        directions=directions,
        colours=np.clip(strength[:, None] * tint * (1 + rng.normal(0, 0.04, (2, 3))), 0, 2),
        ambient_above=ambient,
        ambient_below=ambient * rng.uniform(0.35, 0.9) * (1 + rng.normal(0, 0.06, 3)),
    )


def develop(picture: StudioPicture, behind: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Lay the drawing over a background (H, W, 3) and take it to display brightness: (H, W, 3) in 0..1."""
    brightness = (np.arange(256, dtype=np.float32) / 255) ** np.float32(1 / rng.uniform(1.9, 2.4))
    # Nothing was drawn where the label is 0, and black stays black: the average is already weighted by cover.
    shown = _halved(np.asarray(cv2.LUT(np.ascontiguousarray(picture.rgb), brightness), np.float32))
    cover = _halved((picture.label > 0).astype(np.float32))[..., None]
    return shown + behind * (1 - cover)


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The supersampled picture at its true size."""
    height, width = image.shape[:2]
    size = (width // SUPERSAMPLING, height // SUPERSAMPLING)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


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


def camera_faults(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, lost resolution, exposure, tint, noise; in and out (224, 224, 3), out as uint8."""
    if rng.random() < 0.35:
        size = int(rng.uniform(48, 160))
        small = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        image = np.asarray(cv2.resize(small, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR), np.float32)
    blur = rng.random()
    if blur < 0.25:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 2.0))), np.float32)
    elif blur < 0.38:
        image = _motion_blur(image, rng)
    contrast, brightness = rng.uniform(0.7, 1.25), rng.normal(0, 0.06)
    exposed: FloatArray = (image - 0.5) * contrast + 0.5 + brightness + rng.normal(0, 0.03, 3)
    if rng.random() < 0.06:
        exposed = np.repeat(exposed.mean(axis=2, keepdims=True), 3, axis=2)
    exposed = exposed + rng.standard_normal(exposed.shape, np.float32) * np.float32(rng.uniform(0, 0.035))
    return (np.clip(exposed, 0, 1) * 255).astype(np.uint8)
