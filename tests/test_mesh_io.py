"""Mesh files, read back by trimesh."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from handviz.infer.mesh_io import faces_for, write_obj, write_ply


@pytest.fixture
def ball() -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=1, radius=0.05)


def test_ply_keeps_vertices_faces_colours_and_deviation(tmp_path: Path, ball: trimesh.Trimesh) -> None:
    count = len(ball.vertices)
    deviation_mm = np.linspace(1, 9, count)
    colours = np.linspace(0, 1, count * 3).reshape(count, 3)
    path = tmp_path / "ball.ply"
    write_ply(path, ball.vertices, ball.faces, vertex_std_mm=deviation_mm, colours=colours)
    read = trimesh.load(path, process=False)
    np.testing.assert_allclose(read.vertices, ball.vertices, atol=1e-7)
    np.testing.assert_array_equal(read.faces, ball.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], np.rint(colours * 255))
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(np.ravel(data["vertex_std_mm"]), deviation_mm, rtol=1e-6)


def test_obj_keeps_vertices_faces_and_colours(tmp_path: Path, ball: trimesh.Trimesh) -> None:
    colours = np.tile([0.2, 0.4, 1.0], (len(ball.vertices), 1))
    write_obj(tmp_path / "ball.obj", ball.vertices, ball.faces, colours=colours)
    read = trimesh.load(tmp_path / "ball.obj", process=False, maintain_order=True)
    np.testing.assert_allclose(read.vertices, ball.vertices, atol=1e-6)
    np.testing.assert_array_equal(read.faces, ball.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[0, :3], [51, 102, 255])


def test_a_left_hand_is_not_inside_out(ball: trimesh.Trimesh) -> None:
    mirrored = ball.vertices * [-1, 1, 1]
    assert trimesh.Trimesh(mirrored, faces_for("left", ball.faces), process=False).volume > 0
    assert trimesh.Trimesh(ball.vertices, faces_for("right", ball.faces), process=False).volume > 0
