"""The layout of the hand's texture: everything in it, nothing twice, little stretched."""

import numpy as np
import pytest
import trimesh

from handviz.core.records import FloatArray
from handviz.hand_models.open_hand import load_display_mesh
from handviz.hand_models.template import HandTemplate
from handviz.hand_models.uv_atlas import flatten, load_uv_atlas
from handviz.io.uv_texture import TEXTURE_SIZE, rasterised


def doubled_areas(corners: FloatArray) -> FloatArray:
    """Return (F,) twice the signed area of triangles (F, 3, 2)."""
    return np.linalg.det(corners[:, 1:] - corners[:, :1])


def test_a_bent_sheet_becomes_the_sheet_again() -> None:
    across, along = np.meshgrid(np.linspace(0, 0.03, 7), np.linspace(0, 0.08, 9))
    sheet = np.stack([across.ravel(), along.ravel()], axis=1)
    angle = sheet[:, 0] / 0.01
    curved = np.stack([0.01 * np.sin(angle), sheet[:, 1], -0.01 * np.cos(angle)], axis=1)
    first = np.arange(63).reshape(9, 7)[:-1, :-1].ravel()
    faces = np.concatenate([np.stack([first, first + 7, first + 1], 1), np.stack([first + 1, first + 7, first + 8], 1)])
    flat = flatten(curved, faces.astype(np.int32), curved[:, :2], repair_steps=20)
    flat_lengths = np.linalg.norm(flat[faces] - np.roll(flat[faces], 1, axis=1), axis=2)
    lengths = np.linalg.norm(curved[faces] - np.roll(curved[faces], 1, axis=1), axis=2)
    np.testing.assert_allclose(flat_lengths, lengths, rtol=1e-3)
    assert (doubled_areas(flat[faces]) < 0).all(), "y is down: seen from outside it is counter-clockwise"


def test_the_atlas_is_the_dense_mesh_cut_open() -> None:
    atlas, display = load_uv_atlas(), load_display_mesh()
    np.testing.assert_array_equal(atlas.vertex_ids[atlas.faces], display.faces)
    assert set(atlas.vertex_ids) == set(range(display.vertex_count))
    assert len(atlas.vertex_ids) < 1.2 * display.vertex_count
    assert trimesh.Trimesh(np.pad(atlas.uv, ((0, 0), (0, 1))), atlas.faces, process=False).body_count == 2


def test_no_triangle_is_turned_over_or_lies_on_another() -> None:
    atlas = load_uv_atlas()
    assert 0 < atlas.uv.min() < atlas.uv.max() < 1
    assert (doubled_areas(atlas.uv[atlas.faces]) < 0).all()
    positions, _, weights = rasterised(atlas, TEXTURE_SIZE)
    inside = positions[(weights > 1e-6).all(axis=1)]
    assert len(np.unique(inside)) == len(inside)
    assert len(inside) > 0.35 * TEXTURE_SIZE**2


def test_little_is_stretched(template: HandTemplate) -> None:
    atlas, display = load_uv_atlas(), load_display_mesh()
    corners = display.lift(template.vertices_m)[display.faces]
    flat = atlas.uv[atlas.faces] * atlas.side_m
    stretch = np.linalg.norm(flat - np.roll(flat, 1, 1), axis=2) / np.linalg.norm(
        corners - np.roll(corners, 1, 1), axis=2
    )
    low, middle, high = np.percentile(stretch, (1, 50, 99))
    assert (low > 0.75, high < 1.25) == (True, True)
    assert middle == pytest.approx(1, abs=0.03)
