"""Single pixels of uncertain regions, ellipses, marks and attention, and their legends."""

from collections.abc import Iterator
from dataclasses import replace

import moderngl
import numpy as np
import pytest

from handviz.rendering.camera import OrbitCamera
from handviz.rendering.colormap import attention_colours, oklab_from_srgb, uncertainty_colours
from handviz.rendering.highlight import AttentionShown, Highlight, Pick
from handviz.rendering.legend import LegendPart, notes_for, stacked_image, stacked_size
from handviz.rendering.offscreen import MultisampleTarget
from handviz.rendering.options import DrawOptions
from handviz.rendering.picking import CORE_COLOUR
from handviz.rendering.scene import Scene
from tests.rendering.test_render_scene import BLUE, DISPLAY, FLAT, SIZE, Draw, painted, result, square

CENTRE = (SIZE[1] // 2, SIZE[0] // 2)
UNCERTAIN = replace(FLAT, uncertain_above_mm=5.0)


@pytest.fixture
def scene(ctx: moderngl.Context) -> Iterator[Scene]:
    made = Scene(ctx, DISPLAY)
    yield made
    made.release()


@pytest.fixture
def draw(ctx: moderngl.Context, scene: Scene) -> Iterator[Draw]:
    """Draw into a 64 x 48 framebuffer and read it back, row 0 on top."""
    target = MultisampleTarget(ctx, 0)

    def draw_one(shown: object, options: DrawOptions = FLAT, **settings: object) -> np.ndarray:
        scene.show(shown)  # type: ignore[arg-type]
        framebuffer = target.framebuffer(SIZE)
        scene.draw(framebuffer, options, **settings)  # type: ignore[arg-type]
        return np.frombuffer(framebuffer.read(alignment=1), np.uint8).reshape(SIZE[1], SIZE[0], 3)[::-1]

    yield draw_one
    target.release()


@pytest.mark.parametrize("colour", ["plain", "uncertainty", "texture"])
def test_what_is_less_certain_than_the_threshold_fades_or_goes(draw: Draw, colour: str) -> None:
    def centre(std_mm: float, **changes: object) -> np.ndarray:
        options = replace(UNCERTAIN, colour=colour, **changes).with_range((0, 20))
        return draw(result(painted(square(std_mm=std_mm))), options)[CENTRE].astype(float)

    certain, uncertain = centre(3.0), centre(8.0)
    np.testing.assert_array_equal(centre(3.0, uncertain="hide"), certain)
    np.testing.assert_array_equal(centre(3.0, uncertain="fade"), certain)
    np.testing.assert_array_equal(centre(8.0, uncertain="hide"), BLUE)
    np.testing.assert_allclose(centre(8.0, uncertain="fade"), 0.15 * uncertain + 0.85 * np.array(BLUE), atol=2)


@pytest.mark.parametrize("mode", ["fade", "hide"])
def test_it_is_smooth_at_the_threshold(draw: Draw, mode: str) -> None:
    hand = replace(square(side_px=40.0), vertex_std_mm=np.array([0.0, 10.0, 10.0, 0.0]))
    options = replace(UNCERTAIN, uncertain=mode)  # type: ignore[arg-type]
    blueness = draw(result(hand), options)[24, 14:50, 2].astype(int) - draw(result(hand), FLAT)[24, 14:50, 2]
    steps = np.diff(blueness)
    assert (steps >= -1).all()
    assert blueness[0] == 0
    assert np.flatnonzero(blueness > blueness[-1] / 2)[0] == pytest.approx(18, abs=1), "where it is the threshold"
    assert len(np.unique(blueness)) >= (4 if mode == "hide" else 8)


@pytest.mark.parametrize("mode", ["fade", "hide"])
def test_behind_what_is_uncertain_a_certain_hand_is_seen(draw: Draw, mode: str) -> None:
    near, far = square(depth_m=0.4, std_mm=9.0, handedness="left"), square(depth_m=0.6, std_mm=1.0)
    alone = draw(result(far), FLAT)[CENTRE].astype(int)
    for hands in ((near, far), (far, near)):
        seen = draw(result(*hands), replace(UNCERTAIN, uncertain=mode))[CENTRE].astype(int)  # type: ignore[arg-type]
        assert np.abs(seen - alone).max() <= (0 if mode == "hide" else 25)
        assert seen[2] < 180, "not the image's blue"


def test_edges_go_with_their_surface_and_marks_stay_marks(draw: Draw) -> None:
    options = replace(UNCERTAIN, uncertain="hide", wireframe=True)
    np.testing.assert_array_equal(draw(result(square(std_mm=9.0)), options)[:, 8:], np.full((48, 56, 3), BLUE))
    marked = replace(FLAT, colour="texture", mark_inferred=True, uncertain_above_mm=5.0)
    unseen = result(painted(square(std_mm=3.0), seen=0.0))
    np.testing.assert_array_equal(draw(unseen, replace(marked, uncertain="fade")), draw(unseen, marked))
    unmarked = replace(marked, mark_inferred=False)
    np.testing.assert_array_equal(draw(unseen, replace(unmarked, uncertain="fade")), draw(unseen, unmarked))


def test_in_orbit_uncertain_parts_go_too(draw: Draw) -> None:
    options = replace(UNCERTAIN, view="orbit", inset=False, guides=False, uncertain="hide")
    assert draw(result(square(std_mm=9.0)), options).max() < 30
    assert draw(result(square(std_mm=2.0)), options)[CENTRE].max() > 100


@pytest.mark.parametrize("view", ["overlay", "orbit"])
def test_half_axes_of_ellipses_are_two_sigma(draw: Draw, view: str) -> None:
    """Check 4 mm and 2 mm at 1000 pixels per metre: half axes of 8 and 4 pixels at 2 sigma."""
    hand = replace(square(side_px=1.0), keypoint_covariance_mm2=np.tile(np.diag([16.0, 4.0, 0.0]), (21, 1, 1)))
    options = replace(FLAT, view=view, inset=False, ellipses=True)  # type: ignore[arg-type]
    changed = np.abs(draw(result(hand), options).astype(int) - draw(result(hand), replace(options, ellipses=False)))
    lit = changed.max(axis=2) > 60
    width, height = np.ptp(np.flatnonzero(lit.any(axis=0))), np.ptp(np.flatnonzero(lit.any(axis=1)))
    assert width / height == pytest.approx(2.0, abs=0.35)
    if view == "overlay":
        # The line and its rim are 2 pixels wide at both ends.
        assert width == pytest.approx(18, abs=2.5)
        assert height == pytest.approx(10, abs=2.5)
    smaller = np.abs(draw(result(hand), replace(options, ellipse_sigmas=1.0)).astype(int) - draw(result(hand)))
    assert np.ptp(np.flatnonzero((smaller.max(axis=2) > 60).any(axis=0))) < width or view == "orbit"


def test_a_hand_without_covariances_has_no_ellipses(draw: Draw) -> None:
    np.testing.assert_array_equal(draw(result(square()), replace(FLAT, ellipses=True)), draw(result(square())))


def test_the_mark_lies_on_its_vertex_or_joint(draw: Draw, scene: Scene) -> None:
    hand = square()
    for highlight, (x, y) in (
        (Highlight(Pick(0, vertex=2)), hand.vertices_px[2]),
        (Highlight(Pick(0, joint=5)), hand.keypoints_px[5]),
    ):
        scene.set_highlight(highlight)
        image = draw(result(hand))
        np.testing.assert_allclose(image[int(y), int(x)] / 255, CORE_COLOUR, atol=0.02)
    for gone in (None, Highlight(Pick(3, vertex=2)), Highlight(Pick(0, vertex=99))):
        scene.set_highlight(gone)
        np.testing.assert_array_equal(draw(result(hand)), draw(result(hand)))
        assert draw(result(hand))[int(hand.vertices_px[2][1]), int(hand.vertices_px[2][0])][0] != 232


def test_attention_colours_its_hand_and_sizes_its_joints(draw: Draw, scene: Scene) -> None:
    hand = square(side_px=40.0)
    keypoints_px = np.tile([60.0, 4.0], (21, 1))
    keypoints_px[4], keypoints_px[8] = [20.0, 24.0], [44.0, 24.0]
    across_m = (keypoints_px - hand.keypoints_px[0]) / hand.pixels_per_m
    hand = replace(hand, keypoints_m=np.pad(across_m, ((0, 0), (0, 1))))
    joints = np.zeros(21)
    joints[4], joints[8] = 0.9, 0.1
    to_joints, to_vertices = (
        AttentionShown(np.full(4, 0.0), joints),
        AttentionShown(np.array([10.0, 10.0, 10.0, 10.0]), None),
    )
    scene.set_highlight(Highlight(Pick(0, vertex=0), to_joints))
    image = draw(result(hand)).astype(int)
    assert np.ptp(np.flatnonzero(image[24, :32].sum(axis=1) > 500)) > 20, "the disc of joint 4"
    np.testing.assert_allclose(image[24, 44], image[24, 20], atol=2, err_msg="discs state weights by area alone")
    lines = scene.legend_parts(FLAT)[-1].lines
    assert lines[:2] == ("Area of discs: attention", "to the joints, most 90%")
    scene.set_highlight(Highlight(Pick(0, vertex=0), to_vertices))
    light = draw(result(hand)).astype(int)[40, 32]
    scene.set_highlight(Highlight(Pick(0, vertex=0), AttentionShown(np.zeros(4), None)))
    dark = draw(result(hand)).astype(int)[40, 32]
    assert light.sum() > dark.sum() + 300


def test_picking_asks_the_view_that_was_drawn(draw: Draw, scene: Scene) -> None:
    hand = square(side_px=30.0)

    def found(x: float, y: float, options: DrawOptions = FLAT) -> Pick | None:
        return scene.pick(np.array([x, y]), SIZE, options, orbit=OrbitCamera(), pixel_ratio=1.0)

    assert found(32, 24) is None
    draw(result(hand))
    assert [found(19, 11), found(45, 37)] == [Pick(0, vertex=0), Pick(0, vertex=2)]
    mirrored = replace(FLAT, mirror=True)
    draw(result(hand), mirrored)
    assert found(19, 11, mirrored) == Pick(0, vertex=1)
    assert found(2, 2) is None
    skeleton = replace(FLAT, skeleton=True)
    draw(result(hand), skeleton)
    assert found(33, 25, skeleton) == Pick(0, joint=0)
    orbit = replace(FLAT, view="orbit")
    draw(result(hand), orbit)
    on_hand = found(33, 25, orbit)
    assert on_hand is not None
    assert on_hand.vertex is not None


def test_legends_state_what_is_faded_or_hidden() -> None:
    assert notes_for(DrawOptions(), fades=True, ellipses=False, samples=False) == ()
    options = DrawOptions(uncertain="fade", uncertain_above_mm=7.5, ellipse_sigmas=1.0)
    assert notes_for(options, fades=True, ellipses=True, samples=False) == (
        "Faded: sigma > 7.5 mm",
        "Ellipses: 1 sigma, 39%",
    )
    assert notes_for(replace(options, uncertain="hide"), fades=True, ellipses=False, samples=False) == (
        "Hidden: sigma > 7.5 mm",
    )
    assert notes_for(options, fades=False, ellipses=False, samples=False) == (), (
        "nothing fades without standard deviations"
    )


def test_legends_lie_below_each_other() -> None:
    parts = (
        LegendPart("uncertainty", (0.0, 10.0)),
        LegendPart("seen"),
        LegendPart("notes", lines=("Hidden", "Ellipses")),
    )
    for ratio in (1.0, 2.0):
        image = stacked_image(parts, ratio)
        width, height = stacked_size(parts)
        assert image.shape == (pytest.approx(height * ratio, abs=3), pytest.approx(width * ratio, abs=1), 4)
        assert image is stacked_image(parts, ratio)
        # Premultiplied: no colour is above its opacity.
        assert (image[..., :3] <= image[..., 3:]).all()


def test_titles_and_notes_end_before_their_panels_do() -> None:
    notes = LegendPart("notes", lines=("Hidden: sigma > 12.5 mm", "Ellipses: 2.5 sigma, 96%"))
    for part in (LegendPart("attention", (0.0, 20.0)), notes):
        image = stacked_image((part,), 2.0)
        assert image.shape == (2 * part.size[1], 2 * part.size[0], 4)
        assert (image[:, -2:] == image[0, 0]).all()


def test_attention_has_a_ramp_of_its_own() -> None:
    lightness = oklab_from_srgb(attention_colours().astype(np.float64))[:, 0]
    assert np.diff(lightness).min() > 0
    difference = oklab_from_srgb(attention_colours().astype(float)) - oklab_from_srgb(
        uncertainty_colours().astype(float)
    )
    assert np.linalg.norm(difference, axis=1)[64:240].min() > 0.07


def test_the_scale_of_attention_is_round() -> None:
    assert [AttentionShown(np.array([value])).upper for value in (0.0, 2.1, 31.0, 999.0)] == [2.0, 5.0, 50.0, 200.0]
