"""Colours, legends, light, cameras and normals, without OpenGL."""

import math

import numpy as np
import pytest

from handviz.rendering.camera import OrbitCamera, letterbox, overlay_matrix, project
from handviz.rendering.colormap import (
    DEFAULT_RANGE_MM,
    UNCERTAINTY_CONTROL_COLOURS,
    ColourMap,
    RangeFollower,
    colours_from_std,
    fitted_range,
    oklab_from_srgb,
    srgb_from_oklab,
    uncertainty_colours,
)
from handviz.rendering.hand_shape import VertexNormals, unique_edges
from handviz.rendering.legend import (
    BAR_BOTTOM_PX,
    BAR_LEFT_PX,
    BAR_RIGHT_PX,
    BAR_TOP_PX,
    HEIGHT_PX,
    PANEL_COLOUR,
    WIDTH_PX,
    labelled_mm,
    legend_image,
    ticks_mm,
)
from handviz.rendering.options import DEFAULT_DIRECTION, HALF_WIDTH_PX, PERIOD_PX, KeyLight, marked, stripe_cover

# Linear RGB without one kind of cone: Machado, Oliveira and Fernandes 2009, severity 1.
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]


def _linear(srgb: np.ndarray) -> np.ndarray:
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def test_oklab_of_known_colours() -> None:
    known = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    expected = np.array([[1.0, 0.0, 0.0], [0.628, 0.225, 0.126], [0.452, -0.032, -0.312]])
    np.testing.assert_allclose(oklab_from_srgb(known), expected, atol=1e-3)
    np.testing.assert_allclose(srgb_from_oklab(oklab_from_srgb(known)), known, atol=1e-6)


@pytest.mark.parametrize("colour_map", UNCERTAINTY_CONTROL_COLOURS)
def test_lightness_grows_linearly(colour_map: ColourMap) -> None:
    steps = np.diff(oklab_from_srgb(uncertainty_colours(colour_map).astype(np.float64))[:, 0])
    assert steps.min() > 0
    assert steps.max() < 1.5 * steps.mean()


@pytest.mark.parametrize("colour_map", UNCERTAINTY_CONTROL_COLOURS)
@pytest.mark.parametrize("blindness", [PROTANOPIA, DEUTERANOPIA])
def test_brightness_orders_the_colours_for_colour_blind_eyes_too(
    blindness: list[list[float]], colour_map: ColourMap
) -> None:
    seen = np.clip(_linear(uncertainty_colours(colour_map).astype(np.float64)) @ np.array(blindness).T, 0, 1)
    brightness = seen @ [0.2126, 0.7152, 0.0722]
    assert np.diff(brightness).min() > -1e-4
    assert brightness[-1] > 20 * brightness[0]


def test_colours_outside_the_range_are_those_of_its_ends() -> None:
    colours = colours_from_std(np.array([-1.0, 2.0, 12.0, 99.0, np.nan]), (2.0, 12.0))
    first, last = uncertainty_colours()[[0, -1]]
    np.testing.assert_array_equal(colours, [first, first, last, last, last])


def test_fitted_range_is_whole_millimetres_around_the_data() -> None:
    assert fitted_range(np.linspace(2.3, 9.4, 500)) == (2.0, 10.0)
    assert fitted_range(np.full(5, 4.0)) == (4.0, 6.0)
    assert fitted_range(np.array([np.nan])) == DEFAULT_RANGE_MM


def test_range_follows_without_flicker() -> None:
    follower = RangeFollower()
    first = follower.update(np.linspace(2.3, 9.4, 500))
    assert follower.update(np.linspace(2.6, 8.9, 500)) == first
    assert follower.update(np.linspace(2.6, 25.0, 500)) == (3.0, 25.0)


def test_legend_ticks_are_round_and_few() -> None:
    assert ticks_mm((2.0, 12.0)) == [2, 4, 6, 8, 10, 12]
    assert ticks_mm((0.0, 1.0)) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert len(ticks_mm((3.0, 26.0))) <= 6


def test_both_ends_of_a_bar_have_their_numbers() -> None:
    assert labelled_mm((0.0, 20.0)) == [0, 5, 10, 15, 20]
    assert labelled_mm((2.3, 12.1)) == [2.3, 4, 6, 8, 10, 12.1]
    assert labelled_mm((0.0, 0.5))[:: len(labelled_mm((0.0, 0.5))) - 1] == [0.0, 0.5]


def test_legend_image_grows_with_the_screen() -> None:
    assert legend_image((0.0, 10.0)).shape == (HEIGHT_PX, WIDTH_PX, 4)
    image = legend_image((0.0, 10.0), 2.0)
    assert image.shape == (2 * HEIGHT_PX, 2 * WIDTH_PX, 4)
    bar = image[2 * BAR_TOP_PX : 2 * BAR_BOTTOM_PX, BAR_LEFT_PX + BAR_RIGHT_PX, :3].astype(int).sum(axis=1)
    assert bar[0] > bar[-1]


@pytest.mark.parametrize("pixel_ratio", [0.7, 1.0, 1.25, 2.0])
def test_letters_of_the_legend_cut_no_holes_into_its_panel(pixel_ratio: float) -> None:
    image = legend_image((2.0, 12.0), pixel_ratio)
    title = image[: round(BAR_TOP_PX * pixel_ratio)]
    assert image[..., 3].min() == PANEL_COLOUR[3]
    assert title[..., 3].max() > 230
    assert title[..., 0].max() > 200
    assert (title[:, -2:] == title[0, 0]).all(), "the title ends before the panel does"


