"""Objects that hide parts of the hand: grasped, worn, in front of it; and bodies behind it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.synthetic import look, pose
from handviz.data.synthetic.arm import ArmPoser, PosedArm, object_transform
from handviz.data.synthetic.viewpoint import CENTRE, Camera, position_of
from handviz.hand_models.open_hand import ArmMesh
from handviz.rendering.hand_shape import unique_edges
from handviz.rendering.studio_parts import BEHIND, OCCLUDER, Mesh, Surface

AROUND = 32
FOREARM = 16
GRIP_TRIES = 8
AROUND_M, BESIDE_M = (0.4, 1.7), 0.15
"""Distance of clutter from the hand of a rig, and of its surface from every line of sight to it."""
FLESH_M = 0.011
"""Half of the thickness of the palm in front of the bones' centre lines."""


# Bodies of unit size with texture coordinates.


def _mesh(positions: FloatArray, normals: FloatArray, faces: NDArray[np.integer], uv: FloatArray) -> Mesh:
    """Build a mesh; ``uv`` (V, 2) are texture coordinates of prints."""
    marks = np.column_stack([uv, np.zeros(len(uv))])
    return Mesh(positions, normals, positions * 0.1, marks, faces.astype(np.int32))


def box() -> Mesh:
    """Return a cube of side 1 around the origin."""
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    positions: list[FloatArray] = []
    normals: list[FloatArray] = []
    faces: list[list[int]] = []
    for axis in range(3):
        for side in (-0.5, 0.5):
            start = len(positions)
            for corner in square:
                positions.append(np.insert(corner, axis, side))
                normals.append(np.sign(side) * np.eye(3)[axis])
            faces += [[start, start + 1, start + 2], [start, start + 2, start + 3]]
    return _mesh(np.array(positions), np.array(normals), np.array(faces), np.tile(square + 0.5, (6, 1)))


def _revolved(profile: FloatArray, slopes: FloatArray, around: int = 24) -> Mesh:
    """Return a surface of revolution about y: profile (R, 2) of radius and height, slopes (R, 2) its normals."""
    angles = np.linspace(0, 2 * math.pi, around + 1)
    ring = np.stack([np.cos(angles), np.ones(around + 1), np.sin(angles)], axis=1)
    factor = [0, 1, 0]
    positions = ring[None] * profile[:, None, factor]
    normals = ring[None] * slopes[:, None, factor]
    angle_fraction = np.broadcast_to(angles / (2 * math.pi), positions.shape[:2])
    uv = np.stack([angle_fraction, positions[..., 1] + 0.5], axis=-1)
    faces = grid_faces(len(profile), around + 1)
    return _mesh(positions.reshape(-1, 3), normals.reshape(-1, 3), faces, uv.reshape(-1, 2))


def grid_faces(rows: int, columns: int) -> NDArray[np.integer]:
    """Return triangles (F, 3) between the points of a grid that are numbered row by row."""
    here = np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)
    lower = np.stack([here, here + columns, here + 1], axis=-1).reshape(-1, 3)
    upper = np.stack([here + 1, here + columns, here + columns + 1], axis=-1).reshape(-1, 3)
    return np.concatenate([lower, upper])


