"""MediaPipe's landmarks of each hand and the square of its crop, as lines over the image."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from handviz.core.geometry import apply_affine, invert_affine
from handviz.core.records import FloatArray, FrameResult, HandCrop
from handviz.rendering.camera import Matrix, Size, project
from handviz.rendering.passes import BONES

COLOUR = (0.35, 0.80, 1.0)
BONE_RADIUS_PX, POINT_RADIUS_PX, SQUARE_RADIUS_PX = 0.7, 2.0, 0.6


def detection_strokes(
    result: FrameResult, clip_from_image: Matrix, view_size: Size, pixel_ratio: float
) -> Iterator[NDArray[np.float32]]:
    """Yield rows as ``passes.strokes`` for each detection, and for each crop."""
    for detection in result.detections:
        points = _in_view(detection.keypoints_px, clip_from_image, view_size)
        yield np.concatenate(
            [
                _rows(points[BONES[:, 0]], points[BONES[:, 1]], BONE_RADIUS_PX * pixel_ratio),
                _rows(points, points, POINT_RADIUS_PX * pixel_ratio),
            ]
        )
    crops = result.crops or tuple(found.crop for found in result.detections if found.crop is not None)
    for crop in crops:
        corners = _in_view(crop_corners_px(crop), clip_from_image, view_size)
        yield _rows(corners, np.roll(corners, -1, axis=0), SQUARE_RADIUS_PX * pixel_ratio)


def crop_corners_px(crop: HandCrop) -> FloatArray:
    """Return the corners (4, 2) of a crop in image pixels."""
    side = crop.size_px
    corners = np.array([(0, 0), (side, 0), (side, side), (0, side)], dtype=float)
    return apply_affine(invert_affine(crop.crop_from_image), corners)


def _in_view(points_px: FloatArray, clip_from_image: Matrix, view_size: Size) -> FloatArray:
    return project(clip_from_image, np.column_stack([points_px, np.zeros(len(points_px))]), view_size)


def _rows(starts: FloatArray, ends: FloatArray, radius_px: float) -> NDArray[np.float32]:
    count = len(starts)
    colours, radii = np.tile(COLOUR, (count, 1)), np.full((count, 1), radius_px)
    return np.concatenate([starts, ends, colours, radii], axis=1, dtype=np.float32)