@pytest.mark.parametrize("blindness", [np.eye(3), PROTANOPIA, DEUTERANOPIA])
def test_stripes_stand_out_on_every_skin_to_every_eye(blindness: list[list[float]]) -> None:
    for skin in ((0.95, 0.80, 0.70), (0.72, 0.52, 0.40), (0.45, 0.30, 0.22), (0.16, 0.10, 0.08)):
        ground, stripe = marked(np.array([skin, skin]), np.array([0.0, 1.0]))
        light, dark = (
            np.clip(_linear(colour) @ np.array(blindness).T, 0, 1) @ [0.2126, 0.7152, 0.0722]
            for colour in (stripe, ground)
        )
        assert (light + 0.05) / (dark + 0.05) > 1.8


@pytest.mark.parametrize("pixel_ratio", [1.0, 1.5])
def test_stripes_cover_the_same_fraction_everywhere(pixel_ratio: float) -> None:
    columns, rows = np.meshgrid(np.arange(210) + 0.5, np.arange(210) + 0.5)
    cover = stripe_cover(columns, rows, pixel_ratio)
    assert cover.mean() == pytest.approx(2 * HALF_WIDTH_PX / PERIOD_PX, abs=0.02)
    assert (cover.min(), cover.max()) == (0.0, 1.0)


def test_light_follows_the_mouse_around_the_hands() -> None:
    light = KeyLight()
    assert light.to_light == DEFAULT_DIRECTION
    right, below, behind = light.dragged(100, 0), light.dragged(0, 150), light.dragged(400, 0)
    assert right.to_light[0] > light.to_light[0]
    assert right.to_light[1] == pytest.approx(light.to_light[1])
    assert below.to_light[1] > 0 > light.to_light[1]
    assert behind.to_light[2] > 0
    assert KeyLight((0.0, 0.0, 1.0)).between_light_and_eye() == (0.0, 0.0, -1.0)
    for moved in (right, below, behind, light.dragged(0, 1e5)):
        assert np.linalg.norm(moved.to_light) == pytest.approx(1)
    np.testing.assert_allclose(right.dragged(-100, 0).to_light, light.to_light, atol=1e-6)


def test_letterbox_keeps_shape_and_centre() -> None:
    box = letterbox((640, 480), (1000, 480))
    assert (box.scale, box.left_px, box.top_px) == (1.0, 180.0, 0.0)


def test_overlay_lands_on_the_pixels_of_the_letterboxed_image() -> None:
    matrix = overlay_matrix(letterbox((640, 480), (1000, 960)), (1000, 960), (0.2, 1.0))
    box = letterbox((640, 480), (1000, 960))
    points = np.array([[0.0, 0.0, 0.5], [640.0, 480.0, 0.5], [100.0, 50.0, 0.3]])
    expected = points[:, :2] * box.scale + [box.left_px, box.top_px]
    np.testing.assert_allclose(project(matrix, points, (1000, 960)), expected, atol=1e-3)


def test_nearer_points_have_smaller_depth_in_both_views() -> None:
    for matrix in (
        overlay_matrix(letterbox((64, 64), (64, 64)), (64, 64), (0.2, 1.0)),
        OrbitCamera().matrix(0.1, (64, 64)),
    ):
        clip = np.array([[0, 0, -0.02, 1], [0, 0, 0.02, 1]]) @ matrix.T
        assert clip[0, 2] / clip[0, 3] < clip[1, 2] / clip[1, 3]


def test_orbit_begins_as_the_camera_looks_and_fits_the_ball() -> None:
    matrix = OrbitCamera().matrix(0.1, (200, 100))
    points = np.array([[0.0, 0, 0], [0.05, 0, 0], [0, 0.05, 0], [0, -0.1, 0]])
    pixels = project(matrix, points, (200, 100))
    np.testing.assert_allclose(pixels[0], [100, 50], atol=1e-3)
    assert pixels[1, 0] > 100
    assert pixels[2, 1] > 50
    assert 0 <= pixels[3, 1] < 10


def test_orbit_follows_the_mouse() -> None:
    near_side = np.array([[0.0, 0.0, -0.1]])
    turned = OrbitCamera().dragged(20, 0)
    assert project(turned.matrix(0.1, (100, 100)), near_side, (100, 100))[0, 0] > 51
    tilted = OrbitCamera().dragged(0, 20)
    assert project(tilted.matrix(0.1, (100, 100)), near_side, (100, 100))[0, 1] > 51
    assert abs(OrbitCamera().dragged(0, 1e4).pitch_rad) < math.pi / 2
    np.testing.assert_allclose(tilted.rotation() @ tilted.rotation().T, np.eye(3), atol=1e-6)


def test_normals_agree_with_a_slow_loop_and_point_outwards() -> None:
    vertices, faces = octahedron()
    slow = np.zeros_like(vertices)
    for face in faces:
        first, second, third = vertices[face]
        for corner in face:
            slow[corner] += np.cross(second - first, third - first)
    slow /= np.linalg.norm(slow, axis=1, keepdims=True)
    fast = VertexNormals(faces, len(vertices))(vertices)
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    assert (np.einsum("ij,ij->i", fast, vertices) > 0).all()


def test_a_vertex_without_faces_has_no_normal() -> None:
    vertices, faces = octahedron()
    normals = VertexNormals(faces, len(vertices) + 1)(np.concatenate([vertices, [[9.0, 9.0, 9.0]]]))
    np.testing.assert_array_equal(normals[-1], 0)


def test_every_edge_once() -> None:
    assert len(unique_edges(octahedron()[1])) == 12


def octahedron() -> tuple[np.ndarray, np.ndarray]:
    """Return six vertices at distance 1 and eight faces, counter-clockwise seen from outside."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=np.float64)
    faces = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5), (0, 3, 5)]
    return vertices, np.array(faces, dtype=np.int32)
