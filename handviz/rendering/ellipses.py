"""Ellipses of the keypoints' Gaussians: covariances projected to the view, and their drawing."""

import math
from collections.abc import Sequence
from contextlib import ExitStack

import moderngl
import numpy as np
from numpy.typing import NDArray

from handviz.core.records import KEYPOINT_COUNT, FloatArray
from handviz.rendering.camera import Matrix, Size
from handviz.rendering.hand_shape import HandShape
from handviz.rendering.passes import COLOURS, CORNERS, MAX_HAND_COUNT
from handviz.rendering.picking import in_view
from handviz.rendering.programs import load_program

HALF_WIDTH_PX = 0.7
FLOATS_PER_ELLIPSE = 9


def projected_covariances(
    clip_from_scene: FloatArray, points: FloatArray, covariances: FloatArray, view_size: Size
) -> FloatArray:
    """Project covariances (N, 3, 3) of scene points (N, 3) to (N, 2, 2) in square view pixels, y down, to first order.

    J S J^T with the projection's Jacobian at each point: exact where the projection is linear, as on the image.
    """
    clip = points @ clip_from_scene[:, :3].T + clip_from_scene[:, 3]
    weight = clip[:, 3, None, None]
    # d(x / w) = (dx - x / w dw) / w
    slope = (clip_from_scene[None, :2, :3] - (clip[:, :2, None] / weight) * clip_from_scene[None, 3:, :3]) / weight
    jacobian = slope * (np.array([0.5, -0.5]) * view_size)[:, None]
    return np.asarray(jacobian @ covariances @ jacobian.transpose(0, 2, 1))


def ellipse_axes(covariances: FloatArray, sigmas: float) -> FloatArray:
    """Return half axes of covariances (N, 2, 2) as rows (N, 2, 2), the longer one first, ``sigmas`` long."""
    variances, directions = np.linalg.eigh(covariances)
    lengths = sigmas * np.sqrt(np.maximum(variances, 0.0))
    return np.asarray((directions * lengths[:, None, :]).transpose(0, 2, 1)[:, ::-1])


def fraction_inside(sigmas: float) -> float:
    """Return the fraction of a 2D Gaussian within its ellipse of ``sigmas``: 1 - exp(-sigmas^2 / 2)."""
    return 1.0 - math.exp(-0.5 * sigmas**2)


def ellipses(shape: HandShape, clip_from_scene: Matrix, view_size: Size, sigmas: float) -> NDArray[np.float32]:
    """Return (21, 9): centre, longer and shorter half axis in view pixels, sRGB; (0, 9) without covariances."""
    if shape.keypoint_covariance is None:
        return np.zeros((0, FLOATS_PER_ELLIPSE), np.float32)
    centres = in_view(clip_from_scene, shape.keypoints, view_size)[:, :2]
    spread = projected_covariances(clip_from_scene, shape.keypoints, shape.keypoint_covariance, view_size)
    axes = ellipse_axes(spread, sigmas).reshape(-1, 4)
    return np.concatenate([centres, axes, COLOURS], axis=1, dtype=np.float32)


class EllipsePass:
    """Instanced quads, of which the fragment shader draws antialiased lines."""

    def __init__(self, ctx: moderngl.Context) -> None:
        self._ctx = ctx
        self._resources = ExitStack()
        self._program = load_program(ctx, "ellipse")
        self._corners = ctx.buffer(CORNERS)
        self._ellipses = ctx.buffer(reserve=MAX_HAND_COUNT * KEYPOINT_COUNT * FLOATS_PER_ELLIPSE * 4, dynamic=True)
        content = [
            (self._corners, "2f", "in_corner"),
            (self._ellipses, "2f 2f 2f 3f/i", "in_centre", "in_long", "in_short", "in_colour"),
        ]
        self._array = ctx.vertex_array(self._program, content)
        for resource in (self._program, self._corners, self._ellipses, self._array):
            self._resources.callback(resource.release)

    def draw(
        self,
        shapes: Sequence[HandShape],
        clip_from_scene: Matrix,
        view_size: Size,
        *,
        sigmas: float,
        pixel_ratio: float,
    ) -> None:
        """Draw every hand's ellipses, ``sigmas`` standard deviations large, into the bound framebuffer."""
        shapes = shapes[:MAX_HAND_COUNT]
        rows = [ellipses(shape, clip_from_scene, view_size, sigmas) for shape in shapes]
        data = np.concatenate(rows) if rows else np.zeros((0, FLOATS_PER_ELLIPSE), np.float32)
        if not len(data):
            return
        self._ellipses.write(data)
        self._ctx.enable_only(moderngl.BLEND)
        self._ctx.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._program["view_size"] = view_size
        self._program["half_width"] = HALF_WIDTH_PX * pixel_ratio
        self._array.render(moderngl.TRIANGLE_STRIP, instances=len(data))

    def release(self) -> None:
        """Free all GPU resources."""
        self._resources.close()
