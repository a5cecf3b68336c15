"""The losses of SiMA-Hand, each with its weight: of reconstruction (eqs. 7 to 11) and adaptation (4, 6, 12).

Paper: Wang et al., SiMA-Hand (AAAI 2024). It gives every term of eq. 11 the weight 1 in units that it leaves open, and
no beta and gamma. Here lengths are centimetres, all terms are means, and 2D joints are fractions of the crop's side.
"""

from dataclasses import dataclass, fields
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional

from handviz.core.arguments import Option
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.units import CENTIMETRES_PER_DECIMETRE
from handviz.models.sima_hand.model import Features, ModelOutput
from handviz.models.truth import Truth, mean_of, true_joints

SHAPE_PLACES: dict[str, str] = {"vertex": "vertex", "last_vertex": "last_vertex", "none": ""}
ORIENTATION_PLACES: dict[str, tuple[str, str]] = {
    "enhanced": ("enhanced", "orientation"), "orientation": ("orientation", "orientation"), "joint": ("joint", "joint"),
    "none": ("", ""),
}  # fmt: skip
"""Features of the student, and those of the teacher that they are to equal (table 6)."""
STAGES = ("all", "shape", "orientation", "presence")
SHAPE_TERMS = ("mesh", "joints", "joints_2d", "normals", "edges", "shape_features")
"""Terms of the first stage; the second one has all others."""
SHORTEST_EDGE_CM = 1e-6
LEAST_SQUARE = 1e-8


@dataclass(frozen=True)
class LossConfig:
    """Weights of the terms, and where the student's features follow the teacher's."""

    mesh: Annotated[float, Option("mesh-weight")] = 1.0
    """Of the mean absolute error of a canonical vertex's coordinate, cm (eq. 7)."""
    joints: Annotated[float, Option("joints-weight")] = 1.0
    """Of the same of the canonical joints (eq. 7)."""
    turned_mesh: Annotated[float, Option("turned-mesh-weight")] = 1.0
    """Of the same of the vertices after the rotation, which alone learns of it."""
    turned_joints: Annotated[float, Option("turned-joints-weight")] = 1.0
    """Of the same of the joints after the rotation."""
    joints_2d: Annotated[float, Option("joints-2d-weight")] = 50.0
    """Of the mean absolute error of a 2D joint's coordinate, in sides of the crop (eq. 8)."""
    normals: Annotated[float, Option("normals-weight")] = 1.0
    """Of the mean absolute cosine of unit edges and true normals (eq. 9)."""
    edges: Annotated[float, Option("edges-weight")] = 1.0
    """Of the mean absolute error of an edge's length, cm (eq. 9)."""
    rotation: Annotated[float, Option("rotation-weight")] = 1.0
    """Of the norm of R^ R^T - 1 (eq. 10)."""
    camera: Annotated[float, Option("camera-weight")] = 5.0
    """Of the squared errors of ln of the scale and of the wrist's place in the crop: ours."""
    presence: Annotated[float, Option("presence-weight")] = 0.1
    """Of the cross-entropy of the probability that a crop shows a hand: ours."""
    shape_features: Annotated[float, Option("beta")] = 1.0
    """beta of eq. 12, of the mean square of the difference in eq. 4."""
    orientation_features: Annotated[float, Option("gamma")] = 1.0
    """gamma of eq. 12, of the mean square of the difference in eq. 6."""
    shape_place: Annotated[str, Option("distil-shape", choices=tuple(SHAPE_PLACES))] = "vertex"
    """Features of the shape that follow the teacher's: f_v, those of the decoder's last layer, or none (table 6)."""
    orientation_place: Annotated[str, Option("distil-orientation", choices=tuple(ORIENTATION_PLACES))] = "enhanced"
    """Features of the orientation that follow the teacher's: enhanced f_o, f_o, f_j, or none (table 6)."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, float | int) and not 0 <= value < float("inf"):
                raise HandvizError(f"loss: {item.name} is {value}, it must be a number from 0 on", ErrorCode.BAD_VALUE)
        known = {"shape_place": tuple(SHAPE_PLACES), "orientation_place": tuple(ORIENTATION_PLACES)}
        for name, names in known.items():
            if getattr(self, name) not in names:
                raise HandvizError(
                    f"loss: {name} is {getattr(self, name)!r}; there are {', '.join(names)}", ErrorCode.UNKNOWN_NAME
                )

    @property
    def teacher_features(self) -> tuple[str, ...]:
        """Names of the teacher's ``Features`` that the adaptation needs."""
        shape, orientation = SHAPE_PLACES[self.shape_place], ORIENTATION_PLACES[self.orientation_place][1]
        wanted = (shape if self.shape_features else "", orientation if self.orientation_features else "")
        return tuple(name for name in wanted if name)


@dataclass(frozen=True, eq=False)
class Mesh:
    """What the losses need of the hand model."""

    regressor: Tensor
    """(21, V) keypoints from vertices"""
    faces: Tensor
    """(F, 3)"""


