"""Meshes as the content of files: binary PLY with values for every vertex, or OBJ; metres, camera axes.

PLY has the standard deviation of every vertex and, with a texture, how well it was ``seen``; OBJ can have a texture
image, which a material file names.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import FloatArray

if TYPE_CHECKING:  # It loads SciPy, which only textures need.
    from handviz.hand_models.uv_atlas import UvAtlas

PLY_TYPES = {"f": "float", "u": "uchar"}
PLY_FACE = np.dtype([("count", "u1"), ("vertices", "<i4", (3,))])
AXES = "metres; x right, y down, z forward"
MATERIAL = "hand"


def companion_paths(path: Path) -> tuple[Path, Path]:
    """Return the paths of a textured OBJ's image and material, without spaces: many readers end names at one."""
    name = "_".join(path.stem.split())
    return path.with_name(f"{name}.png"), path.with_name(f"{name}.mtl")


@dataclass(frozen=True, eq=False)
class MeshArrays:
    """Arrays of a hand's surface to write."""

    vertices_m: FloatArray
    """(V, 3) camera axes."""
    faces: NDArray[np.int32]
    """(F, 3) counter-clockwise seen from outside."""
    normals: FloatArray
    """(V, 3) unit, outwards."""
    colours: FloatArray
    """(V, 3) sRGB in [0, 1]."""
    vertex_std_mm: FloatArray | None
    """(V,); None if the model predicts no uncertainty."""
    seen: FloatArray | None = None
    """(V,) 0 to 1; None without a texture."""
    image: NDArray[np.uint8] | None = None
    """(S, S, 3) RGB texture instead of ``colours``, if there is an atlas."""
    atlas: "UvAtlas | None" = None
    """Of these vertices and faces."""


def ply_bytes(mesh: MeshArrays) -> bytes:
    """Return binary PLY: vertices, faces, colours, standard deviations and, with a texture, ``seen``."""
    columns: dict[str, tuple[str, FloatArray]] = {
        name: ("<f4", mesh.vertices_m[:, axis]) for axis, name in enumerate("xyz")
    }
    shades = np.clip(np.rint(mesh.colours * 255), 0, 255)
    columns |= {name: ("u1", shades[:, axis]) for axis, name in enumerate(("red", "green", "blue"))}
    if mesh.vertex_std_mm is not None:
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
    """Read vertices (V, 3) and faces (F, 3) of a file of ``ply_bytes``; raises HandvizError at any other."""
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
            raise ValueError("not a binary little-endian PLY with finite vertices")
        if not ((faces["vertices"] >= 0) & (faces["vertices"] < len(points))).all():
            raise ValueError("a face has vertices that do not exist")
    except (OSError, ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise HandvizError(f"{path} is damaged or not a PLY of handviz ({error})", ErrorCode.FILE_DAMAGED) from error
    return points, faces["vertices"].astype(np.int32)


def obj_bytes(mesh: MeshArrays) -> bytes:
    """Return OBJ with vertices and faces; vertex colours follow the coordinates."""
    lines = [f"# {AXES}", *_lines("v", np.concatenate([mesh.vertices_m, mesh.colours], axis=1))]
    lines += [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    return ("\n".join(lines) + "\n").encode("ascii")


def wrapped_obj_bytes(mesh: MeshArrays, material_file: str) -> bytes:
    """Return OBJ with vertices, normals, faces, and texture coordinates in the image that ``material_file`` names."""
    atlas = mesh.atlas
    assert atlas is not None
    upwards = np.array([0.0, 1.0]) + atlas.uv * np.array([1.0, -1.0])
    lines = [f"# {AXES}", f"mtllib {material_file}", f"usemtl {MATERIAL}"]
    lines += [*_lines("v", mesh.vertices_m), *_lines("vt", upwards), *_lines("vn", mesh.normals)]
    corners = np.stack([atlas.vertex_ids[atlas.faces], atlas.faces, atlas.vertex_ids[atlas.faces]], axis=2) + 1
    lines += ["f " + " ".join(f"{v}/{vt}/{vn}" for v, vt, vn in triangle) for triangle in corners.tolist()]
    return ("\n".join(lines) + "\n").encode("utf-8")


def material_bytes(image_file: str) -> bytes:
    """Return OBJ's material: the image unlit, since it already contains the light."""
    lines = [f"newmtl {MATERIAL}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 0", f"map_Kd {image_file}", ""]
    return "\n".join(lines).encode("utf-8")


def faces_for(handedness: str, faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return faces (F, 3) of a hand: a left hand is a mirrored right one, so its winding is reversed."""
    return faces[:, ::-1] if handedness == "left" else faces


def _lines(name: str, rows: FloatArray) -> list[str]:
    return [f"{name} " + " ".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
