"""Levels of a mesh and spirals on them: nested, lifted as an independent fit does, and ordered by angle."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from handviz.core.errors import ErrorCode
from handviz.hand_models.mesh_levels import (
    level_counts,
    mesh_levels,
    ordered_neighbours,
    posed_meshes,
    vertex_normals,
)
from tests.errors import raises
from tests.fake_datasets.stand_in_mano import stand_in_template


@pytest.fixture(scope="module")
def levels(template):
    return mesh_levels(template)


def test_levels_are_nested_halves(levels, template) -> None:
    assert levels.counts == level_counts(778) == (49, 98, 195, 389, 778)
    assert np.array_equal(levels.ids[-1], np.arange(template.vertex_count))
    for coarse, fine in zip(levels.ids, levels.ids[1:], strict=False):
        assert set(coarse) < set(fine)


def test_lifts_keep_nested_vertices_and_come_close_to_the_others(levels, template) -> None:
    points = posed_meshes(template)
    parts = zip(levels.lift_ids, levels.lift_weights, levels.ids, levels.ids[1:], strict=False)
    for ids, weights, coarse, fine in parts:
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        assert (weights >= 0).all()
        lifted = np.einsum("fk,nfkc->nfc", weights, points[:, coarse][:, ids])
        errors_mm = np.linalg.norm(lifted - points[:, fine], axis=2).mean(axis=0) * 1000
        assert errors_mm[np.isin(fine, coarse)].max() < 1e-3
        assert errors_mm.mean() < 4


def test_spirals_begin_with_the_vertex_and_have_the_nearest_by_angle(levels, template) -> None:
    points = posed_meshes(template)
    for ids, spirals in zip(levels.ids, levels.spirals, strict=True):
        assert np.array_equal(spirals[:, 0], np.arange(len(ids)))
        paths = points[:, ids].transpose(1, 0, 2).reshape(len(ids), -1)
        distances = cdist(paths, paths)
        for vertex, spiral in enumerate(spirals):
            assert set(spiral) == set(np.argsort(distances[vertex], kind="stable")[:9])


def test_neighbours_on_a_flat_grid_go_round_counter_clockwise() -> None:
    x, y = np.meshgrid(np.arange(5.0), np.arange(5.0))
    points = np.stack([x.ravel(), y.ravel() * 1.01, np.zeros(25)], axis=1)
    spirals = ordered_neighbours(points, np.tile([0.0, 0.0, 1.0], (25, 1)), points)
    offsets = points[spirals[12, 1:]] - points[12]
    angles = np.unwrap(np.arctan2(offsets[:, 1], offsets[:, 0]))
    assert np.all(np.diff(angles) > 0)
    assert angles[-1] - angles[0] < 2 * np.pi
    assert np.linalg.norm(offsets[0]) == pytest.approx(1.0), "from the nearest on"


def test_no_spiral_joins_two_fingers_tips(levels, template) -> None:
    """The last joints' vertices of one finger are no neighbours of another finger's."""
    owner = template.skinning_weights.argmax(axis=1)
    tips = np.isin(owner, (3, 6, 9, 12, 15))
    for vertex in np.flatnonzero(tips):
        near = owner[levels.spirals[-1][vertex]]
        assert not set(near[np.isin(near, (3, 6, 9, 12, 15))]) - {owner[vertex]}


def test_normals_are_those_of_a_sphere() -> None:
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(0).normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    faces = ConvexHull(points).simplices
    corners = points[faces]
    inward = (
        np.einsum("fc,fc->f", np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), corners[:, 0]) < 0
    )
    faces[inward] = faces[inward][:, ::-1]
    assert np.einsum("vc,vc->v", vertex_normals(points, faces), points).min() > 0.97


def test_levels_of_a_user_s_mano() -> None:
    found = mesh_levels(stand_in_template())
    assert found.counts == (49, 98, 195, 389, 778)
    assert all(np.isfinite(weights).all() for weights in found.lift_weights)


def test_a_mesh_that_is_too_small_is_refused(template) -> None:
    small = replace(template, vertices_m=template.vertices_m[:100], skinning_weights=template.skinning_weights[:100])
    with raises(ErrorCode.WRONG_SHAPE, match="100 vertices"):
        mesh_levels(small)
