"""Rasterises batches of meshes in plain PyTorch: the triangle that every pixel sees, and which vertices are visible
(the paper's occlusion-aware rasterisation, section 3.4).

No rasteriser that pip installs everywhere takes batches without a graphics driver; a hand of 1,534 small triangles does
not need one: every triangle is compared with the pixels of its own small window only.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from handviz.core.records import CROP_SIZE
from handviz.core.visibility import DEPTH_TOLERANCE

WINDOWS = (2, 4, 8, 16, 32, 64, CROP_SIZE)
"""Sides in pixels; a triangle is compared with the pixels of the smallest that it fits into."""
NOTHING = -1
MIN_AREA = 1e-12
ROUNDING = 1e-5
"""By which a pixel's centre may lie outside a triangle, so that none falls between two."""


class Raster(NamedTuple):
    """The surface at every pixel of a batch; pixel (row, column) has its centre at ((column, row) + 0.5) / (size / 2) -
    1."""

    triangle: Tensor
    """(B, S, S) number of the nearest triangle, -1 where there is none"""
    weights: Tensor
    """(B, S, S, 3) barycentrics there, 0 where there is none; of the triangle's corners in the order of ``faces``"""
    depth: Tensor
    """(B, S, S) of the surface, infinite where there is none"""

    @property
    def mask(self) -> Tensor:
        """(B, S, S) whether there is a hand."""
        return self.triangle >= 0


def rasterise(points: Tensor, faces: Tensor, size: int = CROP_SIZE) -> Raster:
    """Rasterise points (B, V, 3) in crop half-sides, x right, y down, z away, with faces (F, 3).

    Triangles are seen from both sides. Points outside of the image, and behind others, are no error; a triangle with a
    point that is not finite is left out.
    """
    triangle, depth = nearest_triangles(points, faces, size)
    return Raster(triangle, _weights_at(points, faces, triangle), depth)


def nearest_triangles(points: Tensor, faces: Tensor, size: int = CROP_SIZE) -> tuple[Tensor, Tensor]:
    """Return ``Raster.triangle`` and ``Raster.depth`` alone, which is half of the work."""
    batch, count = points.shape[0], len(faces)
    corners = points.detach()[:, faces].flatten(0, 1)
    pixels, depths, owners = _candidates(corners, size)
    image = owners // count * size * size + pixels
    nearest = torch.full((batch * size * size,), torch.inf, device=points.device, dtype=points.dtype)
    nearest.scatter_reduce_(0, image, depths, "amin")
    first = depths == nearest[image]
    # Of triangles equally near, on a common edge, take the smaller number: the order does not matter.
    winner = torch.full_like(nearest, count, dtype=torch.long)
    winner.scatter_reduce_(0, image[first], owners[first] % count, "amin")
    triangle = torch.where(winner < count, winner, NOTHING).view(batch, size, size)
    return triangle, nearest.view(batch, size, size)


def interpolated(values: Tensor, faces: Tensor, raster: Raster) -> Tensor:
    """Interpolate values at vertices (B, V, C) at the pixels (B, S, S, C), 0 without a hand (equation 12)."""
    corners = values.gather(1, _corner_numbers(faces, raster.triangle, values.shape[2]))
    of_corners = corners.unflatten(1, (*raster.triangle.shape[1:], 3))
    return (raster.weights[..., None] * of_corners).sum(3)


def visible_vertices(points: Tensor, faces: Tensor, raster: Raster, tolerance: float = DEPTH_TOLERANCE) -> Tensor:
    """Return whether vertices (B, V) lie in the image with nothing of the mesh in front of them.

    Each is compared with the triangles at the four pixels around it: it is visible if one of them is its own, lies
    behind it or is none.
    """
    size, numbers = raster.triangle.shape[1], torch.arange(points.shape[1], device=points.device)
    at = (points[..., :2] + 1) * (size / 2) - 0.5
    in_image = (points[..., :2].abs() <= 1).all(-1)
    seen = torch.zeros_like(in_image)
    for right in (0, 1):
        for down in (0, 1):
            column, row = ((at[..., axis].floor() + step).clamp(0, size - 1) for axis, step in ((0, right), (1, down)))
            pixel = (row * size + column).nan_to_num().long()
            triangle = raster.triangle.flatten(1).gather(1, pixel)
            corners = faces[triangle.clamp(min=0)]
            own = (corners == numbers[None, :, None]).any(-1)
            rows = torch.arange(len(points), device=points.device)[:, None, None]
            surface = _depth_of_plane(points[rows, corners], points[..., :2])
            seen |= (triangle == NOTHING) | own | (surface >= points[..., 2] - tolerance)
    return seen & in_image


