"""Things that hide parts of the hand: held, worn, passing before it; and bodies behind it."""

import numpy as np

from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.synthetic import look, pose, props, worn
from handviz.data.synthetic.arm import ArmPoser, PosedArm, object_transform
from handviz.data.synthetic.viewpoint import Camera
from handviz.rendering.studio_parts import BEHIND, OCCLUDER, Mesh, Surface

GRIP_TRIES = 8
FLESH_M = 0.011
"""Half of the thickness of the palm in front of the bones' middle lines."""


class ThingMaker:
    """Makes surfaces around one arm; unit bodies are built once."""

    def __init__(self, poser: ArmPoser) -> None:
        self._poser = poser
        self._outlines = worn.Outlines(poser.arm)
        self._box, self._ball = props.box(), props.ball()
        self._cylinder, self._bottle = props.cylinder(), props.bottle()
        self._bodies: tuple[Mesh, ...] = (self._box, self._ball, self._cylinder, self._bottle)

    def body(
        self, rng: np.random.Generator, position: FloatArray, size_m: tuple[float, float], label: float
    ) -> Surface:
        """Any body, turned anyhow, at a place (3,) in camera axes."""
        mesh = self._bodies[rng.integers(0, len(self._bodies))]
        size = rng.uniform(*size_m) * rng.uniform(0.3, 1.0, 3)
        transform = object_transform(pose.sample_view(rng), size, position)
        return Surface(mesh, look.thing_material(rng), label, transform)

    def held(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Something in the hand's hollow, or between thumb and index."""
        return self._gripped(rng, hand, camera) if rng.random() < 0.7 else self._pinched(rng, hand, camera)

    def _grip_shape(self, rng: np.random.Generator) -> tuple[Mesh, FloatArray]:
        """A body and its size (3,) in metres; y lies across the palm, z is the palm's normal."""
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
        return self._ball, rng.uniform([0.055, 0.09, 0.03], [0.07, 0.12, 0.045])  # a mouse

    def _gripped(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """Of several places in the hollow, the one with the fewest points of the hand inside the thing."""
        palm = hand.keypoints_m[[5, 9, 13, 17]].mean(0)
        points = hand.vertices_m[self._poser.arm.hand_ids]
        best, least = None, np.inf
        for _ in range(GRIP_TRIES):
            mesh, size = self._grip_shape(rng)
            away = size[2] / 2 + FLESH_M
            middle = palm * rng.uniform(0.6, 1.15) + np.array([rng.normal(0, 0.008), 0, -away])
            turn = rotation_about_z(np.pi / 2 + rng.normal(0, 0.35))
            inside = np.linalg.norm((points - middle) @ turn / size, axis=1, ord=4) < 0.5
            if inside.mean() < least:
                best, least = (mesh, size, middle, turn), inside.mean()
        assert best is not None
        mesh, size, middle, turn = best
        position = camera.camera_from_wrist @ middle + camera.wrist_camera_m
        transform = object_transform(camera.camera_from_wrist @ turn, size, position)
        return Surface(mesh, look.thing_material(rng), OCCLUDER, transform)

    def _pinched(self, rng: np.random.Generator, hand: PosedArm, camera: Camera) -> Surface:
        """A pen or a card between the tips of thumb and index."""
        thumb, tip = hand.keypoints_m[[4, 8]]
        middle = (thumb + tip) / 2
        towards = (tip - thumb) / max(float(np.linalg.norm(tip - thumb)), 1e-6)
        along = np.cross(towards, rng.normal(size=3))
        along /= np.linalg.norm(along)
        turn = np.stack([np.cross(along, towards), along, towards], axis=1)
        if rng.random() < 0.5:
            mesh, size = (
                self._cylinder,
                np.array([1, 0, 1]) * rng.uniform(0.006, 0.011) + [0, rng.uniform(0.1, 0.18), 0],
            )
        else:
            mesh, size = self._box, np.array([rng.uniform(0.05, 0.15), rng.uniform(0.05, 0.2), 0.001])
        centre = middle + along * rng.uniform(-0.4, 0.4) * size[1]
        position = camera.camera_from_wrist @ centre + camera.wrist_camera_m
        transform = object_transform(camera.camera_from_wrist @ turn, size, position)
        return Surface(mesh, look.thing_material(rng), OCCLUDER, transform)

    def passing(self, rng: np.random.Generator, hand: PosedArm, camera: Camera, *, large: bool = False) -> Surface:
        """Something between camera and hand that covers a part of it, often most where ``large``."""
        aims = hand.keypoints_m[9] * 0.9 if large else hand.keypoints_m[rng.integers(0, 21)]
        aim = aims @ camera.camera_from_wrist.T + camera.wrist_camera_m
        nearer = rng.uniform(0.6, 0.85)
        shift = rng.normal(0, 0.03, 3) * [1, 1, 0]
        return self.body(rng, (aim + shift) * nearer, (0.06, 0.17) if large else (0.025, 0.12), OCCLUDER)

    def rings(self, rng: np.random.Generator, hand: PosedArm, to_camera: FloatArray) -> list[Surface]:
        """One to three rings on proximal or middle phalanges."""
        made = []
        for _ in range(rng.choice([1, 1, 2, 3])):
            finger, link = int(rng.integers(1, 5)), int(rng.random() < 0.2)
            part = rng.uniform(0.3, 0.65)
            section = worn.finger_section(self._outlines, hand, finger, link, part)
            if section is not None:
                mesh = worn.band(section, rng.uniform(0.001, 0.0035), rng.uniform(0.0007, 0.0018))
                made.append(Surface(mesh, look.metal_material(rng), OCCLUDER, to_camera))
        return made

    def watch(self, rng: np.random.Generator, hand: PosedArm, to_camera: FloatArray) -> list[Surface]:
        """A bracelet, or a watch with its dial on the back of the wrist."""
        section = worn.wrist_section(self._outlines, hand.vertices_m, self._poser.arm, rng.uniform(0.02, 0.055))
        if section is None:
            return []
        dial = rng.random() < 0.65
        mesh = worn.band(section, rng.uniform(0.007, 0.012) if dial else rng.uniform(0.002, 0.009), 0.0025)
        made = [Surface(mesh, look.metal_material(rng), OCCLUDER, to_camera)]
        if dial:
            outwards = rotation_from_axis_angle(np.array([0, rng.normal(0, 0.3), 0])) @ np.array([0, 0, 1.0])
            place = worn.dial_transform(section, outwards, rng.uniform(0.026, 0.042), rng.uniform(0.006, 0.011))
            material = look.thing_material(rng) if rng.random() < 0.3 else look.metal_material(rng)
            made.append(Surface(self._cylinder, material, OCCLUDER, to_camera @ place))
        return made

    def clutter(self, rng: np.random.Generator, camera: Camera) -> list[Surface]:
        """Bodies behind the hand."""
        surfaces = []
        depth = camera.wrist_camera_m[2]
        for _ in range(rng.integers(1, 6)):
            away = depth + rng.uniform(0.25, 1.5)
            sideways = rng.normal(0, 0.35, 2) * away
            position = camera.wrist_camera_m / depth * away + np.array([*sideways, 0])
            surfaces.append(self.body(rng, position, (0.1, 0.5), BEHIND))
        return surfaces
