"""The shipped texture net on rendered hands that it was not trained on."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from handviz.core.metrics import decibel
from handviz.core.paths import MODELS, TEXTURE_NAME
from handviz.core.records import Detection, FloatArray, HandCrop
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.texture_scores import Colours, projective_sampling, scenes, scores
from handviz.pipeline.texture_fusion import Texturer, inside_image

HANDS = 12


@pytest.fixture(scope="module")
def texturer(template):
    return Texturer(MODELS / TEXTURE_NAME, template)


@pytest.fixture(scope="module")
def scene(rendered_hands, template):
    return next(iter(scenes([Crops(rendered_hands, HANDS)], template)))


def brightness(colours):
    return colours.mean(axis=-1)


def test_it_repeats_the_image_and_knows_hidden_skin_better_than_sampling(texturer, scene, template):
    methods = {
        "net": lambda images, points: Colours(*texturer.colours(images, points)[:2]),
        "sampling": projective_sampling,
    }
    found = scores(scene, methods, torch.tensor(template.faces).long())
    means = {
        name: {
            field: np.nanmean([getattr(score, field) for score in own]) for field in ("ssim", "away_even", "away_lit")
        }
        for name, own in found.items()
    }
    assert means["net"]["ssim"] > means["sampling"]["ssim"] - 0.02
    for field in ("away_even", "away_lit"):
        assert decibel(means["net"][field]) > decibel(means["sampling"][field]) + 3


def test_what_it_calls_seen_is_mostly_seen(texturer, scene):
    visible = texturer.colours(scene.float_images, scene.points)[2]
    assert ((visible > 0.5) == scene.visible).mean() > 0.85


def as_bytes(image: FloatArray) -> NDArray[np.uint8]:
    """Return (3, S, S) in [0, 1] as the (S, S, 3) of a crop."""
    return np.rint(255 * image.transpose(1, 2, 0)).astype(np.uint8)


def test_a_hand_cut_by_the_border_has_no_black_holes(texturer, scene):
    """The image ends at 60 % of the crop; black lies beyond."""
    images = scene.float_images.copy()
    images[..., 134:] = 0
    whole, cut = (texturer.colours(part, scene.points) for part in (scene.float_images, images))
    crop = HandCrop(
        np.rint(255 * images[0].transpose(1, 2, 0)).astype(np.uint8),
        np.eye(2, 3),
        Detection("right", 1.0, np.zeros((21, 2))),
    )
    fractions = []
    for row in range(HANDS):
        outside = inside_image(scene.points[row], crop, (134, 224)) == 0
        if not 100 < outside.sum() < 600:
            continue
        assert np.isfinite(cut[0][row]).all()
        assert cut[2][row][outside].mean() < 0.1
        darker = brightness(cut[0][row][outside]) < 0.4 * np.median(brightness(whole[0][row]))
        fractions.append(darker.mean())
    assert len(fractions) >= 4
    assert np.mean(fractions) < 0.05


@pytest.mark.parametrize("kind", ["overexposed", "grey"])
def test_overexposed_and_grey_images_give_hands_of_their_kind(texturer, scene, kind):
    grey = scene.float_images.mean(axis=1, keepdims=True).repeat(3, axis=1)
    images = grey if kind == "grey" else np.clip(scene.float_images * 2.5, 0, 1)
    rgb, albedo, _ = texturer.colours(images, scene.points)
    assert np.isfinite(rgb).all()
    assert np.isfinite(albedo).all()
    if kind == "grey":
        assert np.quantile(np.ptp(rgb, axis=2), 0.95) < 0.12
    else:
        plain, _, _ = texturer.colours(scene.float_images, scene.points)
        assert (brightness(rgb).mean(1) > brightness(plain).mean(1)).all()
