"""Hands drawn from the posterior: which ones, and single pixels of them."""

from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import HandMesh
from handviz.core.shape_posterior import ShapePosterior
from handviz.rendering.camera import OrbitCamera
from handviz.rendering.legend import notes_for
from handviz.rendering.offscreen import OffscreenRenderer
from handviz.rendering.options import DrawOptions
from handviz.rendering.samples import GHOST_COUNT, PERIOD_S, drawn_hands, normals_at, normals_of
from tests.rendering.test_render_scene import DISPLAY, FLAT, Draw, draw, result, square

__all__ = ["draw"]
GHOSTS, ANIMATION = replace(FLAT, samples="ghosts"), replace(FLAT, samples="animation")
FOLLOW = np.eye(4, 21)
"""Each corner of the square follows a keypoint of its own."""


def uncertain(hand: HandMesh, std_m: float = 0.004, **changes: object) -> HandMesh:
    """Return the hand with a posterior whose keypoints are independent."""
    shape = ShapePosterior(std_m**2 * np.eye(63), std_m**2 * np.eye(63), FOLLOW, 98.0, 98)
    return replace(hand, shape=shape, **changes)  # type: ignore[arg-type]


def changed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return which pixels differ visibly."""
    return np.asarray(np.abs(first.astype(int) - second).max(axis=2) > 8)


@pytest.mark.parametrize(("view", "std_m"), [("overlay", 0.001), ("orbit", 0.004)])
def test_ghosts_surround_the_mean_and_spread_with_the_covariance(draw: Draw, view: str, std_m: float) -> None:
    options = replace(GHOSTS, view=view, inset=False)  # type: ignore[arg-type]
    alone = draw(result(square()), replace(options, samples="none"))
    small, large = (changed(draw(result(uncertain(square(), factor * std_m)), options), alone) for factor in (1, 4))
    assert 0 < small.sum() < large.sum() / 2
    assert not large[24, 32], "the mean covers them"
    rows, columns = np.nonzero(large)
    assert np.ptp(rows) < 48
    assert np.ptp(columns) < 48, "they are near the mean"


def test_a_hand_without_a_posterior_has_none_beside_one_that_has(draw: Draw) -> None:
    for options in (GHOSTS, ANIMATION):
        np.testing.assert_array_equal(draw(result(square()), options), draw(result(square())))
    other = uncertain(square(side_px=2.0), track_id=3)
    assert changed(draw(result(square(side_px=2.0), other), GHOSTS), draw(result(other))).any()


def test_the_mirrored_view_is_mirrored(draw: Draw) -> None:
    shown = result(uncertain(square()))
    for options in (GHOSTS, ANIMATION):
        mirrored = draw(shown, replace(options, mirror=True))[:, ::-1]
        assert changed(mirrored, draw(shown, options)).sum() <= 4, "pixels at edges"


def test_left_hands_have_ghosts_as_right_ones_have(draw: Draw) -> None:
    order = [1, 0, 3, 2]
    right = uncertain(square())
    assert right.shape is not None
    left = replace(
        right,
        handedness="left",
        vertices_m=right.vertices_m[order],
        shape=replace(right.shape, vertices_from_displacements=FOLLOW[order]),
    )
    options = replace(GHOSTS, colour="uncertainty")
    assert changed(draw(result(left), options), draw(result(right), replace(options, samples="none"))).sum() > 50
    assert changed(draw(result(left), options), draw(result(right), options)).sum() < 20


def test_the_same_hand_has_the_same_ghosts_and_another_has_others(draw: Draw) -> None:
    first, second = uncertain(square(), track_id=1), uncertain(square(), track_id=2)
    np.testing.assert_array_equal(draw(result(first), GHOSTS), draw(result(replace(first), number=1), GHOSTS))
    assert changed(draw(result(first), GHOSTS), draw(result(second), GHOSTS)).any()
    np.testing.assert_array_equal(normals_of(first, 0), normals_of(first, 1))
    assert (normals_of(square(), 0) != normals_of(square(), 1)).all(), "without tracks"


def test_ghosts_are_translucent_without_a_background() -> None:
    with OffscreenRenderer(DISPLAY, samples=0) as renderer:
        shown = result(uncertain(square()))
        opacities = np.unique(renderer.draw_cut_out(shown, GHOSTS)[..., 3])
        assert {0, 255} < set(opacities.tolist())
        moments = [renderer.draw(shown, ANIMATION, time_s=time_s) for time_s in (0.0, 1.0)]
        assert changed(*moments).any()
        np.testing.assert_array_equal(renderer.draw(shown, ANIMATION), moments[0])


def test_the_animation_moves_the_hand_and_comes_back(draw: Draw) -> None:
    shown = result(uncertain(square()))
    start, later, end = (draw(shown, ANIMATION, time_s=time_s) for time_s in (0.0, PERIOD_S / 4, PERIOD_S))
    assert changed(start, later).any()
    np.testing.assert_array_equal(start, end)
    gone = changed(start, draw(result(square()))) & changed(start, draw(result()))
    assert (changed(start, draw(shown)) & ~gone).any(), "the drawn hand replaces the mean"
    skeletons = [draw(shown, replace(ANIMATION, skeleton=True), time_s=time_s) for time_s in (0.0, 1.0)]
    assert changed(*skeletons).any()


def test_every_moment_is_standard_normal() -> None:
    hands = [replace(square(), track_id=number) for number in range(1, 201)]
    for time_s in (0.0, 0.7, 2.2):
        normals = np.concatenate([normals_at(hand, 0, time_s) for hand in hands])
        assert normals.shape == (200, 63)
        assert abs(normals.mean()) < 0.03
        np.testing.assert_allclose(normals.std(), 1.0, atol=0.03)
    steps = [normals_at(hands[0], 0, time_s) for time_s in np.linspace(0, PERIOD_S, 101)]
    assert np.linalg.norm(np.diff(steps, axis=0), axis=-1).max() < 0.1 * np.linalg.norm(steps[0]), "smooth"


def test_keypoints_and_vertices_move_together() -> None:
    hand = uncertain(square())
    drawn = drawn_hands(hand, normals_of(hand, 0))
    assert len(drawn) == GHOST_COUNT
    for one in drawn:
        np.testing.assert_allclose(one.vertices_m - hand.vertices_m, (one.keypoints_m - hand.keypoints_m)[:4])
    assert drawn_hands(square(), normals_of(hand, 0)) == []


def test_the_legend_says_what_is_drawn() -> None:
    def notes(options: DrawOptions) -> tuple[str, ...]:
        return notes_for(options, fades=True, ellipses=False, samples=True)

    assert " ".join(notes(GHOSTS)) == "Ghosts: 6 hands drawn from the posterior"
    assert " ".join(notes(ANIMATION)) == "Animation: hands drawn from the posterior"
    assert notes(FLAT) == ()
    assert notes_for(GHOSTS, fades=True, ellipses=False, samples=False) == ()


def test_panes_have_ghosts_of_their_own_models() -> None:
    shown = replace(
        result(uncertain(square())), others={"prior": (uncertain(square(), 0.008),), "mediapipe": (square(),)}
    )
    options = replace(GHOSTS, compare=True, compared=("prior", "final", "mediapipe"), view="orbit")
    with OffscreenRenderer(DISPLAY, samples=0) as renderer:
        plain = renderer.draw(shown, replace(options, samples="none"), OrbitCamera())
        panes = np.array_split(changed(renderer.draw(shown, options, OrbitCamera()), plain), 3, axis=1)
        # Lines of labels apart, which say that MediaPipe has no uncertainty.
        below = [pane[pane.shape[0] // 3 :].sum() for pane in panes]
    assert below[0] > below[1] > 0
    assert below[2] == 0
