"""Which loss every variant is trained by, as numbers: prior-net by squares, AMVUR by its likelihood or by squares.

One vertex mesh of two points, every number of which is chosen, goes through the step that training takes. Expected
values are computed by hand beside each.
"""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from handviz.core.gaussian import Gaussian
from handviz.models.amvur.losses import LossConfig, WeakWeights
from handviz.models.amvur.model import ModelConfig, ModelOutput, Variant
from handviz.models.amvur.network import CameraOutput, PriorOutput
from handviz.models.amvur.training import AmvurTask
from handviz.models.amvur.training_config import Supervision, TrainConfig
from handviz.models.truth import Truth
from handviz.training.distributed import ALONE

LN_2, LN_2_PI = math.log(2.0), math.log(2 * math.pi)
REGRESSOR = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
"""One keypoint in the middle of the two vertices: of their variance v it has v / 2."""
WEIGHTS = LossConfig(
    vertices=2.0, keypoints=3.0, image=5.0, camera=7.0, kl=11.0, prior=13.0, crop=0.0, joints=0.0,
    vertex_correlation=0.0, prior_log_variance=0.0,
    weak=WeakWeights(camera=17.0, keypoints=19.0, vertices=23.0, prior=29.0, pose=0.0, shape=0.0, draws=3,
                     label_std=0.1, variance="labels"),
)  # fmt: skip
WEIGHT_OF = {
    "full": {"vertices": 2, "keypoints": 3, "image": 5, "camera": 7, "kl": 11, "prior": 13, "deviation": 1},
    "weak": {"image": 5, "camera": 17, "keypoints": 19, "vertices": 23, "prior": 29 * 5, "deviation": 1},
}


def all_of(value: float, *shape: int) -> Tensor:
    return torch.full(shape, value, dtype=torch.float64)


def camera(translation: float, log_variance: float) -> CameraOutput:
    """Return a camera that looks straight on, a tenth of a half-side to the centimetre."""
    mean = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, translation, translation]], dtype=torch.float64)
    rotation = torch.eye(3, dtype=torch.float64)[None]
    return CameraOutput(mean, all_of(log_variance, 1, 9), rotation, all_of(0.1, 1), mean[:, 7:])


def output_of(variant: Variant, log_variance: float, camera_log_variance: float) -> ModelOutput:
    """Return a mesh that is 1 cm off along each axis, a prior-net's that is 3 cm off, a camera that is 0.3 off."""
    of_prior_net = 1.0 if variant == "prior" else 3.0
    vertices = all_of(of_prior_net, 1, 2, 3)
    prior = None if variant == "amvur" else PriorOutput(all_of(0.0, 1, 45), all_of(0.0, 1, 10), vertices)
    mean = vertices if variant == "prior" else all_of(1.0, 1, 2, 3)
    return ModelOutput(mean, all_of(log_variance, 1, 2, 3), camera(0.3, camera_log_variance), prior)


class Step(AmvurTask):
    """A task without network and samples: the loss of one batch of a chosen output."""

    def __init__(self, config: TrainConfig, output: ModelOutput) -> None:
        true = camera(0.0, 0.0)
        self.config, self.processes, self.regressor, self.pose_prior = config, ALONE, REGRESSOR, None  # type: ignore[assignment]
        self.truth = Truth(all_of(0.0, 1, 2, 3), all_of(0.0, 1, 1, 2), true.rotation, true.scale, true.translation)
        self.parallel: Any = lambda inputs: output
        prior = Gaussian(output.camera.mean + 2.0, all_of(0.0, 1, 9))
        self.camera_prior: Any = SimpleNamespace(of=lambda ids, inputs: prior)

    def _batch(self, ids: Tensor, step: int) -> Any:
        return None, self.truth


def terms_of(variant: Variant, supervision: Supervision, likelihood: str, output: ModelOutput) -> dict[str, float]:
    """Return every term as training adds them up."""
    config = TrainConfig(
        ("data",),
        "run",  # type: ignore[arg-type]
        model=ModelConfig(variant=variant, backbone="resnet50", features="global"),
        loss=replace(WEIGHTS, likelihood=likelihood),
        supervision=supervision,
    )
    return {name: float(term) for name, term in Step(config, output).loss_terms(torch.arange(1), 0).items()}


