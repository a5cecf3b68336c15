"""A reconstructed hand -> the arrays that the graphics card gets. No OpenGL here."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.records import FloatArray, HandMesh
from handviz.render.colormap import colours_from_deviation
from handviz.render.options import DrawOptions
from handviz.render.surface import Surface, VertexNormals

PLAIN_COLOURS = {"right": (0.86, 0.78, 0.71), "left": (0.70, 0.78, 0.87)}
HAND_RADIUS_M = 0.115
DEPTH_MARGIN_M = 0.3


@dataclass(frozen=True, eq=False)
class HandShape:
    """One hand, ready to draw."""

    vertices: NDArray[np.float32]
    """(V, 9) position, outward normal (scene axes), sRGB."""
    keypoints: NDArray[np.float32]
    """(21, 3) in the scene of the positions."""


def vertex_colours(
    hand: HandMesh, surface: Surface, options: DrawOptions, range_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """sRGB (V, 3) of the display mesh; further ways to colour a hand join here."""
    if options.colour == "deviation":
        deviation_mm = surface.lift(hand.vertex_std_mm.astype(np.float32)[:, None])[:, 0]
        return colours_from_deviation(deviation_mm, range_mm)
    plain = np.array(PLAIN_COLOURS[hand.handedness], dtype=np.float32)
    return np.broadcast_to(plain, (surface.vertex_count, 3))


class HandShaper:
    """Turns hands into shapes; keeps what depends on the topology alone."""

    def __init__(self, surface: Surface) -> None:
        self._surface = surface
        self._normals = VertexNormals(surface.faces, surface.vertex_count)

    def shape(
        self, hand: HandMesh, options: DrawOptions, *, range_mm: tuple[float, float], centre_m: FloatArray
    ) -> HandShape:
        """``centre_m`` (3,) in the camera frame becomes the origin of the orbit's scene."""
        vertices_m = np.asarray(hand.vertices_m, dtype=np.float32)
        in_picture = np.concatenate([hand.vertices_px, vertices_m[:, 2:]], axis=1, dtype=np.float32)
        lifted = self._surface.lift(np.concatenate([vertices_m, in_picture], axis=1))
        normals = self._normals(lifted[:, :3])
        if hand.handedness == "left":
            normals = -normals
        if options.view == "overlay":
            depth = np.array([0.0, 0.0, hand.wrist_camera_m[2]])
            positions = lifted[:, 3:] + depth
            keypoints = np.concatenate([hand.keypoints_px, hand.keypoints_m[:, 2:]], axis=1) + depth
        else:
            shift = hand.wrist_camera_m - centre_m
            positions, keypoints = lifted[:, :3] + shift, hand.keypoints_m + shift
        colours = vertex_colours(hand, self._surface, options, range_mm)
        return HandShape(
            vertices=np.concatenate([positions, normals, colours], axis=1, dtype=np.float32),
            keypoints=keypoints.astype(np.float32),
        )


def orbit_centre(hands: Sequence[HandMesh]) -> FloatArray:
    """(3,) middle of all hands in the camera frame: where a free orbit turns around."""
    if not hands:
        return np.zeros(3)
    return np.mean([hand.wrist_camera_m + hand.keypoints_m.mean(axis=0) for hand in hands], axis=0)


def orbit_radius(hands: Sequence[HandMesh], centre_m: FloatArray) -> float:
    """Metres around the centre that hold every hand; does not depend on the pose of a single one."""
    away = [np.linalg.norm(h.wrist_camera_m + h.keypoints_m.mean(axis=0) - centre_m) for h in hands]
    return HAND_RADIUS_M + float(max(away, default=0.0))


def depth_range(hands: Sequence[HandMesh]) -> tuple[float, float]:
    """Depths in metres between which every hand lies."""
    depths = [float(hand.wrist_camera_m[2]) for hand in hands] or [0.0]
    return min(depths) - DEPTH_MARGIN_M, max(depths) + DEPTH_MARGIN_M
