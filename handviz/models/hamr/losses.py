"""The losses of HAMR, each with its weight.

Paper: Zhang et al., ICCV 2019, section 3.3: L = l_3D L_3D + l_2D L_2D + l_geo L_geo + l_cam L_cam + l_ht L_ht +
l_seg L_seg. It leaves all weights open, and what the geometry loss is: those are our readings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.models.hamr.heatmaps import gaussian_heatmaps
from handviz.models.hamr.model import ModelOutput
from handviz.models.hamr.regressor import HandParameters
from handviz.models.hamr.silhouette import soft_silhouette, true_silhouette
from handviz.models.truth import Truth, in_crop, mean_of, true_joints

FINGERS = ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
"""The keypoints of each finger, base to tip."""
SUPERVISED = ("all", "last")
DISTANCES = ("robust", "squared")
SMALL_CM, SMALL_IN_CROP = 0.1, 0.01
"""Distances below which a robust one is about squared, in cm and half-sides."""
SHORTEST_BONE_CM2 = 1e-4


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, and which steps they are of."""

    heatmaps: Annotated[float, Option("heatmaps-weight")] = 300.0
    """Of the mean squared error of a pixel, summed over the stages; the authors' configuration has 1000 beside other
    units of the rest."""
    joints_3d: Annotated[float, Option("joints-3d-weight")] = 1.0
    """Of the mean error of a keypoint in the crop's axes, cm."""
    joints_2d: Annotated[float, Option("joints-2d-weight")] = 20.0
    """Of the mean error of a keypoint in the crop, half-sides; squared ones are smaller."""
    camera: Annotated[float, Option("camera-weight")] = 5.0
    """Of the squared errors of ln of the scale and of the wrist's place in the crop."""
    geometry: Annotated[float, Option("geometry-weight")] = 0.05
    """Of fingers that do not lie in a plane or bend both ways."""
    silhouette: Annotated[float, Option("silhouette-weight")] = 0.0
    """Of the mean absolute difference of the silhouettes; slow, so that it is for a last stage of the training."""
    silhouette_crops: int = 16
    """Crops of a batch whose silhouettes are compared."""
    vertices: Annotated[float, Option("vertices-weight")] = 1.0
    """Of the mean error of a vertex, canonical, cm: ours; the paper has datasets without meshes."""
    rotation: Annotated[float, Option("rotation-weight")] = 1.0
    """Of the squared error of the rotation's nine numbers: ours, for hands whose joints lie along an axis."""
    prior: Annotated[float, Option("prior-weight")] = 1e-3
    """Of the mean squares of pose coefficients and shape: without it others found no reasonable shapes."""
    presence: Annotated[float, Option("presence-weight")] = 0.1
    """Of the cross-entropy of the probability that a crop shows a hand: ours."""
    distances: Annotated[str, Option(choices=DISTANCES)] = "robust"
    """What is averaged over keypoints and vertices: "squared" distances, the paper's, or "robust", ours: distances,
    which the few worst hands do not rule."""
    supervised_steps: Annotated[str, Option(choices=SUPERVISED)] = "all"
    """Steps that are supervised: "all", later ones more; "last", as in the authors' code."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name in ("supervised_steps", "distances"):
                continue
            if not 0 <= value < float("inf"):
                raise HandvizError(f"loss: {item.name} is {value}, it must be a number from 0 on", ErrorCode.BAD_VALUE)
        for name, known in (("supervised_steps", SUPERVISED), ("distances", DISTANCES)):
            if getattr(self, name) not in known:
                raise HandvizError(
                    f"loss: {name} is {getattr(self, name)!r}; there are {', '.join(known)}", ErrorCode.UNKNOWN_NAME
                )


def step_weights(iterations: int, steps: str) -> tuple[float, ...]:
    """Return the weight of every step after the start, 1 in all: each twice the one before, or the last alone."""
    if steps == "last":
        return (*(0.0,) * (iterations - 1), 1.0)
    total = 2**iterations - 1
    return tuple(2**number / total for number in range(iterations))


@dataclass(frozen=True, eq=False)
class Mesh:
    """What the losses need of the hand model."""

    regressor: Tensor
    """(21, V) keypoints from vertices"""
    faces: Tensor
    """(F, 3)"""


def loss_terms(output: ModelOutput, truth: Truth, mesh: Mesh, config: LossConfig) -> dict[str, Tensor]:
    """Return every weighted term of a batch; all but heatmaps and presence are of the crops that show a hand."""
    shows = truth.is_hand.to(output.hand_logit.dtype)
    terms = {"presence": config.presence * functional.binary_cross_entropy_with_logits(output.hand_logit, shows)}
    if output.heatmaps:
        terms["heatmaps"] = config.heatmaps * heatmap_error(output.heatmaps, truth)
    weights = step_weights(len(output.steps) - 1, config.supervised_steps)
    for step, weight in zip(output.steps[1:], weights, strict=True):
        if weight:
            for name, value in step_terms(step, truth, mesh, config).items():
                terms[name] = terms.get(name, torch.zeros(())) + weight * value
    if config.silhouette:
        terms["silhouette"] = config.silhouette * silhouette_error(
            output.hand, truth, mesh.faces, config.silhouette_crops
        )
    return terms


def step_terms(step: HandParameters, truth: Truth, mesh: Mesh, config: LossConfig) -> dict[str, Tensor]:
    """Return the weighted terms of the parameters after one step."""
    keypoints = mesh.regressor @ step.vertices_cm
    seen = in_crop(keypoints, step.rotation, step.scale_per_cm, step.translation)[..., :2]
    turned = keypoints @ step.rotation.transpose(1, 2)
    has_mesh = truth.is_hand & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    vertices_cm = torch.where(has_mesh[:, None, None], truth.vertices_cm, step.vertices_cm.detach())
    rotation = torch.where(has_mesh[:, None, None], truth.rotation, step.rotation.detach())
    joints = true_joints(truth, mesh.regressor)
    has_joints = truth.is_hand & torch.isfinite(joints).all(dim=(1, 2))
    joints = torch.where(has_joints[:, None, None], joints, turned.detach())
    # What crops without a hand hold may be anything: no gradient may come of it.
    scale = torch.where(truth.is_hand, truth.scale_per_cm * CENTIMETRES_PER_DECIMETRE, 1.0)
    translation = torch.where(truth.is_hand[:, None], truth.translation, step.translation.detach())
    points = torch.where(truth.is_hand[:, None, None], truth.keypoints_crop, seen.detach())
    camera = (step.log_scale - torch.log(scale)).square() + (step.translation - translation).square().sum(dim=1)
    values = {
        "joints_3d": mean_distance(turned - joints, config.distances, SMALL_CM),
        "joints_2d": mean_distance(seen - points, config.distances, SMALL_IN_CROP),
        "camera": camera,
        "vertices": mean_distance(step.vertices_cm - vertices_cm, config.distances, SMALL_CM),
        "rotation": (step.rotation - rotation).square().sum(dim=(1, 2)),
        "geometry": finger_geometry(keypoints),
        "prior": step.pose.square().mean(dim=1) + step.shape.square().mean(dim=1),
    }
    rows = {"joints_3d": has_joints, "vertices": has_mesh, "rotation": has_mesh}
    return {
        name: getattr(config, name) * mean_of(value, rows.get(name, truth.is_hand)) for name, value in values.items()
    }


def mean_distance(differences: Tensor, kind: str, small: float) -> Tensor:
    """Return the mean (B,) over points of squared lengths of differences (B, P, D), or of robust ones.

    Robust: sqrt(d² + small²) - small, which has a gradient at 0.
    """
    squares = differences.square().sum(dim=2)
    return (squares if kind == "squared" else torch.sqrt(squares + small**2) - small).mean(dim=1)


def heatmap_error(stages: Sequence[Tensor], truth: Truth) -> Tensor:
    """Return the mean squared error of a pixel, summed over stages (L_ht); crops without a hand want empty maps."""
    wanted = gaussian_heatmaps(truth.keypoints_crop, stages[0].shape[-1])
    wanted = torch.where(truth.is_hand[:, None, None, None], wanted, 0)
    return torch.stack([(stage - wanted).square().mean() for stage in stages]).sum()


def finger_geometry(keypoints: Tensor) -> Tensor:
    """Return how far fingers (B,) of keypoints (B, 21, 3) leave a plane or bend both ways (L_geo, our reading).

    Of a finger's joints a, b, c, d with unit bones u = ab, v = bc, w = cd: |(u x v) . w|, and -min(0, (u x v) . (v x
    w)); the mean over five fingers of their sum.
    """
    chains = keypoints[:, torch.tensor(FINGERS)]
    bones = chains[:, :, 1:] - chains[:, :, :-1]
    bones = bones / torch.sqrt(bones.square().sum(dim=-1, keepdim=True) + SHORTEST_BONE_CM2)
    first, second, third = bones.unbind(dim=2)
    normal, next_normal = torch.linalg.cross(first, second), torch.linalg.cross(second, third)
    out_of_plane = (normal * third).sum(dim=-1).abs()
    other_way = functional.relu(-(normal * next_normal).sum(dim=-1))
    return (out_of_plane + other_way).mean(dim=1)


def silhouette_error(hand: HandParameters, truth: Truth, faces: Tensor, crops: int) -> Tensor:
    """Return the mean absolute difference of a pixel between soft and true amodal silhouettes (L_seg).

    Of at most ``crops`` crops that show a hand whose mesh is known; 0 without any.
    """
    has_mesh = truth.is_hand & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    rows = torch.nonzero(has_mesh)[:crops, 0]
    if not len(rows):
        return 0.0 * hand.vertices_cm.sum()
    mine = in_crop(hand.vertices_cm[rows], hand.rotation[rows], hand.scale_per_cm[rows], hand.translation[rows])
    true = in_crop(truth.vertices_cm[rows], truth.rotation[rows], truth.scale_per_cm[rows], truth.translation[rows])
    return (soft_silhouette(mine[..., :2], faces) - true_silhouette(true[..., :2], faces)).abs().mean()