# Supervised. AMVUR's variance is 4 cm², the camera's 1.
CAMERA = 2 * 0.3**2 / 9 + 0.05 * 0.5 * (2 * 0.3**2 / 9 + LN_2_PI)
SQUARES = {
    "vertices": 1.0,  # cm²
    "keypoints": 1.0,
    "image": 20 * 0.4**2,  # 0.1 half-sides of 1 cm and the camera's 0.3
    "camera": CAMERA,
}
NLL_OF_VERTICES = 0.5 * (1 / 4 + 2 * LN_2 + LN_2_PI)
LIKELIHOOD = {
    "vertices": NLL_OF_VERTICES,
    "keypoints": 0.5 * (1 / 2 + LN_2 + LN_2_PI),
    # 0.1² x 2 of the keypoint, 1 of the camera's place, 0.1² x 1 of its scale.
    "image": 0.5 * (0.4**2 / 1.03 + math.log(1.03) + LN_2_PI),
    "camera": CAMERA,
}
# Vertices of variance 4 against 1, keypoints of 2 against 1/2, both 2 cm apart.
DIVERGENCE = 0.5 * (4 - 1 - 2 * LN_2 + 2**2 / 1) + 0.5 * (4 - 1 - 2 * LN_2 + 2**2 / 0.5)
OF_PRIOR_NET = {"prior": 3.0**2 + 3.0**2}
SUPERVISED = {
    ("prior", "gaussian"): SQUARES | {"deviation": NLL_OF_VERTICES},
    ("prior", "l2"): SQUARES | {"deviation": NLL_OF_VERTICES},
    ("amvur", "gaussian"): LIKELIHOOD,
    ("amvur", "l2"): SQUARES,
    ("final", "gaussian"): LIKELIHOOD | {"kl": DIVERGENCE} | OF_PRIOR_NET,
    ("final", "l2"): SQUARES | {"kl": 2.0**2 + 2.0**2} | OF_PRIOR_NET,
}


@pytest.mark.parametrize(("variant", "likelihood"), sorted(SUPERVISED))
def test_a_supervised_variant_has_its_own_loss(variant: Variant, likelihood: str) -> None:
    weights = WEIGHT_OF["full"]
    expected = {name: weights[name] * value for name, value in SUPERVISED[variant, likelihood].items()}
    found = terms_of(variant, "full", likelihood, output_of(variant, 2 * LN_2, 0.0))
    assert found == pytest.approx(expected, rel=1e-9)


# Weak. AMVUR and camera are all but certain, so that a sample is the mean; labels have a deviation of 0.1.
CERTAIN = -60.0
LABEL_NLL = 0.5 * (0.4**2 / 0.01 + math.log(0.01) + LN_2_PI)
WEAK_CAMERA = {"camera": 0.5 * (-1 - CERTAIN + 2**2)}
WEAK_OF_PRIOR_NET = {"prior": 20 * (0.3 + 0.3) ** 2}
WEAK_SQUARES = {"image": 20 * 0.4**2}
WEAK = {
    ("prior", "gaussian"): WEAK_SQUARES | {"deviation": LABEL_NLL},
    ("prior", "l2"): WEAK_SQUARES | {"deviation": LABEL_NLL},
    ("amvur", "gaussian"): {"image": LABEL_NLL},
    ("amvur", "l2"): WEAK_SQUARES,
    ("final", "gaussian"): {
        "image": LABEL_NLL,
        "vertices": 0.5 * (-1 - CERTAIN + 2**2 / 1),
        "keypoints": 0.5 * (-1 - CERTAIN + 2**2 / 0.5),
    } | WEAK_OF_PRIOR_NET,
    # Of two equal variances the divergence is half the squared distance, in variances.
    ("final", "l2"): WEAK_SQUARES | {"vertices": 2**2 / 2, "keypoints": 2**2 / 0.5 / 2} | WEAK_OF_PRIOR_NET,
}  # fmt: skip


@pytest.mark.parametrize(("variant", "likelihood"), sorted(WEAK))
def test_a_weakly_trained_variant_has_its_own_loss(variant: Variant, likelihood: str) -> None:
    weights = WEIGHT_OF["weak"]
    expected = {name: weights[name] * value for name, value in (WEAK[variant, likelihood] | WEAK_CAMERA).items()}
    found = terms_of(variant, "weak", likelihood, output_of(variant, CERTAIN, CERTAIN))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_losses_of_no_two_variants_are_the_same() -> None:
    """Else the table above would not notice that two were swapped."""
    for table in (SUPERVISED, WEAK):
        kinds = {key: tuple(sorted(terms.items())) for key, terms in table.items()}
        of_prior = {kinds.pop(("prior", "l2")), kinds["prior", "gaussian"]}
        assert len(of_prior) == 1, "its one deviation is fitted under either likelihood"
        assert len(set(kinds.values())) == len(kinds)
