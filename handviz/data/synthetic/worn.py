"""Rings, bracelets and watches: bands that follow the skin of the posed arm."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray
from handviz.data.synthetic.arm import PosedArm
from handviz.data.synthetic.props import grid_faces
from handviz.hand_models.open_hand import ArmMesh
from handviz.rendering.studio_parts import Mesh
from handviz.rendering.surface import unique_edges

AROUND = 32
FOREARM = 16


@dataclass(frozen=True, eq=False)
class Section:
    """The outline of a limb in a plane across it."""

    centre: FloatArray
    """(3,)"""
    axes: FloatArray
    """(3, 3) rows: two unit vectors in the plane, then along the limb"""
    radii: FloatArray
    """(32,) metres from the centre to the skin at equal angles from the first axis"""

    @property
    def directions(self) -> FloatArray:
        """(32, 3) unit vectors from the centre to the skin."""
        angles = np.arange(AROUND) * 2 * math.pi / AROUND
        return np.cos(angles)[:, None] * self.axes[0] + np.sin(angles)[:, None] * self.axes[1]


class Outlines:
    """Cuts limbs of one arm mesh; edges of every limb are found once."""

    def __init__(self, arm: ArmMesh) -> None:
        self._edges = unique_edges(arm.faces)
        self._weights = arm.skinning_weights

    def cut(self, vertices_m: FloatArray, joints: list[int], point: FloatArray, along: FloatArray) -> Section | None:
        """Where a plane through ``point`` (3,) across ``along`` (3,) meets the limb of some joints; None if it misses.

        A point of a limb belongs to it if these joints move it by more than half.
        """
        own = self._weights[:, joints].sum(axis=1) > 0.5
        edges = self._edges[own[self._edges].all(axis=1)]
        along = along / np.linalg.norm(along)
        height = (vertices_m - point) @ along
        first, second = height[edges].T
        crossing = first * second < 0
        if crossing.sum() < 5:
            return None
        part = (first / (first - second))[crossing, None]
        start, end = vertices_m[edges[crossing, 0]], vertices_m[edges[crossing, 1]]
        return _section(start + part * (end - start), along)


def _section(outline: FloatArray, along: FloatArray) -> Section | None:
    """Points (K, 3) of a plane -> radii at equal angles; None if a quarter of the round is empty."""
    centre = (outline.min(0) + outline.max(0)) / 2
    aside = np.cross(along, np.eye(3)[np.abs(along).argmin()])
    aside = aside / np.linalg.norm(aside)
    axes = np.stack([aside, np.cross(along, aside), along])
    x, y = ((outline - centre) @ axes[:2].T).T
    angles = np.arctan2(y, x) % (2 * math.pi)
    order = np.argsort(angles)
    gaps = np.diff(np.append(angles[order], angles[order[0]] + 2 * math.pi))
    if gaps.max() > math.pi / 2:
        return None
    wanted = np.arange(AROUND) * 2 * math.pi / AROUND
    return Section(centre, axes, np.interp(wanted, angles[order], np.hypot(x, y)[order], period=2 * math.pi))


def band(section: Section, half_width_m: float, thickness_m: float) -> Mesh:
    """A closed band with a rounded profile around a section, lying on the skin."""
    profile = np.array([[-1, -0.3], [-1, 0.6], [-0.7, 1], [0.7, 1], [1, 0.6], [1, -0.3]])
    slopes = np.array([[-1, 0], [-0.9, 0.43], [-0.3, 0.95], [0.3, 0.95], [0.9, 0.43], [1, 0.0]])
    closed = np.append(np.arange(AROUND), 0)
    outwards, radii = section.directions[closed], section.radii[closed]
    along = section.axes[2]
    lift = radii[None] + profile[:, 1:] * thickness_m
    positions = section.centre + outwards[None] * lift[..., None] + (profile[:, :1] * half_width_m)[..., None] * along
    normals = outwards[None] * slopes[:, 1:, None] + along * slopes[:, :1, None]
    turn = np.broadcast_to(np.linspace(0, 4, AROUND + 1), lift.shape)
    marks = np.stack([turn, np.broadcast_to(profile[:, :1], lift.shape), np.zeros_like(lift)], axis=-1).reshape(-1, 3)
    flat = positions.reshape(-1, 3)
    return Mesh(flat, normals.reshape(-1, 3), flat, marks, grid_faces(len(profile), AROUND + 1).astype(np.int32))


def dial_transform(section: Section, outwards: FloatArray, diameter_m: float, thickness_m: float) -> FloatArray:
    """(4, 4) that puts a unit cylinder (axis y) as a disc on the skin, on the side of ``outwards`` (3,)."""
    place = int(np.argmax(section.directions @ outwards))
    normal, along = section.directions[place], section.axes[2]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(normal, along), normal, along], axis=1) * [diameter_m, thickness_m, diameter_m]
    matrix[:3, 3] = section.centre + normal * (section.radii[place] + thickness_m / 2)
    return matrix


def finger_section(outlines: Outlines, hand: PosedArm, finger: int, link: int, part: float) -> Section | None:
    """The outline of a finger (0 thumb .. 4) ``part`` of the way along its proximal (0) or middle (1) phalanx."""
    start, end = hand.keypoints_m[1 + 4 * finger + link], hand.keypoints_m[2 + 4 * finger + link]
    joint = 1 + 3 * finger + link
    return outlines.cut(hand.vertices_m, [joint], start + part * (end - start), end - start)


def wrist_section(outlines: Outlines, vertices_m: FloatArray, arm: ArmMesh, away_m: float) -> Section | None:
    """The outline of the forearm some way below the wrist."""
    forearm = arm.skinning_weights[:, FOREARM] > 0.5
    along = _forearm_axis(vertices_m, arm, forearm)
    return outlines.cut(vertices_m, [FOREARM], along * away_m, along)


def _forearm_axis(vertices_m: FloatArray, arm: ArmMesh, forearm: NDArray[np.bool_]) -> FloatArray:
    near, far = (forearm & (np.abs(arm.vertices_m[:, 1] - y) < 0.02) for y in (0.03, 0.10))
    along = vertices_m[far].mean(0) - vertices_m[near].mean(0)
    return np.asarray(along / np.linalg.norm(along))
