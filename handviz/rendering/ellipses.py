"""Where Gaussians lie in the view: covariances through a projection, and the ellipses that hold a share of them."""

import math

import numpy as np

from handviz.core.records import FloatArray
from handviz.rendering.camera import Size


def projected_covariances(
    clip_from_scene: FloatArray, points: FloatArray, covariances: FloatArray, view_size: Size
) -> FloatArray:
    """Covariances (N, 3, 3) of scene points (N, 3) -> (N, 2, 2) in square view pixels, y down, to first order.

    J S J^T with the projection's Jacobian at each point: exact where the projection is linear, as on the picture.
    """
    clip = points @ clip_from_scene[:, :3].T + clip_from_scene[:, 3]
    weight = clip[:, 3, None, None]
    # d(x / w) = (dx - x / w dw) / w
    slope = (clip_from_scene[None, :2, :3] - (clip[:, :2, None] / weight) * clip_from_scene[None, 3:, :3]) / weight
    jacobian = slope * (np.array([0.5, -0.5]) * view_size)[:, None]
    return np.asarray(jacobian @ covariances @ jacobian.transpose(0, 2, 1))


def ellipse_axes(covariances: FloatArray, sigmas: float) -> FloatArray:
    """(N, 2, 2) covariances -> (N, 2, 2): rows are half axes, the longer one first, ``sigmas`` deviations long."""
    variances, directions = np.linalg.eigh(covariances)
    lengths = sigmas * np.sqrt(np.maximum(variances, 0.0))
    return np.asarray((directions * lengths[:, None, :]).transpose(0, 2, 1)[:, ::-1])


def share_inside(sigmas: float) -> float:
    """What share of a plane's Gaussian lies within its ellipse of so many deviations: 1 - exp(-sigmas^2 / 2)."""
    return 1.0 - math.exp(-0.5 * sigmas**2)
