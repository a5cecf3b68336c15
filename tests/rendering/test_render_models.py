"""Pixels of models with meshes of their own, without uncertainty, and of the labels of hands."""

from collections.abc import Iterator
from dataclasses import replace

import moderngl
import numpy as np
import pytest

from handviz.core.records import Frame, FrameResult, HandMesh, ModelId
from handviz.hand_models.choice import DisplayMeshes
from handviz.hand_models.open_hand import load_open_hand
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.hand_label import hand_text
from handviz.rendering.hand_shape import ModelDisplay, PlainSurface, Surface
from handviz.rendering.highlight import Highlight, Pick
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import DrawOptions
from handviz.rendering.pane_label import label_image
from handviz.rendering.split_scene import SplitScene
from tests.fake_datasets.stand_in_mano import stand_in_template, vertex_order
from tests.hands import textured_hand
from tests.rendering.test_render_split import BLUE, COMPARED, SQUARE, Draw, compared, square
from tests.rendering.test_render_split import draw as draw

SIZE = (638, 160)
ORDER = [2, 0, 3, 1]
"""Vertices of the other mesh, in those of the square."""
OTHER = PlainSurface(np.argsort(ORDER)[SQUARE.faces].astype(np.int32), 4)


class Surfaces:
    """Surfaces that note which of them were looked up."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, hand_model: str, /) -> Surface | None:
        self.asked.append(hand_model)
        return {"": SQUARE, "other": OTHER}.get(hand_model)


@pytest.fixture
def surfaces() -> Surfaces:
    return Surfaces()


@pytest.fixture
def scene(ctx: moderngl.Context, surfaces: Surfaces) -> Iterator[SplitScene]:
    """Return the scene that ``draw`` draws with."""
    made = SplitScene(ctx, ModelDisplay(surfaces))
    yield made
    made.release()


def on_other_mesh(hand: HandMesh, hand_model: str = "other") -> HandMesh:
    """Return the same square with its vertices in another order."""
    assert hand.vertex_std_mm is not None
    return replace(
        hand, hand_model=hand_model, vertices_m=hand.vertices_m[ORDER], vertex_std_mm=hand.vertex_std_mm[ORDER]
    )


def without_uncertainty(model: ModelId) -> HandMesh:
    return replace(square(model), vertex_std_mm=None, keypoint_std_mm=None)


def centres(image: np.ndarray, scene: SplitScene, options: DrawOptions) -> list[np.ndarray]:
    panes = scene.panes((image.shape[1], image.shape[0]), options)
    return [image[p.top_px + p.height_px // 2, p.left_px + p.width_px // 2] for p in panes]


def test_every_pane_draws_its_own_mesh(draw: Draw, scene: SplitScene) -> None:
    same = draw(compared(), COMPARED)
    mixed = compared(others={"prior": (on_other_mesh(square("prior")),), "amvur": (square("amvur"),)})
    np.testing.assert_array_equal(draw(mixed, COMPARED), same)
    wrong = compared(others={"prior": (replace(on_other_mesh(square("prior")), hand_model=""),), "amvur": ()})
    assert (draw(wrong, COMPARED)[:, :211] != same[:, :211]).any(), "with the other's faces it would look different"


def test_two_hands_of_different_meshes_in_one_pane(draw: Draw) -> None:
    one = replace(COMPARED, compare=False, colour="plain")
    near = replace(square("prior"), wrist_camera_m=np.array([0.0, 0.0, 0.4]))
    far = replace(square("final"), wrist_camera_m=np.array([0.005, 0.0, 0.5]))
    expected = draw(compared(hands=(near, far)), one)
    for first, second in ((on_other_mesh(near), far), (near, on_other_mesh(far)), (on_other_mesh(near), far)):
        np.testing.assert_array_equal(draw(compared(hands=(first, second)), one), expected)


def test_a_hand_of_an_unknown_hand_model_has_no_mesh_and_a_message(draw: Draw, surfaces: Surfaces) -> None:
    options = replace(COMPARED, compare=False, legend=True)
    size = (640, 480)
    plain = replace(options, colour="plain", skeleton=True)
    unknown = compared(hands=(on_other_mesh(square("final"), "f" * 64),))
    image = draw(unknown, replace(plain, legend=False, skeleton=False), size)
    assert (image == BLUE).all(), "no mesh"
    assert (draw(unknown, replace(plain, legend=False), size) != BLUE).any(), "but the joints"
    note = (draw(unknown, plain, size) != draw(unknown, replace(plain, legend=False), size)).any(axis=2)
    assert note.sum() > 2000
    assert draw(unknown, replace(options, view="orbit"), size) is not None
    assert "f" * 64 in surfaces.asked


def test_a_known_hand_model_is_looked_up_when_it_is_drawn_first(draw: Draw, surfaces: Surfaces) -> None:
    one = replace(COMPARED, compare=False, colour="plain")
    draw(compared(), one)
    assert set(surfaces.asked) == {""}
    draw(compared(hands=(on_other_mesh(square("final")),)), one)
    assert set(surfaces.asked) == {"", "other"}


def test_without_uncertainty_a_hand_is_plain_and_the_scale_is_that_of_the_others(draw: Draw, scene: SplitScene) -> None:
    mixed = compared(others={"prior": (square("prior"),), "amvur": (without_uncertainty("amvur"),)})
    prior, amvur, _ = centres(draw(mixed, COMPARED), scene, COMPARED)
    plain = replace(COMPARED, colour="plain")
    np.testing.assert_array_equal(amvur, centres(draw(compared(), plain), scene, plain)[1])
    assert np.abs(prior - amvur).max() > 40
    low, high = scene.range_mm(COMPARED)
    assert low <= 2.0
    assert high >= 10.0


@pytest.mark.parametrize("uncertain", ["fade", "hide"])
def test_hands_without_uncertainty_stay_whole(draw: Draw, uncertain: str) -> None:
    shown = replace(COMPARED, compare=False, colour="plain", uncertain_above_mm=5.0)
    threshold = replace(shown, uncertain=uncertain)  # type: ignore[arg-type]
    without = compared(hands=(without_uncertainty("final"),))
    np.testing.assert_array_equal(draw(without, threshold), draw(without, shown))
    for hand in (square("final"), replace(square("final"), vertex_std_mm=np.full(4, 10.0))):
        uncertain_hand = compared(hands=(hand,))
        assert (draw(uncertain_hand, threshold) != draw(uncertain_hand, shown)).any(), "others fade or go"


def test_only_what_there_is_has_a_legend(draw: Draw, scene: SplitScene) -> None:
    def width(hand: HandMesh) -> int:
        options = replace(COMPARED, compare=False)
        shown = compared(hands=(hand,))
        images = [draw(shown, replace(options, legend=legend), (640, 480)) for legend in (False, True)]
        rows = (images[0] != images[1]).any(axis=(1, 2))
        return int(rows.sum())

    constant = replace(square("final"), vertex_std_mm=np.full(4, 10.0))
    without, whole, both = width(without_uncertainty("final")), width(square("final")), width(constant)
    assert 0 < without < 80, "a note without a bar"
    assert without < whole < both, "a bar; a bar and a note"


def test_a_point_is_picked_and_marked_on_every_mesh(draw: Draw, scene: SplitScene) -> None:
    plain = replace(COMPARED, colour="plain")
    mixed = compared(others={"prior": (on_other_mesh(square("prior")),), "amvur": (square("amvur"),)})
    without = draw(mixed, plain)
    first, _, last = scene.panes(SIZE, plain)
    # The square's corner in the first pane: prior's own vertex 0, the result's vertex 2.
    corner = np.array([32.0 + 6, 24.0 + 6]) * 158 / 48
    inside = (first.left_px + corner[0] - 3.0, corner[1] - 3.0)
    found = scene.pick(inside, SIZE, plain, orbit=OrbitCamera(), pixel_ratio=1.0)
    assert found == Pick(0, vertex=2)
    scene.set_highlight(Highlight(found))
    marked = (draw(mixed, plain) != without).any(axis=2)
    for pane in (first, last):
        column = pane.left_px + round(corner[0])
        assert marked[round(corner[1]), column - 4 : column + 5].any()


def labelled(image: np.ndarray, text: str, *, is_inverse: bool = False) -> bool:
    """Return whether the whole label is somewhere in the image (H, W, 3) on blue ground."""
    wanted = label_image((text,), 1.0, 10**4, is_inverse=is_inverse).astype(float)
    over = wanted[..., :3] + np.array(BLUE) * (1 - wanted[..., 3:] / 255)
    windows = np.lib.stride_tricks.sliding_window_view(image, over.shape)[:, :, 0]
    corner = np.abs(windows[..., :3, :3, :] - over[:3, :3]).max(axis=(2, 3, 4)) <= 2
    return any(np.abs(windows[tuple(at)] - over).max() <= 3 for at in np.argwhere(corner))


@pytest.mark.parametrize("mirror", [False, True])
def test_labels_can_be_read_in_every_pane_and_mirrored(draw: Draw, scene: SplitScene, mirror: bool) -> None:
    options = replace(COMPARED, colour="plain", labels=True, mirror=mirror, compare=True)
    size = (1206, 402)
    text = hand_text(square("final"), 0)
    image = draw(compared(), options, size)
    for pane in scene.panes(size, options):
        own = image[:, pane.left_px : pane.left_px + pane.width_px]
        assert labelled(own, text)
    assert not labelled(draw(compared(), replace(options, labels=False), size), text)


def test_the_hand_with_the_picked_point_has_a_bright_label_also_in_the_3d_view(draw: Draw, scene: SplitScene) -> None:
    options = DrawOptions(colour="plain", legend=False)
    text, size = hand_text(square("final"), 0), (480, 360)
    scene.set_highlight(Highlight(Pick(0, joint=0)))
    assert labelled(draw(compared(), options, size), text, is_inverse=True)
    around = replace(options, view="orbit", inset=False)
    bright = draw(compared(), around, size).min(axis=2) > 80
    scene.set_highlight(None)
    assert bright.sum() > (draw(compared(), around, size).min(axis=2) > 80).sum() + 500
    assert not labelled(draw(compared(), options, size), text, is_inverse=True)


def test_written_images_have_labels_only_on_demand() -> None:
    display, size = ModelDisplay({"": SQUARE}), (320, 240)
    shown = compared()
    images = []
    for labels in (False, True):
        with OffscreenRenderer(display, *size, labels=labels) as renderer:
            images.append([renderer.draw(shown, DrawOptions(labels=wanted)) for wanted in (False, True)])
    (plain, still_plain), (without, with_labels) = images
    np.testing.assert_array_equal(plain, still_plain)
    np.testing.assert_array_equal(plain, without)
    assert (with_labels != plain).any(axis=2).sum() > 1000


def test_four_models_are_written_in_a_square() -> None:
    options = replace(COMPARED, compared=("prior", "amvur", "final", "fourth"))
    with OffscreenRenderer(ModelDisplay({"": SQUARE})) as renderer:
        assert renderer.draw(compared(), options).shape == (2 * 48 + 2, 2 * 64 + 2, 3)
        assert renderer.draw(compared(), replace(options, compared=("prior", "final"))).shape == (48, 2 * 64 + 2, 3)


def test_the_open_hand_and_mano_stand_side_by_side() -> None:
    mano = stand_in_template()
    hand = replace(textured_hand(wrist_px=(320.0, 300.0)), texture=None, track_id=0)
    other = replace(hand, hand_model=mano.fingerprint, vertices_m=hand.vertices_m[vertex_order()], vertex_std_mm=None)
    frame = Frame(0, np.zeros((480, 640, 3), np.uint8), 0.0)
    shown = FrameResult(frame, "final", hands=(hand,), others={"mano": (other,)})
    options = replace(COMPARED, colour="plain", compared=("final", "mano"))
    with OffscreenRenderer(ModelDisplay(DisplayMeshes(load_open_hand(), mano)), 642, 240, samples=0) as renderer:
        image = renderer.draw(shown, options)
    first, second = (image[40:, start : start + 320].max(axis=2) > 40 for start in (0, 322))
    assert first.mean() > 0.03
    assert (first & second).sum() > 0.9 * (first | second).sum(), "the same hand, one with the denser mesh"
