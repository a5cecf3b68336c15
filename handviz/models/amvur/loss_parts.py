"""Parts of AMVUR's losses that are ours: squares or likelihood, which crops count, terms of rotation, edges, presence.

Heteroscedastic likelihoods divide the gradient of a mean by its variance, which grows first where the mean is wrong, so
hard hands are learnt last. Two remedies can be chosen: squared errors first, and the beta-likelihood (Seitzer et al.,
On the Pitfalls of Heteroscedastic Uncertainty Estimation with Probabilistic Neural Networks, ICLR 2022).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from handviz.core.gaussian import Gaussian, gaussian_nll
from handviz.core.records import PALM_KEYPOINTS
from handviz.models.amvur.model import ModelOutput
from handviz.models.amvur.network import CameraOutput
from handviz.models.truth import Truth, in_crop

SMALLEST_CM2 = 1e-8
"""Under the root, whose slope at zero is infinite."""


def reduced_by(reduction: str, values: Tensor) -> Tensor:
    """Return the mean of the numbers (B, ...) of a batch, or the mean over crops of each crop's "sum"."""
    return values.mean() if reduction == "mean" else values.flatten(1).sum(dim=1).mean()


@dataclass(frozen=True)
class Fit:
    """How a Gaussian is fitted to the truth at one step of a training."""

    squares_first: bool = False
    """Train the mean by squared errors and the variance alone by the likelihood."""
    beta: float = 0.0
    """Exponent of the beta-likelihood: every coordinate's likelihood times its own variance (cm²) to this power."""
    reduction: str = "mean"
    """Over the coordinates of a crop: "mean" or "sum"."""

    def term(
        self, true: Tensor, found: Gaussian, fixed: Gaussian, *, of_squares: float = 1.0, unit_cm: float = 1.0
    ) -> Tensor:
        """Return the terms of all coordinates, reduced.

        ``fixed``: the same Gaussian as a function of the variances alone; ``of_squares``: weight of squared errors;
        ``unit_cm``: centimetres in a unit of the coordinates.
        """
        if self.squares_first:
            squares = of_squares * reduced_by(self.reduction, (found.mean - true).square())
            return squares + reduced_by(self.reduction, gaussian_nll(true, *fixed))
        likelihood = gaussian_nll(true, *found)
        if self.beta:
            log_variance_cm2 = found.log_variance.detach() + 2 * math.log(unit_cm)
            likelihood = likelihood * torch.exp(self.beta * log_variance_cm2)
        return reduced_by(self.reduction, likelihood)


def fixed_mean(found: Gaussian) -> Gaussian:
    """Return the Gaussian without a gradient to its mean."""
    return Gaussian(found.mean.detach(), found.log_variance)


def fixed_camera(camera: CameraOutput) -> CameraOutput:
    """Return the camera without a gradient to anything but its log-variance."""
    names = ("mean", "rotation", "scale", "translation")
    return camera._replace(**{name: getattr(camera, name).detach() for name in names})


def rotation_error(camera: CameraOutput, truth: Truth, regressor: Tensor) -> Tensor:
    """Return how far the camera's rotation displaces the true palm's keypoints about the wrist, cm, on average.

    For small angles it is proportional to the angle; ``regressor`` is (21, V).
    """
    keypoints = regressor @ truth.vertices_cm
    palm = keypoints[:, list(PALM_KEYPOINTS)] - keypoints[:, :1]
    displaced = palm @ (camera.rotation - truth.rotation).transpose(1, 2)
    return torch.sqrt(displaced.square().sum(dim=2) + SMALLEST_CM2).mean()


def mesh_edges(faces: NDArray[np.integer]) -> Tensor:
    """Return every edge (E, 2) of triangles (F, 3) once."""
    pairs = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return torch.from_numpy(np.unique(pairs, axis=0)).long()


def edge_error(vertices_cm: Tensor, true_cm: Tensor, edges: Tensor) -> Tensor:
    """Return the mean absolute difference of the lengths of edges (E, 2) of two meshes (B, V, 3), cm."""

    return (_edge_lengths(vertices_cm, edges) - _edge_lengths(true_cm, edges)).abs().mean()


def _edge_lengths(vertices_cm: Tensor, edges: Tensor) -> Tensor:
    """Return the lengths (B, E), cm, of edges (E, 2) of meshes (B, V, 3)."""
    ends = vertices_cm[:, edges]
    return torch.sqrt((ends[:, :, 0] - ends[:, :, 1]).square().sum(dim=2) + SMALLEST_CM2)


def presence_error(logit: Tensor, truth: Truth) -> Tensor:
    """Return the binary cross-entropy of the probability that a crop shows a hand, for logits (B,)."""
    return functional.binary_cross_entropy_with_logits(logit, truth.is_hand.to(logit.dtype))


def terms_of_hands(
    terms: Callable[..., dict[str, Tensor]], output: ModelOutput, truth: Truth, regressor: Tensor, *more: Any
) -> dict[str, Tensor]:
    """Return ``terms(output, truth, *more)`` of the rows that show a hand; all are 0 where none does.

    ``more``: further tensors of the batch, in named tuples, or None.
    """
    rows = truth.is_hand
    if bool(rows.all()):
        return terms(output, truth, *more)
    if not bool(rows.any()):
        # Of the answer itself as truth, so that every term is finite, then nothing is left of it.
        nothing = terms(output, _as_truth(output, regressor), *more)
        return {name: 0.0 * term for name, term in nothing.items()}
    chosen = _Rows(rows)
    return terms(chosen.of(output), chosen.of(truth), *(chosen.of(part) for part in more))


class _Rows:
    """Some rows of everything in a batch; what was one tensor stays one."""

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows
        self._chosen: dict[int, Tensor] = {}

    def of(self, part: Any) -> Any:
        """Return these rows of a tensor, or of every tensor in a named tuple or Truth."""
        if part is None:
            return None
        if isinstance(part, Tensor):
            return self._chosen.setdefault(id(part), part[self._rows])
        if isinstance(part, Truth):
            return Truth(**{item.name: self.of(getattr(part, item.name)) for item in fields(part)})
        return type(part)(*(self.of(item) for item in part))


def _as_truth(output: ModelOutput, regressor: Tensor) -> Truth:
    """Return the truth of which a network's answer would be without error."""
    camera, vertices_cm = fixed_camera(output.camera), output.mean_cm.detach()
    points = in_crop(regressor @ vertices_cm, camera.rotation, camera.scale, camera.translation)
    return Truth(vertices_cm, points[..., :2], camera.rotation, camera.scale, camera.translation)
