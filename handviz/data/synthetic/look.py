"""Random skin, cloth, things and light."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.data.synthetic import patterns
from handviz.hand_models.open_hand import load_open_hand
from handviz.rendering.studio_parts import Lights, Material, Textures

SIZE = 512
CORNER_M, SIDE_M = np.array([-0.11, -0.22]), 0.25
"""The square of (x, y) at rest that the image covers; studio.frag.glsl has the same numbers."""
# Palm lines as points between the wrist (0, 0), the index's knuckle (1, 1) and the little finger's (-1, 1).
PALM_LINES = (
    ((1.15, 0.72), (0.7, 0.68), (0.2, 0.45), (0.05, 0.1)),
    ((1.15, 0.74), (0.5, 0.72), (-0.2, 0.6), (-0.8, 0.4)),
    ((-1.25, 0.78), (-0.5, 0.86), (0.2, 0.95), (0.55, 1.08)),
)
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
PRINT_COUNT = 48
HARD_LIGHT_FRACTION, SHADOW_FRACTION = 0.12, 0.85
PALM_TINT = np.array([0.90, 0.66, 0.56])
NAIL_TINT = np.array([0.95, 0.76, 0.72])


# Palm lines, finger folds and redness of the knuckles, drawn once over the flat rest hand.


def _px(points_m: FloatArray) -> FloatArray:
    return (points_m[..., :2] - CORNER_M) / SIDE_M * SIZE


def _line(image: NDArray[np.uint8], points: FloatArray, width: int, strength: int) -> None:
    smooth = cv2.resize(points.astype(np.float32)[:, None], (1, 32), interpolation=cv2.INTER_LINEAR)
    cv2.polylines(image, [(smooth * 8).astype(np.int32)], False, strength, width, cv2.LINE_AA, 3)


def _fold(image: NDArray[np.uint8], centre: FloatArray, along: FloatArray, half: float, strength: int) -> None:
    """Draw a slightly curved fold across a finger."""
    across = np.array([-along[1], along[0]])
    points = np.array([centre + across * half * s + along * 1.3 * (s * s) for s in np.linspace(-1, 1, 7)])
    _line(image, points, 1, strength)


def skin_creases() -> NDArray[np.uint8]:
    """Draw (512, 512, 3): lines of the palm, folds of the back, redness of knuckles and fingertips."""
    template = load_open_hand()
    joints = _px(template.keypoint_regressor @ template.vertices_m)
    palm, back, red = (np.zeros((SIZE, SIZE), np.uint8) for _ in range(3))
    wrist, index, little = joints[0], joints[5], joints[17]
    up, aside = (index + little) / 2 - wrist, (index - little) / 2
    for line in PALM_LINES:
        _line(palm, np.array([wrist + x * aside + y * up for x, y in line]), 2, 200)
    for finger in range(5):
        for link in (1, 2, 3):
            joint = 1 + 4 * finger + link - 1
            along = joints[joint + 1] - joints[joint]
            along = along / np.linalg.norm(along)
            for shift in (-2.5, 1.5) if link > 1 else (24.0, 27.0):
                _fold(palm, joints[joint] + along * shift, along, 15, 210)
            for shift in (-5.0, -2.0, 1.0, 4.5):
                _fold(back, joints[joint] + along * shift, along, 10 if link < 3 else 8, 150 if link > 1 else 70)
            cv2.circle(red, joints[joint].astype(int).tolist(), 13, 150, -1)
        cv2.circle(red, joints[4 + 4 * finger].astype(int).tolist(), 16, 220, -1)
    for shift in (4.0, 9.0):
        _fold(palm, wrist + np.array([0, shift]), np.array([0.0, -1.0]), 45, 140)
    soft = [cv2.GaussianBlur(image, (0, 0), sigma) for image, sigma in ((palm, 1.1), (back, 1.1), (red, 7))]
    return np.asarray(np.stack(soft, axis=-1), np.uint8)


def linear_from_srgb(colour: FloatArray) -> FloatArray:
    """Decode sRGB approximately."""
    return np.clip(colour, 0, 1) ** 2.2


def noise_texture() -> NDArray[np.uint8]:
    """Return noise (256, 256) of several octaves that repeats without a seam; always the same."""
    rng = np.random.default_rng(20)
    total = np.zeros((256, 256))
    for cells, weight in ((16, 1.0), (64, 0.7), (256, 0.5)):
        grid = np.tile(rng.uniform(0, 1, (cells, cells)), (3, 3))
        grown = cv2.resize(grid, (768, 768), interpolation=cv2.INTER_CUBIC)
        total += weight * grown[256:512, 256:512]
    total = (total - total.min()) / np.ptp(total)
    return (total * 255).astype(np.uint8)


def textures() -> Textures:
    """Return the studio's textures of skin, cloth and objects."""
    return Textures(noise_texture(), skin_creases(), patterns.prints(PRINT_COUNT))


