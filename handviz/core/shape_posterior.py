"""What is known of a hand's shape and pose, as a Gaussian of its 21 keypoints."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handviz.core.skeleton import bent

Array = NDArray[np.floating]
CONTRADICTION_LEVEL = 0.001
"""Level of chi-squared below which network and landmarks contradict each other."""
CONTRADICTION = "network and landmarks contradict each other"
"""What the window and tables say of such a hand."""
ROUNDING = 1e-4
"""Of a covariance by single precision, as a fraction of its largest number."""


def is_covariance(matrix: Array) -> bool:
    """Return whether a matrix (N, N) is symmetric without negative variances, as far as its rounding tells."""
    size = float(np.abs(matrix).max(initial=0.0))
    if not size or not np.isfinite(size):
        return size == 0
    relative = matrix.astype(np.float64) / size
    if np.abs(relative - relative.T).max() > ROUNDING:
        return False
    try:
        np.linalg.cholesky(relative + ROUNDING * np.eye(len(relative)))
    except np.linalg.LinAlgError:
        return False
    return True


def turned_covariance(covariance: Array, rotation: Array) -> Array:
    """Return a covariance (3N, 3N) of points in axes turned by ``rotation`` (3, 3), which may mirror."""
    size = len(covariance)
    half = (covariance.reshape(-1, 3) @ rotation.T).reshape(size, size)
    return np.asarray((half.T.reshape(-1, 3) @ rotation.T).reshape(size, size).T)


@dataclass(frozen=True, eq=False)
class ShapePosterior:
    """What is known of a hand's shape and pose when network and landmarks have been fused (``pipeline/posterior.py``).

    It says nothing of the rotation, size and place of the hand as a whole: covariances are of points after the whole
    hand's best rotation, scaling and translation.
    """

    covariance_m2: Array
    """(63, 63) of the 21 keypoints' x, y and z."""
    prior_m2: Array
    """(63, 63) that of the network alone."""
    vertices_from_displacements: Array
    """(V, 21) how vertices follow displacements of the keypoints."""
    distance: float
    """Squared distance of the landmarks from what the network expects of them, in standard deviations."""
    count: int
    """Of the numbers observed: the expectation of ``distance``; 0 if no landmark was."""

    @property
    def level(self) -> float:
        """Probability, 0 to 1, that ``distance`` is this large or larger where all errors are as they claim to be.

        Of chi-squared with ``count`` degrees of freedom, by the normal distribution of its cube root (Wilson and
        Hilferty 1931).
        """
        if not self.count:
            return 1.0
        spread = 2 / (9 * self.count)
        z = ((self.distance / self.count) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
        return 0.5 * math.erfc(z / math.sqrt(2))

    @property
    def contradicts(self) -> bool:
        """Whether network and landmarks lie further apart than their errors explain: ``level`` below a thousandth."""
        return self.level < CONTRADICTION_LEVEL

    @property
    def keypoint_covariances_m2(self) -> Array:
        """(21, 3, 3) of each keypoint alone."""
        keypoints = np.arange(len(self.covariance_m2) // 3)
        return np.asarray(self.covariance_m2.reshape(len(keypoints), 3, -1, 3)[keypoints, :, keypoints])

    @cached_property
    def root_m(self) -> Array:
        """(63, 63) symmetric square root of the covariance, float64.

        It follows the covariance without jumps from frame to frame, which eigenvectors alone do not.
        """
        values, directions = np.linalg.eigh(self.covariance_m2.astype(np.float64))
        return np.asarray((directions * np.sqrt(np.maximum(values, 0))) @ directions.T)

    def drawn(self, vertices_m: Array, keypoints_m: Array, normals: Array) -> tuple[Array, Array]:
        """Return hands of the posterior, vertices (N, V, 3) and keypoints (N, 21, 3), for standard normals (N, 63).

        ``vertices_m`` (V, 3) and ``keypoints_m`` (21, 3) are its mean. What is drawn across a bone rotates it, so that
        bones of drawn hands are no longer than the posterior says.
        """
        displacements_m = bent(keypoints_m, (normals @ self.root_m).reshape(len(normals), -1, 3))
        weights = self.vertices_from_displacements.astype(np.float64)
        return vertices_m + weights @ displacements_m, keypoints_m + displacements_m

    def sampled(self, vertices_m: Array, keypoints_m: Array, count: int, generator: np.random.Generator) -> Array:
        """Return the vertices (``count``, V, 3) of hands that are drawn from the posterior with this mean."""
        return self.drawn(vertices_m, keypoints_m, generator.normal(size=(count, len(self.covariance_m2))))[0]

    def turned(self, rotation: Array) -> "ShapePosterior":
        """Return the same in other axes; ``rotation`` (3, 3) may mirror."""
        return replace(
            self,
            covariance_m2=turned_covariance(self.covariance_m2, rotation),
            prior_m2=turned_covariance(self.prior_m2, rotation),
        )

    def resized(self, factors: Array) -> "ShapePosterior":
        """Return the same with every keypoint's standard deviations multiplied by ``factors`` (21,)."""
        each = np.repeat(factors, 3)
        both = np.outer(each, each)
        return replace(self, covariance_m2=self.covariance_m2 * both, prior_m2=self.prior_m2 * both)

    def landmark_share_of(self, vertex: int) -> float:
        """Return the fraction, 0 to 1, of a vertex's variance by the network that the landmarks took away."""
        weights = np.kron(self.vertices_from_displacements[vertex].astype(np.float64), np.eye(3))
        after, before = (
            float(np.trace(weights @ matrix @ weights.T)) for matrix in (self.covariance_m2, self.prior_m2)
        )
        return float(np.clip(1 - after / max(before, 1e-12), 0, 1))

    @cached_property
    def landmark_shares(self) -> Array:
        """(21,) the same of every keypoint."""
        after, before = (np.diag(matrix).reshape(-1, 3).sum(axis=1) for matrix in (self.covariance_m2, self.prior_m2))
        return np.clip(1 - after / np.maximum(before, 1e-12), 0, 1)
