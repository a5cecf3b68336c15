"""Weights and forms of the losses' terms, supervised and weak: which of them the paper has, and which are ours."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Annotated

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.models.amvur.loss_parts import Fit

VARIANCES = ("projected", "labels")
LIKELIHOODS = ("gaussian", "l2")
REDUCTIONS = ("mean", "sum")
SAMPLE_LOSSES = ("likelihood", "distance")


@dataclass(frozen=True)
class WeakWeights:
    """Weights of the terms of eq. 8 beside that of the 2D joints (``LossConfig.image``), and what the paper leaves
    open.

    Table 4: 2D joints alone are ``camera``, ``keypoints`` and ``vertices`` 0; its rows add them in this order.
    """

    camera: float = 1.0
    """Of KL(camera || camera prior); without a prior there is no such term."""
    keypoints: float = 0.05
    """Of KL(3D joints of AMVUR || of the prior-net), ``final`` alone."""
    vertices: float = 0.05
    """Of KL(vertices of AMVUR || of the prior-net), ``final`` alone."""
    prior: float = 1.0
    """Squared 2D error of the prior-net's own mesh in ``final``: ours; without it only the divergence trains it."""
    pose: float = 0.01
    """Mean square of the pose's principal components, in standard deviations: ours, else fingers bend both ways."""
    shape: float = 0.01
    """Mean square of the shape, in standard deviations: ours, 2D joints do not determine a size."""
    draws: int = 4
    """Samples of joints and camera for the expected likelihood; the paper draws one."""
    label_std: float = 0.0
    """Standard deviation of the 2D labels, crop half-sides: 0 for annotated joints, more for a detector's."""
    variance: str = "projected"
    """Of the likelihood: "projected" as in eq. 6, AMVUR's own beside the labels'; "labels" the labels' alone."""
    camera_std: float = 0.0
    """Standard deviation of all nine numbers of the camera prior; 0: those of its own net, 1: as printed."""

    def __post_init__(self) -> None:
        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "variance"}
        for name, value in numbers.items():
            if not 0 <= value < math.inf:
                raise HandvizError(
                    f"weak supervision: {name} is {value}, it must be a number from 0 on", ErrorCode.BAD_VALUE
                )
        if self.draws < 1:
            raise HandvizError("weak supervision: draws must be at least 1", ErrorCode.BAD_VALUE)
        if self.variance not in VARIANCES:
            raise HandvizError(
                f"weak supervision: variance is {self.variance!r}; there are {', '.join(VARIANCES)}",
                ErrorCode.UNKNOWN_NAME,
            )
        if self.variance == "labels" and not self.label_std:
            raise HandvizError(
                'weak supervision: variance "labels" needs a label_std above 0', ErrorCode.OPTION_CONFLICT
            )


