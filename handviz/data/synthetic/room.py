"""The scene of rendered clips: arms in a quiet room before a camera, of which gesture and position are given."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray, Handedness
from handviz.data.synthetic import look, things
from handviz.data.synthetic.arm import PosedArm, object_transform
from handviz.data.synthetic.develop import sample_curve
from handviz.data.synthetic.scene import seen_from
from handviz.data.synthetic.stage import HEIGHT, WIDTH, Decor, Stage
from handviz.hand_models.anatomy import joint_axes, pose_from_angles
from handviz.rendering.studio import HandStudio
from handviz.rendering.studio_parts import BEHIND, Lights, Material, Surface

GRAIN = 0.006
"""Standard deviation of the camera's noise."""
SKIN_SEEDS: dict[Handedness, int] = {"right": 8, "left": 14}
# Degrees of flexion for (knuckle, middle, end) of index, middle, ring, little, then of the thumb.
GESTURES = {
    "open": [(0, 5, 3)] * 4 + [(-15, 0, 0)],
    "relaxed": [(18, 25, 15), (22, 30, 18), (26, 34, 20), (30, 36, 20), (5, 15, 15)],
    "point": [(2, 5, 3), (80, 95, 55), (82, 98, 55), (80, 95, 55), (25, 40, 45)],
    "fist": [(80, 95, 55), (82, 100, 60), (84, 100, 60), (82, 95, 55), (28, 45, 55)],
    "victory": [(0, 4, 3), (0, 4, 3), (82, 98, 55), (80, 95, 55), (30, 40, 50)],
    "pinch": [(48, 45, 25), (20, 20, 12), (12, 15, 8), (6, 10, 6), (22, 25, 30)],
}


def gesture_angles(gesture: str) -> FloatArray:
    """Return the joint angles (15, 3) in degrees of one of ``GESTURES``, thumb first."""
    rows = np.zeros((5, 3, 3))
    fingers = GESTURES[gesture]
    rows[0, :, 0] = fingers[4]
    for finger in range(4):
        rows[1 + finger, :, 0] = fingers[finger]
    if gesture in ("open", "victory"):
        rows[1:, 0, 1] = [9, 2, -4, -12]
    return rows.reshape(15, 3)


def smooth_step(x: float) -> float:
    """Return 0 below 0, 1 above 1, and a smooth step between."""
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _room() -> NDArray[np.float32]:
    """Draw a quiet background (480, 640, 3): a wall, a window and a table."""
    y = np.linspace(0, 1, HEIGHT)[:, None, None]
    wall = np.ones((HEIGHT, WIDTH, 3)) * (np.array([0.62, 0.66, 0.70]) - 0.18 * y)
    cv2.rectangle(wall, (40, 40), (200, 230), (0.86, 0.90, 0.93), -1)
    cv2.rectangle(wall, (40, 40), (200, 230), (0.45, 0.42, 0.40), 6)
    cv2.line(wall, (120, 40), (120, 230), (0.45, 0.42, 0.40), 4)
    cv2.rectangle(wall, (0, 400), (WIDTH, HEIGHT), (0.42, 0.31, 0.24), -1)
    cv2.rectangle(wall, (470, 90), (600, 200), (0.35, 0.47, 0.52), -1)
    room = np.asarray(cv2.GaussianBlur(wall, (0, 0), 3), np.float64)
    grain = np.random.default_rng(3).normal(0, 0.008, room.shape)
    return np.clip(room + grain, 0, 1).astype(np.float32)


class Room:
    """Arms in a room before a camera."""

    def __init__(self, studio: HandStudio) -> None:
        """Create the room in a studio for images of 640 x 480."""
        self._stage = Stage(studio)
        self.intrinsics = self._stage.intrinsics
        template = self._stage.poser.template
        keypoints = template.keypoint_regressor @ template.vertices_m
        self._axes = joint_axes(template.joint_regressor @ template.vertices_m, keypoints[[4, 8, 12, 16, 20]])
        self._materials: dict[str, Material] = {
            side: look.skin_material(np.random.default_rng(seed)) for side, seed in SKIN_SEEDS.items()
        }
        lights = Lights(
            np.array([[-0.5, -0.55, -0.67], [0.8, -0.2, -0.56]]),
            np.array([[0.75, 0.72, 0.68], [0.16, 0.17, 0.2]]),
            np.array([0.34, 0.35, 0.37]),
            np.array([0.2, 0.18, 0.17]),
        )
        self._decor = Decor(_room(), lights, sample_curve(np.random.default_rng(0)), (_cup(),))

    def arm(
        self, side: Handedness, angles: FloatArray, wrist: FloatArray, rotation: FloatArray, centre_m: FloatArray
    ) -> Surface:
        """Return an arm before the camera.

        ``angles``: of the joints (15, 3) in degrees; ``wrist`` and ``rotation``: (3, 3) of the wrist and of the whole
        arm; ``centre_m``: where the middle of the hand is, in the camera's frame.
        """
        pose = pose_from_angles(angles[None], self._axes)
        hand: PosedArm = self._stage.poser.posed(pose, np.zeros((1, 10)), wrist[None])[0]
        matrix = np.diag([1.0 if side == "right" else -1.0, 1, 1]) @ rotation
        return self.surface(side, hand, matrix, centre_m - matrix @ (hand.keypoints_m[9] * 0.6))

    def surface(self, side: Handedness, hand: PosedArm, matrix: FloatArray, position: FloatArray) -> Surface:
        """Return an arm with skin before the camera; ``matrix`` (3, 3) contains the mirroring of left hands."""
        return self._stage.arm(self._materials[side], hand, matrix, position)

    def frame_image(self, surfaces: list[Surface], number: int, *, grain: float = GRAIN) -> NDArray[np.uint8]:
        """Render RGB (480, 640, 3) of arms in the room; ``number`` seeds the camera's noise of std ``grain``."""
        return self._stage.image(surfaces, self._decor, number, grain=grain)

    def frame_from(self, camera_from_room: FloatArray, surfaces: list[Surface], number: int) -> NDArray[np.uint8]:
        """Render RGB (480, 640, 3) of arms and things by a camera elsewhere, by (4, 4); the wall stays."""
        turn = camera_from_room[:3, :3]
        lights = self._decor.lights
        centre_m = turn @ lights.shadow_centre_m + camera_from_room[:3, 3]
        lights = replace(
            lights,
            directions=lights.directions @ turn.T,
            above=tuple(turn @ lights.above),
            shadow_centre_m=tuple(centre_m),
        )
        moved = [seen_from(camera_from_room, surface) for surface in (*self._decor.things, *surfaces)]
        return self._stage.image(moved, replace(self._decor, lights=lights, things=()), number, grain=GRAIN)


def _cup() -> Surface:
    transform = object_transform(np.eye(3), np.array([0.09, 0.12, 0.09]), np.array([0.34, 0.26, 0.95]))
    colour = (0.10, 0.22, 0.30)
    material = Material(colour, colour, colour, colour, colour, mottle=0.2, gloss=0.3)
    return Surface(things.cylinder(), material, BEHIND, transform)