def loss_terms(
    output: ModelOutput, truth: Truth, mesh: Mesh, config: LossConfig, *, views: int = 1
) -> dict[str, Tensor]:
    """Return every weighted term of eq. 11, and ours; all but the presence are of the crops that show a hand.

    ``views``: rows of a hand, whose mesh is compared once.
    """
    rows = truth.is_hand
    has_mesh = rows & torch.isfinite(truth.vertices_cm).all(dim=(1, 2))
    joints = true_joints(truth, mesh.regressor)
    has_joints = rows & torch.isfinite(joints).all(dim=(1, 2))
    # What crops without a hand hold may be anything: no gradient may come of it.
    true = _where(has_mesh, truth.vertices_cm, output.vertices_cm.detach())
    turn = _where(has_mesh, truth.rotation, output.rotation.detach())
    mine = mesh.regressor @ output.vertices_cm
    # Once a hand, whatever its views.
    shapes, true_shapes, once = output.vertices_cm[::views], true[::views], has_mesh[::views]
    rotation = output.rotation.transpose(1, 2)
    turned = mine.detach() @ rotation
    values = {
        "mesh": absolute_error(shapes, true_shapes),
        "joints": absolute_error(mine[::views], mesh.regressor @ true_shapes),
        "turned_mesh": absolute_error(output.vertices_cm.detach() @ rotation, true @ turn.transpose(1, 2)),
        "turned_joints": absolute_error(turned, _where(has_joints, joints, turned.detach())),
        "joints_2d": absolute_error(output.joints_crop, _where(rows, truth.keypoints_crop, output.joints_crop.detach()))
        / 2,
        "normals": normal_error(shapes, true_shapes, mesh.faces),
        "edges": edge_error(shapes, true_shapes, mesh.faces),
        "rotation": rotation_error(output.rotation, turn),
        "camera": _camera_error(output, truth),
    }
    of_rows = {"joints_2d": rows, "camera": rows, "turned_joints": has_joints}
    of_rows |= dict.fromkeys(("mesh", "joints", "normals", "edges"), once)
    terms = {
        name: getattr(config, name) * mean_of(value, of_rows.get(name, has_mesh)) for name, value in values.items()
    }
    logits = functional.binary_cross_entropy_with_logits(output.hand_logit, rows.to(output.hand_logit.dtype))
    return terms | {"presence": config.presence * logits}


def _where(rows: Tensor, value: Tensor, otherwise: Tensor) -> Tensor:
    return torch.where(rows.view(-1, *(1,) * (value.ndim - 1)), value, otherwise)


def absolute_error(mine: Tensor, true: Tensor) -> Tensor:
    """Return the mean absolute difference of a number (B,) of arrays (B, ...) (eqs. 7, 8)."""
    return (mine - true).abs().flatten(1).mean(1)


def edges_of(vertices: Tensor, faces: Tensor) -> Tensor:
    """Return the three edges (B, F, 3, 3) of every face of meshes (B, V, 3); faces (F, 3)."""
    corners = vertices[:, faces]
    return corners.roll(-1, dims=2) - corners


def normal_error(mine: Tensor, true: Tensor, faces: Tensor) -> Tensor:
    """Return the mean absolute cosine (B,) of unit edges of meshes (B, V, 3) and their faces' true normals (eq. 9)."""
    unit_edges = functional.normalize(edges_of(mine, faces), dim=-1, eps=SHORTEST_EDGE_CM)
    true_edges = edges_of(true, faces)
    crossed = torch.linalg.cross(true_edges[:, :, 0], true_edges[:, :, 1])
    normals = functional.normalize(crossed, dim=-1, eps=SHORTEST_EDGE_CM)
    return (unit_edges * normals[:, :, None]).sum(dim=-1).abs().mean(dim=(1, 2))


def edge_error(mine: Tensor, true: Tensor, faces: Tensor) -> Tensor:
    """Return the mean absolute error (B,) of the edges' lengths of meshes (B, V, 3) (eq. 9)."""
    lengths = [torch.sqrt(edges_of(part, faces).square().sum(dim=-1) + LEAST_SQUARE) for part in (mine, true)]
    return (lengths[0] - lengths[1]).abs().mean(dim=(1, 2))


def rotation_error(mine: Tensor, true: Tensor) -> Tensor:
    """Return the norm (B,) of R^ R^T - 1 of rotations (B, 3, 3) (eq. 10)."""
    identity = torch.eye(3, dtype=mine.dtype, device=mine.device)
    off = true @ mine.transpose(1, 2) - identity
    return torch.sqrt(off.square().sum(dim=(1, 2)) + LEAST_SQUARE)


def _camera_error(output: ModelOutput, truth: Truth) -> Tensor:
    scale = torch.where(truth.is_hand, truth.scale_per_cm * CENTIMETRES_PER_DECIMETRE, 1.0)
    translation = _where(truth.is_hand, truth.translation, output.translation.detach())
    return (output.log_scale - torch.log(scale)).square() + (output.translation - translation).square().sum(dim=1)


def adaptation_terms(student: Features, teacher: Features, rows: Tensor, config: LossConfig) -> dict[str, Tensor]:
    """Return the weighted L_SE and L_OE (eqs. 4, 6) of features of B crops, means of squares over crops in ``rows``.

    Of the teacher's features those that are not compared may be empty.
    """
    shape, (own, other) = SHAPE_PLACES[config.shape_place], ORIENTATION_PLACES[config.orientation_place]
    terms = {}
    if shape and config.shape_features:
        error = feature_error(getattr(student, shape), getattr(teacher, shape))
        terms["shape_features"] = config.shape_features * mean_of(error, rows)
    if own and config.orientation_features:
        error = feature_error(getattr(student, own), as_tokens(getattr(teacher, other), getattr(student, own)))
        terms["orientation_features"] = config.orientation_features * mean_of(error, rows)
    return terms


def feature_error(mine: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean square (B,) of the difference of features (B, ...)."""
    return (mine - wanted).square().flatten(1).mean(1)


def as_tokens(features: Tensor, like: Tensor) -> Tensor:
    """Return a map (B, C, S, S) as tokens (B, S S, C), where those it is compared with are tokens."""
    return features.flatten(2).transpose(1, 2) if features.ndim == 4 and like.ndim == 3 else features