def ball() -> Mesh:
    """Return a sphere of diameter 1."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 12)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return _revolved(directions * 0.5, directions)


def cylinder() -> Mesh:
    """Return a closed cylinder of diameter 1 and height 1."""
    profile = np.array([[1e-4, -0.5], [0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [0.5, 0.5], [1e-4, 0.5]])
    slopes = np.array([[0.0, -1], [0, -1], [1, 0], [1, 0], [0, 1], [0, 1]])
    return _revolved(profile, slopes)


def bottle() -> Mesh:
    """Return a bottle of diameter 1 and height 1: body, shoulder, neck, cap."""
    shape = [
        [1e-4, -0.5], [0.5, -0.5], [0.5, -0.5], [0.5, 0.12], [0.45, 0.22], [0.2, 0.34],
        [0.18, 0.4], [0.24, 0.4], [0.24, 0.4], [0.24, 0.5], [0.24, 0.5], [1e-4, 0.5],
    ]  # fmt: skip
    slopes = [[0.0, -1], [0, -1], [1, 0], [1, 0], [0.9, 0.43], [0.7, 0.71], [1, 0], [0, -1], [1, 0], [1, 0], [0, 1]]
    directions = np.array([*slopes, [0, 1]])
    return _revolved(np.array(shape), directions / np.linalg.norm(directions, axis=1, keepdims=True))


# Rings, bracelets and watches: bands that follow the skin of the posed arm.


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
        """Return the section of some joints' limb by a plane through ``point`` (3,) across ``along`` (3,); None if it
        misses.

        A vertex belongs to the limb if these joints have more than half of its skinning weight.
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
    """Convert points (K, 3) of a plane to radii at equal angles; None if a gap exceeds a quarter of the circle."""
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
    """Return a closed band with a rounded profile around a section, lying on the skin."""
    profile = np.array([[-1, -0.3], [-1, 0.6], [-0.7, 1], [0.7, 1], [1, 0.6], [1, -0.3]])
    slopes = np.array([[-1, 0], [-0.9, 0.43], [-0.3, 0.95], [0.3, 0.95], [0.9, 0.43], [1, 0.0]])
    closed = np.append(np.arange(AROUND), 0)
    outwards, radii = section.directions[closed], section.radii[closed]
    along = section.axes[2]
    lift = radii[None] + profile[:, 1:] * thickness_m
    positions = section.centre + outwards[None] * lift[..., None] + (profile[:, :1] * half_width_m)[..., None] * along
    normals = outwards[None] * slopes[:, 1:, None] + along * slopes[:, :1, None]
    u = np.broadcast_to(np.linspace(0, 4, AROUND + 1), lift.shape)
    marks = np.stack([u, np.broadcast_to(profile[:, :1], lift.shape), np.zeros_like(lift)], axis=-1).reshape(-1, 3)
    flat = positions.reshape(-1, 3)
    return Mesh(flat, normals.reshape(-1, 3), flat, marks, grid_faces(len(profile), AROUND + 1).astype(np.int32))


def dial_transform(section: Section, outwards: FloatArray, diameter_m: float, thickness_m: float) -> FloatArray:
    """Return the transform (4, 4) of a unit cylinder (axis y) to a disc on the skin, towards ``outwards`` (3,)."""
    index = int(np.argmax(section.directions @ outwards))
    normal, along = section.directions[index], section.axes[2]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(normal, along), normal, along], axis=1) * [diameter_m, thickness_m, diameter_m]
    matrix[:3, 3] = section.centre + normal * (section.radii[index] + thickness_m / 2)
    return matrix


def finger_section(outlines: Outlines, hand: PosedArm, finger: int, link: int, part: float) -> Section | None:
    """Return the outline of a finger (0 thumb .. 4) at fraction ``part`` of its proximal (0) or middle (1) phalanx."""
    start, end = hand.keypoints_m[1 + 4 * finger + link], hand.keypoints_m[2 + 4 * finger + link]
    joint = 1 + 3 * finger + link
    return outlines.cut(hand.vertices_m, [joint], start + part * (end - start), end - start)


def wrist_section(outlines: Outlines, vertices_m: FloatArray, arm: ArmMesh, away_m: float) -> Section | None:
    """Return the outline of the forearm ``away_m`` below the wrist."""
    forearm = arm.skinning_weights[:, FOREARM] > 0.5
    along = _forearm_axis(vertices_m, arm, forearm)
    return outlines.cut(vertices_m, [FOREARM], along * away_m, along)


def _forearm_axis(vertices_m: FloatArray, arm: ArmMesh, forearm: NDArray[np.bool_]) -> FloatArray:
    near, far = (forearm & (np.abs(arm.vertices_m[:, 1] - y) < 0.02) for y in (0.03, 0.10))
    along = vertices_m[far].mean(0) - vertices_m[near].mean(0)
    return np.asarray(along / np.linalg.norm(along))