def _candidates(corners: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return pixel, depth and triangle of all M pairs in which one of the triangles (N, 3, 3) covers the pixel."""
    at = (corners[..., :2] + 1) * (size / 2) - 0.5
    low = at.amin(1).clamp(min=0).ceil()
    high = at.amax(1).clamp(max=size - 1).floor()
    spans = (high - low).amax(1) + 1
    usable = corners.isfinite().all(2).all(1) & (high >= low).all(1)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for smaller, window in zip((0, *WINDOWS), WINDOWS, strict=False):
        numbers = torch.nonzero(usable & (spans > smaller) & (spans <= window)).squeeze(1)
        steps = torch.arange(window, device=corners.device, dtype=corners.dtype)
        offsets = torch.cartesian_prod(steps, steps)
        pixels = low[numbers][:, None] + offsets
        weights = barycentrics(at[numbers][:, None], pixels)
        inside = (weights >= -ROUNDING).all(-1) & (pixels <= high[numbers][:, None]).all(-1)
        rows, columns = torch.nonzero(inside, as_tuple=True)
        covered = pixels[rows, columns]
        depth = (weights[rows, columns] * corners[numbers[rows], :, 2]).sum(-1)
        found.append(((covered[:, 1] * size + covered[:, 0]).long(), depth, numbers[rows]))
    pixel, depths, owners = (torch.cat(parts) for parts in zip(*found, strict=True))
    return pixel, depths, owners


def barycentrics(corners: Tensor, points: Tensor) -> Tensor:
    """Return weights (..., 3), sum 1, of points (..., 2) in triangles (..., 3, 2); all -1 for those without area."""
    first, second, third = corners.unbind(-2)
    area = _cross(second - first, third - first)
    flat = area.abs() < MIN_AREA
    safe = torch.where(flat, 1.0, area)
    of_second = _cross(points - first, third - first) / safe
    of_third = _cross(second - first, points - first) / safe
    weights = torch.stack([1 - of_second - of_third, of_second, of_third], dim=-1)
    return torch.where(flat[..., None], -1.0, weights)


def _cross(first: Tensor, second: Tensor) -> Tensor:
    return first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0]


def _depth_of_plane(corners: Tensor, points: Tensor) -> Tensor:
    """Return the depth of triangles' planes (..., 3, 3) at points (..., 2); the nearest corner's for triangles seen
    edge on."""
    weights = barycentrics(corners[..., :2], points)
    depth = (weights * corners[..., 2]).sum(-1)
    # Far outside of a steep triangle its plane does not describe its surface.
    return depth.clamp(corners[..., 2].amin(-1), corners[..., 2].amax(-1))


def _corner_numbers(faces: Tensor, triangle: Tensor, channels: int) -> Tensor:
    """Return indices (B, S * S * 3, channels) to gather the corners of triangles at pixels (B, S, S); 0 for none."""
    return faces[triangle.clamp(min=0)].flatten(1)[..., None].expand(-1, -1, channels)


def _weights_at(points: Tensor, faces: Tensor, triangle: Tensor) -> Tensor:
    """Return barycentric weights (B, S, S, 3) of every pixel in its triangle; 0 for pixels without."""
    size = triangle.shape[1]
    corners = points[..., :2].gather(1, _corner_numbers(faces, triangle, 2)).unflatten(1, (size, size, 3))
    steps = (torch.arange(size, device=points.device, dtype=points.dtype) + 0.5) / (size / 2) - 1
    pixels = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), dim=-1)
    weights = barycentrics(corners, pixels.expand(len(points), -1, -1, -1))
    return torch.where(triangle[..., None] >= 0, weights, 0.0)
