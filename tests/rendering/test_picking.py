"""Picking of vertices and joints, against rays in space."""

import math
from dataclasses import replace

import numpy as np
import pytest

from handviz.core.records import FloatArray, HandMesh
from handviz.hand_models.open_hand import load_display_mesh, load_open_hand
from handviz.rendering.camera import MIRROR, OrbitCamera, letterbox, overlay_matrix, project
from handviz.rendering.hand_shape import HandShape, HandShaper, VertexNormals, depth_range
from handviz.rendering.highlight import Pick
from handviz.rendering.options import DrawOptions
from handviz.rendering.picking import PickView, front_hit, in_view, pick
from tests.hands import textured_hand

IMAGE, VIEW = (640, 480), (800, 500)
NEAR_MM = 30.0
"""As long as the longest edges of the open hand."""


def shapes(*hands: HandMesh, orbit: bool = False) -> list[HandShape]:
    options = DrawOptions(view="orbit" if orbit else "overlay")
    shaper = HandShaper(load_display_mesh())
    return [shaper.shape(hand, options, range_mm=(0, 10), centre_m=np.array([0.0, 0.0, 0.5])) for hand in hands]


def pick_view(clip_from_scene: FloatArray, size: tuple[int, int] = VIEW) -> PickView:
    return PickView(clip_from_scene, size)


def overlay(hand: HandMesh, size: tuple[int, int] = VIEW, *, mirrored: bool = False) -> FloatArray:
    clip = overlay_matrix(letterbox(IMAGE, size), size, depth_range([hand]))
    return MIRROR @ clip if mirrored else clip


def first_hit_of_ray(shape: HandShape, origin: FloatArray, direction: FloatArray) -> FloatArray | None:
    """Intersect a ray with the display mesh, triangle by triangle (Möller and Trumbore 1997)."""
    first, second, third = shape.vertices[load_display_mesh().faces, :3].astype(np.float64).transpose(1, 0, 2)
    nearest = math.inf
    for corner, along, other in zip(first, second - first, third - first, strict=True):
        normal = np.cross(direction, other)
        determinant = along @ normal
        if abs(determinant) < 1e-18:
            continue
        offset = origin - corner
        u = offset @ normal / determinant
        v = direction @ np.cross(offset, along) / determinant
        if u >= 0 and v >= 0 and u + v <= 1:
            nearest = min(nearest, other @ np.cross(offset, along) / determinant)
    return None if math.isinf(nearest) else origin + nearest * direction


@pytest.mark.slow
@pytest.mark.parametrize("yaw_rad", [0.0, 0.9, 2.6])
def test_a_click_in_orbit_takes_a_vertex_of_the_first_surface_that_a_ray_meets(yaw_rad: float) -> None:
    (shape,) = shapes(textured_hand(), orbit=True)
    camera = OrbitCamera(yaw_rad, 0.3, 1.5)
    clip = camera.matrix(0.115, VIEW)
    view = pick_view(clip)
    eye = np.linalg.solve(clip[[0, 1, 3], :3].astype(np.float64), -clip[[0, 1, 3], 3].astype(np.float64))
    random, met, nearest = np.random.default_rng(3), 0, 0
    for target in shape.vertices[random.choice(1609, 25), :3].astype(np.float64):
        point = first_hit_of_ray(shape, eye, (target - eye) / np.linalg.norm(target - eye))
        found = pick(view, [shape], project(clip, target[None], VIEW)[0], joint_reach_px=0)
        if point is None or found is None:
            continue
        assert found.vertex is not None
        away_mm = np.linalg.norm(shape.model_vertices - point, axis=1) * 1000
        assert away_mm[found.vertex] < NEAR_MM
        met += 1
        nearest += away_mm[found.vertex] < away_mm.min() + 0.1
    assert met > 20
    assert nearest > 0.7 * met, "others are where the nearest one is hidden"


