"""Render ``assets/rig``: five seconds of a hand that three calibrated cameras see; a box passes before one of them."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.files import atomic_path, make_folder
from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.paths import RIG_FILE
from handviz.core.records import FloatArray
from handviz.data.synthetic import look, things
from handviz.data.synthetic.arm import object_transform
from handviz.data.synthetic.room import Room, gesture_angles, smooth_step
from handviz.data.synthetic.stage import HEIGHT, WIDTH
from handviz.rendering.studio import open_studio
from handviz.rendering.studio_parts import BEHIND, Material, Surface
from handviz.sources.rig import Rig, RigView, write_rig

FPS, FRAMES = 20, 100
CENTRE_M = np.array([0.0, 0.0, 0.5])
"""What all cameras look at, in the frame of the first one, which is the world."""
YAWS_DEG = {"front": 0.0, "left": 50.0, "right": -55.0}
STORY = ("open", "relaxed", "point", "victory", "fist", "pinch", "open")
BOX_FRAMES, BOX_VIEW = (35, 75), "left"
"""When a box passes between the hand and a camera."""
BOX_SIZE_M, BOX_DISTANCE_M, BOX_WAY_M = (0.10, 0.13, 0.02), 0.2, 0.3


def camera_from_world(view: str) -> FloatArray:
    """Return (4, 4) of a camera as far from the centre as the first one, turned about it."""
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("y", YAWS_DEG[view], degrees=True).as_matrix()
    pose[:3, 3] = CENTRE_M - pose[:3, :3] @ CENTRE_M
    return pose


class RigClip(Room):
    """The bundled rig."""

    def surfaces(self, number: int) -> list[Surface]:
        """Return arm and box of a frame, in the world."""
        time = number / (FRAMES - 1)
        position = time * (len(STORY) - 1)
        index = min(int(position), len(STORY) - 2)
        first, second = gesture_angles(STORY[index]), gesture_angles(STORY[index + 1])
        angles = first + smooth_step((position - index - 0.25) / 0.5) * (second - first)
        turn = Rotation.from_euler(
            "xyz", (0.25 * math.sin(time * 7), 0.9 * math.sin(time * 5), 0.3 * math.sin(time * 8))
        )
        wrist = rotation_from_axis_angle(np.array([0.2 * math.sin(time * 6), 0, 0]))
        centre_m = CENTRE_M + 0.03 * np.array([math.sin(time * 9), math.cos(time * 6), math.sin(time * 4)])
        found = [self.arm("right", angles, wrist, turn.as_matrix(), centre_m)]
        if BOX_FRAMES[0] <= number <= BOX_FRAMES[1]:
            found.append(_box((number - BOX_FRAMES[0]) / (BOX_FRAMES[1] - BOX_FRAMES[0])))
        return found

    def frame(self, view: str, number: int) -> NDArray[np.uint8]:
        """Return RGB (480, 640, 3) of a camera."""
        return self.frame_from(camera_from_world(view), self.surfaces(number), number)


def _box(progress: float) -> Surface:
    """Return the box on its way across the line from the hand to its camera."""
    pose = camera_from_world(BOX_VIEW)
    in_camera = np.array([BOX_WAY_M * (2 * progress - 1), 0.02, BOX_DISTANCE_M])
    matrix = pose[:3, :3].T
    position = matrix @ (in_camera - pose[:3, 3])
    colour = (0.5, 0.36, 0.2)
    material = Material(colour, colour, colour, colour, colour, mottle=0.3, gloss=0.1)
    return Surface(things.box(), material, BEHIND, object_transform(matrix, np.array(BOX_SIZE_M), position))


def build(path: Path = RIG_FILE) -> Path:
    """Write the clips and ``RIG.json``."""
    folder = make_folder(path.parent)
    studio = open_studio(look.textures(), (WIDTH, HEIGHT))
    clip = RigClip(studio)
    views = []
    for view in YAWS_DEG:
        file = folder / f"{view}.mp4"
        _write(file, clip, view)
        camera = camera_model_of_intrinsics(clip.intrinsics, (WIDTH, HEIGHT))
        views.append(RigView(view, file, camera, camera_from_world(view)))
    studio.release()
    write_rig(path, Rig(path.name, tuple(views)))
    return path


def _write(file: Path, clip: RigClip, view: str) -> None:
    with atomic_path(file) as part:
        writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), FPS, (WIDTH, HEIGHT))
        for number in range(FRAMES):
            writer.write(clip.frame(view, number)[..., ::-1])
        writer.release()
