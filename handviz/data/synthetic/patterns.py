"""Flat textures of cloth, paper, wood, leaves and walls: for backgrounds, and printed on objects."""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(H, W, 3) RGB"""
LETTERS = "AEIOUNRSTLMDCB aeiounrstlmdcbk0123456789"


def colour(rng: np.random.Generator, saturation: float | None = None, value: float | None = None) -> tuple[int, ...]:
    """Draw an sRGB colour in 0..255, mostly of low saturation, as rooms and clothes are."""
    hue = rng.random() * 6
    s = rng.beta(1.0, 4.2) if saturation is None else saturation
    v = rng.beta(1.7, 1.3) if value is None else value
    wheel = np.clip(np.abs((hue - np.array([0.0, 2, 4]) + 3) % 6 - 3) * -1 + 2, 0, 1)
    return tuple(int(part) for part in 255 * v * (1 - s + s * wheel))


def near(rng: np.random.Generator, base: tuple[int, ...], spread: float) -> tuple[int, ...]:
    """Draw a colour close to another."""
    return tuple(int(part) for part in np.clip(np.array(base) * (1 + rng.normal(0, spread)) + rng.normal(0, 6), 0, 255))


def fractal(rng: np.random.Generator, size: int, cells: tuple[int, ...] = (3, 9, 27, 81)) -> NDArray[np.float32]:
    """Return noise (size, size) in about 0..1 whose finer octaves are weaker."""
    total = np.zeros((size, size), np.float32)
    weight = 1.0
    for count in cells:
        grid = rng.random((count, count), np.float32) - np.float32(0.5)
        total += np.float32(weight) * cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
        weight *= 0.6
    return total * np.float32(0.8) + np.float32(0.5)


def ramp(values: NDArray[np.float32], colours: list[tuple[int, ...]]) -> Image:
    """Map values (H, W) in 0..1 to colours between the given ones."""
    positions = np.linspace(0, 255, len(colours))
    table = np.stack([np.interp(np.arange(256), positions, [c[i] for c in colours]) for i in range(3)], axis=1)
    return table.astype(np.uint8)[np.clip(values * 255, 0, 255).astype(np.uint8)]


def plain(rng: np.random.Generator, size: int) -> Image:
    """Draw a wall: one colour, a slow change of brightness, faint stains."""
    base = colour(rng)
    x, y = np.meshgrid(np.linspace(-0.5, 0.5, size), np.linspace(-0.5, 0.5, size))
    angle, slope = rng.uniform(0, 2 * math.pi), rng.uniform(0, 0.5)
    shade = 1 + slope * (x * math.cos(angle) + y * math.sin(angle))
    shade = shade + rng.uniform(0, 0.25) * (fractal(rng, size) - 0.5)
    return np.clip(np.array(base) * shade[..., None], 0, 255).astype(np.uint8)


def leaves(rng: np.random.Generator, size: int) -> Image:
    """Draw bushes, or leaves on the ground."""
    autumn = rng.random() < 0.4
    hue = (np.array([0.62, 0.45, 0.3]) if autumn else np.array([0.42, 0.52, 0.24])) * 255
    tones = [tuple(int(part) for part in hue * light) for light in (0.12, 0.45, 0.85, 1.25)]
    if rng.random() < 0.5:
        tones.append((225, 232, 230))
    image = np.ascontiguousarray(ramp(fractal(rng, size, (4, 13, 41, 100)), tones))
    count = int(rng.integers(60, 260))
    centres = rng.integers(0, size, (count, 2)).tolist()
    axes = (rng.uniform(0.5, 1, (count, 2)) * rng.uniform(5, 16) * [1, 0.45]).astype(int).tolist()
    for centre, axis in zip(centres, axes, strict=True):
        tint = np.clip(hue * rng.uniform(0.3, 1.7) + rng.normal(0, 12, 3), 0, 255)
        cv2.ellipse(image, centre, axis, float(rng.uniform(0, 180)), 0, 360, tint.tolist(), -1, cv2.LINE_AA)
    return image


def wood(rng: np.random.Generator, size: int) -> Image:
    """Draw grain along x, sometimes in boards."""
    grid = rng.random((int(rng.integers(30, 140)), 5), np.float32)
    grain = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC) * 0.6 + fractal(rng, size) * 0.4
    light = rng.uniform(0.45, 1.0)
    tones = [tuple(int(part * light) for part in tone) for tone in ((120, 84, 55), (214, 172, 124))]
    image = np.ascontiguousarray(ramp(grain.astype(np.float32), [near(rng, tone, 0.08) for tone in tones]))
    if rng.random() < 0.5:
        for y in range(0, size, int(rng.integers(30, 90))):
            cv2.line(image, (0, y), (size, y), near(rng, (70, 50, 35), 0.2), 1)
    return image


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), int(rng.integers(3, 9))))


def page(rng: np.random.Generator, size: int) -> Image:
    """Draw printed paper: lines of words, a heading, small images."""
    paper = int(rng.integers(205, 253))
    image = np.full((size, size, 3), near(rng, (paper, paper, paper), 0.02), np.uint8)
    ink = colour(rng, value=rng.uniform(0.05, 0.4))
    step = int(rng.integers(6, 18))
    for y in range(step * 2, size, step):
        x = int(rng.integers(4, 30))
        while x < size - 10 and rng.random() < 0.93:
            length = int(rng.integers(1, 6)) * step // 2
            cv2.line(image, (x, y), (x + length, y), ink, max(1, step // 4))
            x += length + step // 2
    for _ in range(rng.integers(0, 5)):
        x, y = rng.integers(0, size - 60, 2).tolist()
        cv2.rectangle(image, (x, y), (x + int(rng.integers(20, 90)), y + int(rng.integers(20, 70))), colour(rng), -1)
    return image


def packaging(rng: np.random.Generator, size: int) -> Image:
    """Draw a label as on a can: bands of colour, big and small letters, discs."""
    image = np.full((size, size, 3), colour(rng, saturation=rng.beta(1.3, 1.5)), np.uint8)
    for _ in range(rng.integers(1, 4)):
        y = int(rng.integers(0, size))
        cv2.rectangle(image, (0, y), (size, y + int(rng.integers(8, size // 2))), colour(rng, rng.random()), -1)
    for _ in range(rng.integers(0, 3)):
        centre, radius = rng.integers(0, size, 2).tolist(), int(rng.integers(size // 20, size // 4))
        cv2.circle(image, centre, radius, colour(rng), int(rng.choice([-1, 3])), cv2.LINE_AA)
    for _ in range(rng.integers(1, 6)):
        position = (int(rng.integers(-10, size // 2)), int(rng.integers(10, size)))
        scale = float(rng.uniform(0.25, 1.6)) * size / 160
        font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX]))
        cv2.putText(image, _word(rng), position, font, scale, colour(rng), max(1, int(2 * scale)), cv2.LINE_AA)
    return image


def flowers(rng: np.random.Generator, size: int) -> Image:
    """Draw printed cloth: small flowers or dots in a few colours."""
    image = np.full((size, size, 3), colour(rng), np.uint8)
    tones = [colour(rng, saturation=rng.uniform(0.1, 0.7)) for _ in range(3)]
    radius = rng.uniform(2, 9)
    petals = int(rng.choice([0, 4, 5]))
    for x, y in rng.uniform(0, size, (int(size * size / (radius * radius * rng.uniform(14, 60))), 2)):
        tone, first_angle = tones[rng.integers(0, 3)], rng.uniform(0, 6.28)
        for petal in range(max(petals, 1)):
            angle = first_angle + 6.283 * petal / max(petals, 1)
            position = (int(x + radius * 0.7 * math.cos(angle)), int(y + radius * 0.7 * math.sin(angle)))
            cv2.circle(image, position, max(1, int(radius * 0.5)), tone, -1)
    return image


def stripes(rng: np.random.Generator, size: int) -> Image:
    """Draw stripes or checks of two or three near colours, as on shirts."""
    first, second = colour(rng), colour(rng)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    angle, period = rng.uniform(0, math.pi), float(np.exp(rng.uniform(math.log(4), math.log(60))))
    phase = (x * math.cos(angle) + y * math.sin(angle)) / period
    wave = (phase % 1 < rng.uniform(0.1, 0.6)).astype(np.float64)
    if rng.random() < 0.4:
        across = (y * math.cos(angle) - x * math.sin(angle)) / period
        wave = (wave + (across % 1 < rng.uniform(0.1, 0.6))) / 2
    return ramp(np.asarray(wave, np.float32), [first, second])


def weave(rng: np.random.Generator, size: int) -> Image:
    """Draw plain cloth or carpet: fine grain and soft folds."""
    base = np.array(colour(rng))
    grain = 1 + rng.uniform(0.05, 0.35) * rng.standard_normal((size, size), np.float32)
    folds = fractal(rng, size, (2, 5, 11))
    light = np.asarray(cv2.GaussianBlur(grain, (0, 0), 0.7) * (0.65 + 0.7 * folds))
    return np.clip(base * light[..., None], 0, 255).astype(np.uint8)


def bokeh(rng: np.random.Generator, size: int) -> Image:
    """Draw distant objects out of focus: discs over a soft gradient."""
    image = np.ascontiguousarray(ramp(fractal(rng, size, (2, 4, 7)), [colour(rng) for _ in range(3)]))
    for _ in range(rng.integers(5, 40)):
        layer = image.copy()
        cv2.circle(layer, rng.integers(0, size, 2).tolist(), int(rng.integers(6, 45)), colour(rng), -1, cv2.LINE_AA)
        image = np.asarray(cv2.addWeighted(image, 0.6, layer, 0.4, 0), np.uint8)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(1, 6))), np.uint8)


CLOTHS: tuple[Callable[[np.random.Generator, int], Image], ...] = (flowers, stripes, weave, weave)
PRINTS = (*CLOTHS, packaging, packaging, packaging, page, wood, plain)


def prints(count: int = 48, size: int = 128) -> Image:
    """Return images (count, size, size, 3) for objects and sleeves; always the same."""
    rng = np.random.default_rng(21)
    return np.stack([PRINTS[i % len(PRINTS)](rng, size) for i in range(count)])