def _colour(rng: np.random.Generator) -> FloatArray:
    return linear_from_srgb(np.array(patterns.colour(rng)) / 255)


def skin_material(rng: np.random.Generator) -> Material:
    """Draw skin of any tone, palm and nails in their own colours, with a sleeve's cloth."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1.001)
    low = int(tone)
    back = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    back = back * (1 + rng.normal(0, 0.024, 3))
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
        mottle=float(rng.uniform(0.3, 1.2)),
        gloss=float(rng.uniform(0, 0.16)),
        sleeve_thickness_m=float(rng.uniform(0.001, 0.012)),
        noise_shift=(*rng.uniform(0, 1, 2), float(rng.normal())),
        crease_depth=float(rng.uniform(0.2, 1.0)),
        print_layer=int(rng.integers(0, PRINT_COUNT)) if rng.random() < 0.5 else -1,
    )


def glove_material(rng: np.random.Generator) -> Material:
    """Draw a thin glove of one colour."""
    base, second = _colour(rng), _colour(rng)
    skin = skin_material(rng)
    palm = base if rng.random() < 0.5 else second
    return Material(tuple(base), tuple(palm), tuple(base), skin.cloth, skin.cloth_second, mottle=0.6, gloss=0.1)


def thing_material(rng: np.random.Generator) -> Material:
    """Draw any object, mostly printed; one in ten has the colour of skin, so that colour alone never shows a hand."""
    if rng.random() < 0.1:
        return replace(skin_material(rng), crease_depth=0.0, print_layer=-1)
    base, second = _colour(rng), _colour(rng)
    return Material(
        tuple(base), tuple(second), tuple(base), tuple(base), tuple(second),
        mottle=float(rng.uniform(0, 0.8)),
        gloss=float(rng.uniform(0, 0.6)),
        noise_shift=tuple(rng.uniform(0, 1, 3)),
        print_layer=int(rng.integers(0, PRINT_COUNT)) if rng.random() < 0.65 else -1,
        print_is_body=True,
        print_repeats=(float(rng.choice([1, 1, 2, 3])), float(rng.choice([0.5, 1, 1, 2]))),
    )  # fmt: skip


def metal_material(rng: np.random.Generator) -> Material:
    """Draw gold, silver, or a dark strap."""
    tones = ((0.95, 0.74, 0.38), (0.82, 0.82, 0.84), (0.1, 0.1, 0.11), (0.3, 0.17, 0.1))
    tone = tuple(linear_from_srgb(np.array(tones[rng.integers(0, len(tones))]) * rng.uniform(0.75, 1.05)))
    return Material(tone, tone, tone, tone, tone, mottle=0.3, gloss=float(rng.uniform(0.3, 1.4)))


def sample_lights(rng: np.random.Generator, centre_m: FloatArray) -> Lights:
    """Draw lights, mostly bright and soft, one in eight dim or hard, most with shadows, at the hand's ``centre_m``
    (3,)."""
    directions = rng.normal(size=(2, 3)) * [0.8, 0.5, 0.5]
    directions[:, 2] = -np.abs(directions[:, 2]) - rng.uniform(0.0, 0.9)
    directions[:, 1] -= rng.uniform(0.1, 1.3)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    hard = rng.random() < HARD_LIGHT_FRACTION
    tint = 1 + rng.normal(0, 0.045, 3)
    first, second = (rng.uniform(0.8, 1.4), 0.0) if hard else (rng.uniform(0.35, 1.0), rng.uniform(0, 0.35))
    ambient = rng.uniform(0.06, 0.22) if hard else rng.uniform(0.3, 0.65)
    above = ambient * (1 + rng.normal(0, 0.05, 3))
    softness_m = rng.uniform(0.0008, 0.003) if hard else rng.uniform(0.0015, 0.009)
    return Lights(
        directions=directions,
        colours=np.clip(np.array([[first], [second]]) * tint * (1 + rng.normal(0, 0.03, (2, 3))), 0, 2),
        ambient_above=above,
        ambient_below=above * rng.uniform(0.45, 0.9) * (1 + rng.normal(0, 0.05, 3)),
        shadow_strength=float(rng.uniform(0.75, 1.0)) if rng.random() < SHADOW_FRACTION else 0.0,
        shadow_softness_m=float(softness_m),
        shadow_centre_m=tuple(centre_m),
    )
