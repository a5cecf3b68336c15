"""What views say of hands without uncertainty or mesh."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import Frame, FrameResult, HandMesh
from handviz.rendering.difference import distances_of, have_different_meshes, on_mesh_of
from handviz.rendering.hand_notes import asks_for_uncertainty, mesh_note, uncertainty_note
from handviz.rendering.hand_shape import ModelDisplay, no_surface
from handviz.rendering.highlight import Pick
from handviz.rendering.legend import LegendPart, distance_legend_image, joined, note_image, note_lines
from handviz.rendering.options import Difference, DrawOptions
from handviz.rendering.pane_label import pane_lines
from handviz.rendering.panes import Pane
from tests.hands import made_up_hand

DISPLAY = ModelDisplay({"": no_surface(30), "mano": no_surface(30)}, {"mediapipe": "MediaPipe", "final": "Final"})
OPTIONS, PLAIN = DrawOptions(), DrawOptions(colour="plain")
CERTAIN = replace(made_up_hand(), vertex_std_mm=np.linspace(2.0, 9.0, 30))
WITHOUT = replace(made_up_hand(), model="mediapipe", vertex_std_mm=None, keypoint_std_mm=None)
CONSTANT = made_up_hand(std_mm=14.92)


def result(hand: HandMesh, **others: HandMesh) -> FrameResult:
    frame = Frame(0, np.zeros((48, 64, 3), np.uint8), 0.0)
    return FrameResult(frame, "final", hands=(hand,), others={model: (one,) for model, one in others.items()})


def lines_of(shown: FrameResult, model: str, options: DrawOptions) -> tuple[str, ...]:
    """Return the lines of a model's pane."""
    difference = options.shown_difference
    distances = distances_of(shown, difference) if difference is not None else None
    return pane_lines(shown, Pane(model, 0, 0, 100, 100), options, distances, DISPLAY)


def test_a_model_without_uncertainty_says_so_where_it_is_asked_for() -> None:
    assert uncertainty_note([WITHOUT], OPTIONS, "MediaPipe") == "no uncertainty: MediaPipe predicts none"
    assert uncertainty_note([CONSTANT, CONSTANT], OPTIONS, "X") == "one standard deviation for all vertices: 14.9 mm"
    assert uncertainty_note([CONSTANT, made_up_hand(std_mm=3.0)], OPTIONS, "X").endswith("14.9, 3.0 mm")
    assert uncertainty_note([CERTAIN], OPTIONS, "X") == ""
    assert uncertainty_note([], OPTIONS, "X") == ""
    assert uncertainty_note([WITHOUT], PLAIN, "X") == ""


@pytest.mark.parametrize(
    ("options", "asks"),
    [
        (OPTIONS, True),
        (PLAIN, False),
        (replace(PLAIN, uncertain="fade"), True),
        (replace(PLAIN, ellipses=True), True),
        (replace(PLAIN, samples="ghosts"), True),
        (replace(OPTIONS, difference=True), False),
    ],
)
def test_it_is_asked_for_by_colours_fading_ellipses_and_drawn_hands(options: DrawOptions, asks: bool) -> None:
    assert asks_for_uncertainty(options) == asks


def test_panes_say_what_is_not_drawn_of_their_model() -> None:
    shown = result(CERTAIN, mediapipe=WITHOUT, constant=CONSTANT, other=replace(WITHOUT, hand_model="feedbeef" * 8))
    assert lines_of(shown, "final", OPTIONS) == ("Final (active)",)
    assert lines_of(shown, "mediapipe", OPTIONS) == ("MediaPipe", "no uncertainty: MediaPipe predicts none")
    assert lines_of(shown, "constant", OPTIONS)[1] == "one standard deviation for all vertices: 14.9 mm"
    assert lines_of(shown, "other", PLAIN) == ("other", "no mesh: the hand model feedbeef is not known here")
    assert lines_of(shown, "mediapipe", PLAIN) == ("MediaPipe",)
    assert mesh_note([CERTAIN], DISPLAY.surfaces) == ""


def test_a_chosen_model_that_did_not_run_yet_is_being_computed() -> None:
    shown = result(CERTAIN, mediapipe=WITHOUT)
    assert lines_of(shown, "prior", PLAIN) == ("prior", "computing")
    assert lines_of(replace(shown, others={}), "mediapipe", PLAIN)[1] == "computing"


def test_different_meshes_have_no_distance_and_say_why() -> None:
    options = replace(OPTIONS, difference=True, difference_pair=("mano", "final"))
    shown = result(CERTAIN, mano=replace(CERTAIN, hand_model="mano"), mediapipe=WITHOUT)
    assert lines_of(shown, "mano", options) == ("mano", "no distance: different meshes")
    assert lines_of(shown, "mediapipe", options)[1] == "not compared"
    assert have_different_meshes(shown, Difference("mano", "final"))
    pair = Difference("mediapipe", "final")
    assert not have_different_meshes(shown, pair)
    assert distances_of(shown, pair) is not None, "the same mesh, whether there is an uncertainty or not"


def test_a_point_goes_to_another_mesh_by_its_place() -> None:
    order = np.random.default_rng(1).permutation(30)
    other = replace(CERTAIN, hand_model="mano", vertices_m=CERTAIN.vertices_m[order] + 1e-4)
    for vertex in (0, 7, 29):
        found = on_mesh_of(Pick(0, vertex=vertex), CERTAIN, other)
        assert found.vertex is not None
        assert order[found.vertex] == vertex
        assert on_mesh_of(found, other, CERTAIN) == Pick(0, vertex=vertex)
    assert on_mesh_of(Pick(0, joint=3), CERTAIN, other) == Pick(0, joint=3)
    assert on_mesh_of(Pick(0, vertex=3), CERTAIN, WITHOUT) == Pick(0, vertex=3)
    assert on_mesh_of(Pick(0, vertex=99), CERTAIN, other) == Pick(0, vertex=99), "of an older result"


def test_legends_join_notes_and_are_as_wide_as_their_text() -> None:
    bar = LegendPart("uncertainty", (0.0, 9.0))
    parts = joined([bar, LegendPart("notes", lines=("a", "b")), bar, LegendPart("notes", lines=("b", "c"))])
    assert parts == (bar, LegendPart("notes", lines=("a", "b", "c")))
    assert joined([bar]) == (bar,)
    long = note_lines("no mesh: the hand model feedbeef is not known here")
    assert [line[:8] for line in long] == ["No mesh:", "feedbeef"]
    for part in (
        LegendPart("notes", lines=("W" * 28,)),
        LegendPart("distance", lines=("SiMA-Hand to MediaPipe and more",)),
    ):
        image = part.image(1.0)
        assert image.shape[1::-1] == part.size
        assert image[:, -10:, :3].max() < 60, "nothing reaches the edge"
    assert note_image(("short",), 1.0).shape[1] < note_image(("W" * 28,), 1.0).shape[1]
    assert distance_legend_image("a to b", (0.0, 9.0), 1.0).shape[1] == 144
