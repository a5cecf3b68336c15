"""A soft silhouette of a mesh with gradients, for the loss against the true one.

Paper: Zhang et al., ICCV 2019, section 3.3: L1 between the rendered mask and the silhouette. It names no renderer; this
one is our reading, of the kind of Liu et al., Soft Rasterizer (ICCV 2019): a pixel is covered with the probability
1 - prod(1 - sigmoid(d / softness)) over triangles, d its signed distance to a triangle's border. Every triangle is
compared with the pixels of a small window around it alone, outside of which the sigmoid is nothing.
"""

import torch
from torch import Tensor
from torch.nn import functional

from handviz.models.texture.rasterise import rasterise

SIZE = 56
"""Side of the silhouettes, pixels."""
SOFTNESS_PX = 0.35
"""Of the border, pixels."""
WINDOW = 5
"""Pixels of the square around a triangle's centre that it can cover: at 56 pixels those of a hand span under five."""
SHORTEST = 1e-6


def soft_silhouette(points: Tensor, faces: Tensor, size: int = SIZE) -> Tensor:
    """Return the coverage (B, S, S), 0 to 1, of meshes whose points (B, V, 2) are given in crop half-sides.

    ``faces`` (F, 3). Parts outside of the crop are cut off.
    """
    corners = ((points + 1) * (size / 2) - 0.5)[:, faces]
    batch, count = corners.shape[:2]
    start = (corners.detach().mean(dim=2).round() - WINDOW // 2).long()
    steps = torch.arange(WINDOW, device=points.device)
    columns, rows = start[..., 0, None] + steps, start[..., 1, None] + steps
    pixels = torch.stack(
        [columns[..., None, :].expand(-1, -1, WINDOW, -1), rows[..., :, None].expand(-1, -1, -1, WINDOW)], dim=-1
    ).flatten(2, 3)
    distance = _signed_distance(pixels.to(points.dtype), corners)
    # ln(1 - sigmoid(x)) without cancellation.
    log_uncovered = -functional.softplus(distance / SOFTNESS_PX)
    inside = ((pixels >= 0) & (pixels < size)).all(dim=-1)
    number = pixels[..., 1].clamp(0, size - 1) * size + pixels[..., 0].clamp(0, size - 1)
    total = torch.zeros(batch, size * size, dtype=points.dtype, device=points.device)
    total = total.scatter_add(1, number.flatten(1), (log_uncovered * inside).flatten(1))
    assert count == len(faces)
    return (1 - torch.exp(total)).view(batch, size, size)


def _signed_distance(pixels: Tensor, corners: Tensor) -> Tensor:
    """Return distances (B, F, P), positive inside, of pixels (B, F, P, 2) to the border of triangles (B, F, 3, 2)."""
    ends = corners.roll(-1, dims=2)
    edges = (ends - corners)[:, :, None]
    from_corner = pixels[..., None, :] - corners[:, :, None]
    squares = edges.square().sum(dim=-1).clamp(min=SHORTEST)
    along = ((from_corner * edges).sum(dim=-1) / squares).clamp(0, 1)
    gap = from_corner - along[..., None] * edges
    nearest = torch.sqrt(gap.square().sum(dim=-1).amin(dim=-1) + SHORTEST)
    side = edges[..., 0] * from_corner[..., 1] - edges[..., 1] * from_corner[..., 0]
    is_inside = (side >= 0).all(dim=-1) | (side <= 0).all(dim=-1)
    return torch.where(is_inside, nearest, -nearest)


@torch.no_grad()
def true_silhouette(points: Tensor, faces: Tensor, size: int = SIZE) -> Tensor:
    """Return the amodal silhouette (B, S, S), 0 or 1, of true meshes whose points (B, V, 2) are in crop half-sides.

    It has what other things hide, and no arm.
    """
    return rasterise(functional.pad(points, (0, 1)), faces, size).mask.to(points.dtype)
