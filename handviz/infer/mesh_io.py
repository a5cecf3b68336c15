"""Meshes as files: binary PLY with the deviation of every vertex, or OBJ; metres, camera axes."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.records import FloatArray

PLY_VERTEX = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("red", "u1"),
        ("green", "u1"),
        ("blue", "u1"),
        ("vertex_std_mm", "<f4"),
    ]
)
PLY_FACE = np.dtype([("count", "u1"), ("vertices", "<i4", (3,))])
PLY_TYPES = {"f": "float", "u": "uchar"}


def write_ply(
    path: Path,
    vertices_m: FloatArray,
    faces: NDArray[np.int32],
    *,
    vertex_std_mm: FloatArray,
    colours: FloatArray,
) -> None:
    """Vertices (V, 3), faces (F, 3), deviations (V,) and colours (V, 3) in [0, 1] as one binary PLY."""
    vertices = np.zeros(len(vertices_m), PLY_VERTEX)
    for column, name in enumerate("xyz"):
        vertices[name] = vertices_m[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = _bytes_from(colours)[:, column]
    vertices["vertex_std_mm"] = vertex_std_mm
    triangles = np.zeros(len(faces), PLY_FACE)
    triangles["count"], triangles["vertices"] = 3, faces
    properties = [f"property {PLY_TYPES[PLY_VERTEX[name].kind]} {name}" for name in PLY_VERTEX.names or ()]
    header = ["ply", "format binary_little_endian 1.0", "comment metres; x right, y down, z forward"]
    header += [f"element vertex {len(vertices)}", *properties]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    path.write_bytes("\n".join(header).encode("ascii") + vertices.tobytes() + triangles.tobytes())


def write_obj(path: Path, vertices_m: FloatArray, faces: NDArray[np.int32], *, colours: FloatArray) -> None:
    """Vertices (V, 3), faces (F, 3) and colours (V, 3) in [0, 1] as OBJ; the colours follow the coordinates."""
    lines = ["# metres; x right, y down, z forward"]
    lines += ["v " + " ".join(f"{value:.6f}" for value in (*v, *c)) for v, c in zip(vertices_m, colours, strict=True)]
    lines += [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in faces]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def faces_for(handedness: str, faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """A left hand is the mirrored right one, so its triangles (F, 3) turn the other way round."""
    return faces[:, ::-1] if handedness == "left" else faces


def _bytes_from(colours: FloatArray) -> NDArray[np.uint8]:
    return np.clip(np.rint(colours * 255), 0, 255).astype(np.uint8)
