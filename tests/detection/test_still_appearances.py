"""Noise is measured and smoothed, and all brightness becomes skin, without an error for any small or blank image."""

import numpy as np
import pytest

from handviz.detection.still_appearances import appearances_of, is_noisy, noise_of, skin_tinted


def gradient(width: int = 320, height: int = 240) -> np.ndarray:
    return np.repeat(np.linspace(60, 190, width)[None, :, None] * np.ones((height, 1, 3)), 1, axis=2)


@pytest.mark.parametrize("std", [15, 40])
def test_the_noise_of_an_image_is_its_standard_deviation(std: int) -> None:
    noise = np.random.default_rng(0).normal(0, std, (240, 320, 1))
    image = np.clip(gradient() + noise, 0, 255).astype(np.uint8)
    assert noise_of(image) == pytest.approx(std, rel=0.1)
    smoothed, more, _ = appearances_of(image)
    assert noise_of(image) > 10 * noise_of(smoothed)
    assert smoothed.std() > more.std()


def test_shading_and_stripes_are_no_noise() -> None:
    image = gradient().astype(np.uint8)
    image[::8] = 0
    assert not is_noisy(image)
    same, tinted = appearances_of(image)
    assert same is image
    assert tinted.shape == image.shape


def test_brightness_becomes_skin() -> None:
    image = np.zeros((10, 256, 3), np.uint8)
    image[..., 2] = np.arange(256)
    tinted = skin_tinted(image).astype(int)
    assert (np.diff(tinted[0, 20:230].sum(axis=1)) >= 0).all()
    middle = tinted[0, 128]
    assert middle[0] > middle[1] > middle[2]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 300, 3), (9, 9, 3)])
def test_tiny_and_blank_images_have_appearances(shape: tuple[int, int, int]) -> None:
    for image in appearances_of(np.full(shape, 200, np.uint8)):
        assert image.shape == shape
        assert image.dtype == np.uint8
