"""The texture net's loss, term by term, by a slow computation with NumPy on a mesh in front of noise."""

import dataclasses

import numpy as np
import pytest
import torch

from handviz.core.records import CROP_SIZE
from handviz.hand_models.layer import HandLayer
from handviz.models.texture.network import TextureOutput
from handviz.models.texture.rasterise import NOTHING, rasterise
from handviz.models.texture.training import PAPER_LOSS, TextureLoss, colour_error, texture_terms
from handviz.models.texture.training_samples import DARKEST_SHOWN, TextureBatch

HANDS, LISTED, COVERED = 2, 60, 40
"""Pixels that a hand's list has, and of these the ones that its mesh covers."""
LOSSES = {"ours": TextureLoss(), "paper": PAPER_LOSS}


@pytest.fixture(scope="module")
def faces(template):
    return torch.tensor(template.faces).long()


@pytest.fixture(scope="module")
def batch(template, faces):
    """Two hands over noise; the lower half of the crops lies outside of the image and is nearly black there."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        rest = HandLayer(template)(torch.zeros(HANDS, 45), torch.zeros(HANDS, 10)).vertices_m
    points = (rest - rest.mean(1, keepdim=True)) * torch.tensor([8.0, 10.0])[:, None, None]
    image = torch.rand(HANDS, 3, CROP_SIZE, CROP_SIZE, generator=generator)
    image[:, :, CROP_SIZE // 2 :] *= 0.9 * DARKEST_SHOWN
    triangles = rasterise(points, faces).triangle.flatten(1)
    # A list is filled up with the first pixel, which is bright and not the hand's.
    pixel, triangle = torch.zeros(HANDS, LISTED).long(), torch.full((HANDS, LISTED), NOTHING)
    for hand, row in enumerate(triangles):
        covered = torch.nonzero(row >= 0).squeeze(1)
        chosen = covered[torch.randperm(len(covered), generator=generator)[:COVERED]]
        pixel[hand, :COVERED], triangle[hand, :COVERED] = chosen, row[chosen]
    flags = (torch.rand(HANDS, 778, generator=generator) > 0.6).float()
    lit, even = torch.rand(2, HANDS, 778, 3, generator=generator)
    return TextureBatch(image, points, torch.ones_like(flags), flags, lit, even, pixel, triangle)


@pytest.fixture(scope="module")
def output():
    rgb, even = torch.rand(2, HANDS, 778, 3, generator=torch.Generator().manual_seed(4))
    return TextureOutput(rgb, even, torch.randn(HANDS, 778, generator=torch.Generator().manual_seed(5)))


def distance(difference, name):
    """Return how far colours (..., 3) are apart: the norm of equation 12, or our mixture."""
    if name == "paper":
        return np.sqrt((difference**2).sum(-1))
    return (np.abs(difference) + 10 * difference**2).mean(-1)


def errors_at_pixels(output, batch, faces, name):
    """Return the errors at all pixels that the mesh covers inside of the image."""
    errors = []
    for hand in range(HANDS):
        points, rgb, image = (part[hand].double().numpy() for part in (batch.points, output.rgb, batch.image))
        for pixel, triangle in zip(batch.pixel[hand].tolist(), batch.triangle[hand].tolist(), strict=True):
            row, column = divmod(pixel, CROP_SIZE)
            if triangle == NOTHING or image[:, row, column].max() <= DARKEST_SHOWN:
                continue
            corners = faces[triangle].numpy()
            plane = np.vstack([points[corners, :2].T, np.ones(3)])
            weights = np.linalg.solve(plane, [(column + 0.5) / 112 - 1, (row + 0.5) / 112 - 1, 1])
            errors.append(distance(weights @ rgb[corners] - image[:, row, column], name))
    return np.array(errors)


@pytest.mark.parametrize("name", LOSSES)
def test_the_photometric_loss_is_the_mean_over_the_mask(batch, output, faces, name):
    """Equation 12, pixel by pixel: the drawn colour against the image's, where there are both hand and image."""
    errors = errors_at_pixels(output, batch, faces, name)
    assert 10 < len(errors) < 0.8 * HANDS * COVERED, "some listed pixels are outside of the image"
    found = texture_terms(output, batch, faces, LOSSES[name])["photometric"]
    assert found == pytest.approx(LOSSES[name].photometric * errors.mean(), rel=1e-3)


def test_known_colours_count_by_whether_the_image_shows_the_vertex(batch, output, faces):
    found = texture_terms(output, batch, faces, TextureLoss(lit_seen=1, lit_hidden=1, even=1, seen=1))
    lit = distance((output.rgb - batch.lit).numpy(), "ours")
    seen = batch.seen.numpy() == 1
    assert found["lit_seen"] == pytest.approx(lit[seen].mean(), rel=1e-4)
    assert found["lit_hidden"] == pytest.approx(lit[~seen].mean(), rel=1e-4)
    assert found["even"] == pytest.approx(distance((output.even - batch.even).numpy(), "ours").mean(), rel=1e-4)
    certain = 1 / (1 + np.exp(-output.seen_logit.double().numpy()))
    assert found["seen"] == pytest.approx(-np.log(np.where(seen, certain, 1 - certain)).mean(), rel=1e-4)


def test_the_paper_s_loss_is_that_of_the_image_alone(batch, output, faces):
    assert set(texture_terms(output, batch, faces, PAPER_LOSS)) == {"photometric"}
    terms = texture_terms(output, batch, faces, TextureLoss())
    assert set(terms) == {field.name for field in dataclasses.fields(TextureLoss)} - {"distance"}


def test_a_right_colour_has_no_slope_by_the_norm():
    colours = torch.rand(5, 3).requires_grad_()
    colour_error(colours, colours.detach(), "l2").sum().backward()
    assert torch.equal(colours.grad, torch.zeros(5, 3))


def test_a_hand_without_a_pixel_costs_nothing(batch, output, faces):
    empty = batch._replace(triangle=torch.full_like(batch.triangle, NOTHING))
    assert texture_terms(output, empty, faces, PAPER_LOSS)["photometric"] == 0
