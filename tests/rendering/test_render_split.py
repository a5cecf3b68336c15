"""Pixels of compared results, drawn without a window."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import moderngl
import numpy as np
import pytest

from handviz.core.records import Frame, FrameResult, HandMesh, Intrinsics, ModelId
from handviz.rendering import legend, passes
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.colormap import distance_colours, uncertainty_colours
from handviz.rendering.hand_shape import ModelDisplay, PlainSurface
from handviz.rendering.highlight import AttentionShown, Highlight, Pick
from handviz.rendering.offscreen import MultisampleTarget
from handviz.rendering.options import DrawOptions
from handviz.rendering.split_scene import SplitScene

SIZE = (638, 160)
"""Three panes of 211 or 212 pixels and two gaps; each shows the image 211 pixels wide, 158 high."""
IMAGE = (64, 48)
BLUE = (0, 0, 200)
COMPARED = DrawOptions(compare=True, opacity=1.0, legend=False, labels=False)
DIFFERENT = replace(COMPARED, difference=True)
STD_MM: dict[ModelId, float] = {"prior": 2.0, "amvur": 6.0, "final": 10.0}
SIDE_M: dict[ModelId, float] = {"prior": 0.02, "amvur": 0.03, "final": 0.05}
SQUARE = PlainSurface(np.array([[0, 2, 1], [0, 3, 2]], dtype=np.int32), 4)
DISPLAY = ModelDisplay({"": SQUARE}, {"prior": "prior-net", "amvur": "AMVUR"})
Draw = Callable[..., np.ndarray]


def square(model: ModelId) -> HandMesh:
    """Return a square at the image's centre that faces the camera; size and standard deviation depend on the model."""
    corners, centre = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) / 2, np.array([32.0, 24.0])
    return HandMesh(
        handedness="right",
        detection_score=1.0,
        model=model,
        vertices_m=corners * SIDE_M[model],
        vertex_std_mm=np.linspace(0.98, 1.02, 4) * STD_MM[model],
        keypoints_m=np.zeros((21, 3)),
        keypoint_std_mm=np.zeros(21),
        camera_from_wrist=np.eye(3),
        wrist_camera_m=np.array([0.0, 0.0, 0.5]),
        # Twelve pixels wide, whatever its size in metres.
        intrinsics=Intrinsics(12 / SIDE_M[model] * 0.5, *centre),
    )


def compared(chosen: ModelId = "final", **changes: object) -> FrameResult:
    """Return one square of every model on a blue image."""
    image = np.full((IMAGE[1], IMAGE[0], 3), BLUE, dtype=np.uint8)
    others = {model: (square(model),) for model in STD_MM if model != chosen}
    result = FrameResult(Frame(0, image, 0.0), chosen, hands=(square(chosen),), others=others)
    return replace(result, **changes)  # type: ignore[arg-type]


@pytest.fixture
def scene(ctx: moderngl.Context) -> Iterator[SplitScene]:
    made = SplitScene(ctx, DISPLAY)
    yield made
    made.release()


@pytest.fixture
def draw(ctx: moderngl.Context, scene: SplitScene) -> Iterator[Draw]:
    """Draw into a framebuffer and read it back as (H, W, 3), row 0 on top."""
    target = MultisampleTarget(ctx, 0)

    def draw_one(
        shown: FrameResult | None, options: DrawOptions = COMPARED, size: tuple[int, int] = SIZE, **settings: object
    ) -> np.ndarray:
        scene.show(shown)
        framebuffer = target.framebuffer(size)
        scene.draw(framebuffer, options, **settings)  # type: ignore[arg-type]
        pixels = np.frombuffer(framebuffer.read(components=3, alignment=1), dtype=np.uint8)
        return pixels.reshape(size[1], size[0], 3)[::-1].astype(int)

    yield draw_one
    target.release()