class ThingMaker:
    """Maker of surfaces around one arm; unit bodies are built once."""

    def __init__(self, poser: ArmPoser) -> None:
        self._poser = poser
        self._outlines = Outlines(poser.arm)
        self._box, self._ball = box(), ball()
        self._cylinder, self._bottle = cylinder(), bottle()
        self._bodies: tuple[Mesh, ...] = (self._box, self._ball, self._cylinder, self._bottle)

    def body(
        self, rng: np.random.Generator, position: FloatArray, size_m: tuple[float, float], label: float
    ) -> Surface:
        """Return any body with a random rotation at a position (3,) in camera axes."""
        mesh = self._bodies[rng.integers(0, len(self._bodies))]
        size = rng.uniform(*size_m) * rng.uniform(0.3, 1.0, 3)
        transform = object_transform(pose.sample_view(rng), size, position)
        return Surface(mesh, look.thing_material(rng), label, transform)

    def held(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Return an object in the palm, or between thumb and index finger."""
        return self._gripped(rng, hand, camera) if rng.random() < 0.7 else self._pinched(rng, hand, camera)

    def _grip_shape(self, rng: np.random.Generator) -> tuple[Mesh, FloatArray]:
        """Draw a body and its size (3,) in metres; y lies across the palm, z is the palm's normal."""
        kind = rng.integers(0, 6)
        wide = rng.uniform(0.045, 0.078)
        if kind == 0:
            return self._cylinder, np.array([wide, rng.uniform(0.08, 0.15), wide])
        if kind == 1:
            return self._bottle, np.array([wide, rng.uniform(0.16, 0.25), wide])
        if kind == 2:
            return self._box, np.array([rng.uniform(0.06, 0.08), rng.uniform(0.12, 0.16), rng.uniform(0.007, 0.012)])
        if kind == 3:
            return self._box, rng.uniform([0.04, 0.06, 0.03], [0.09, 0.16, 0.06])
        if kind == 4:
            return self._ball, np.full(3, rng.uniform(0.035, 0.085))
        return self._ball, rng.uniform([0.055, 0.09, 0.03], [0.07, 0.12, 0.045])  # a computer mouse

    def _gripped(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Return, of several objects in the palm, the one with the fewest vertices of the hand inside it."""
        palm = hand.keypoints_m[[5, 9, 13, 17]].mean(0)
        points = hand.vertices_m[self._poser.arm.hand_ids]
        best, least = None, np.inf
        for _ in range(GRIP_TRIES):
            mesh, size = self._grip_shape(rng)
            away = size[2] / 2 + FLESH_M
            centre = palm * rng.uniform(0.6, 1.15) + np.array([rng.normal(0, 0.008), 0, -away])
            rotation = rotation_about_z(np.pi / 2 + rng.normal(0, 0.35))
            inside = np.linalg.norm((points - centre) @ rotation / size, axis=1, ord=4) < 0.5
            if inside.mean() < least:
                best, least = (mesh, size, centre, rotation), inside.mean()
        assert best is not None
        mesh, size, centre, rotation = best
        position = camera.camera_from_wrist @ centre + camera.wrist_camera_m
        transform = object_transform(camera.camera_from_wrist @ rotation, size, position)
        return Surface(mesh, look.thing_material(rng), OCCLUDER, transform)

    def _pinched(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Return a pen or a card between the tips of thumb and index finger."""
        thumb, tip = hand.keypoints_m[[4, 8]]
        midpoint = (thumb + tip) / 2
        towards = (tip - thumb) / max(float(np.linalg.norm(tip - thumb)), 1e-6)
        along = np.cross(towards, rng.normal(size=3))
        along /= np.linalg.norm(along)
        rotation = np.stack([np.cross(along, towards), along, towards], axis=1)
        if rng.random() < 0.5:
            mesh, size = (
                self._cylinder,
                np.array([1, 0, 1]) * rng.uniform(0.006, 0.011) + [0, rng.uniform(0.1, 0.18), 0],
            )
        else:
            mesh, size = self._box, np.array([rng.uniform(0.05, 0.15), rng.uniform(0.05, 0.2), 0.001])
        centre = midpoint + along * rng.uniform(-0.4, 0.4) * size[1]
        position = camera.camera_from_wrist @ centre + camera.wrist_camera_m
        transform = object_transform(camera.camera_from_wrist @ rotation, size, position)
        return Surface(mesh, look.thing_material(rng), OCCLUDER, transform)

    def passing(self, rng: np.random.Generator, hand: PosedArm, camera: Camera, *, large: bool = False) -> Surface:
        """Return a body between camera and hand that covers a part of it, mostly a large one if ``large``."""
        aims = hand.keypoints_m[9] * 0.9 if large else hand.keypoints_m[rng.integers(0, 21)]
        aim = aims @ camera.camera_from_wrist.T + camera.wrist_camera_m
        nearer = rng.uniform(0.6, 0.85)
        shift = rng.normal(0, 0.03, 3) * [1, 1, 0]
        return self.body(rng, (aim + shift) * nearer, (0.06, 0.17) if large else (0.025, 0.12), OCCLUDER)

    def rings(self, rng: np.random.Generator, hand: PosedArm, to_camera: FloatArray) -> list[Surface]:
        """Return one to three rings on proximal or middle phalanges."""
        made = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            finger, link = int(rng.integers(1, 5)), int(rng.random() < 0.2)
            part = rng.uniform(0.3, 0.65)
            section = finger_section(self._outlines, hand, finger, link, part)
            if section is not None:
                mesh = band(section, rng.uniform(0.001, 0.0035), rng.uniform(0.0007, 0.0018))
                made.append(Surface(mesh, look.metal_material(rng), OCCLUDER, to_camera))
        return made

    def watch(self, rng: np.random.Generator, hand: PosedArm, to_camera: FloatArray) -> list[Surface]:
        """Return a bracelet, or a watch with its dial on the back of the wrist."""
        section = wrist_section(self._outlines, hand.vertices_m, self._poser.arm, rng.uniform(0.02, 0.055))
        if section is None:
            return []
        dial = rng.random() < 0.65
        mesh = band(section, rng.uniform(0.007, 0.012) if dial else rng.uniform(0.002, 0.009), 0.0025)
        made = [Surface(mesh, look.metal_material(rng), OCCLUDER, to_camera)]
        if dial:
            outwards = rotation_from_axis_angle(np.array([0, rng.normal(0, 0.3), 0])) @ np.array([0, 0, 1.0])
            transform = dial_transform(section, outwards, rng.uniform(0.026, 0.042), rng.uniform(0.006, 0.011))
            material = look.thing_material(rng) if rng.random() < 0.3 else look.metal_material(rng)
            made.append(Surface(self._cylinder, material, OCCLUDER, to_camera @ transform))
        return made

    def clutter(self, rng: np.random.Generator, camera: Camera) -> list[Surface]:
        """Return bodies behind the hand."""
        surfaces = []
        depth = camera.wrist_camera_m[2]
        for _ in range(rng.integers(1, 6)):
            away = depth + rng.uniform(0.25, 1.5)
            sideways = rng.normal(0, 0.35, 2) * away
            position = camera.wrist_camera_m / depth * away + np.array([*sideways, 0])
            surfaces.append(self.body(rng, position, (0.1, 0.5), BEHIND))
        return surfaces

    def clutter_around(self, rng: np.random.Generator, hand: PosedArm, cameras: Sequence[Camera]) -> list[Surface]:
        """Return bodies all around a hand, in the wrist frame, none of them between it and a camera."""
        surfaces = []
        centre = hand.keypoints_m[9] * CENTRE
        sights = np.stack([position_of(camera) - centre for camera in cameras])
        for _ in range(rng.integers(2, 9)):
            direction = rng.normal(size=3)
            away = direction / np.linalg.norm(direction) * rng.uniform(*AROUND_M)
            body = self.body(rng, centre + away, (0.1, 0.5), BEHIND)
            radius = float(np.linalg.norm(body.camera_from_object[:3, :3], axis=0).max()) * math.sqrt(3) / 2
            if _distance_of_rays(away, sights) > radius + BESIDE_M:
                surfaces.append(body)
        return surfaces


def _distance_of_rays(point: FloatArray, ends: FloatArray) -> float:
    """Return the least distance of a point (3,) from the lines between the origin and the ends (N, 3)."""
    along = np.clip(ends @ point / (ends**2).sum(axis=1), 0, 1)
    return float(np.linalg.norm(along[:, None] * ends - point, axis=1).min())
