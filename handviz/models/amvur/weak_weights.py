"""What the weakly supervised loss weighs: Table 4 of the paper is four of these."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from handviz.core.errors import HandvizError

VARIANCES = ("projected", "labels")


@dataclass(frozen=True)
class WeakWeights:
    """Weights of the terms of eq. 8 beside that of the 2D joints (``LossConfig.image``), and what it leaves open.

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
    """Mean square of the pose's principal components, in standard deviations: ours, fingers bend both ways else."""
    shape: float = 0.01
    """Mean square of the shape, in standard deviations: ours, 2D joints do not tell a size."""
    draws: int = 4
    """Samples of joints and camera for the expected likelihood; the paper draws one."""
    label_std: float = 0.0
    """Deviation of the 2D labels, crop half-sides: 0 for annotated joints, more for a detector's."""
    variance: str = "projected"
    """Of the likelihood: "projected" as in eq. 6, AMVUR's own beside the labels'; "labels" the labels' alone."""
    camera_std: float = 0.0
    """Deviation of all nine numbers of the camera prior; 0: what its own net says of each, 1: as printed."""

    def __post_init__(self) -> None:
        numbers = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "variance"}
        for name, value in numbers.items():
            if not 0 <= value < math.inf:
                raise HandvizError(f"weak supervision: {name} is {value}, it must be a number from 0 on")
        if self.draws < 1:
            raise HandvizError("weak supervision: draws must be at least 1")
        if self.variance not in VARIANCES:
            raise HandvizError(f"weak supervision: variance is {self.variance!r}; there are {', '.join(VARIANCES)}")
        if self.variance == "labels" and not self.label_std:
            raise HandvizError('weak supervision: variance "labels" needs a label_std above 0')


def weights_from(settings: Sequence[str]) -> WeakWeights:
    """The default with some NAME=VALUE changed; HandvizError for a name or a value that there is not."""
    default = WeakWeights()
    kinds = {item.name: type(getattr(default, item.name)) for item in fields(default)}
    chosen: dict[str, float | int | str] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds:
            raise HandvizError(f"--weak has no {name!r}; there are {', '.join(kinds)}")
        try:
            chosen[name] = kinds[name](value)
        except ValueError as error:
            raise HandvizError(f"--weak {setting}: {value!r} is no number") from error
    return replace(default, **chosen)  # type: ignore[arg-type]
