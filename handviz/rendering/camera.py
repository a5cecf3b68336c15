"""Projections from the scene to the view: overlay on the image, or an orbit around the hands.

Matrices act on columns. Scene and eye axes: x right, y down, z away from the eye. Clip axes are OpenGL's.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from handviz.core.records import FloatArray

Matrix = NDArray[np.float32]
Size = tuple[int, int]
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Letterbox:
    """Position of an image in a view: as large as fits, centred."""

    scale: float
    """View pixels per image pixel."""
    left_px: float
    top_px: float


def letterbox(image_size: Size, view_size: Size) -> Letterbox:
    """Fit an image (width, height) into a view (width, height)."""
    scale = min(view_size[0] / image_size[0], view_size[1] / image_size[1])
    left, top = ((view - scale * image) / 2 for view, image in zip(view_size, image_size, strict=True))
    return Letterbox(scale=scale, left_px=left, top_px=top)


def overlay_matrix(image_size: Size, view_size: Size, depth_range_m: tuple[float, float]) -> Matrix:
    """Return (4, 4) clip from (x_px, y_px, depth_m): orthographic in image pixels, nearer depth in front."""
    box = letterbox(image_size, view_size)
    near, far = depth_range_m
    matrix = np.eye(4)
    matrix[0, [0, 3]] = 2 * box.scale / view_size[0], 2 * box.left_px / view_size[0] - 1
    matrix[1, [1, 3]] = -2 * box.scale / view_size[1], 1 - 2 * box.top_px / view_size[1]
    matrix[2, [2, 3]] = 2 / (far - near), -(far + near) / (far - near)
    return matrix.astype(np.float32)


def project(clip_from_scene: FloatArray, points: FloatArray, view_size: Size) -> FloatArray:
    """Project scene points (N, 3) to view pixels (N, 2), y down."""
    clip = points @ clip_from_scene[:, :3].T + clip_from_scene[:, 3]
    ndc = clip[:, :2] / clip[:, 3:]
    return (ndc * [0.5, -0.5] + 0.5) * view_size


@dataclass(frozen=True)
class OrbitCamera:
    """A perspective camera that circles the hands; each change gives a new camera."""

    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    zoom: float = 1.0

    FIELD_OF_VIEW_RAD = math.radians(30.0)
    RADIANS_PER_PX = 0.008
    STEEPEST_RAD = math.radians(89.0)

    def dragged(self, right_px: float, down_px: float) -> "OrbitCamera":
        """Rotate such that the near side of the hand follows the mouse."""
        pitch = self.pitch_rad + down_px * self.RADIANS_PER_PX
        yaw = math.remainder(self.yaw_rad - right_px * self.RADIANS_PER_PX, math.tau)
        return replace(self, yaw_rad=yaw, pitch_rad=min(max(pitch, -self.STEEPEST_RAD), self.STEEPEST_RAD))

    def zoomed(self, steps: float) -> "OrbitCamera":
        """Zoom in by 10 % per step of the wheel."""
        return replace(self, zoom=min(max(self.zoom * 1.1**steps, 0.2), 8.0))

    def rotation(self) -> Matrix:
        """Return (3, 3) eye_from_scene."""
        cos_yaw, sin_yaw = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        cos_pitch, sin_pitch = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        about_y = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
        about_x = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
        return (about_x @ about_y).astype(np.float32)

    def matrix(self, radius_m: float, view_size: Size) -> Matrix:
        """Return (4, 4) clip from scene: a ball of ``radius_m`` around the origin fits the view at zoom 1."""
        focal = 1 / math.tan(self.FIELD_OF_VIEW_RAD / 2)
        distance = radius_m / math.sin(self.FIELD_OF_VIEW_RAD / 2) / self.zoom
        near, far = max(distance - 3 * radius_m, 0.01), distance + 3 * radius_m
        shorter = min(view_size)
        eye = np.eye(4)
        eye[:3, :3] = self.rotation()
        eye[2, 3] = distance
        camera_model = np.zeros((4, 4))
        camera_model[0, 0] = focal * shorter / view_size[0]
        camera_model[1, 1] = -focal * shorter / view_size[1]
        camera_model[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
        camera_model[3, 2] = 1.0
        return (camera_model @ eye).astype(np.float32)
