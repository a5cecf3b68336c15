"""Single pixels of simple scenes, drawn without a window."""

import ctypes
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import moderngl
import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.records import Frame, FrameResult, HandMesh, HandTexture, Intrinsics
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from handviz.rendering import offscreen
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.colormap import uncertainty_colours
from handviz.rendering.hand_shape import ModelDisplay, PlainSurface
from handviz.rendering.legend import seen_legend_image
from handviz.rendering.offscreen import MultisampleTarget
from handviz.rendering.options import DrawOptions, KeyLight, marked, stripe_cover
from handviz.rendering.scene import Scene
from tests.errors import raises

SIZE = (64, 48)
BLUE = (0, 0, 200)
FLAT = DrawOptions(colour="plain", opacity=1.0, legend=False, labels=False)
TEXTURED = replace(FLAT, colour="texture")
SKIN, EVENLY_LIT = (0.7, 0.45, 0.3), (0.9, 0.6, 0.4)
# Beside the small image of the free orbit.
INSIDE = (slice(17, 22), slice(25, 39))
Draw = Callable[..., np.ndarray]


def square(*, depth_m: float = 0.5, std_mm: float = 5.0, handedness: str = "right", side_px: float = 20.0) -> HandMesh:
    """Return a square at the image's centre that faces the camera, as a hand of four vertices."""
    corners = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2
    centre = np.array([SIZE[0] / 2, SIZE[1] / 2])
    return HandMesh(
        handedness=handedness,  # type: ignore[arg-type]
        detection_score=1.0,
        model="final",
        vertices_m=corners * side_px / 1000,
        vertex_std_mm=np.linspace(0.98, 1.02, 4) * std_mm,
        keypoints_m=np.zeros((21, 3)),
        keypoint_std_mm=np.zeros(21),
        camera_from_wrist=np.eye(3),
        wrist_camera_m=np.array([0.0, 0.0, depth_m]),
        # A thousand pixels a metre at any depth.
        intrinsics=Intrinsics(1000.0 * depth_m, *centre),
    )


def painted(hand: HandMesh, seen: float = 1.0) -> HandMesh:
    """Add a texture of one colour."""
    texture = HandTexture(np.tile(SKIN, (4, 1)), np.tile(EVENLY_LIT, (4, 1)), np.full(4, seen), np.full(4, seen))
    return replace(hand, texture=texture)


# Counter-clockwise seen from the camera, which looks along +z with y down.
SQUARE = PlainSurface(np.array([[0, 2, 1], [0, 3, 2]], dtype=np.int32), 4)
DISPLAY = ModelDisplay({"": SQUARE})


def result(*hands: HandMesh, number: int = 0) -> FrameResult:
    """Return hands on a blue image whose left columns are red."""
    image = np.full((SIZE[1], SIZE[0], 3), BLUE, dtype=np.uint8)
    image[:, :8] = (200, 0, 0)
    return FrameResult(Frame(number, image, 0.0), "final", hands=hands)


@pytest.fixture
def draw(ctx: moderngl.Context) -> Iterator[Draw]:
    """Draw into a 64 x 48 framebuffer and read it back as (48, 64, 3), row 0 on top."""
    scene = Scene(ctx, DISPLAY)
    target = MultisampleTarget(ctx, 0)

    def draw_one(shown: FrameResult | None, options: DrawOptions = FLAT, **settings: object) -> np.ndarray:
        scene.show(shown)
        framebuffer = target.framebuffer(SIZE)
        scene.draw(framebuffer, options, **settings)  # type: ignore[arg-type]
        pixels = np.frombuffer(framebuffer.read(components=3, alignment=1), dtype=np.uint8)
        return pixels.reshape(SIZE[1], SIZE[0], 3)[::-1].astype(int)

    yield draw_one
    scene.release()
    target.release()


def test_image_fills_the_view_and_mirror_flips_it(draw: Draw) -> None:
    assert tuple(draw(result())[24, 2]) == (200, 0, 0)
    assert tuple(draw(result())[24, 60]) == BLUE
    assert tuple(draw(result(), replace(FLAT, mirror=True))[24, 61]) == (200, 0, 0)


def test_nothing_to_show_is_an_empty_view(draw: Draw) -> None:
    assert draw(None).max() < 40


def test_hand_covers_its_own_pixels_only(draw: Draw) -> None:
    image = draw(result(square()))
    assert image[24, 32].min() > 120
    assert tuple(image[24, 32 + 12]) == BLUE
    assert tuple(image[24 + 12, 32]) == BLUE


def test_left_and_right_hands_are_lit_from_outside(draw: Draw) -> None:
    right = draw(result(square()))[24, 32]
    flipped = replace(square(handedness="left"), vertices_m=square().vertices_m[[1, 0, 3, 2]])
    left = draw(result(flipped))[24, 32]
    assert abs(right.sum() - left.sum()) < 40


def test_inside_of_a_hand_is_darker(draw: Draw) -> None:
    outside = draw(result(square()))[24, 32]
    inside = draw(result(square(handedness="left")))[24, 32]
    assert inside.sum() < 0.7 * outside.sum()