def centre_colours(image: np.ndarray, scene: SplitScene, options: DrawOptions = COMPARED) -> list[np.ndarray]:
    """Return the colour at the centre of every pane, (3,), divided by its largest channel."""
    panes = scene.panes((image.shape[1], image.shape[0]), options)
    colours = [image[p.top_px + p.height_px // 2, p.left_px + p.width_px // 2] for p in panes]
    return [colour / max(colour.max(), 1) for colour in colours]


def hue(colours: np.ndarray, fraction: float) -> np.ndarray:
    """Return a colour of a colour map, normalized likewise."""
    colour = colours[round(fraction * 255)]
    return np.asarray(colour / colour.max())


@pytest.mark.parametrize("chosen", STD_MM)
def test_every_pane_shows_its_model_on_one_scale(draw: Draw, scene: SplitScene, chosen: ModelId) -> None:
    options = COMPARED.with_range((0.0, 12.0))
    image = draw(compared(chosen), options)
    for colour, model in zip(centre_colours(image, scene), STD_MM, strict=True):
        np.testing.assert_allclose(colour, hue(uncertainty_colours(), STD_MM[model] / 12), atol=0.12)
    for pane in scene.panes(SIZE, options):
        assert tuple(image[120, pane.left_px + 8]) == BLUE, "the image lies behind every hand"
    gaps = image[:, [211, 212, 425, 426]]
    assert (gaps == gaps[0, 0]).all()
    assert gaps.max() < 60


def test_the_scale_holds_every_model(draw: Draw, scene: SplitScene) -> None:
    draw(compared())
    low, high = scene.range_mm(COMPARED)
    assert low <= 2.0
    assert high >= 10.0
    assert scene.range_mm(COMPARED.with_range((1.0, 4.0))) == (1.0, 4.0)


def test_panes_turn_and_zoom_together(draw: Draw, scene: SplitScene) -> None:
    options = replace(COMPARED, colour="plain", view="orbit", inset=False)

    def widths(orbit: OrbitCamera) -> np.ndarray:
        row = draw(compared(), options, orbit=orbit)[80].max(axis=1)
        return np.array([(row[p.left_px : p.left_px + p.width_px] > 60).sum() for p in scene.panes(SIZE, options)])

    front, turned, near = (widths(camera) for camera in (OrbitCamera(), OrbitCamera(yaw_rad=1.0), OrbitCamera(zoom=2)))
    np.testing.assert_allclose(front / front[0], np.array([2.0, 3.0, 5.0]) / 2, rtol=0.1)
    np.testing.assert_allclose(turned / front, np.cos(1.0), atol=0.12)
    np.testing.assert_allclose(near / front, 2.0, rtol=0.1)


def test_translucent_hands_show_the_image_behind_them_in_every_pane(draw: Draw, scene: SplitScene) -> None:
    result = compared()
    columns = np.tile(np.arange(64, dtype=np.uint8)[None, :, None] * 4, (48, 1, 3))
    result = replace(result, frame=Frame(1, columns, 0.0))
    options = replace(COMPARED, colour="plain", opacity=0.02)
    image = draw(result, options)
    for pane in scene.panes(SIZE, options):
        centre = image[80, pane.left_px + pane.width_px // 2]
        np.testing.assert_allclose(centre, 4 * 32, atol=8)


@pytest.mark.parametrize("chosen", ["final", "amvur"])
def test_distances_colour_the_two_and_leave_the_third_plain(draw: Draw, scene: SplitScene, chosen: ModelId) -> None:
    options = DIFFERENT.with_range((0.0, 40.0))
    prior, amvur, final = centre_colours(draw(compared(chosen), options), scene, options)
    # A corner moves by 15 mm along both axes.
    expected = hue(distance_colours(), 15 * 2**0.5 / 40)
    np.testing.assert_allclose(prior, expected, atol=0.12)
    np.testing.assert_allclose(final, expected, atol=0.12)
    plain = centre_colours(draw(compared(chosen), replace(COMPARED, colour="plain")), scene)[1]
    np.testing.assert_allclose(amvur, plain, atol=0.01)


def test_distances_without_panes_lie_on_a_mesh_of_the_pair(draw: Draw, scene: SplitScene) -> None:
    options = replace(DIFFERENT, compare=False, difference_pair=("prior", "amvur"))
    draw(compared("final"), options)
    assert scene.panes(SIZE, options)[0].model == "prior"
    draw(compared("amvur"), options)
    assert scene.panes(SIZE, options)[0].model == "amvur"
    assert scene.panes(SIZE, replace(options, difference=False))[0].model == "amvur"


def test_a_missing_model_has_a_pane_with_a_message_and_no_hand(draw: Draw, scene: SplitScene) -> None:
    result = compared()
    whole = draw(result)
    others = {"prior": result.others["prior"]}
    image = draw(replace(result, others=others, other_errors={"amvur": "handviz_amvur.onnx is missing"}))
    _, amvur, final = scene.panes(SIZE, COMPARED)
    assert tuple(image[80, amvur.left_px + amvur.width_px // 2]) == BLUE
    bright = [(p[:60, amvur.left_px : amvur.left_px + amvur.width_px].min(axis=2) > 150).sum() for p in (whole, image)]
    assert bright[1] > bright[0] + 100
    np.testing.assert_array_equal(image[:, final.left_px :], whole[:, final.left_px :])


def test_one_legend_keeps_off_hands_and_labels(draw: Draw, scene: SplitScene) -> None:
    size = (1206, 402)
    for options in (COMPARED, DIFFERENT):
        for view in ("overlay", "orbit"):
            shown = replace(options, view=view, inset=False)
            without, with_legend = (draw(compared(), replace(shown, legend=legend), size) for legend in (False, True))
            changed = (without != with_legend).any(axis=2)
            _, _, final = scene.panes(size, shown)
            assert changed[:, final.left_px :].any()
            assert not changed[:, : final.left_px].any()
            assert not changed[150:250, final.left_px + 165 : final.left_px + 235].any(), "the hand"
            assert not changed[:30, final.left_px : final.left_px + 100].any(), "the label"


def test_an_image_is_uploaded_once_for_all_panes(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = []
    real = np.ascontiguousarray

    def note(array: np.ndarray, *rest: object, **named: object) -> np.ndarray:
        uploads.append(array.shape)
        return real(array, *rest, **named)  # type: ignore[call-overload]

    monkeypatch.setattr(passes.np, "ascontiguousarray", note)
    result = compared()
    draw(result)
    draw(result, replace(COMPARED, view="orbit"))
    assert uploads.count((48, 64, 3)) == 1


def test_going_back_to_one_pane_draws_as_before(draw: Draw, scene: SplitScene) -> None:
    single = DrawOptions(colour="plain", opacity=1.0, legend=False, labels=False)
    before = draw(compared(), single)
    draw(compared())
    np.testing.assert_array_equal(draw(compared(), single), before)
    (pane,) = scene.panes(SIZE, single)
    assert (pane.model, pane.size_px) == ("final", SIZE)
    found = scene.pane_at((10.0, 12.0), SIZE, single)
    assert found is not None
    assert found.point_px == (10.0, 12.0)


def test_nothing_to_compare_is_an_empty_view(draw: Draw, scene: SplitScene) -> None:
    assert draw(None).max() < 40
    assert scene.panes(SIZE, COMPARED) == ()
    without_hands = compared(hands=(), others={"prior": (), "amvur": ()})
    image = draw(without_hands, DIFFERENT)
    assert all(tuple(image[80, column]) == BLUE for column in (100, 320, 530))


def test_a_picked_point_is_marked_in_every_pane_and_found_there(draw: Draw, scene: SplitScene) -> None:
    plain = replace(COMPARED, colour="plain")
    without = draw(compared(), plain)
    scene.set_highlight(Highlight(Pick(hand=0, vertex=2)))
    marked = (draw(compared(), plain) != without).any(axis=2)
    for pane in scene.panes(SIZE, plain):
        corner_px = np.array([32.0 + 6, 24.0 + 6]) * 158 / 48
        column = pane.left_px + round(corner_px[0])
        assert marked[round(corner_px[1]), column - 4 : column + 5].any()
        inside = (pane.left_px + corner_px[0] - 3.0, corner_px[1] - 3.0)
        found = scene.pick(inside, SIZE, plain, orbit=OrbitCamera(), pixel_ratio=1.0)
        assert found is not None
        assert (found.hand, found.vertex) == (0, 2)
    gap = scene.pick((212.5, 80.0), SIZE, plain, orbit=OrbitCamera(), pixel_ratio=1.0)
    assert gap is None


def test_attention_colours_the_chosen_model_and_gives_way_to_distances(draw: Draw, scene: SplitScene) -> None:
    without = [draw(compared("amvur"), options) for options in (COMPARED, DIFFERENT)]
    attention = AttentionShown(vertices=np.array([0.0, 0.0, 0.0, 20.0]))
    for options, before in zip((COMPARED, DIFFERENT), without, strict=True):
        scene.set_highlight(Highlight(Pick(hand=0, vertex=2), attention))
        changed = (draw(compared("amvur"), options) != before).any(axis=2)
        # Beside the marked corner.
        fractions = [changed[60:78, p.left_px + 90 : p.left_px + 104].mean() for p in scene.panes(SIZE, options)]
        expected = [0.0, 1.0, 0.0] if not options.difference else [0.0, 0.0, 0.0]
        np.testing.assert_allclose(fractions, expected, atol=0.01)
        scene.set_highlight(None)


def test_a_cut_out_of_panes_is_hands_alone(draw: Draw, scene: SplitScene) -> None:
    image = draw(compared(), replace(COMPARED, colour="plain").cut_out())
    covered = (image > 0).any(axis=2)
    for pane in scene.panes(SIZE, COMPARED):
        own = covered[:, pane.left_px : pane.left_px + pane.width_px]
        assert own[80, pane.width_px // 2]
        assert own.mean() == pytest.approx((12 / 64) ** 2 * 64 / 48, rel=0.15)
    assert not covered[:, [211, 212, 425, 426]].any()


def test_a_legend_shrinks_rather_than_cover_a_hand_and_grows_with_the_view(draw: Draw) -> None:
    shown = replace(COMPARED, view="orbit", inset=False, guides=False)

    def legend_pixels(size: tuple[int, int]) -> int:
        options = (replace(shown, legend=legend) for legend in (False, True))
        without, with_legend = (draw(compared(), one, size, orbit=OrbitCamera(zoom=3.0)) for one in options)
        changed = (without != with_legend).any(axis=2)
        lit = without.max(axis=2) > 60
        assert not (changed & lit).any(), "the hands and the labels"
        return int(changed.sum())

    wide, narrow, again = (legend_pixels(size) for size in ((1000, 700), (250, 330), (1000, 700)))
    assert 0 < narrow < 0.75 * wide
    assert again == wide


def test_a_legend_that_shrank_grows_when_hands_have_been_away_for_a_while(
    draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legend, "DRAWS_BEFORE_GROWING", 5)
    options = replace(COMPARED, legend=True, view="orbit", inset=False)
    size, near, far = (250, 330), OrbitCamera(zoom=3.0), OrbitCamera(zoom=0.3)

    def legend_pixels(orbit: OrbitCamera) -> int:
        without = draw(compared(), replace(options, legend=False), size, orbit=orbit)
        return int((draw(compared(), options, size, orbit=orbit) != without).any(axis=2).sum())

    large = legend_pixels(far)
    small = legend_pixels(near)
    assert small < 0.75 * large
    assert legend_pixels(far) == small, "not at once"
    assert [legend_pixels(far) for _ in range(40)][-1] == large
