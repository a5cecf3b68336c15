"""Train forms of AMVUR's decoder on the true pose and shape as feature, and print how fast each learns the mesh.

No image, no camera: what a form cannot learn of a perfect feature it cannot learn of a crop either. Every form sees the
same hands in the same order.
"""

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import tools
from handviz.core import metrics
from handviz.core.arguments import Count, Option, Seed, between, some_words
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.gaussian import Gaussian, keypoints_from_vertices
from handviz.core.output import print_text
from handviz.core.units import CENTIMETRES_PER_METRE
from handviz.hand_models.anatomy import joint_axes, pose_from_angles, sample_angles
from handviz.hand_models.layer import HandLayer
from handviz.hand_models.open_hand import load_open_hand
from handviz.hand_models.template import POSE_SIZE, SHAPE_SIZE, HandTemplate
from handviz.models.amvur.loss_config import LossConfig
from handviz.models.amvur.loss_parts import Fit, fixed_mean
from handviz.models.amvur.network import Amvur, AmvurOutput, DenseVertices, PriorNet, TokenSettings
from handviz.training.trainer import learning_rate_factor

FEATURE = POSE_SIZE + SHAPE_SIZE
TIPS = (4, 8, 12, 16, 20)
WIDTH, REGRESSOR_WIDTH, HEADS = 256, 512, 4
"""As shipped."""
LOSSES = MappingProxyType(
    {
        "l2": LossConfig(likelihood="l2"),
        "nll": LossConfig(),
        "squares_first": LossConfig(likelihood_from=0.7),
        "beta": LossConfig(beta=0.5),
    }
)


def _amvur(**options: object) -> Callable[[HandTemplate], nn.Module]:
    settings = TokenSettings(WIDTH, HEADS, coarse=True, **options)  # type: ignore[arg-type]
    return lambda template: Amvur(FEATURE, template, settings)


NETS: MappingProxyType[str, Callable[[HandTemplate], nn.Module]] = MappingProxyType(
    {
        "prior": lambda template: PriorNet(FEATURE, REGRESSOR_WIDTH, template),
        "dense": lambda template: DenseVertices(FEATURE, template, width=WIDTH),
        "plain": _amvur(),
        "index": _amvur(by_index=True),
        "embedding": _amvur(embedding=True),
        "feed_forward": _amvur(feed_forward=True),
        "embedding+feed_forward": _amvur(embedding=True, feed_forward=True),
        "embedding+2_blocks": _amvur(embedding=True, blocks=2),
        "embedding+2_blocks+feed_forward": _amvur(embedding=True, blocks=2, feed_forward=True),
    }
)
DEFAULT_FORMS = (
    *("prior:l2", "dense:l2", "plain:l2", "embedding:l2", "embedding+feed_forward:l2", "embedding+2_blocks:l2"),
    *("plain:nll", "embedding+feed_forward:nll", "embedding+feed_forward:squares_first", "embedding+feed_forward:beta"),
)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Forms and length of the trainings."""

    forms: Annotated[tuple[str, ...], Option(metavar="NET:LOSS ...", read=some_words, words="*")] = DEFAULT_FORMS
    """Nets (prior, dense, plain, index, embedding, feed_forward, and sums as embedding+2_blocks) and losses (l2, nll,
    squares_first, beta)."""
    steps: Count = 200
    """Steps of every training."""
    batch: Count = 64
    """Hands in a step."""
    rate: Annotated[float, between(0, 1)] = 1e-3
    """Learning rate of AdamW, after a warm-up; half a cosine to zero."""
    tests: Count = 600
    """Hands to test on."""
    seed: Seed = 0


@dataclass(frozen=True, eq=False)
class Hands:
    """True hands and the feature of each."""

    feature: Tensor
    """(N, 55) pose and shape"""
    vertices_cm: Tensor
    """(N, V, 3)"""


@torch.no_grad()
def drawn_hands(template: HandTemplate, count: int, seed: int) -> Hands:
    """Return hands of anatomical poses and normal shapes."""
    generator = np.random.default_rng(seed)
    keypoints = template.keypoint_regressor @ template.vertices_m
    axes = joint_axes(template.joint_regressor @ template.vertices_m, keypoints[list(TIPS)])
    pose = torch.from_numpy(pose_from_angles(sample_angles(generator, count), axes)).float().reshape(count, POSE_SIZE)
    shape = torch.from_numpy(generator.normal(size=(count, SHAPE_SIZE))).float()
    layer = HandLayer(template)
    parts = zip(pose.split(512), shape.split(512), strict=True)
    vertices = torch.cat([layer(*part).vertices_m * CENTIMETRES_PER_METRE for part in parts])
    return Hands(torch.cat([pose, shape], dim=1), vertices)


def loss_of(output: AmvurOutput, true_cm: Tensor, regressor: Tensor, config: LossConfig, progress: float) -> Tensor:
    """Return the loss of vertices and keypoints at a fraction of the steps."""
    if config.likelihood == "l2":
        errors = output.mean_cm - true_cm
        return errors.square().mean() + (regressor @ errors).square().mean()
    fit: Fit = config.fit_at(progress)
    vertices = Gaussian(output.mean_cm, output.log_variance)
    keypoints = keypoints_from_vertices(*vertices, regressor, config.vertex_correlation)
    return fit.term(true_cm, vertices, fixed_mean(vertices)) + fit.term(
        regressor @ true_cm, keypoints, fixed_mean(keypoints)
    )


def answer(net: nn.Module, feature: Tensor) -> AmvurOutput:
    """Return a net's mesh; a prior-net has no variances."""
    output = net(feature)
    if isinstance(output, AmvurOutput):
        return output
    return AmvurOutput(output.vertices_cm, torch.zeros_like(output.vertices_cm))


