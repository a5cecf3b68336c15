"""Which loss every variant is trained by, as numbers: prior-net by squares, AMVUR by its likelihood or by squares.

A mesh of two vertices, each number of which is chosen, goes through the step that training takes. What is expected is
written out for one coordinate, and for how many coordinates it counts.
"""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from handviz.core.gaussian import Gaussian
from handviz.models.amvur.loss_config import LossConfig, WeakWeights
from handviz.models.amvur.model import ModelConfig, ModelOutput, Variant
from handviz.models.amvur.network import CameraOutput, PriorOutput
from handviz.models.amvur.training import AmvurTask
from handviz.models.amvur.training_config import Supervision, TrainConfig
from handviz.models.truth import Truth
from handviz.training.distributed import ALONE

LN_2, LN_2_PI = math.log(2.0), math.log(2 * math.pi)
REGRESSOR = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
"""One keypoint in the middle of the two vertices: of their variance v it has v / 2."""
OURS = LossConfig(
    vertices=2.0, keypoints=3.0, image=5.0, camera=7.0, kl=11.0, prior=13.0, crop=0.0, joints=0.0,
    kl_vertices=1.0, kl_keypoints=0.5, kl_image=0.25, vertex_correlation=0.0, prior_log_variance=0.0,
    reduction="mean", camera_variance=True, camera_likelihood=0.05,
    weak=WeakWeights(camera=17.0, keypoints=19.0, vertices=23.0, prior=29.0, pose=0.0, shape=0.0, draws=3,
                     label_std=0.1, variance="labels"),
)  # fmt: skip
PRINTED = replace(OURS, reduction="sum", camera_variance=False, camera_likelihood=0.0)
"""Sums over coordinates, and a camera of which the mean alone counts."""
CONFIGS = {"ours": OURS, "printed": PRINTED}
WEIGHT_OF = {
    "full": {"vertices": 2, "keypoints": 3, "image": 5, "camera": 7, "kl": 11, "prior": 13, "deviation": 1},
    "weak": {"image": 5, "camera": 17, "keypoints": 19, "vertices": 23, "prior": 29 * 5, "deviation": 1},
}
VERTICES, KEYPOINTS, IMAGE, CAMERA = 2 * 3, 3, 2, 9
"""Coordinates of a crop"""
Parts = dict[str, list[tuple[float, int]]]
"""By term: values of one coordinate, each with the number of coordinates that have it"""


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
        self.total_steps, self.edges = 1, torch.tensor([[0, 1]])
        self.truth = Truth(all_of(0.0, 1, 2, 3), all_of(0.0, 1, 1, 2), true.rotation, true.scale, true.translation)
        self.parallel: Any = lambda inputs: output
        prior = Gaussian(output.camera.mean + 2.0, all_of(0.0, 1, 9))
        self.camera_prior: Any = SimpleNamespace(of=lambda ids, inputs: prior)

    def _batch(self, ids: Tensor, step: int) -> Any:
        return None, self.truth


def terms_of(variant: Variant, supervision: Supervision, loss: LossConfig, output: ModelOutput) -> dict[str, float]:
    """Return every term as training adds them up."""
    model = ModelConfig(variant=variant, backbone="resnet50", features="global")
    config = TrainConfig(("data",), Path("run"), model=model, loss=loss, supervision=supervision)
    return {name: float(term) for name, term in Step(config, output).loss_terms(torch.arange(1), 0).items()}


def weighted(parts: Parts, weights: dict[str, int], loss: LossConfig) -> dict[str, float]:
    """Return every term as a weighted mean or sum."""
    whole = loss.reduction == "sum"
    return {
        name: weights[name] * sum(value * (count if whole else 1) for value, count in values)
        for name, values in parts.items()
    }


def nll(error: float, variance: float) -> float:
    return 0.5 * (error**2 / variance + math.log(variance) + LN_2_PI)


def divergence(distance: float, variance: float, of_prior: float) -> float:
    ratio = variance / of_prior
    return 0.5 * (ratio - 1 - math.log(ratio) + distance**2 / of_prior)


# Supervised. AMVUR's variance is 4 cm²: 2 of a keypoint, 0.1² x 2 of its place in the crop; the prior-net's 1 cm², 0.5,
# 0.005. The two are 2 cm apart. The camera's variances are 1: of its place 1, of its scale 0.1² x 1.
CAMERA_SQUARES = 2 * 0.3**2 / 9
OF_CAMERA = {"ours": CAMERA_SQUARES + 0.05 * 0.5 * (CAMERA_SQUARES + LN_2_PI), "printed": CAMERA_SQUARES}
VARIANCE_OF_IMAGE = {"ours": 0.02 + 1 + 0.01, "printed": 0.02}


