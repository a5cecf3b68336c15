"""Export of a hand as PLY, OBJ or GLB, in the colours of the window.

PLY and OBJ keep the camera's axes (x right, y down, z forward); GLB has glTF's (x right, y up, z towards the viewer),
a rotation by 180 degrees about x. All are in metres, with the wrist keypoint at the origin.

What textures need is imported where they are made: it loads SciPy.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.files import write_files
from handviz.core.records import FloatArray, HandMesh
from handviz.hand_models.choice import display_mesh, hand_model_named
from handviz.io.glb import glb_bytes
from handviz.io.mesh_io import (
    MeshArrays,
    companion_paths,
    faces_for,
    material_bytes,
    obj_bytes,
    ply_bytes,
    wrapped_obj_bytes,
)
from handviz.rendering.colormap import ColourMap, colours_from_std, fitted_range
from handviz.rendering.hand_shape import PLAIN_COLOURS, PlainSurface, Surface, VertexNormals

ExportColour = Literal["texture", "uncertainty", "plain"]
MeshVertices = Literal["display", "model"]
SUFFIXES = (".glb", ".obj", ".ply")
WRAPPED_SUFFIXES = (".glb", ".obj")
"""Formats with texture images; PLY has vertex colours only."""


def export_mesh(
    path: Path,
    hand: HandMesh,
    *,
    colour: ExportColour,
    range_mm: tuple[float, float] | None = None,
    colour_map: ColourMap = "viridis",
    image: NDArray[np.uint8] | None = None,
    vertices: MeshVertices = "display",
) -> list[Path]:
    """Write the hand; returns the files, ``path`` first (OBJ with a texture has a material and an image beside it).

    ``range_mm`` are the ends of the uncertainty's ``colour_map`` (None fits them), ``image`` (H, W, 3) RGB the one that
    the hand was reconstructed from: its detail goes into the texture. ``vertices``: the dense display mesh, whose
    texture becomes an image in GLB and OBJ, or the hand model's own vertices with vertex colours. Raises HandvizError
    if the suffix is unknown, the file cannot be written or the hand is not finite.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise HandvizError(
            f"{path.name}: a mesh is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
            ErrorCode.UNSUPPORTED_FORMAT,
        )
    mesh = _mesh(hand, _surface(hand, vertices), colour, range_mm, colour_map)
    if colour == "texture" and vertices == "display" and kind in WRAPPED_SUFFIXES:
        mesh = _wrapped(mesh, hand, image)
    files = _files(path, mesh)
    write_files(files)
    return list(reversed(files))


def usual_vertices(suffix: str, colour: ExportColour) -> MeshVertices:
    """Return the vertices that a format has unless others are requested.

    They are the hand model's own in PLY and in OBJ without texture, else the display mesh's.
    """
    plain_file = suffix == ".ply" or (suffix == ".obj" and colour != "texture")
    return "model" if plain_file else "display"


def _surface(hand: HandMesh, vertices: MeshVertices) -> Surface:
    """Return the surface to write."""
    template = hand_model_named(hand.hand_model)
    if vertices == "display":
        return display_mesh(template)
    return PlainSurface(template.faces, template.vertex_count)


def _mesh(
    hand: HandMesh,
    surface: Surface,
    colour: ExportColour,
    range_mm: tuple[float, float] | None,
    colour_map: ColourMap,
) -> MeshArrays:
    """Return the hand on that surface with vertex colours."""
    vertices_m = surface.lift(np.asarray(hand.vertices_m, dtype=np.float64))
    if not np.isfinite(vertices_m).all():
        raise HandvizError(
            "the hand's vertices contain values that are not numbers: reconstruct it again", ErrorCode.NOT_FINITE
        )
    vertex_std_mm = _lifted_std_mm(hand, surface)
    normals = VertexNormals(surface.faces, surface.vertex_count)(vertices_m)
    mesh = MeshArrays(
        vertices_m=vertices_m,
        faces=faces_for(hand.handedness, surface.faces),
        normals=-normals if hand.handedness == "left" else normals,
        colours=np.tile(PLAIN_COLOURS[hand.handedness], (surface.vertex_count, 1)),
        vertex_std_mm=vertex_std_mm,
    )
    if colour == "uncertainty" and hand.vertex_std_mm is not None and vertex_std_mm is not None:
        colours = colours_from_std(vertex_std_mm, range_mm or fitted_range(hand.vertex_std_mm), colour_map)
        return dataclasses.replace(mesh, colours=colours)
    return _textured(mesh, hand, surface) if colour == "texture" else mesh


def _lifted_std_mm(hand: HandMesh, surface: Surface) -> FloatArray | None:
    """Return the standard deviations at the surface's vertices; None if the model predicts none."""
    if hand.vertex_std_mm is None:
        return None
    return np.maximum(surface.lift(np.asarray(hand.vertex_std_mm, dtype=np.float64)), 0)


def _textured(mesh: MeshArrays, hand: HandMesh, surface: Surface) -> MeshArrays:
    """Return the mesh with the texture as vertex colours, clipped where the dense mesh overshoots."""
    from handviz.io.uv_texture import checked_texture

    texture = checked_texture(hand)
    lifted = np.clip(surface.lift(np.concatenate([texture.rgb, texture.seen[:, None]], axis=1)), 0, 1)
    return dataclasses.replace(mesh, colours=lifted[:, :3], seen=lifted[:, 3])


def _wrapped(mesh: MeshArrays, hand: HandMesh, image: NDArray[np.uint8] | None) -> MeshArrays:
    """Return the dense mesh with the texture as an image."""
    from handviz.hand_models.uv_atlas import load_uv_atlas
    from handviz.io.uv_texture import bake_texture

    atlas = load_uv_atlas()
    atlas = dataclasses.replace(atlas, faces=faces_for(hand.handedness, atlas.faces))
    return dataclasses.replace(mesh, image=bake_texture(hand, image), atlas=atlas)


def _files(path: Path, mesh: MeshArrays) -> dict[Path, bytes]:
    """Return the contents of all files to write, ``path`` last."""
    kind = path.suffix.lower()
    if kind == ".ply":
        return {path: ply_bytes(mesh)}
    image_png = None if mesh.image is None else _png_bytes(mesh.image)
    if kind == ".glb":
        return {path: glb_bytes(mesh, image_png)}
    if image_png is None:
        return {path: obj_bytes(mesh)}
    image_path, material_path = companion_paths(path)
    return {
        image_path: image_png,
        material_path: material_bytes(image_path.name),
        path: wrapped_obj_bytes(mesh, material_path.name),
    }


def _png_bytes(image: NDArray[np.uint8]) -> bytes:
    encoded: bytes = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
    return encoded
