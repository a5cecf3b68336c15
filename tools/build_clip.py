"""Render ``assets/hands.mp4``: nine seconds of a right hand, both hands, and a left hand, all rendered."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.files import atomic_path
from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.paths import CLIP_FILE
from handviz.core.records import FloatArray
from handviz.data.synthetic import look, things
from handviz.data.synthetic.develop import sample_curve
from handviz.data.synthetic.scene import PosedArm, object_transform
from handviz.hand_models.anatomy import joint_axes, pose_from_angles
from handviz.rendering.studio import HandStudio, open_studio
from handviz.rendering.studio_parts import BEHIND, Lights, Material, Surface
from tools.stage import HEIGHT, WIDTH, Decor, Stage

FPS = 30
FRAMES = 270
RIGHT_LEAVES, LEFT_COMES = (130, 160), (120, 150)
"""First and last frame of leaving and coming."""
SKIN_SEEDS = {"right": 8, "left": 14}
# Degrees of flexion for (knuckle, middle, end) of index, middle, ring, little, then of the thumb.
GESTURES = {
    "open": [(0, 5, 3)] * 4 + [(-15, 0, 0)],
    "relaxed": [(18, 25, 15), (22, 30, 18), (26, 34, 20), (30, 36, 20), (5, 15, 15)],
    "point": [(2, 5, 3), (80, 95, 55), (82, 98, 55), (80, 95, 55), (25, 40, 45)],
    "fist": [(80, 95, 55), (82, 100, 60), (84, 100, 60), (82, 95, 55), (28, 45, 55)],
    "victory": [(0, 4, 3), (0, 4, 3), (82, 98, 55), (80, 95, 55), (30, 40, 50)],
    "pinch": [(48, 45, 25), (20, 20, 12), (12, 15, 8), (6, 10, 6), (22, 25, 30)],
}
STORY = ("open", "relaxed", "open", "point", "victory", "fist", "open", "pinch", "open", "point", "open")


def gesture_angles(gesture: str) -> FloatArray:
    """Return (15, 3) degrees of a gesture, thumb first."""
    rows = np.zeros((5, 3, 3))
    fingers = GESTURES[gesture]
    rows[0, :, 0] = fingers[4]
    for finger in range(4):
        rows[1 + finger, :, 0] = fingers[finger]
    if gesture in ("open", "victory"):
        rows[1:, 0, 1] = [9, 2, -4, -12]
    return rows.reshape(15, 3)


def _smooth(x: float) -> float:
    x = min(max(x, 0.0), 1.0)
    return x * x * (3 - 2 * x)


def _angles_at(time: float, offset: int) -> FloatArray:
    """Return the angles at ``time`` in 0..1: gestures of the story, each shown for a moment, then blended."""
    position = time * (len(STORY) - 1)
    index = min(int(position), len(STORY) - 2)
    blend = _smooth((position - index - 0.25) / 0.5)
    first, second = (gesture_angles(STORY[(index + step + offset) % len(STORY)]) for step in (0, 1))
    return first + blend * (second - first)


def _rotation_at(time: float) -> FloatArray:
    """Return the rotation at ``time``: the hand sways, and shows its back once."""
    yaw = 0.45 * math.sin(time * 9) + math.pi * (_smooth((time - 0.28) * 10) - _smooth((time - 0.62) * 10))
    pitch = 0.25 * math.sin(time * 14 + 1)
    roll = 0.35 * math.sin(time * 11 + 2)
    tilt = rotation_from_axis_angle(np.array([pitch, 0, 0])) @ rotation_from_axis_angle(np.array([0, yaw, 0]))
    return rotation_about_z(roll) @ tilt


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


class Clip:
    """Arms in a room before a camera; ``frame`` gives those of the bundled clip."""

    def __init__(self, studio: HandStudio) -> None:
        self._stage = Stage(studio)
        self._poser, self.intrinsics = self._stage.poser, self._stage.intrinsics
        template = self._poser.template
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
        self._decor = Decor(_room(), lights, sample_curve(np.random.default_rng(0)), (self._cup(),))

    def _arm(self, side: str, time: float, away: float) -> Surface:
        offset = 0 if side == "right" else 3
        wrist = rotation_from_axis_angle(np.array([0.25 * math.sin(time * 7), 0, 0]))
        pose = pose_from_angles(_angles_at(time, offset)[None], self._axes)
        hand: PosedArm = self._poser.posed(pose, np.zeros((1, 10)), wrist[None])[0]
        mirror = np.diag([1.0 if side == "right" else -1.0, 1, 1])
        rotation = _rotation_at(time if side == "right" else (time * 1.3 + 0.5) % 1.0)
        outwards = 1.0 if side == "left" else -1.0
        centre = np.array([outwards * (0.05 + 0.30 * away), 0.0 + 0.10 * away, 0.52 + 0.05 * math.sin(time * 12)])
        matrix = mirror @ rotation
        return self.surface(side, hand, matrix, centre - matrix @ (hand.keypoints_m[9] * 0.6))

    def surface(self, side: str, hand: PosedArm, matrix: FloatArray, position: FloatArray) -> Surface:
        """Return an arm with skin before the camera; ``matrix`` (3, 3) contains the mirroring of left hands."""
        return self._stage.arm(self._materials[side], hand, matrix, position)

    def _cup(self) -> Surface:
        transform = object_transform(np.eye(3), np.array([0.09, 0.12, 0.09]), np.array([0.34, 0.26, 0.95]))
        colour = (0.10, 0.22, 0.30)
        material = Material(colour, colour, colour, colour, colour, mottle=0.2, gloss=0.3)
        return Surface(things.cylinder(), material, BEHIND, transform)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Return RGB (480, 640, 3)."""
        right_away = _smooth((number - RIGHT_LEAVES[0]) / (RIGHT_LEAVES[1] - RIGHT_LEAVES[0]))
        left_away = 1 - _smooth((number - LEFT_COMES[0]) / (LEFT_COMES[1] - LEFT_COMES[0]))
        time = number / (FRAMES - 1)
        surfaces = [self._arm("right", time, right_away)] if right_away < 1 else []
        surfaces += [self._arm("left", time, left_away)] if left_away < 1 else []
        return self.frame_image(surfaces, number)

    def frame_image(self, surfaces: list[Surface], number: int, *, grain: float = 0.006) -> NDArray[np.uint8]:
        """Render RGB (480, 640, 3) of arms in the room; ``number`` seeds the camera's noise of std ``grain``."""
        return self._stage.image(surfaces, self._decor, number, grain=grain)


def build(path: Path = CLIP_FILE) -> Path:
    """Write the clip."""
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    clip = Clip(studio)
    path.parent.mkdir(exist_ok=True)
    with atomic_path(path) as part:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
        for number in range(FRAMES):
            writer.write(clip.frame(number)[..., ::-1])
        writer.release()
    studio.release()
    return path
