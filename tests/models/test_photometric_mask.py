"""The photometric loss of the texture net (equation 12): only pixels that show the hand count."""

import pytest
import torch

from handviz.models.texture.network import TextureOutput
from handviz.models.texture.training import TextureLoss, texture_terms
from handviz.models.texture.training_samples import TextureBatch

FACES = torch.tensor([[0, 1, 2]])
POINTS = torch.tensor([[[-0.9, -0.9, 0.0], [0.9, -0.9, 0.0], [0.0, 0.9, 0.0]]])
SHOWN, OUTSIDE_THE_IMAGE, BESIDE_THE_HAND = 100 * 224 + 112, 101 * 224 + 112, 223 * 224
"""Two pixels in the triangle, of which the second is black as the crop is beyond the image's border, and one beside
it."""
GREY, FOUND = 0.5, 0.7


def batch_of(pixels: list[int], triangles: list[int]) -> TextureBatch:
    """Return one hand of one triangle on a grey image, with the colours that the net below finds."""
    image = torch.full((1, 3, 224 * 224), GREY)
    image[:, :, OUTSIDE_THE_IMAGE], image[:, :, BESIDE_THE_HAND] = 0.0, 1.0
    known = torch.full((1, 3, 3), FOUND)
    seen = torch.ones(1, 3)
    return TextureBatch(
        image.view(1, 3, 224, 224), POINTS, seen, seen, known, known, torch.tensor([pixels]), torch.tensor([triangles])
    )


def photometric(batch: TextureBatch) -> float:
    """Return the term of a net that finds one colour everywhere, with the weight 1."""
    output = TextureOutput(batch.lit, batch.even, torch.full((1, 3), 9.0))
    return float(texture_terms(output, batch, FACES, TextureLoss(photometric=1.0))["photometric"])


def test_pixels_without_hand_and_beyond_the_image_do_not_count() -> None:
    distance = FOUND - GREY
    expected = pytest.approx(distance + 10 * distance**2, rel=1e-5)
    assert photometric(batch_of([SHOWN], [0])) == expected
    assert photometric(batch_of([SHOWN, OUTSIDE_THE_IMAGE, BESIDE_THE_HAND], [0, 0, -1])) == expected


def test_a_hand_of_which_no_pixel_is_shown_costs_nothing() -> None:
    assert photometric(batch_of([OUTSIDE_THE_IMAGE, BESIDE_THE_HAND], [0, -1])) == 0.0
