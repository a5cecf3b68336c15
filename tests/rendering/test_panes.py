"""Panes, labels and distances, without OpenGL."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import procrustes
from scipy.spatial.transform import Rotation

from handviz.core.records import Frame, FrameResult, HandMesh
from handviz.rendering.camera import Size
from handviz.rendering.colormap import colours_from_distance, distance_colours, oklab_from_srgb
from handviz.rendering.difference import Distances, distances_of, vertex_distances_mm
from handviz.rendering.hand_shape import ModelDisplay, no_surface
from handviz.rendering.legend import distance_legend_image
from handviz.rendering.options import Difference, DrawOptions
from handviz.rendering.pane_label import label_image, pane_label, pane_lines
from handviz.rendering.panes import Pane, pane_at, panes_of
from tests.hands import made_up_hand

IMAGE = (640, 480)
MODELS = ("prior", "amvur", "final")
DIFFERENCE = Difference("prior", "final")
DISPLAY = ModelDisplay({"": no_surface(30)}, {"prior": "prior-net", "amvur": "AMVUR"})
PLAIN, MEASURED = DrawOptions(colour="plain"), DrawOptions(difference=True)


def moved(hand: HandMesh, seed: int = 1) -> HandMesh:
    """Perturb the vertices of a hand."""
    offset = np.random.default_rng(seed).normal(0, 0.01, hand.vertices_m.shape)
    return replace(hand, vertices_m=hand.vertices_m + offset)


def compared(*hands: HandMesh) -> FrameResult:
    """Return a result of final whose prior-net has perturbed hands; AMVUR is missing."""
    frame = Frame(0, np.zeros((480, 640, 3), np.uint8), 0.0)
    others = {"prior": tuple(moved(hand) for hand in hands)}
    return FrameResult(frame, "final", hands=hands, others=others, other_errors={"amvur": "no such file"})


@pytest.mark.parametrize("view_size", [(732, 650), (1412, 950), (320, 240), (400, 1200), (3, 3)])
@pytest.mark.parametrize("view", ["overlay", "orbit"])
def test_panes_divide_the_view_in_order_and_do_not_overlap(view_size: Size, view: str) -> None:
    panes = panes_of(view_size, MODELS, image_size=IMAGE, view=view)
    assert tuple(pane.model for pane in panes) == MODELS
    covered = np.zeros(view_size[::-1], int)
    for pane in panes:
        covered[pane.top_px : pane.top_px + pane.height_px, pane.left_px : pane.left_px + pane.width_px] += 1
    assert covered.max() == 1
    sizes = np.array([pane.size_px for pane in panes])
    assert np.ptp(sizes, axis=0).max() <= 1
    if min(view_size) > 100:
        assert covered.mean() > 0.97


@pytest.mark.parametrize(
    ("view_size", "image_size", "view", "is_row"),
    [
        ((1200, 400), IMAGE, "overlay", True),
        ((600, 1200), IMAGE, "overlay", False),
        ((730, 650), IMAGE, "overlay", False),
        ((730, 650), IMAGE, "orbit", True),
        ((730, 650), (480, 800), "overlay", True),
    ],
)
def test_panes_lie_where_they_show_more(view_size: Size, image_size: Size, view: str, is_row: bool) -> None:
    first, second, _ = panes_of(view_size, MODELS, image_size=image_size, view=view)
    assert (first.top_px == second.top_px) == is_row


def test_a_point_belongs_to_the_pane_around_it() -> None:
    panes = panes_of((1000, 300), MODELS, image_size=IMAGE, pixel_ratio=2.0)
    _, second, last = panes
    found = pane_at(panes, second.left_px + 5.5, 20.0)
    assert found is not None
    assert (found.model, found.point_px, found.size_px) == ("amvur", (5.5, 20.0), second.size_px)
    assert pane_at(panes, second.left_px - 1, 20) is None, "the gap"
    assert pane_at(panes, last.left_px + last.width_px, 20) is None
    assert pane_at(panes, 20, -1) is None


def test_opengl_counts_from_below() -> None:
    assert Pane("final", 10, 20, 30, 40).viewport((200, 100)) == (10, 40, 30, 40)


def test_distances_are_those_of_a_slow_loop() -> None:
    first = made_up_hand()
    second = moved(first)
    expected = [
        1000 * sum((a - b) ** 2 for a, b in zip(one, two, strict=True)) ** 0.5
        for one, two in zip(first.vertices_m.tolist(), second.vertices_m.tolist(), strict=True)
    ]
    np.testing.assert_allclose(vertex_distances_mm(first, second), expected)
    np.testing.assert_allclose(vertex_distances_mm(second, first), expected)


def test_aligned_distances_leave_out_rotation_translation_and_size() -> None:
    first = made_up_hand()
    rotation = Rotation.from_rotvec([0.4, -0.7, 1.1]).as_matrix()
    turned = replace(first, vertices_m=1.3 * first.vertices_m @ rotation.T + [0.1, 0.2, 0.3])
    assert vertex_distances_mm(first, turned).mean() > 50
    assert vertex_distances_mm(first, turned, aligned=True).max() < 1e-6
    second = moved(turned)
    # scipy normalises both; its disparity is the squared distance over the second's squared size.
    _, _, disparity = procrustes(second.vertices_m, first.vertices_m)
    size = np.linalg.norm(second.vertices_m - second.vertices_m.mean(axis=0))
    aligned_m = vertex_distances_mm(first, second, aligned=True) / 1000
    assert (aligned_m**2).sum() == pytest.approx(disparity * size**2)


def test_distances_of_a_result_go_with_its_hands() -> None:
    hands = made_up_hand(), made_up_hand(handedness="left", wrist_px=(100.0, 100.0))
    result = compared(*hands)
    distances = distances_of(result, DIFFERENCE)
    assert distances is not None
    for hand, other, shown, mean, largest in zip(
        hands, result.others["prior"], distances.hands_mm, distances.mean_mm, distances.max_mm, strict=True
    ):
        np.testing.assert_array_equal(shown, vertex_distances_mm(other, hand))
        assert (mean, largest) == (shown.mean(), shown.max())


def test_there_is_no_distance_to_what_is_missing() -> None:
    assert distances_of(compared(made_up_hand()), Difference("amvur", "final")) is None
    assert distances_of(compared(), DIFFERENCE) is None


def test_colours_darken_uniformly_with_distance() -> None:
    lightness = oklab_from_srgb(distance_colours().astype(float))[:, 0]
    steps = np.diff(lightness)
    assert steps.max() < 0
    assert np.ptp(steps) < 0.002
    ends = colours_from_distance(np.array([-1.0, 0.0, 8.0, 99.0]), (0.0, 8.0))
    np.testing.assert_array_equal(ends, distance_colours()[[0, 0, 255, 255]])


def test_legend_of_distances_is_wider_than_its_longest_names() -> None:
    for name in ("prior-net to AMVUR", "prior-net to final", "AMVUR to final"):
        image = distance_legend_image(name, (0.0, 12.0), 2.0)
        assert image[:, -12:].max(axis=(0, 1))[:3].max() < 60, "nothing reaches the edge"


def test_labels_wrap_into_the_room_there_is() -> None:
    message = "the file /a/very/long/path/without/any/space/in/it/handviz_amvur.onnx is missing"
    wide, narrow = (label_image(("AMVUR", message), 1.0, width) for width in (2000, 120))
    assert narrow.shape[1] <= 120
    assert narrow.shape[0] > 3 * wide.shape[0] / 2
    assert (wide[:, -4:] == wide[0, -1]).all(), "nothing reaches the edge"
    assert label_image(("AMVUR",), 2.0, 400).shape[0] == 2 * label_image(("AMVUR",), 1.0, 400).shape[0]


def test_labels_name_model_distances_and_errors() -> None:
    result = compared(made_up_hand(), made_up_hand(handedness="left", wrist_px=(100.0, 100.0)))
    prior, amvur, final = panes_of((900, 300), MODELS, image_size=IMAGE)
    assert pane_lines(result, prior, PLAIN, None, DISPLAY) == ("prior-net",)
    assert pane_lines(result, final, PLAIN, None, DISPLAY) == ("final (active)",)
    assert pane_lines(result, amvur, MEASURED, None, DISPLAY) == ("AMVUR", "no such file")
    distances = Distances(DIFFERENCE, (np.array([1.0, 2.0]), np.array([4.0, 5.0])))
    lines = ("right: mean 1.5, max 2.0 mm", "left: mean 4.5, max 5.0 mm")
    assert pane_lines(result, prior, MEASURED, distances, DISPLAY) == ("prior-net", *lines)
    without = replace(result, others={"prior": (), "amvur": ()}, other_errors={})
    assert pane_lines(without, amvur, MEASURED, distances, DISPLAY)[1] == "not compared"
    assert pane_lines(without, prior, MEASURED, None, DISPLAY)[1] == "no distance prior-net to final"
    assert pane_lines(replace(without, others={}), prior, PLAIN, None, DISPLAY)[1] == "computing"
    broken = replace(result, hands=(), failure="it divided by zero")
    assert pane_lines(broken, final, PLAIN, None, DISPLAY) == ("final (active)", "it divided by zero")
    failed = replace(without, others={"amvur": ()}, other_errors={"prior": "no such file"})
    assert pane_lines(failed, final, MEASURED, None, DISPLAY)[1:] == ("no distance prior-net to final", "no such file")


@pytest.mark.parametrize(
    ("image", "inside"),
    [
        ((200.0, 0.0, 400.0, 200.0), False),
        ((0.0, 100.0, 600.0, 200.0), False),
        ((0.0, 0.0, 600.0, 200.0), True),
        (None, True),
    ],
)
def test_labels_avoid_the_image_if_possible(image: tuple[float, ...] | None, inside: bool) -> None:
    pane = Pane("prior", 0, 0, 600, 200)
    label, (left, top, right, bottom) = pane_label(("prior-net",), pane, image, 1.0)
    assert (bottom - top, right - left) == label.shape[:2]
    assert left >= 0
    assert top >= 0
    assert right <= 600
    if image is not None:
        covers = left < image[2] and right > image[0] and top < image[3] and bottom > image[1]
        assert covers == inside
