"""Images behind the hand: rooms, gardens, cloth, paper, people; drawn in 2D, as most are out of focus anyway."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import CROP_SIZE
from handviz.data.synthetic import patterns
from handviz.data.synthetic.patterns import Image, colour, near

DRAWN_SIZE = 352
BANK_SIZE = 64
SKIN = np.array([[236, 200, 176], [214, 168, 136], [176, 126, 94], [120, 80, 58], [76, 50, 38]])


def _paste(image: Image, texture: Image, corners: NDArray[np.floating]) -> None:
    """Put a square texture (S, S, 3) on a quadrangle (4, 2) of the image."""
    size = texture.shape[0]
    square = np.array([[0, 0], [size, 0], [size, size], [0, size]], np.float32)
    warp = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    shape = image.shape[1::-1]
    cv2.warpPerspective(texture, warp, shape, dst=image, borderMode=cv2.BORDER_TRANSPARENT, flags=cv2.INTER_LINEAR)


def _floor(rng: np.random.Generator, image: Image) -> None:
    size = len(image)
    y, tilt = rng.uniform(0.35, 0.95) * size, rng.normal(0, 0.12) * size
    texture = (patterns.wood, patterns.weave, patterns.plain, patterns.leaves)[rng.integers(0, 4)](rng, 192)
    far = size * rng.uniform(0.0, 0.8)
    corners = np.array([[0, y - tilt], [size, y + tilt], [size + far, size * 1.5], [-far, size * 1.5]])
    _paste(image, texture, corners)
    if rng.random() < 0.5:
        skirting = near(rng, (200, 198, 195), 0.2)
        cv2.line(image, (0, int(y - tilt)), (size, int(y + tilt)), skirting, int(rng.integers(2, 9)), cv2.LINE_AA)


def _window(rng: np.random.Generator, image: Image) -> None:
    size = len(image)
    x, y = rng.integers(-40, size - 60, 2).tolist()
    width, height = rng.integers(50, 200, 2).tolist()
    view = patterns.leaves(rng, 128) if rng.random() < 0.35 else np.full((128, 128, 3), 255, np.uint8)
    light = np.clip(view.astype(int) + int(rng.integers(-20, 90)), 0, 255).astype(np.uint8)
    _paste(image, light, np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]))
    frame, thick = near(rng, (215, 213, 208), 0.2), int(rng.integers(3, 11))
    cv2.rectangle(image, (x, y), (x + width, y + height), frame, thick)
    cv2.line(image, (x + width // 2, y), (x + width // 2, y + height), frame, thick // 2 + 1)


def _shelf(rng: np.random.Generator, image: Image) -> None:
    size = len(image)
    y, height = int(rng.integers(40, size)), int(rng.integers(25, 80))
    x = int(rng.integers(-20, size // 2))
    end = x + int(rng.integers(80, size))
    cv2.rectangle(image, (x, y), (end, y + 5), near(rng, (150, 120, 90), 0.4), -1)
    while x < end:
        width = int(rng.integers(5, 40))
        tall = int(height * rng.uniform(0.4, 1))
        tone = colour(rng)
        cv2.rectangle(image, (x, y - tall), (x + width, y), tone, -1)
        cv2.line(image, (x + width, y - tall), (x + width, y), near(rng, tone, 0.3), 1)
        x += width + int(rng.integers(0, 10))


def _bar(rng: np.random.Generator, image: Image) -> None:
    """Draw an aluminium profile: light and dark lines side by side along its length."""
    size = len(image)
    thick, angle = rng.uniform(6, 36), rng.choice([0, math.pi / 2]) + rng.normal(0, 0.35)
    along = np.array([math.cos(angle), math.sin(angle)])
    across = np.array([-along[1], along[0]])
    centre = rng.uniform(0, size, 2)
    base = rng.uniform(110, 215)
    for part in np.linspace(-0.5, 0.5, 7):
        light = base * rng.uniform(0.45, 1.2)
        ends = [(centre + across * part * thick + along * sign * size * 1.5).astype(int).tolist() for sign in (-1, 1)]
        tone = tuple(float(np.clip(light * tint, 0, 255)) for tint in (0.98, 1.0, 1.02))
        cv2.line(image, ends[0], ends[1], tone, int(thick / 6) + 1, cv2.LINE_AA)


def _box(rng: np.random.Generator, image: Image) -> None:
    """Draw a screen, a crate, a sheet of paper or a table top in any position."""
    size = len(image)
    centre, half = rng.uniform(0, size, 2), rng.uniform(15, 130, 2)
    angle = rng.normal(0, 0.5)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half) @ rotation.T + centre + rng.normal(0, 8, (4, 2))
    kinds = (patterns.page, patterns.plain, patterns.plain, patterns.packaging, patterns.wood, patterns.weave)
    _paste(image, kinds[rng.integers(0, len(kinds))](rng, 128), corners)


def _cable(rng: np.random.Generator, image: Image) -> None:
    size = len(image)
    points = np.cumsum(rng.normal(0, 40, (6, 2)), axis=0) + rng.uniform(0, size, 2)
    smooth = cv2.resize(points.astype(np.float32)[:, None], (1, 40), interpolation=cv2.INTER_CUBIC)
    tone = colour(rng, value=rng.uniform(0.05, 0.5))
    cv2.polylines(image, [smooth.astype(np.int32)], False, tone, int(rng.integers(1, 6)), cv2.LINE_AA)


def _face(rng: np.random.Generator, image: Image, centre: NDArray[np.floating], radius: float) -> None:
    skin = near(rng, tuple(SKIN[rng.integers(0, len(SKIN))]), 0.06)
    hair = near(rng, ((40, 30, 26), (92, 64, 44), (170, 140, 100), (150, 148, 145))[rng.integers(0, 4)], 0.15)
    x, y = centre
    cv2.ellipse(image, (int(x), int(y - radius * 0.25)), (int(radius), int(radius * 1.2)), 0, 0, 360, hair, -1)
    cv2.rectangle(
        image,
        (int(x - radius * 0.4), int(y + radius * 0.6)),
        (int(x + radius * 0.4), int(y + radius * 1.8)),
        near(rng, skin, 0.1),
        -1,
    )
    cv2.ellipse(image, (int(x), int(y)), (int(radius * 0.82), int(radius * 1.12)), 0, 0, 360, skin, -1, cv2.LINE_AA)
    dark = near(rng, tuple(int(part * 0.35) for part in skin), 0.1)
    for side in (-0.33, 0.33):
        eye = (int(x + side * radius), int(y - 0.15 * radius))
        cv2.ellipse(image, eye, (max(1, int(radius * 0.14)), max(1, int(radius * 0.07))), 0, 0, 360, dark, -1)
        brow = (eye[0], int(eye[1] - radius * 0.2))
        cv2.ellipse(image, brow, (max(1, int(radius * 0.2)), 1), 0, 180, 360, hair, 2)
    shade = near(rng, tuple(int(part * 0.8) for part in skin), 0.05)
    cv2.ellipse(image, (int(x), int(y + radius * 0.2)), (max(1, int(radius * 0.12)), 2), 0, 0, 360, shade, -1)
    lips = (int(skin[0] * 0.85), int(skin[1] * 0.6), int(skin[2] * 0.6))
    cv2.ellipse(image, (int(x), int(y + radius * 0.55)), (max(1, int(radius * 0.3)), 3), 0, 0, 360, lips, -1)


def _person(rng: np.random.Generator, image: Image) -> None:
    """Draw shoulders in cloth, and a face where there is room for one."""
    size = len(image)
    half = rng.uniform(0.25, 0.6) * size
    centre = np.array([rng.uniform(0.1, 0.9), rng.uniform(-0.1, 0.75)]) * size
    cloth = cv2.resize(patterns.CLOTHS[rng.integers(0, len(patterns.CLOTHS))](rng, 224), (size, size))
    outline = np.array([[-0.3, 0], [0.3, 0], [0.8, 0.18], [1, 0.5], [1.05, 4], [-1.05, 4], [-1, 0.5], [-0.8, 0.18]])
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [(outline * half + centre).astype(np.int32)], 255)
    radius = half * rng.uniform(0.36, 0.46)
    _face(rng, image, centre - np.array([0, radius * 1.25]), radius)
    cv2.copyTo(np.asarray(cloth, np.uint8), mask, image)


def room(rng: np.random.Generator, size: int) -> Image:
    """Draw a wall with objects before it, and in a third of them a person."""
    image = np.ascontiguousarray(patterns.plain(rng, size))
    for part, often, most in (
        (_window, 0.35, 2),
        (_floor, 0.6, 1),
        (_shelf, 0.3, 2),
        (_box, 0.75, 5),
        (_bar, 0.3, 3),
        (_cable, 0.25, 3),
        (_person, 0.35, 1),
    ):
        if rng.random() < often:
            for _ in range(rng.integers(1, most + 1)):
                part(rng, image)
    return image


KINDS = (
    (room, 0.52),
    (patterns.leaves, 0.12),
    (patterns.flowers, 0.06),
    (patterns.weave, 0.06),
    (patterns.stripes, 0.03),
    (patterns.page, 0.04),
    (patterns.wood, 0.05),
    (patterns.bokeh, 0.06),
    (patterns.plain, 0.06),
)


def draw(rng: np.random.Generator) -> Image:
    """Draw one large background (352, 352, 3)."""
    kind = KINDS[rng.choice(len(KINDS), p=[fraction for _, fraction in KINDS])][0]
    image = np.ascontiguousarray(kind(rng, DRAWN_SIZE))
    if kind is not room and rng.random() < 0.35:
        for _ in range(rng.integers(1, 4)):
            (_box, _bar, _person)[rng.integers(0, 3)](rng, image)
    return image


class BackgroundBank:
    """Backgrounds of one shard, each drawn when first wanted and cut in several ways."""

    def __init__(self, seed: int, size: int = BANK_SIZE) -> None:
        self._seed, self._size = seed, size
        self._images: dict[int, Image] = {}

    def take(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a random part (224, 224, 3) in 0..1, rotated, mirrored, in other colours, sometimes out of focus."""
        number = int(rng.integers(0, self._size))
        if number not in self._images:
            self._images[number] = draw(np.random.default_rng([self._seed, number]))
        image = self._images[number]
        zoom, angle = rng.uniform(0.75, 1.7), rng.uniform(-180, 180) if rng.random() < 0.5 else rng.normal(0, 20)
        centre = (DRAWN_SIZE / 2, DRAWN_SIZE / 2)
        affine = np.asarray(cv2.getRotationMatrix2D(centre, float(angle), float(zoom)), np.float64)
        affine[:, 2] += CROP_SIZE / 2 - DRAWN_SIZE / 2 + rng.uniform(-55, 55, 2)
        size = (CROP_SIZE, CROP_SIZE)
        cut = cv2.warpAffine(image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        if rng.random() < 0.5:
            cut = cv2.flip(cut, 1)
        if rng.random() < 0.4:
            cut = cv2.GaussianBlur(cut, (0, 0), float(rng.uniform(0.6, 4)))
        tint = rng.uniform(0.7, 1.25) * (1 + rng.normal(0, 0.05, 3))
        return np.asarray(np.clip(cut * (tint / 255).astype(np.float32), 0, 1), np.float32)
