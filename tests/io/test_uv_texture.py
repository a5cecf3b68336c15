"""The baked texture: colours at the right texels, the image's detail only where the hand was seen."""

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh

from handviz.core.errors import ErrorCode
from handviz.core.geometry import rescaled
from handviz.core.records import FloatArray, HandMesh
from handviz.hand_models.open_hand import load_display_mesh
from handviz.hand_models.uv_atlas import load_uv_atlas
from handviz.io.uv_texture import bake_texture, load_texels
from tests.errors import raises
from tests.hands import textured_hand

HEIGHT, WIDTH = 260, 300
GREEN, RED = (0, 200, 0), (200, 0, 0)


def with_texture(hand: HandMesh, **values: Any) -> HandMesh:
    """Replace parts of the hand's texture."""
    assert hand.texture is not None
    return dataclasses.replace(hand, texture=dataclasses.replace(hand.texture, **values))


def grey_hand(**options: Any) -> HandMesh:
    """Return a hand with uniform grey as its inferred colour."""
    return with_texture(textured_hand(**options), rgb=np.full((778, 3), 0.4))


def check_at_texels(image: Any, at_vertices: FloatArray, faces: FloatArray) -> int:
    """Compare texels at face centres with values (Vd, 3) at the vertices; returns how many lie on their face."""
    atlas, display, checked = load_uv_atlas(), load_display_mesh(), 0
    for face in faces:
        corners = atlas.uv[atlas.faces[face]] * len(image)
        column, row = np.floor(corners.mean(axis=0)).astype(int)
        weights = np.linalg.solve(np.vstack([corners.T, np.ones(3)]), [column + 0.5, row + 0.5, 1.0])
        if weights.min() > 0:
            np.testing.assert_allclose(image[row, column], weights @ at_vertices[display.faces[face]], atol=2)
            checked += 1
    return checked


@pytest.mark.parametrize("handedness", ["left", "right"])
def test_a_ramp_of_colours_comes_back(handedness: Any) -> None:
    hand = textured_hand(handedness=handedness)
    image = bake_texture(hand)
    assert (image.shape, image.dtype) == ((1024, 1024, 3), np.uint8)
    assert hand.texture is not None
    expected = np.clip(load_display_mesh().lift(hand.texture.rgb), 0, 1) * 255
    assert check_at_texels(image, expected, np.arange(0, 3196, 7)) > 300


def test_the_images_pixels_land_where_they_were_seen() -> None:
    hand, display = with_texture(grey_hand(), visible=np.ones(778)), load_display_mesh()
    down, across = np.mgrid[0:HEIGHT, 0:WIDTH]
    pixels = np.stack([across * 0.8, down * 0.9, 0 * down], axis=2).astype(np.uint8)
    surface = trimesh.Trimesh(display.lift(hand.vertices_m), display.faces, process=False)
    towards_camera = -surface.vertex_normals[:, 2][display.faces].min(axis=1)
    well_inside = np.abs(surface.triangles_center - [0, -0.06, 0]).max(axis=1) < 0.025
    well_seen = np.flatnonzero(well_inside & (towards_camera > 0.7))
    points_px = display.lift(hand.vertices_px) - 0.5
    expected = np.concatenate([points_px * [0.8, 0.9], np.zeros((len(points_px), 1))], axis=1)
    assert check_at_texels(bake_texture(hand, pixels), expected, well_seen) > 30


def test_what_lies_around_the_hand_does_not_land_on_it() -> None:
    hand, display = grey_hand(), load_display_mesh()
    pixels = np.full((HEIGHT, WIDTH, 3), RED, np.uint8)
    points_px = display.lift(hand.vertices_px)
    for face in display.faces:
        cv2.fillConvexPoly(pixels, np.rint(points_px[face] - 0.5).astype(np.int32), GREEN)
    image = bake_texture(hand, pixels).astype(int)
    assert (image[..., 0] - image[..., 1]).max() <= 2
    assert (image[..., 1] > 190).mean() > 0.1


def test_what_is_before_the_hand_does_not_land_on_it() -> None:
    hand = grey_hand()
    assert hand.texture is not None
    pixels = np.full((HEIGHT, WIDTH, 3), GREEN, np.uint8)
    pixels[:130] = RED
    visible = np.where(hand.vertices_px[:, 1] < 132, 0.0, hand.texture.visible)
    image = bake_texture(with_texture(hand, visible=visible), pixels).astype(int)
    assert (image[..., 0] - image[..., 1]).max() <= 2
    assert (image[..., 1] > 190).mean() > 0.05


def test_a_hand_that_is_nowhere_visible_is_all_inferred() -> None:
    hand = with_texture(grey_hand(), visible=np.zeros(778), seen=np.zeros(778))
    assert (bake_texture(hand, np.full((HEIGHT, WIDTH, 3), GREEN, np.uint8)) == 102).all()


@pytest.mark.parametrize("wrist_px", [(20.0, 100.0), (-900.0, 200.0)])
def test_what_lies_outside_of_the_image_is_inferred(wrist_px: tuple[float, float]) -> None:
    hand = grey_hand(wrist_px=wrist_px)
    image = bake_texture(hand, np.full((HEIGHT, WIDTH, 3), GREEN, np.uint8)).astype(int)
    assert image[..., 1].min() >= 101
    assert (image[..., 1] > 150).any() == (wrist_px[0] > 0)


def test_an_image_finer_than_the_texels_is_averaged() -> None:
    hand = grey_hand()
    down, across = np.mgrid[0 : HEIGHT * 8, 0 : WIDTH * 8]
    stripes = np.repeat(((down + across) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    close = dataclasses.replace(hand, intrinsics=rescaled(hand.intrinsics, 8, 8))
    image = bake_texture(close, stripes).astype(int)
    assert (image.min(), image.max()) == (102, pytest.approx(128, abs=12))


def test_every_texel_has_the_colour_of_the_nearest_on_the_hand() -> None:
    texels = load_texels()
    numbers = texels.nearest.ravel()
    np.testing.assert_array_equal(numbers[texels.positions], np.arange(len(texels.positions)))
    on_hand = np.stack(np.divmod(texels.positions, 1024), axis=1)
    for row, column in [(0, 0), (1023, 0), (0, 1023), (500, 30), (700, 800)]:
        distances = np.hypot(*(on_hand - [row, column]).T)
        assert distances[texels.nearest[row, column]] == pytest.approx(distances.min())


def test_a_texture_that_is_no_numbers_is_refused() -> None:
    hand = textured_hand()
    assert hand.texture is not None
    rgb = hand.texture.rgb.copy()
    rgb[5, 1] = np.nan
    with raises(ErrorCode.NOT_FINITE):
        bake_texture(with_texture(hand, rgb=rgb))
    with raises(ErrorCode.NOT_PROVIDED):
        bake_texture(dataclasses.replace(hand, texture=None))
