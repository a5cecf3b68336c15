"""Hands without background: coverage becomes alpha, and edges keep their colour."""

from dataclasses import replace

import moderngl
import numpy as np
import pytest

from handviz.rendering.offscreen import MultisampleTarget, OffscreenRenderer, read_pixels, straight_alpha
from handviz.rendering.options import DrawOptions
from handviz.rendering.passes import EDGE_COLOUR
from handviz.rendering.scene import Scene
from tests.rendering.test_render_scene import DISPLAY, FLAT, SIZE, painted, result, square

CENTRE = (24, 32)


def drawn(ctx: moderngl.Context, options: DrawOptions, *, samples: int = 0, side_px: float = 20.0) -> np.ndarray:
    """Draw a textured square: (48, 64, 4) premultiplied."""
    scene = Scene(ctx, DISPLAY)
    smooth, plain = MultisampleTarget(ctx, samples), MultisampleTarget(ctx, 0)
    scene.show(result(painted(square(side_px=side_px))))
    target = smooth.framebuffer(SIZE)
    scene.draw(target, options)
    smooth.resolve(plain.framebuffer(SIZE))
    pixels = read_pixels(plain.framebuffer(SIZE), components=4)
    for part in (scene, smooth, plain):
        part.release()
    return pixels


def test_alpha_is_nothing_outside_and_all_inside(ctx: moderngl.Context) -> None:
    for view in ("overlay", "orbit"):
        pixels = drawn(ctx, replace(FLAT, view=view, skeleton=False).cut_out())
        assert pixels[CENTRE][3] == 255
        for point in ((0, 0), (40, 60), (47, 0)):
            assert pixels[point].tolist() == [0, 0, 0, 0], f"{view}: no image, no inset, no legend"
        as_seen = drawn(ctx, replace(FLAT, view=view, inset=False))
        assert pixels[CENTRE].tolist() == as_seen[CENTRE].tolist()


def test_edges_keep_their_colour(ctx: moderngl.Context) -> None:
    # An odd size, so that the square's edge runs through the centres of pixels.
    pixels = straight_alpha(drawn(ctx, FLAT.cut_out(), samples=4, side_px=21.0))
    inside = pixels[CENTRE][:3].astype(int)
    partly = (pixels[..., 3] > 0) & (pixels[..., 3] < 255)
    assert partly.sum() >= 20
    assert np.abs(pixels[partly][:, :3].astype(int) - inside).max() <= 4


def test_opacity_below_one_is_alpha(ctx: moderngl.Context) -> None:
    through = replace(FLAT.cut_out(), opacity=0.4)
    pixels = drawn(ctx, through)
    assert pixels[CENTRE][3] == pytest.approx(0.4 * 255, abs=1)
    whole = drawn(ctx, FLAT.cut_out())
    np.testing.assert_allclose(straight_alpha(pixels)[CENTRE], [*whole[CENTRE][:3], 102], atol=2)


def test_wireframe_and_skeleton_lie_on_the_hand(ctx: moderngl.Context) -> None:
    plain = drawn(ctx, FLAT.cut_out())
    lines = drawn(ctx, replace(FLAT, wireframe=True, skeleton=True).cut_out())
    assert (lines[..., 3][plain[..., 3] == 255] == 255).all(), "lines make no holes"
    diagonal = np.abs(lines[20, 26:38, :3].astype(int) - plain[20, 26:38, :3]).max()
    assert diagonal > 30 * EDGE_COLOUR[3]


def test_images_with_background_stay_opaque(ctx: moderngl.Context) -> None:
    assert (drawn(ctx, replace(FLAT, wireframe=True, skeleton=True, opacity=0.5))[..., 3] == 255).all()


def test_straight_alpha_is_the_definition() -> None:
    premultiplied = np.array([[[100, 50, 0, 128], [0, 0, 0, 0], [7, 8, 9, 255], [255, 0, 0, 100]]], np.uint8)
    found = straight_alpha(premultiplied)[0]
    assert found.tolist() == [[199, 100, 0, 128], [0, 0, 0, 0], [7, 8, 9, 255], [255, 0, 0, 100]]


def test_renderer_without_a_window_cuts_out_too() -> None:
    with OffscreenRenderer(DISPLAY) as renderer:
        pixels = renderer.draw_cut_out(result(square()), FLAT)
    assert pixels.shape == (*SIZE[::-1], 4)
    assert (pixels[CENTRE][3], pixels[0, 0, 3]) == (255, 0)