def test_nearer_hand_hides_the_farther_one(draw: Draw) -> None:
    near, far = square(depth_m=0.4, std_mm=0.0), square(depth_m=0.8, std_mm=10.0)
    options = replace(FLAT, colour="uncertainty").with_range((0.0, 10.0))
    first, second = draw(result(near, far), options)[24, 32], draw(result(far, near), options)[24, 32]
    np.testing.assert_array_equal(first, second)
    assert first[1] < 60


@pytest.mark.parametrize("std_mm", [0.0, 10.0])
def test_heatmap_has_the_hue_of_its_colour_map(draw: Draw, std_mm: float) -> None:
    options = replace(FLAT, colour="uncertainty").with_range((0.0, 10.0))
    pixel = draw(result(square(std_mm=std_mm)), options)[24, 32] / 255
    expected = uncertainty_colours()[-1 if std_mm else 0]
    np.testing.assert_allclose(pixel, expected, atol=0.2)


def test_a_view_too_small_for_a_legend_gets_none(draw: Draw) -> None:
    options = replace(FLAT, colour="uncertainty", legend=True)
    assert tuple(draw(result(square()), options)[44, 60]) == BLUE


def test_opacity_lets_the_image_through(draw: Draw) -> None:
    opaque = draw(result(square()))[24, 32]
    half = draw(result(square()), replace(FLAT, opacity=0.5))[24, 32]
    np.testing.assert_allclose(half, (opaque + BLUE) / 2, atol=2)


def test_wireframe_darkens_edges(draw: Draw) -> None:
    plain, wired = draw(result(square())), draw(result(square()), replace(FLAT, wireframe=True))
    assert (wired.sum(axis=2) < plain.sum(axis=2) - 50).any()


def test_the_skeleton_is_as_wide_as_wanted(draw: Draw) -> None:
    plain = draw(result(square()), FLAT)
    counts = [
        (draw(result(square()), replace(FLAT, skeleton=True, skeleton_width=width)) != plain).any(axis=2).sum()
        for width in (0.5, 1.0, 3.0)
    ]
    assert 0 < 1.5 * counts[0] < counts[1] < counts[2] / 1.5


def test_skeleton_lies_on_top(draw: Draw) -> None:
    shown = draw(result(square()), replace(FLAT, skeleton=True))
    assert (shown[24, 32] != draw(result(square()))[24, 32]).any()


def test_new_result_replaces_the_old_one_in_place(draw: Draw) -> None:
    draw(result(square()))
    assert tuple(draw(result(number=1))[24, 32]) == BLUE


def test_orbit_shows_the_hand_alone_at_the_centre(draw: Draw) -> None:
    options = replace(FLAT, view="orbit")
    assert draw(result(square(side_px=80.0)), options)[24, 32].min() > 100
    from_behind = OrbitCamera(yaw_rad=np.pi)
    assert 20 < draw(result(square(side_px=80.0)), options, orbit=from_behind)[24, 32].max() < 160
    assert draw(result(square()), options)[2, 60].max() < 40


def test_texture_looks_as_the_image_shows_it(draw: Draw) -> None:
    for options in (TEXTURED, replace(TEXTURED, view="orbit")):
        shown = draw(result(painted(square(side_px=80.0))), options)
        np.testing.assert_allclose(shown[24, 32] / 255, SKIN, atol=0.03)


def test_the_image_goes_on_where_textured_skin_ends(draw: Draw) -> None:
    from_inside = result(painted(square(handedness="left", side_px=80.0)))
    assert tuple(draw(from_inside, TEXTURED)[24, 32]) == BLUE
    assert draw(from_inside, replace(TEXTURED, view="orbit"))[24, 32].max() > 25


def test_the_inset_can_be_left_out(draw: Draw) -> None:
    orbit = replace(FLAT, view="orbit")
    with_inset, without = (draw(result(), replace(orbit, inset=inset)) for inset in (True, False))
    assert (with_inset == BLUE).all(axis=2).any()
    assert not (without == BLUE).all(axis=2).any()


def test_hand_without_a_texture_is_plain(draw: Draw) -> None:
    options = replace(TEXTURED, mark_inferred=True)
    np.testing.assert_array_equal(draw(result(square()), options), draw(result(square())))


@pytest.mark.parametrize("view", ["overlay", "orbit"])
def test_inferred_parts_are_marked_as_the_formula_says(draw: Draw, view: str) -> None:
    options = replace(TEXTURED, view=view)
    marking = replace(options, mark_inferred=True)
    seen, inferred = painted(square(side_px=80.0)), painted(square(side_px=80.0), seen=0.2)
    own_colours = draw(result(seen), options)
    np.testing.assert_array_equal(draw(result(seen), marking), own_colours)
    np.testing.assert_array_equal(draw(result(inferred), options), own_colours)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    fully = marked(own_colours / 255, stripe_cover(columns, SIZE[1] - rows))
    np.testing.assert_allclose(draw(result(inferred), marking)[INSIDE] / 255, fully[INSIDE], atol=0.01)
    half = draw(result(painted(square(side_px=80.0), seen=0.5)), marking)
    np.testing.assert_allclose(half[INSIDE] / 255, (fully + own_colours / 255)[INSIDE] / 2, atol=0.01)


