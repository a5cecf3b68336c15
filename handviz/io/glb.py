"""Meshes as binary glTF 2.0 (GLB): one mesh, one material, the texture's image inside.

Written here and not by trimesh, which keeps vertex colours in eight bits: glTF wants them linear, and of the darkest
tenth of all shades three would be left.
"""

import json
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.io.mesh_io import MeshArrays

GLTF_FROM_CAMERA = np.array([1.0, -1.0, -1.0])
"""Rotation by 180 degrees about x: glTF's axes are x right, y up, z towards the viewer."""
BYTE, FLOAT, UNSIGNED_INT = 5121, 5126, 5125
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
LINEAR, LINEAR_MIPMAP_LINEAR, CLAMP_TO_EDGE = 9729, 9987, 33071
SKIN_ROUGHNESS = 0.8


class Binary:
    """The binary chunk of a file under construction, with its buffer views and accessors."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, content: bytes, **entry: Any) -> int:
        """Append bytes; returns the index of their buffer view."""
        self.content += bytes(-len(self.content) % 4)
        self.views.append({"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content), **entry})
        self.content += content
        return len(self.views) - 1

    def add_vertices(self, values: FloatArray) -> int:
        """Append values (N, C) of vertices; returns the index of their accessor."""
        return self._add_numbers(values, f"VEC{values.shape[1]}", target=VERTEX_BUFFER)

    def add_numbers(self, values: FloatArray) -> int:
        """Append values (N,) or (N, 3 | 4 | 16) not of vertices; returns the index of their accessor."""
        return self._add_numbers(values, {0: "SCALAR", 16: "MAT4"}.get(_width(values), f"VEC{_width(values)}"))

    def add_joints(self, joints: NDArray[np.integer]) -> int:
        """Append the indices (V, 4) of each vertex's four bones; returns the index of their accessor."""
        array = np.ascontiguousarray(joints, dtype="u1")
        view = self.add(array.tobytes(), target=VERTEX_BUFFER)
        self.accessors.append({"bufferView": view, "componentType": BYTE, "count": len(array), "type": "VEC4"})
        return len(self.accessors) - 1

    def _add_numbers(self, values: FloatArray, kind: str, **entry: Any) -> int:
        array = np.ascontiguousarray(values, dtype="<f4")
        view = self.add(array.tobytes(), **entry)
        ends = {"min": np.atleast_1d(array.min(axis=0)).tolist(), "max": np.atleast_1d(array.max(axis=0)).tolist()}
        accessor = {"bufferView": view, "componentType": FLOAT, "count": len(array), "type": kind}
        self.accessors.append(accessor | ends)
        return len(self.accessors) - 1

    def add_faces(self, faces: NDArray[np.int32]) -> int:
        """Append triangles (F, 3); returns the index of their accessor."""
        array = np.ascontiguousarray(faces, dtype="<u4")
        view = self.add(array.tobytes(), target=INDEX_BUFFER)
        entry = {"bufferView": view, "componentType": UNSIGNED_INT, "count": array.size, "type": "SCALAR"}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def glb_bytes(mesh: MeshArrays, image_png: bytes | None = None) -> bytes:
    """Return the mesh as GLB: with linear vertex colours or, if it has an atlas, with the image as its texture."""
    binary = Binary()
    ids = slice(None) if mesh.atlas is None else mesh.atlas.vertex_ids
    attributes = {
        "POSITION": binary.add_vertices((mesh.vertices_m * GLTF_FROM_CAMERA)[ids]),
        "NORMAL": binary.add_vertices((unit(mesh.normals) * GLTF_FROM_CAMERA)[ids]),
    }
    gltf: dict[str, Any] = {"asset": {"version": "2.0", "generator": "handviz"}}
    if mesh.atlas is None:
        attributes["COLOR_0"] = binary.add_vertices(linear_from_srgb(mesh.colours))
        gltf["materials"] = [material()]
    else:
        assert image_png is not None
        attributes["TEXCOORD_0"] = binary.add_vertices(mesh.atlas.uv)
        gltf |= _image_entries(binary.add(image_png))
    faces = binary.add_faces(mesh.faces if mesh.atlas is None else mesh.atlas.faces)
    primitive = {"attributes": attributes, "indices": faces, "material": 0}
    gltf |= {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "name": "hand"}]}
    gltf |= {"meshes": [{"name": "hand", "primitives": [primitive]}]}
    gltf |= {"bufferViews": binary.views, "accessors": binary.accessors}
    content = bytes(binary.content + bytes(-len(binary.content) % 4))
    return container(gltf | {"buffers": [{"byteLength": len(content)}]}, content)


def _width(values: FloatArray) -> int:
    return values.shape[1] if values.ndim > 1 else 0


def linear_from_srgb(srgb: FloatArray) -> FloatArray:
    """Convert sRGB (..., 3) in [0, 1] to linear RGB (IEC 61966-2-1)."""
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def material() -> dict[str, Any]:
    """Return a lit, double-sided skin material: the mesh is open at the wrist, so its inside is visible."""
    return {
        "name": "hand",
        "doubleSided": True,
        "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": SKIN_ROUGHNESS},
    }


def _image_entries(view: int) -> dict[str, Any]:
    """Return an unlit material with the image of that buffer view: the image already contains the light."""
    shown = material() | {"extensions": {"KHR_materials_unlit": {}}}
    shown["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    sampler = {"magFilter": LINEAR, "minFilter": LINEAR_MIPMAP_LINEAR, "wrapS": CLAMP_TO_EDGE, "wrapT": CLAMP_TO_EDGE}
    return {
        "extensionsUsed": ["KHR_materials_unlit"],
        "materials": [shown],
        "textures": [{"source": 0, "sampler": 0}],
        "images": [{"bufferView": view, "mimeType": "image/png"}],
        "samplers": [sampler],
    }


def unit(normals: FloatArray) -> FloatArray:
    """Replace zero normals (V, 3), which glTF forbids, by ones towards the viewer."""
    has_one = np.linalg.norm(normals, axis=1, keepdims=True) > 0.5
    return np.where(has_one, normals, np.array([0.0, 0.0, -1.0]))


def container(gltf: dict[str, Any], binary: bytes) -> bytes:
    """Return a GLB file: header and two chunks, each padded to four bytes."""
    text = json.dumps(gltf, separators=(",", ":"), allow_nan=False).encode("utf-8")
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
