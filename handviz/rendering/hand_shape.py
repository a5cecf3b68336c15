"""Vertex arrays of a reconstructed hand for the GPU. No OpenGL here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, HandMesh, ModelId
from handviz.core.units import MILLIMETRES_PER_METRE
from handviz.rendering.colormap import colours_from_attention, colours_from_distance, colours_from_std
from handviz.rendering.highlight import AttentionShown
from handviz.rendering.options import DrawOptions

PLAIN_COLOURS = {"right": (0.86, 0.78, 0.71), "left": (0.70, 0.78, 0.87)}
HAND_RADIUS_M = 0.115
DEPTH_MARGIN_M = 0.3
MM2_PER_M2 = MILLIMETRES_PER_METRE**2


class Surface(Protocol):
    """Display mesh interpolated from a hand model's V vertices."""

    @property
    def faces(self) -> NDArray[np.int32]:
        """(F, 3), counter-clockwise seen from outside a right hand."""
        ...

    @property
    def vertex_count(self) -> int:
        """Number of vertices of the display mesh."""
        ...

    def lift(self, values: FloatArray) -> FloatArray:
        """Interpolate values (V, C) at the hand model's vertices to (vertex_count, C)."""
        ...

    def __hash__(self) -> int:
        """Return the object's hash: what is made of a surface is kept by it."""
        ...


class Surfaces(Protocol):
    """The surfaces of hand models; a dictionary is one."""

    def get(self, hand_model: str, /) -> Surface | None:
        """Return the surface of a ``HandMesh.hand_model`` (empty: the open hand); None if it is not known."""
        ...


@dataclass(frozen=True)
class ModelDisplay:
    """What drawing needs to know of the models."""

    surfaces: Surfaces
    labels: Mapping[ModelId, str] = field(default_factory=dict)
    """What views call each model; one that is not in it is called by its id."""

    def label(self, model: ModelId) -> str:
        """Return what views call a model."""
        return self.labels.get(model, model)


@dataclass(frozen=True, eq=False)
class PlainSurface:
    """The hand model's own vertices and faces."""

    faces: NDArray[np.int32]
    vertex_count: int

    def lift(self, values: FloatArray) -> FloatArray:
        """Return the values unchanged."""
        return values


def no_surface(vertex_count: int) -> PlainSurface:
    """Return the surface of a hand whose hand model is not known: its vertices without faces."""
    return PlainSurface(np.zeros((0, 3), np.int32), vertex_count)


class VertexNormals:
    """Area-weighted vertex normals of one topology; the face -> vertex incidence is built once."""

    def __init__(self, faces: NDArray[np.int32], vertex_count: int) -> None:
        corners = faces.reshape(-1)
        order = np.argsort(corners, kind="stable")
        self._faces = faces
        self._vertex_count = vertex_count
        self._face_of_corner = order // 3
        self._used_vertices, self._starts = np.unique(corners[order], return_index=True)

    def __call__(self, vertices: FloatArray) -> FloatArray:
        """Compute unit normals (V, 3) of vertices (V, 3), outwards if faces are counter-clockwise; 0 without faces."""
        first, second, third = (vertices[self._faces[:, corner]] for corner in range(3))
        face_normals = _cross(second - first, third - first)
        normals = np.zeros((self._vertex_count, 3), dtype=vertices.dtype)
        if not len(self._faces):
            return normals
        corners = face_normals[self._face_of_corner]
        normals[self._used_vertices] = np.add.reduceat(corners, self._starts, axis=0)
        length = np.sqrt(np.einsum("ij,ij->i", normals, normals))[:, None]
        return normals / np.maximum(length, 1e-20)


