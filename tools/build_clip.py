"""Render ``assets/hands.mp4``: nine seconds of a right hand, both hands, and a left hand, all rendered."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.files import atomic_path
from handviz.core.geometry import rotation_about_z, rotation_from_axis_angle
from handviz.core.paths import CLIP_FILE
from handviz.core.records import FloatArray, Handedness
from handviz.data.synthetic import look
from handviz.data.synthetic.room import Room, gesture_angles, smooth_step
from handviz.data.synthetic.stage import HEIGHT, WIDTH
from handviz.rendering.studio import open_studio
from handviz.rendering.studio_parts import Surface

FPS = 30
FRAMES = 270
RIGHT_LEAVES, LEFT_COMES = (130, 160), (120, 150)
"""First and last frame of leaving and coming."""
STORY = ("open", "relaxed", "open", "point", "victory", "fist", "open", "pinch", "open", "point", "open")


def _angles_at(time: float, offset: int) -> FloatArray:
    """Return the angles at ``time`` in 0..1: gestures of the story, each shown for a moment, then blended."""
    position = time * (len(STORY) - 1)
    index = min(int(position), len(STORY) - 2)
    blend = smooth_step((position - index - 0.25) / 0.5)
    first, second = (gesture_angles(STORY[(index + step + offset) % len(STORY)]) for step in (0, 1))
    return first + blend * (second - first)


def _rotation_at(time: float) -> FloatArray:
    """Return the rotation at ``time``: the hand sways, and shows its back once."""
    yaw = 0.45 * math.sin(time * 9) + math.pi * (smooth_step((time - 0.28) * 10) - smooth_step((time - 0.62) * 10))
    pitch = 0.25 * math.sin(time * 14 + 1)
    roll = 0.35 * math.sin(time * 11 + 2)
    tilt = rotation_from_axis_angle(np.array([pitch, 0, 0])) @ rotation_from_axis_angle(np.array([0, yaw, 0]))
    return rotation_about_z(roll) @ tilt


class Clip(Room):
    """The bundled clip."""

    def _arm(self, side: Handedness, time: float, away: float) -> Surface:
        offset = 0 if side == "right" else 3
        wrist = rotation_from_axis_angle(np.array([0.25 * math.sin(time * 7), 0, 0]))
        rotation = _rotation_at(time if side == "right" else (time * 1.3 + 0.5) % 1.0)
        outwards = 1.0 if side == "left" else -1.0
        centre_m = np.array([outwards * (0.05 + 0.30 * away), 0.0 + 0.10 * away, 0.52 + 0.05 * math.sin(time * 12)])
        return self.arm(side, _angles_at(time, offset), wrist, rotation, centre_m)

    def frame(self, number: int) -> NDArray[np.uint8]:
        """Return RGB (480, 640, 3)."""
        right_away = smooth_step((number - RIGHT_LEAVES[0]) / (RIGHT_LEAVES[1] - RIGHT_LEAVES[0]))
        left_away = 1 - smooth_step((number - LEFT_COMES[0]) / (LEFT_COMES[1] - LEFT_COMES[0]))
        time = number / (FRAMES - 1)
        surfaces = [self._arm("right", time, right_away)] if right_away < 1 else []
        surfaces += [self._arm("left", time, left_away)] if left_away < 1 else []
        return self.frame_image(surfaces, number)


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