@pytest.mark.parametrize("handedness", ["right", "left"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_click_on_the_image_takes_the_nearest_vertex(handedness: str, mirrored: bool) -> None:
    hand = textured_hand(handedness=handedness)  # type: ignore[arg-type]
    (shape,) = shapes(hand)
    clip = overlay(hand, mirrored=mirrored)
    mirror = np.array([-1.0 if handedness == "left" else 1.0, 1.0, 1.0])
    normals = VertexNormals(load_open_hand().faces, 778)(hand.vertices_m * mirror)
    # At rims and at the open wrist the smoother display mesh ends up to a millimetre before the model's.
    rays = (hand.vertices_m + hand.wrist_camera_m) * mirror
    facing = -np.einsum("vc,vc->v", normals, rays) / np.linalg.norm(rays, axis=1)
    seen = np.flatnonzero((facing > 0.8) & (hand.vertices_m[:, 1] < -0.02))[::10]
    assert len(seen) > 12
    same = 0
    for vertex in seen:
        point_px = project(clip, shape.model_vertices[vertex][None], VIEW)[0]
        found = pick(pick_view(clip), [shape], point_px, joint_reach_px=0)
        assert found is not None
        assert np.linalg.norm(hand.vertices_m[found.vertex] - hand.vertices_m[vertex]) < 0.004
        same += found.vertex == vertex
    assert same > 0.9 * len(seen)


def test_a_display_of_twice_the_resolution_gives_the_same_vertex() -> None:
    hand = textured_hand()
    (shape,) = shapes(hand)
    large = (2 * VIEW[0], 2 * VIEW[1])
    for point in ((360.0, 220.0), (300.0, 180.0), (330.0, 260.0)):
        point_px = np.array(point)
        one = pick(pick_view(overlay(hand)), [shape], point_px, joint_reach_px=8)
        two = pick(pick_view(overlay(hand, large), large), [shape], 2 * point_px, joint_reach_px=16)
        assert one == two


def test_the_nearer_of_two_hands_is_picked_and_nothing_beside_them() -> None:
    near = textured_hand()
    far = replace(near, wrist_camera_m=near.wrist_camera_m + np.array([0, 0, 0.2]))
    both = shapes(far, near)
    view = pick_view(overlay_matrix(letterbox(IMAGE, VIEW), VIEW, depth_range([near, far])))
    point_px = project(view.clip_from_scene, both[1].model_vertices[[599]], VIEW)[0]
    found = pick(view, both, point_px, joint_reach_px=0)
    assert found is not None
    assert found.hand == 1
    assert pick(view, both, np.array([3.0, 3.0]), joint_reach_px=8) is None
    assert pick(view, [], point_px, joint_reach_px=8) is None


def test_joints_win_where_they_are_drawn_and_near() -> None:
    hand = textured_hand()
    (shape,) = shapes(hand)
    view = pick_view(overlay(hand))
    joint_px = project(view.clip_from_scene, shape.keypoints[[9]], VIEW)[0]
    assert pick(view, [shape], joint_px + 5, joint_reach_px=8) == Pick(0, joint=9)
    outside = pick(view, [shape], joint_px + 7, joint_reach_px=8)
    hidden = pick(view, [shape], joint_px, joint_reach_px=0)
    assert outside is None or outside.joint is None
    assert hidden is not None
    assert hidden.vertex is not None


def test_the_front_of_two_triangles_is_hit_with_its_corners_weights() -> None:
    points = np.array([[0, 0, 0.5], [10, 0, 0.5], [0, 10, 0.5], [0, 0, -0.5], [10, 0, -0.5], [0, 10, 0.1]], float)
    hit = front_hit(points, np.array([[0, 1, 2], [3, 4, 5]], np.int32), np.array([2.0, 3.0]))
    assert hit is not None
    np.testing.assert_allclose(hit[1], [0, 0, 0, 0.5, 0.2, 0.3])
    assert hit[0] == pytest.approx(-0.32)
    assert front_hit(points, np.array([[0, 1, 2]], np.int32), np.array([9.0, 9.0])) is None


def test_depth_is_that_of_opengl() -> None:
    clip = OrbitCamera(0.3, 0.2).matrix(0.1, VIEW)
    points = np.array([[0.01, 0.02, 0.03]])
    x, y, w_depth, w = clip @ [*points[0], 1.0]
    expected = [(x / w * 0.5 + 0.5) * VIEW[0], (0.5 - y / w * 0.5) * VIEW[1], w_depth / w]
    np.testing.assert_allclose(in_view(clip, points, VIEW)[0], expected, rtol=1e-6)
