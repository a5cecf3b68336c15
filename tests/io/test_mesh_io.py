"""Mesh files, read back by trimesh."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from handviz.io.mesh_io import MeshArrays, faces_for, obj_bytes, ply_bytes


@pytest.fixture
def ball() -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions=1, radius=0.05)


def arrays(ball: trimesh.Trimesh, colours: np.ndarray, **values: np.ndarray) -> MeshArrays:
    """Return the ball with colours and values."""
    std_mm = np.linspace(1, 9, len(ball.vertices))
    return MeshArrays(ball.vertices, ball.faces, ball.vertex_normals, colours, std_mm, **values)


def test_ply_keeps_vertices_faces_colours_and_values(tmp_path: Path, ball: trimesh.Trimesh) -> None:
    colours = np.linspace(0, 1, ball.vertices.size).reshape(-1, 3)
    seen = np.linspace(1, 0, len(ball.vertices))
    mesh = arrays(ball, colours, seen=seen)
    path = tmp_path / "ball.ply"
    path.write_bytes(ply_bytes(mesh))
    read = trimesh.load(path, process=False)
    np.testing.assert_allclose(read.vertices, ball.vertices, atol=1e-7)
    np.testing.assert_array_equal(read.faces, ball.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[:, :3], np.rint(colours * 255))
    data = read.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_allclose(np.ravel(data["vertex_std_mm"]), mesh.vertex_std_mm, rtol=1e-6)
    np.testing.assert_allclose(np.ravel(data["seen"]), seen, rtol=1e-6)
    assert b"seen" not in ply_bytes(arrays(ball, colours))


def test_obj_keeps_vertices_faces_and_colours(tmp_path: Path, ball: trimesh.Trimesh) -> None:
    colours = np.tile([0.2, 0.4, 1.0], (len(ball.vertices), 1))
    (tmp_path / "ball.obj").write_bytes(obj_bytes(arrays(ball, colours)))
    read = trimesh.load(tmp_path / "ball.obj", process=False, maintain_order=True)
    np.testing.assert_allclose(read.vertices, ball.vertices, atol=1e-6)
    np.testing.assert_array_equal(read.faces, ball.faces)
    np.testing.assert_array_equal(read.visual.vertex_colors[0, :3], [51, 102, 255])


def test_a_left_hand_is_not_inside_out(ball: trimesh.Trimesh) -> None:
    mirrored = ball.vertices * [-1, 1, 1]
    assert trimesh.Trimesh(mirrored, faces_for("left", ball.faces), process=False).volume > 0
    assert trimesh.Trimesh(ball.vertices, faces_for("right", ball.faces), process=False).volume > 0
