"""Motions of known truth as files."""

import io
from pathlib import Path
from typing import Any

import numpy as np

from handviz.core.files import write_whole
from handviz.core.records import HandMesh, Intrinsics
from tools.motion_scores import KnownMotion

ARRAYS = (
    "vertices_m",
    "vertex_std_mm",
    "keypoints_m",
    "keypoint_std_mm",
    "vertices_px",
    "keypoints_px",
    "camera_from_wrist",
    "wrist_camera_m",
)
NUMBERS = ("detection_score", "pixels_per_m")
WORDS = ("handedness", "variant")


def save_motion(path: Path, motion: KnownMotion) -> None:
    """Write it as .npz; textures and doubts of the place are left out. Raises HandvizError if it cannot be written."""
    found = np.array([row for row, hand in enumerate(motion.hands) if hand is not None])
    hands = [hand for hand in motion.hands if hand is not None]
    camera = motion.intrinsics
    values: dict[str, Any] = {name: np.stack([getattr(hand, name) for hand in hands]) for name in ARRAYS}
    values |= {name: np.array([getattr(hand, name) for hand in hands]) for name in (*NUMBERS, *WORDS)}
    values |= {"times_s": motion.times_s, "truth_m": motion.truth_m, "found": found}
    values["camera"] = np.array([camera.focal_px, camera.centre_x_px, camera.centre_y_px])
    content = io.BytesIO()
    np.savez(content, **values)
    write_whole({path: content.getvalue()})


def load_motion(path: Path) -> KnownMotion:
    """What ``save_motion`` wrote."""
    with np.load(path, allow_pickle=False) as file:
        values = {name: file[name] for name in file.files}
    focal_px, centre_x_px, centre_y_px = (float(value) for value in values["camera"])
    intrinsics = Intrinsics(focal_px, centre_x_px, centre_y_px)
    hands: list[HandMesh | None] = [None] * len(values["times_s"])
    for row, place in enumerate(values["found"]):
        parts: dict[str, Any] = {name: values[name][row] for name in ARRAYS}
        parts |= {name: float(values[name][row]) for name in NUMBERS}
        parts |= {name: str(values[name][row]) for name in WORDS}
        hands[place] = HandMesh(intrinsics=intrinsics, **parts)
    return KnownMotion(values["times_s"], values["truth_m"], hands, intrinsics)