def weights_from(settings: Sequence[str]) -> WeakWeights:
    """Return the default weights with some NAME=VALUE changed; HandvizError for an unknown name or a bad value."""
    default = WeakWeights()
    kinds = {item.name: type(getattr(default, item.name)) for item in fields(default)}
    chosen: dict[str, float | int | str] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise HandvizError(f"--weak has no {name!r}; there are {', '.join(kinds)}", ErrorCode.UNKNOWN_NAME)
        try:
            chosen[name] = kinds[name](value)
        except ValueError as error:
            raise HandvizError(f"--weak {setting}: {value!r} is no number", ErrorCode.BAD_VALUE) from error
    return replace(default, **chosen)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses' terms."""

    vertices: float = 1.0
    keypoints: float = 1.0
    image: Annotated[float, Option("image-weight")] = 0.5
    """Of the 2D keypoints."""
    camera: Annotated[float, Option("camera-weight")] = 2.0
    """Of the squared errors of the camera's nine numbers."""
    kl: float = 0.1
    """Of KL(AMVUR || prior-net) in ``final``; at 1 every variance goes halfway to 1 cm² (docs/research/method.md)."""
    kl_vertices: float = 1.0
    """Of the vertices' divergence (eq. 3) within ``kl``."""
    kl_keypoints: float = 1.0
    """Of the 3D joints' divergence (eq. 5) within ``kl``."""
    kl_image: float = 0.0
    """Of the 2D joints' divergence (eq. 6) within ``kl``; the paper's is 1. Scale and translation cancel in it: it
    is that of the 3D joints seen from one side, which ``kl_keypoints`` holds already."""
    prior: float = 0.5
    """Squared error of the prior-net's own mesh in ``final``: ours; the paper has the divergence alone."""
    prior_log_variance: float = 0.0
    """ln cm² of the prior in the divergence; the paper's 1 cm²."""
    crop: float = 1.5
    """Distance of vertices in the crop, depth included: ours. It leaves out the absolute size, which one image does not
    determine and which makes most of the canonical error."""
    joints: Annotated[float, Option("joints-weight")] = 1.0
    """Distance of the joints that the "joints" features predict in the crop: ours."""
    vertex_correlation: float = 0.95
    """Assumed between errors of the vertices that a keypoint is computed from (0: independent, as in the paper)."""
    likelihood: Annotated[str, Option(choices=LIKELIHOODS)] = "gaussian"
    """Of AMVUR: "l2" trains the mean alone, by squared errors (supplement, Table 3)."""
    likelihood_from: float = 0.0
    """Fraction of the steps in which squared errors train AMVUR's means, the likelihood their variances alone: ours."""
    beta: float = 0.0
    """Exponent of the beta-likelihood (Seitzer et al. 2022), from 0, the paper's likelihood, to 1: ours."""
    rotation: Annotated[float, Option("rotation-weight")] = 0.0
    """Of the distance by which the camera's rotation displaces the true palm, cm: ours."""
    edges: Annotated[float, Option("edges-weight")] = 0.0
    """Of the difference of the mesh's edge lengths from the true ones, cm: ours. The mean of a mesh over poses that the
    image does not tell apart is thinner and shorter than any of them; lengths do not depend on where a finger is."""
    presence: Annotated[float, Option("presence-weight")] = 0.5
    """Of the cross-entropy of the hand's probability, in models that predict it: ours."""
    covariance: Annotated[float, Option("covariance-weight")] = 1.0
    """Of the likelihood that trains the covariance of the joints' errors, in models that predict it: ours."""
    reduction: str = "mean"
    """Of a term over the coordinates of a crop: "mean", or the paper's "sum", in which 2,334 of vertices stand against
    42 of 2D joints. Our own terms ``crop`` and ``joints`` are means either way."""
    camera_variance: bool = True
    """Whether the camera's own variance counts in the 2D likelihood: ours; the paper's camera is known there."""
    camera_likelihood: float = 0.05
    """Of the likelihood that fits the camera's variance, within ``camera``: ours; 0 is the paper's eq. 4."""
    samples: int = 0
    """Draws of the vertices per crop on which the supervised terms of vertices and joints are computed ("sampling from
    the distribution during training", supplement); 0: none, those of the Gaussian itself."""
    sample_loss: str = "likelihood"
    """Of the draws: "likelihood", a draw in the mean's place; "distance", absolute errors of drawn vertices and squared
    errors of drawn joints in place of the likelihood."""
    weak: Annotated[WeakWeights, Option(metavar="NAME=VALUE ...", read=weights_from, words="*")] = field(
        default_factory=WeakWeights
    )
    """Weights of training on 2D joints alone, as camera=0 draws=1 (models/amvur/weak_losses.py); image, joints,
    vertex_correlation, prior_log_variance, likelihood, reduction and camera_variance hold there too."""

    def __post_init__(self) -> None:
        self._check_names()
        if self.samples < 0:
            raise HandvizError("loss samples must be 0 or more", ErrorCode.BAD_VALUE)
        if self.samples and self.likelihood == "l2":
            raise HandvizError(
                'loss samples draw from a Gaussian, which likelihood "l2" does not have: leave one of them out',
                ErrorCode.OPTION_CONFLICT,
            )
        for name in ("likelihood_from", "beta"):
            if not 0 <= getattr(self, name) <= 1:
                raise HandvizError(f"loss {name} is {getattr(self, name)}, it must lie in [0, 1]", ErrorCode.BAD_VALUE)
        for name in ("rotation", "edges", "presence", "covariance"):
            if not 0 <= getattr(self, name) < math.inf:
                raise HandvizError(
                    f"loss {name} is {getattr(self, name)}, it must be a number from 0 on", ErrorCode.BAD_VALUE
                )

    def fit_at(self, progress: float) -> Fit:
        """Return how Gaussians are fitted after this fraction, 0 to 1, of a training's steps."""
        return Fit(progress < self.likelihood_from, self.beta, self.reduction)

    def _check_names(self) -> None:
        for name, allowed in (
            ("likelihood", LIKELIHOODS),
            ("reduction", REDUCTIONS),
            ("sample_loss", SAMPLE_LOSSES),
        ):
            if (value := getattr(self, name)) not in allowed:
                raise HandvizError(f"loss {name} is {value!r}; there are {', '.join(allowed)}", ErrorCode.UNKNOWN_NAME)
