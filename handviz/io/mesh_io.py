"""Meshes as the content of files: binary PLY with values for every vertex, or OBJ; metres, camera axes.

PLY holds the standard deviation of every vertex and, where there is a texture, how well it was ``seen``; OBJ can wrap
an image around the mesh, which a material file names.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray
from handviz.hand_models.uv_atlas import UvAtlas

PLY_TYPES = {"f": "float", "u": "uchar"}
PLY_FACE = np.dtype([("count", "u1"), ("vertices", "<i4", (3,))])
AXES = "metres; x right, y down, z forward"
MATERIAL = "hand"


def companion_paths(path: Path) -> tuple[Path, Path]:
    """Image and material that lie beside a wrapped OBJ; many readers take names in OBJ only up to the first space."""
    name = "_".join(path.stem.split())
    return path.with_name(f"{name}.png"), path.with_name(f"{name}.mtl")


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """A hand's surface, ready to be written."""

    vertices_m: FloatArray
    """(V, 3) camera axes."""
    faces: NDArray[np.int32]
    """(F, 3) counter-clockwise seen from outside."""
    normals: FloatArray
    """(V, 3) unit, outwards."""
    colours: FloatArray
    """(V, 3) sRGB in [0, 1]."""
    vertex_std_mm: FloatArray
    """(V,)"""
    seen: FloatArray | None = None
    """(V,) 0 to 1; None without a texture."""
    image: NDArray[np.uint8] | None = None
    """(S, S, 3) RGB, wrapped around the mesh instead of ``colours``, where there is an atlas."""
    atlas: UvAtlas | None = None
    """Of these vertices and faces."""


def ply_bytes(mesh: MeshArrays) -> bytes:
    """Vertices, faces, colours, standard deviations and, if there is a texture, how well vertices were seen: binary
    PLY."""
    columns: dict[str, tuple[str, FloatArray]] = {
        name: ("<f4", mesh.vertices_m[:, axis]) for axis, name in enumerate("xyz")
    }
    shades = np.clip(np.rint(mesh.colours * 255), 0, 255)
    columns |= {name: ("u1", shades[:, axis]) for axis, name in enumerate(("red", "green", "blue"))}
    columns["vertex_std_mm"] = ("<f4", mesh.vertex_std_mm)
    if mesh.seen is not None:
        columns["seen"] = ("<f4", mesh.seen)
    vertices = np.zeros(len(mesh.vertices_m), [(name, kind) for name, (kind, _) in columns.items()])
    for name, (_, values) in columns.items():
        vertices[name] = values
    triangles = np.zeros(len(mesh.faces), PLY_FACE)
    triangles["count"], triangles["vertices"] = 3, mesh.faces
    header = ["ply", "format binary_little_endian 1.0", f"comment {AXES}", f"element vertex {len(vertices)}"]
    header += [f"property {PLY_TYPES[np.dtype(kind).kind]} {name}" for name, (kind, _) in columns.items()]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header", ""]
    return "\n".join(header).encode("ascii") + vertices.tobytes() + triangles.tobytes()


def read_ply(path: Path) -> tuple[FloatArray, NDArray[np.int32]]:
    """Vertices (V, 3) and faces (F, 3) of a file that ``ply_bytes`` made; HandvizError at any other."""
    try:
        header, mark, content = path.read_bytes().partition(b"end_header\n")
        lines = header.decode("ascii").split("\n")
        counts = [int(line.split()[2]) for line in lines if line.startswith("element ")]
        kinds = {"float": "<f4", "uchar": "u1"}
        named = [line.split()[1:] for line in lines if line.startswith("property ") and "list" not in line]
        row = np.dtype([(name, kinds[kind]) for kind, name in named])
        vertices = np.frombuffer(content, row, counts[0])
        faces = np.frombuffer(content, PLY_FACE, counts[1], offset=counts[0] * row.itemsize)
        points = np.stack([vertices[axis] for axis in "xyz"], axis=1).astype(np.float64)
        if not mark or "format binary_little_endian 1.0" not in lines or not np.isfinite(points).all():
            raise ValueError("another format")
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise HandvizError(f"{path} is no PLY of handviz, or damaged ({error})", ErrorCode.FILE_DAMAGED) from error
    return points, faces["vertices"].astype(np.int32)


def obj_bytes(mesh: MeshArrays) -> bytes:
    """Vertices and faces as OBJ; the colours follow the coordinates."""
    lines = [f"# {AXES}", *_lines("v", np.concatenate([mesh.vertices_m, mesh.colours], axis=1))]
    lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    return ("\n".join(lines) + "\n").encode("ascii")


def wrapped_obj_bytes(mesh: MeshArrays, material_file: str) -> bytes:
    """Vertices, normals, faces and the place of every corner in the image that ``material_file`` names, as OBJ."""
    atlas = mesh.atlas
    assert atlas is not None
    upwards = np.array([0.0, 1.0]) + atlas.uv * np.array([1.0, -1.0])
    lines = [f"# {AXES}", f"mtllib {material_file}", f"usemtl {MATERIAL}"]
    lines += [*_lines("v", mesh.vertices_m), *_lines("vt", upwards), *_lines("vn", mesh.normals)]
    corners = np.stack([atlas.vertex_ids[atlas.faces], atlas.faces, atlas.vertex_ids[atlas.faces]], axis=2) + 1
    lines += ["f " + " ".join(f"{v}/{vt}/{vn}" for v, vt, vn in triangle) for triangle in corners.tolist()]
    return ("\n".join(lines) + "\n").encode("utf-8")


def material_bytes(image_file: str) -> bytes:
    """OBJ's material: the image as it is, for it holds the light already."""
    lines = [f"newmtl {MATERIAL}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 0", f"map_Kd {image_file}", ""]
    return "\n".join(lines).encode("utf-8")


def faces_for(handedness: str, faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """A left hand is the mirrored right one, so its triangles (F, 3) turn the other way round."""
    return faces[:, ::-1] if handedness == "left" else faces


def _lines(name: str, rows: FloatArray) -> list[str]:
    return [f"{name} " + " ".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