def supervised(style: str) -> dict[tuple[str, str], Parts]:
    """Return the terms of every variant under either likelihood: errors of 1 cm, in the crop of 0.1 and 0.3."""
    camera_term: Parts = {"camera": [(OF_CAMERA[style], CAMERA)]}
    squares: Parts = camera_term | {
        "vertices": [(1.0, VERTICES)],
        "keypoints": [(1.0, KEYPOINTS)],
        "image": [(20 * 0.4**2, IMAGE)],
    }
    likelihood: Parts = camera_term | {
        "vertices": [(nll(1, 4), VERTICES)],
        "keypoints": [(nll(1, 2), KEYPOINTS)],
        "image": [(nll(0.4, VARIANCE_OF_IMAGE[style]), IMAGE)],
    }
    apart: Parts = {
        "kl": [
            (divergence(2, 4, 1), VERTICES),
            (0.5 * divergence(2, 2, 0.5), KEYPOINTS),
            (0.25 * divergence(0.2, 0.02, 0.005), IMAGE),
        ]
    }
    distances: Parts = {"kl": [(2.0**2, VERTICES), (0.5 * 2.0**2, KEYPOINTS), (0.25 * 20 * 0.2**2, IMAGE)]}
    of_prior_net: Parts = {"prior": [(3.0**2, VERTICES), (3.0**2, KEYPOINTS)]}
    alone: Parts = squares | {"deviation": [(nll(1, 4), VERTICES)]}
    return {
        ("prior", "gaussian"): alone,
        ("prior", "l2"): alone,
        ("amvur", "gaussian"): likelihood,
        ("amvur", "l2"): squares,
        ("final", "gaussian"): likelihood | apart | of_prior_net,
        ("final", "l2"): squares | distances | of_prior_net,
    }


# Weak. AMVUR and camera are all but certain, so that a sample is the mean; labels have a standard deviation of 0.1,
# the camera's prior is 2 away in every number.
CERTAIN = -60.0


def weak() -> dict[tuple[str, str], Parts]:
    """Return the terms of every variant under either likelihood."""
    nothing = math.exp(CERTAIN)
    of_camera: Parts = {"camera": [(divergence(2, nothing, 1), CAMERA)]}
    squares: Parts = of_camera | {"image": [(20 * 0.4**2, IMAGE)]}
    likelihood: Parts = of_camera | {"image": [(nll(0.4, 0.01), IMAGE)]}
    alone: Parts = squares | {"deviation": likelihood["image"]}
    apart: Parts = {
        "vertices": [(divergence(2, nothing, 1), VERTICES)],
        "keypoints": [(divergence(2, nothing / 2, 0.5), KEYPOINTS)],
    }
    # Of two equal variances the divergence is half the squared distance, in variances.
    distances: Parts = {"vertices": [(2**2 / 2, VERTICES)], "keypoints": [(2**2 / 0.5 / 2, KEYPOINTS)]}
    of_prior_net: Parts = {"prior": [(20 * (0.3 + 0.3) ** 2, IMAGE)]}
    return {
        ("prior", "gaussian"): alone,
        ("prior", "l2"): alone,
        ("amvur", "gaussian"): likelihood,
        ("amvur", "l2"): squares,
        ("final", "gaussian"): likelihood | apart | of_prior_net,
        ("final", "l2"): squares | distances | of_prior_net,
    }


@pytest.mark.parametrize("style", CONFIGS)
@pytest.mark.parametrize(("variant", "likelihood"), sorted(supervised("ours")))
def test_a_supervised_variant_has_its_own_loss(variant: Variant, likelihood: str, style: str) -> None:
    loss = replace(CONFIGS[style], likelihood=likelihood)
    expected = weighted(supervised(style)[variant, likelihood], WEIGHT_OF["full"], loss)
    found = terms_of(variant, "full", loss, output_of(variant, 2 * LN_2, 0.0))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("style", CONFIGS)
@pytest.mark.parametrize(("variant", "likelihood"), sorted(weak()))
def test_a_weakly_trained_variant_has_its_own_loss(variant: Variant, likelihood: str, style: str) -> None:
    loss = replace(CONFIGS[style], likelihood=likelihood)
    expected = weighted(weak()[variant, likelihood], WEIGHT_OF["weak"], loss)
    found = terms_of(variant, "weak", loss, output_of(variant, CERTAIN, CERTAIN))
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_losses_of_no_two_variants_are_the_same() -> None:
    """Else the table above would not notice that two were swapped."""
    for table in (supervised("ours"), supervised("printed"), weak()):
        kinds = {key: str(sorted(parts.items())) for key, parts in table.items()}
        of_prior = {kinds.pop(("prior", "l2")), kinds["prior", "gaussian"]}
        assert len(of_prior) == 1, "its one standard deviation is fitted under either likelihood"
        assert len(set(kinds.values())) == len(kinds)