def test_relighting_lays_the_moved_light_on_evenly_lit_colours(draw: Draw) -> None:
    options, above, behind = replace(TEXTURED, relight=True), KeyLight().dragged(60, -20), KeyLight().dragged(400, 0)
    lit, dim = (draw(result(painted(square())), options, light=light)[24, 32] for light in (above, behind))
    assert lit.sum() > 2 * dim.sum()
    np.testing.assert_allclose(dim / dim.sum(), np.array(EVENLY_LIT) / np.sum(EVENLY_LIT), atol=0.03)


def test_the_light_does_not_move_in_heatmaps(draw: Draw) -> None:
    shown, moved = result(painted(square())), KeyLight().dragged(400, 0)
    for options in (FLAT, TEXTURED, replace(FLAT, colour="uncertainty", relight=True)):
        np.testing.assert_array_equal(draw(shown, options, light=moved), draw(shown, options))
    relit = replace(FLAT, relight=True)
    assert draw(shown, relit, light=moved)[24, 32].sum() < draw(shown, FLAT)[24, 32].sum() / 2
    np.testing.assert_array_equal(draw(shown, relit), draw(shown, FLAT))


def test_mark_has_a_legend_where_something_can_be_marked(ctx: moderngl.Context) -> None:
    scene, target = Scene(ctx, DISPLAY), MultisampleTarget(ctx, 0)
    options = replace(TEXTURED, mark_inferred=True, legend=True, view="orbit")

    def legend_pixels(hand: HandMesh, shown: DrawOptions) -> int:
        scene.show(result(hand))
        scene.draw(target.framebuffer((640, 480)), shown)
        pixels = np.frombuffer(target.framebuffer((640, 480)).read(components=3, alignment=1), dtype=np.uint8)
        corner = pixels.reshape(480, 640, 3)[:60, -200:]
        return int((corner.max(axis=2) > 200).sum())

    assert legend_pixels(painted(square()), options) > 100
    assert legend_pixels(painted(square()), replace(options, mark_inferred=False)) == 0
    assert legend_pixels(square(), options) == 0
    scene.release()
    target.release()
    assert seen_legend_image(2.0).shape == (68, 368, 4)


def test_large_and_tiny_images_are_drawn(draw: Draw) -> None:
    for height, width in ((3000, 4000), (1, 1)):
        frame = Frame(0, np.full((height, width, 3), 90, dtype=np.uint8), 0.0)
        assert tuple(draw(FrameResult(frame, "final"))[24, 32]) == (90, 90, 90)


def test_offscreen_draws_the_open_hand_with_its_legend() -> None:
    template = load_open_hand()
    turned = template.vertices_m[:, [2, 0, 1]]
    hand = replace(
        square(),
        vertices_m=turned - (turned.min(axis=0) + turned.max(axis=0)) / 2,
        intrinsics=Intrinsics(600.0, 160.0, 120.0),
        vertex_std_mm=np.linspace(1, 9, template.vertex_count),
    )
    frame = Frame(0, np.zeros((240, 320, 3), dtype=np.uint8), 0.0)
    with offscreen.OffscreenRenderer(ModelDisplay({"": load_display_mesh()})) as renderer:
        image = renderer.draw(FrameResult(frame, "final", hands=(hand,)))
        assert image.shape == (240, 320, 3)
        assert image.dtype == np.uint8
        column, row = hand.vertices_px.mean(axis=0).astype(int)
        assert image[row, column].max() > 60
        assert image[225, 306].max() > 0
        plain = renderer.draw(FrameResult(frame, "final", hands=(hand,)), DrawOptions(colour="plain"))
        assert plain[225, 306].max() == 0


def blank(shade: int) -> FrameResult:
    return FrameResult(Frame(0, np.full((24, 32, 3), shade, dtype=np.uint8), 0.0), "final")


def test_two_renderers_draw_in_turn_in_one_thread() -> None:
    display = ModelDisplay({"": SQUARE})
    with offscreen.OffscreenRenderer(display, samples=0) as first, offscreen.OffscreenRenderer(display) as second:
        for shade in (40, 90, 140):
            for renderer in (first, second):
                assert (renderer.draw(blank(shade)) == shade).all()
        second.release()
        assert (first.draw(blank(200)) == 200).all()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the context is EGL's on Linux only")
def test_a_renderer_leaves_no_context_current() -> None:
    current = ctypes.CDLL("libEGL.so.1").eglGetCurrentContext
    current.restype = ctypes.c_void_p
    renderer = offscreen.OffscreenRenderer(ModelDisplay({"": SQUARE}))
    assert current() is None
    renderer.draw(blank(40))
    assert current() is None
    renderer.release()
    assert current() is None, "Qt's GLX cannot make its own current then, which ends the process"


def test_no_opengl_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise Exception("no libEGL")

    monkeypatch.setattr(offscreen.moderngl, "create_context", refuse)
    with raises(ErrorCode.NO_OPENGL, match="libegl1"):
        offscreen.create_standalone_context()
