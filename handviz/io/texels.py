"""Which triangle every texel of the hand's texture shows, and where in it: found once, for every hand the same."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_matrix

from handviz.core.records import FloatArray
from handviz.hand_models.uv_atlas import UvAtlas, load_uv_atlas

TEXTURE_SIZE = 1024


@dataclass(frozen=True, eq=False)
class Texels:
    """The N texels of the picture whose middle lies on the hand, and what the others take their colour from."""

    places: NDArray[np.intp]
    """(N,) row times size plus column."""
    interpolation: csr_matrix
    """(N, Vd): values at the dense mesh's vertices -> values at the texels."""
    nearest: NDArray[np.int32]
    """(size, size) which of the N lies closest: itself on the hand, and beside it what leaves no seam."""
    side_m: float
    """What a texel measures on the mean hand."""

    def image(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colours (N, 3) at the texels -> picture (size, size, 3) without a gap."""
        return np.take(values, self.nearest, axis=0)


@cache
def load_texels(size: int = TEXTURE_SIZE) -> Texels:
    """The texels of the open hand's layout."""
    atlas = load_uv_atlas()
    places, triangle, weights = rasterised(atlas, size)
    # Where an edge runs through a texel's middle both triangles have it; they agree there.
    places, first = np.unique(places, return_index=True)
    corners = atlas.vertex_ids[atlas.faces[triangle[first]]]
    rows = np.repeat(np.arange(len(places)), 3)
    entries = weights[first].astype(np.float32).ravel()
    shape = (len(places), int(atlas.vertex_ids.max()) + 1)
    own = np.full((size, size), -1, dtype=np.int32)
    own.flat[places] = np.arange(len(places))
    at = distance_transform_edt(own < 0, return_distances=False, return_indices=True)
    interpolation = csr_matrix((entries, (rows, corners.ravel())), shape)
    return Texels(places, interpolation, own[at[0], at[1]], atlas.side_m / size)


def rasterised(atlas: UvAtlas, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], FloatArray]:
    """Place (N,), triangle (N,) and barycentric weights (N, 3) of every texel's middle in or on a triangle."""
    corners = atlas.uv[atlas.faces] * size
    low = np.ceil(corners.min(axis=1) - 0.5).astype(np.intp)
    columns, rows = (np.floor(corners.max(axis=1) - 0.5).astype(np.intp) - low + 1).T
    triangle = np.repeat(np.arange(len(corners)), columns * rows)
    number = np.arange(len(triangle)) - np.repeat(np.cumsum(columns * rows) - columns * rows, columns * rows)
    across = low[triangle, 0] + number % columns[triangle]
    down = low[triangle, 1] + number // columns[triangle]
    weights = _barycentric(corners[triangle], np.stack([across, down], axis=1) + 0.5)
    inside = (weights >= -1e-9).all(axis=1)
    return (down * size + across)[inside], triangle[inside], weights[inside]


def _barycentric(corners: FloatArray, points: FloatArray) -> FloatArray:
    """(N, 3) weights of the corners (N, 3, 2) that give the points (N, 2)."""
    first, second, own = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    of_first = (own[:, 0] * second[:, 1] - own[:, 1] * second[:, 0]) / area
    of_second = (first[:, 0] * own[:, 1] - first[:, 1] * own[:, 0]) / area
    return np.stack([1 - of_first - of_second, of_first, of_second], axis=1)
