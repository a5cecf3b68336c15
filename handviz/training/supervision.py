"""What a run learns from: all of the truth, or 2D joints alone with what is known beside them."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from handviz.models.amvur.losses import LossConfig, Truth
from handviz.models.amvur.model import ModelOutput
from handviz.models.amvur.weak_losses import PosePrior, WeakPriors, weak_terms
from handviz.training.camera_prior import CameraPrior
from handviz.training.samples import Given


@dataclass(frozen=True)
class Seen:
    """Which crops a process's part of a batch is made of, what the network was given of them, and when."""

    ids: Tensor
    given: Given
    seed: int
    """Of the samples that are drawn: another one in every step and process"""


@dataclass(frozen=True, eq=False)
class WeakSupervision:
    """2D joints, a camera prior if there is one, and likely poses."""

    camera: CameraPrior | None
    pose: PosePrior

    def terms(
        self, output: ModelOutput, truth: Truth, regressor: Tensor, config: LossConfig, seen: Seen
    ) -> dict[str, Tensor]:
        """``weak_terms`` of a batch; of its truth nothing but ``keypoints_crop`` is handed on."""
        camera = None if self.camera is None else self.camera.of(seen.ids, seen.given)
        generator = torch.Generator(regressor.device).manual_seed(seen.seed)
        return weak_terms(output, only_keypoints(truth), regressor, config, generator, WeakPriors(camera, self.pose))


def only_keypoints(truth: Truth) -> Truth:
    """The same with nan for everything that weak training must not know."""
    hidden = ("vertices_cm", "rotation", "scale_per_cm", "translation")
    return replace(truth, **{name: torch.full_like(getattr(truth, name), torch.nan) for name in hidden})