def _cross(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return cross products of rows (N, 3), several times faster than ``np.cross``."""
    (ax, ay, az), (bx, by, bz) = first.T, second.T
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=1)


def unique_edges(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return every edge of the triangles (F, 3) once: (E, 2)."""
    edges = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    return np.unique(edges, axis=0).astype(np.int32)


@dataclass(frozen=True)
class HandMaterial:
    """Reaction of one hand to the viewport's light."""

    light_strength: float
    """From 0 (unlit colours) to 1."""
    gloss_strength: float
    flipped_below: float = 0.0
    """Normals whose cosine to the eye is below this are flipped, as inside the hand. Smooth normals at its edge face
    away slightly: flipped, they would be lit by a light on the other side."""
    marks_inferred: bool = False


PLAIN_MATERIAL, HEATMAP_MATERIAL = HandMaterial(1.0, 1.0), HandMaterial(0.45, 0.45)

RELIT_PLAIN_MATERIAL, RELIT_MATERIAL = (
    HandMaterial(1.0, 1.0, flipped_below=-0.25),
    HandMaterial(1.0, 0.5, flipped_below=-0.25),
)
# The colours contain the image's light: a little more shows the shape in the 3D view.
PHOTOGRAPH_MATERIAL = HandMaterial(0.12, 0.0)


@dataclass(frozen=True, eq=False)
class HandShape:
    """One hand, ready to draw."""

    vertices: NDArray[np.float32]
    """(Vd, 11) position, outward normal (scene axes), sRGB, ``seen`` in [0, 1], standard deviation in mm."""
    keypoints: NDArray[np.float32]
    """(21, 3) in the scene of the positions."""
    material: HandMaterial
    model_vertices: NDArray[np.float32]
    """(V, 3) the hand model's own vertices in that scene."""
    units_per_m: FloatArray
    """(3,) scene units per metre along each axis: pixels on the image, or metres."""
    surface: Surface
    """Its display mesh; without faces if its hand model is not known."""
    keypoint_covariance: FloatArray | None = None
    """(21, 3, 3) in that scene's units."""


def hand_material(hand: HandMesh, options: DrawOptions) -> HandMaterial:
    """Choose the material; a hand without a texture is plain."""
    if options.colour == "uncertainty" and hand.vertex_std_mm is not None:
        return HEATMAP_MATERIAL
    if options.colour != "texture" or hand.texture is None:
        return RELIT_PLAIN_MATERIAL if options.relight else PLAIN_MATERIAL
    return replace(RELIT_MATERIAL if options.relight else PHOTOGRAPH_MATERIAL, marks_inferred=options.mark_inferred)


def distance_vertex_colours(
    distances_mm: FloatArray, surface: Surface, range_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """Return (Vd, 4) as ``vertex_colours``, of distances (V,) between two models."""
    painted = np.ones((surface.vertex_count, 4), dtype=np.float32)
    lifted = surface.lift(distances_mm.astype(np.float32)[:, None])[:, 0]
    painted[:, :3] = colours_from_distance(lifted, range_mm)
    return painted


def vertex_colours(
    hand: HandMesh, surface: Surface, options: DrawOptions, range_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """Return (Vd, 4) of the display mesh: sRGB, and ``seen`` (1 except for textures)."""
    if options.colour == "texture" and hand.texture is not None:
        colours = hand.texture.albedo if options.relight else hand.texture.rgb
        lifted = surface.lift(np.concatenate([colours, hand.texture.seen[:, None]], axis=1, dtype=np.float32))
        # The dense mesh's weights are not all positive.
        return np.clip(lifted, 0, 1)
    painted = np.ones((surface.vertex_count, 4), dtype=np.float32)
    if options.colour == "uncertainty" and hand.vertex_std_mm is not None:
        std_mm = surface.lift(hand.vertex_std_mm.astype(np.float32)[:, None])[:, 0]
        painted[:, :3] = colours_from_std(std_mm, range_mm, options.colour_map)
    else:
        painted[:, :3] = PLAIN_COLOURS[hand.handedness]
    return painted


def all_stds_mm(hands: Sequence[HandMesh]) -> FloatArray:
    """Return the standard deviations (N,) of all vertices; empty if no hand has any."""
    return np.concatenate([np.zeros(0), *(hand.vertex_std_mm for hand in hands if hand.vertex_std_mm is not None)])


class HandShaper:
    """Conversion of hands to shapes, with the topology's normals prepared once."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._normals = VertexNormals(surface.faces, surface.vertex_count)

    def shape(
        self,
        hand: HandMesh,
        options: DrawOptions,
        *,
        range_mm: tuple[float, float],
        centre_m: FloatArray,
        attention: AttentionShown | None = None,
        distances_mm: FloatArray | None = None,
    ) -> HandShape:
        """Return the shape; ``centre_m`` (3,) in the camera frame becomes the origin of the orbit's scene.

        ``attention``, or distances (V,) to another model, replace the colours of the options.
        """
        vertices_m = np.asarray(hand.vertices_m, dtype=np.float32)
        in_image = np.concatenate([hand.vertices_px, vertices_m[:, 2:]], axis=1, dtype=np.float32)
        # A hand without uncertainty never fades.
        std_mm = np.zeros((len(vertices_m), 1)) if hand.vertex_std_mm is None else hand.vertex_std_mm[:, None]
        lifted = self._surface.lift(np.concatenate([vertices_m, in_image, std_mm], axis=1, dtype=np.float32))
        normals = self._normals(lifted[:, :3])
        if hand.handedness == "left":
            normals = -normals
        if options.view == "overlay":
            depth = np.array([0.0, 0.0, hand.wrist_camera_m[2]])
            positions, own = lifted[:, 3:6] + depth, in_image + depth
            units = np.array([hand.pixels_per_m, hand.pixels_per_m, 1.0])
            keypoints = np.concatenate([hand.keypoints_px, hand.keypoints_m[:, 2:]], axis=1) + depth
        else:
            shift = hand.wrist_camera_m - centre_m
            positions, own = lifted[:, :3] + shift, vertices_m + shift
            keypoints, units = hand.keypoints_m + shift, np.ones(3)
        if distances_mm is not None:
            colours = distance_vertex_colours(distances_mm, self._surface, range_mm)
        elif attention is not None:
            colours = _attention_colours(attention, self._surface)
        else:
            colours = vertex_colours(hand, self._surface, options, range_mm)
        is_heatmap = distances_mm is not None or attention is not None
        return HandShape(
            vertices=np.concatenate([positions, normals, colours, lifted[:, 6:]], axis=1, dtype=np.float32),
            keypoints=keypoints.astype(np.float32),
            material=HEATMAP_MATERIAL if is_heatmap else hand_material(hand, options),
            model_vertices=own.astype(np.float32),
            units_per_m=units,
            surface=self._surface,
            keypoint_covariance=_covariance(hand, options),
        )


def _covariance(hand: HandMesh, options: DrawOptions) -> FloatArray | None:
    """Return (21, 3, 3) of the keypoints in the scene's units; on the image by the pinhole's Jacobian at each."""
    if hand.keypoint_covariance_mm2 is None:
        return None
    covariance_m2 = hand.keypoint_covariance_mm2 / MM2_PER_M2
    if options.view == "orbit":
        return np.asarray(covariance_m2)
    x, y, z = (hand.keypoints_m + hand.wrist_camera_m).T
    focal_x, focal_y = hand.intrinsics.focals_px
    slope = np.zeros((len(x), 3, 3))
    slope[:, 0, 0], slope[:, 0, 2] = focal_x / z, -focal_x * x / z**2
    slope[:, 1, 1], slope[:, 1, 2] = focal_y / z, -focal_y * y / z**2
    slope[:, 2, 2] = 1.0
    return np.asarray(slope @ covariance_m2 @ slope.transpose(0, 2, 1))


def _attention_colours(attention: AttentionShown, surface: Surface) -> NDArray[np.float32]:
    """Return (Vd, 4) as ``vertex_colours``."""
    lifted = surface.lift(attention.vertices.astype(np.float32)[:, None])[:, 0]
    painted = np.ones((surface.vertex_count, 4), dtype=np.float32)
    painted[:, :3] = colours_from_attention(lifted, attention.upper)
    return painted


def orbit_centre(hands: Sequence[HandMesh]) -> FloatArray:
    """Return the centre (3,) of all hands in the camera frame, about which the orbit rotates."""
    if not hands:
        return np.zeros(3)
    return np.mean([hand.wrist_camera_m + hand.keypoints_m.mean(axis=0) for hand in hands], axis=0)


def orbit_radius(hands: Sequence[HandMesh], centre_m: FloatArray) -> float:
    """Return a radius in metres that contains every hand; independent of a single hand's pose."""
    distances = [np.linalg.norm(h.wrist_camera_m + h.keypoints_m.mean(axis=0) - centre_m) for h in hands]
    return HAND_RADIUS_M + float(max(distances, default=0.0))


def depth_range(hands: Sequence[HandMesh]) -> tuple[float, float]:
    """Return the depths in metres between which every hand lies."""
    depths = [float(hand.wrist_camera_m[2]) for hand in hands] or [0.0]
    return min(depths) - DEPTH_MARGIN_M, max(depths) + DEPTH_MARGIN_M