class Schedule(NamedTuple):
    """Length and learning rate of a training: a linear warm-up, then half a cosine to zero."""

    steps: int
    rate: float
    warm_up_steps: int


def minimise(net: nn.Module, losses: Iterable[Tensor], schedule: Schedule) -> None:
    """Train a network by AdamW on the losses of its steps, each of which is computed when it is asked for."""
    optimiser = torch.optim.AdamW(net.parameters(), lr=schedule.rate, weight_decay=0.01)
    for step, loss in enumerate(losses):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate * learning_rate_factor(step, schedule.steps, schedule.warm_up_steps)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 2.0)
        optimiser.step()


def trained(name: str, config: LossConfig, hands: Hands, template: HandTemplate, arguments: Arguments) -> nn.Module:
    """Return a net of that name, trained from random weights."""
    torch.manual_seed(arguments.seed)
    net = NETS[name](template).train()
    regressor, steps = torch.tensor(template.keypoint_regressor, dtype=torch.float32), arguments.steps
    losses = (
        loss_of(answer(net, hands.feature[ids]), hands.vertices_cm[ids], regressor, config, step / steps)
        for step, ids in enumerate(torch.arange(len(hands.feature)).split(arguments.batch))
    )
    minimise(net, losses, Schedule(steps, arguments.rate, max(1, steps // 10)))
    return net.eval()


@torch.no_grad()
def errors_mm(net: nn.Module, hands: Hands, template: HandTemplate) -> tuple[float, float]:
    """Return the mean errors of vertices and keypoints after the best rotation, translation and scale."""
    mine = torch.cat([answer(net, part).mean_cm for part in hands.feature.split(64)]).numpy().astype(np.float64)
    true = hands.vertices_cm.numpy().astype(np.float64)
    vertices = metrics.mpjpe_mm(metrics.procrustes_aligned(mine, true), true)
    keypoints = metrics.pa_mpjpe_mm(*(template.keypoint_regressor @ points for points in (mine, true)))
    # The measures take metres.
    return tuple(float(np.mean(values)) / CENTIMETRES_PER_METRE for values in (vertices, keypoints))  # type: ignore[return-value]


def _parsed(form: str) -> tuple[str, str]:
    net, _, loss = form.partition(":")
    if net not in NETS or loss not in LOSSES:
        raise HandvizError(
            f"{form!r} is no form: give NET:LOSS of {', '.join(NETS)} and {', '.join(LOSSES)}", ErrorCode.UNKNOWN_NAME
        )
    return net, loss


def run(arguments: Arguments) -> int:
    """Print a table, a row a form."""
    forms, template = [_parsed(form) for form in arguments.forms], load_open_hand()
    hands = drawn_hands(template, arguments.steps * arguments.batch, arguments.seed)
    tests = drawn_hands(template, arguments.tests, arguments.seed + 1_000_003)
    print_text(
        f"{arguments.steps} steps of {arguments.batch} hands, rate {arguments.rate:g}, {arguments.tests} test hands, "
        f"seed {arguments.seed}\n\n| net | loss | PA vertices, mm | PA joints, mm | s |\n|---|---|---|---|---|\n"
    )
    for net, loss in forms:
        start = time.perf_counter()
        found = errors_mm(trained(net, LOSSES[loss], hands, template, arguments), tests, template)
        print_text(f"| {net} | {loss} | {found[0]:.2f} | {found[1]:.2f} | {time.perf_counter() - start:.0f} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(tools.run("decoder_oracle"))
