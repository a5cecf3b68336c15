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
Region = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image, in its pixels."""
MIRROR = np.diag([-1.0, 1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Letterbox:
    """Position of an image in a view: as large as fits, centred."""

    scale: float
    """View pixels per image pixel."""
    left_px: float
    top_px: float


def letterbox(image_size: Size, view_size: Size, region: Region | None = None) -> Letterbox:
    """Fit an image (width, height), or a region of it, into a view (width, height)."""
    left, top, right, bottom = region or (0.0, 0.0, *image_size)
    scale = min(view_size[0] / (right - left), view_size[1] / (bottom - top))
    middle = (left + right) / 2, (top + bottom) / 2
    left_px, top_px = (view / 2 - scale * centre for view, centre in zip(view_size, middle, strict=True))
    return Letterbox(scale=scale, left_px=left_px, top_px=top_px)


@dataclass(frozen=True)
class ImageZoom:
    """Zoom into the image of the overlay, relative to the image as large as fits; each change gives a new one."""

    zoom: float = 1.0
    right: float = 0.0
    """How far the image's centre lies right of the view's, as a fraction of the view's width."""
    down: float = 0.0

    MAX_ZOOM = 40.0

    def placed(self, fitted: Letterbox, view_size: Size) -> Letterbox:
        """Return where the image lies that without zoom lies at ``fitted``."""
        (width, height), zoom = view_size, self.zoom
        return Letterbox(
            scale=fitted.scale * zoom,
            left_px=width / 2 + zoom * (fitted.left_px - width / 2) + self.right * width,
            top_px=height / 2 + zoom * (fitted.top_px - height / 2) + self.down * height,
        )

    def zoomed(self, steps: float, point_px: tuple[float, float], view_size: Size) -> "ImageZoom":
        """Zoom in by 20 % per step of the wheel; what is shown at the point stays there."""
        zoom = min(max(self.zoom * 1.2**steps, 1.0), self.MAX_ZOOM)
        shifts = (
            shift + (1 - zoom / self.zoom) * (point / side - 0.5 - shift)
            for shift, point, side in zip((self.right, self.down), point_px, view_size, strict=True)
        )
        return ImageZoom(zoom, *shifts)

    def dragged(self, right_px: float, down_px: float, view_size: Size) -> "ImageZoom":
        """Move the image with the mouse."""
        return replace(self, right=self.right + right_px / view_size[0], down=self.down + down_px / view_size[1])

    def within(self, fitted: Letterbox, image_size: Size, view_size: Size) -> "ImageZoom":
        """Return the nearest zoom that leaves no more room beside the image than there must be."""
        box, shifts = self.placed(fitted, view_size), []
        for shift, near, side, length in zip(
            (self.right, self.down), (box.left_px, box.top_px), view_size, image_size, strict=True
        ):
            free = side - box.scale * length
            shifts.append(shift + (min(max(near, free), 0.0) if free < 0 else free / 2) / side - near / side)
        return replace(self, right=shifts[0], down=shifts[1])

    def framing(self, box_px: tuple[float, float, float, float], view_size: Size, fraction: float) -> "ImageZoom":
        """Return the zoom that lets ``box_px`` (left, top, right, bottom, as seen now) fill a fraction of the view."""
        left, top, right, bottom = box_px
        sizes = max(right - left, 1.0) / view_size[0], max(bottom - top, 1.0) / view_size[1]
        zoom = min(max(self.zoom * fraction / max(sizes), 1.0), self.MAX_ZOOM)
        centre = (left + right) / 2 / view_size[0] - 0.5, (top + bottom) / 2 / view_size[1] - 0.5
        growth = zoom / self.zoom
        return ImageZoom(zoom, growth * (self.right - centre[0]), growth * (self.down - centre[1]))


def overlay_matrix(box: Letterbox, view_size: Size, depth_range_m: tuple[float, float]) -> Matrix:
    """Return (4, 4) clip from (x_px, y_px, depth_m): orthographic in image pixels, nearer depth in front."""
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
    """A perspective camera that circles the hands, and the zoom into the image; each change gives a new camera."""

    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    zoom: float = 1.0
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What it circles: from the centre of the hands, in radii of the ball that contains them; scene axes."""
    image: ImageZoom = ImageZoom()
    """Of the overlay."""

    MIN_ZOOM, MAX_ZOOM = 0.2, 12.0
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
        return replace(self, zoom=min(max(self.zoom * 1.1**steps, self.MIN_ZOOM), self.MAX_ZOOM))

    def panned(self, right_px: float, down_px: float, view_size: Size) -> "OrbitCamera":
        """Move sideways such that what is circled follows the mouse."""
        moved = np.array([right_px, down_px, 0.0]) * self._radii_per_px(view_size)
        right, down, away = np.array(self.target) - self.rotation().T @ moved
        return replace(self, target=(float(right), float(down), float(away)))

    def seen_from(self, yaw_rad: float, pitch_rad: float) -> "OrbitCamera":
        """Look at the same point from another side."""
        return replace(self, yaw_rad=yaw_rad, pitch_rad=pitch_rad)

    def framing(self, centre: FloatArray, radius: float) -> "OrbitCamera":
        """Return the camera that circles ``centre`` (3,) so that a ball fits the view; both in radii, as ``target``."""
        right, down, away = np.asarray(centre, dtype=float).tolist()
        zoom = min(max(1 / radius, self.MIN_ZOOM), self.MAX_ZOOM)
        return replace(self, target=(right, down, away), zoom=zoom)

    def metres_per_px(self, radius_m: float, view_size: Size) -> float:
        """Return the size of a pixel at the distance of the point that is circled."""
        return radius_m * self._radii_per_px(view_size)

    def _radii_per_px(self, view_size: Size) -> float:
        distance = 1 / math.sin(self.FIELD_OF_VIEW_RAD / 2) / self.zoom
        return 2 * distance * math.tan(self.FIELD_OF_VIEW_RAD / 2) / min(view_size)

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
        reach = radius_m * (3 + float(np.linalg.norm(self.target)))
        near, far = max(distance - reach, 0.01), distance + reach
        shorter = min(view_size)
        eye = np.eye(4)
        eye[:3, :3] = self.rotation()
        eye[:3, 3] = [0.0, 0.0, distance] - eye[:3, :3] @ (radius_m * np.array(self.target))
        camera_model = np.zeros((4, 4))
        camera_model[0, 0] = focal * shorter / view_size[0]
        camera_model[1, 1] = -focal * shorter / view_size[1]
        camera_model[2, 2:] = (far + near) / (far - near), -2 * far * near / (far - near)
        camera_model[3, 2] = 1.0
        return (camera_model @ eye).astype(np.float32)
