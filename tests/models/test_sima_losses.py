"""SiMA-Hand's losses, each against an independent computation."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode
from handviz.hand_models.layer import HandLayer, rotation_from_axis_angle
from handviz.models.sima_hand.losses import (
    LossConfig,
    Mesh,
    adaptation_terms,
    as_tokens,
    edge_error,
    loss_terms,
    normal_error,
    rotation_error,
)
from handviz.models.sima_hand.model import Features, ModelOutput
from handviz.models.truth import Truth, in_crop
from tests.errors import raises

WEIGHTS = [item.name for item in fields(LossConfig) if not item.name.endswith("_place")]
ONES = LossConfig(**dict.fromkeys(WEIGHTS, 1.0))


@pytest.fixture(scope="module")
def mesh(template) -> Mesh:
    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    return Mesh(regressor, torch.from_numpy(template.faces.astype(np.int64)))


def hand(template, seed: int, count: int = 4) -> ModelOutput:
    generator = torch.Generator().manual_seed(seed)
    pose, shape = (torch.randn(count, number, generator=generator) * 0.3 for number in (45, 10))
    vertices = HandLayer(template)(pose @ torch.tensor(template.pose_components).float(), shape).vertices_m * 100
    rotation = rotation_from_axis_angle(torch.randn(count, 3, generator=generator))
    empty = torch.empty(0)
    return ModelOutput(
        vertices, rotation, torch.randn(count, generator=generator) * 0.1, torch.randn(count, 2, generator=generator),
        torch.randn(count, 21, 2, generator=generator) * 0.5, torch.randn(count, generator=generator),
        Features(empty, empty, empty, empty, empty),
    )  # fmt: skip


def truth_of(output: ModelOutput, mesh: Mesh) -> Truth:
    points = in_crop(mesh.regressor @ output.vertices_cm, output.rotation, output.scale_per_cm, output.translation)
    return Truth(output.vertices_cm, points[..., :2], output.rotation, output.scale_per_cm, output.translation)


def test_terms_are_those_of_numpy(template, mesh) -> None:
    output, other = hand(template, 1), hand(template, 2)
    truth, regressor = truth_of(other, mesh), mesh.regressor.numpy()
    found = {name: float(value) for name, value in loss_terms(output, truth, mesh, ONES).items()}
    mine, true = output.vertices_cm.numpy(), truth.vertices_cm.numpy()
    turned, true_turned = (
        np.einsum("bij,bvj->bvi", turn.numpy(), part)
        for turn, part in ((output.rotation, mine), (truth.rotation, true))
    )
    seen = output.joints_crop.numpy() / 2 + 0.5
    logit = output.hand_logit.numpy()
    scales = np.exp(output.log_scale.numpy()), truth.scale_per_cm.numpy() * 10
    offsets = (output.translation - truth.translation).numpy()
    expected = {
        "mesh": np.abs(mine - true).mean(),
        "joints": np.abs(regressor @ (mine - true)).mean(),
        "turned_mesh": np.abs(turned - true_turned).mean(),
        "turned_joints": np.abs(regressor @ (turned - true_turned)).mean(),
        "joints_2d": np.abs(seen - (truth.keypoints_crop.numpy() / 2 + 0.5)).mean(),
        "camera": (np.log(scales[0] / scales[1]) ** 2 + (offsets**2).sum(axis=1)).mean(),
        "presence": np.log1p(np.exp(-logit)).mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name


def test_rotation_error_is_the_norm_of_the_printed_matrix(template) -> None:
    mine, true = hand(template, 1).rotation, hand(template, 2).rotation
    expected = [
        np.linalg.norm(one @ other.T - np.eye(3)) for one, other in zip(true.numpy(), mine.numpy(), strict=True)
    ]
    np.testing.assert_allclose(rotation_error(mine, true), expected, rtol=1e-4)
    angle = (Rotation.from_matrix(true.numpy()) * Rotation.from_matrix(mine.numpy()).inv()).magnitude()
    np.testing.assert_allclose(rotation_error(mine, true), 2 * np.sqrt(2) * np.sin(angle / 2), rtol=1e-4)


def test_edges_and_normals_are_those_of_trimesh(template, mesh) -> None:
    mine, true = hand(template, 1, 1).vertices_cm, hand(template, 2, 1).vertices_cm
    own, other = (trimesh.Trimesh(part[0].numpy(), template.faces, process=False) for part in (mine, true))
    lengths = [
        np.linalg.norm(one.vertices[one.edges[:, 0]] - one.vertices[one.edges[:, 1]], axis=1) for one in (own, other)
    ]
    assert float(edge_error(mine, true, mesh.faces)) == pytest.approx(np.abs(lengths[0] - lengths[1]).mean(), rel=1e-3)
    cosines = []
    for face, (normal, corners) in enumerate(zip(other.face_normals, own.triangles, strict=True)):
        assert len(other.faces) > face
        for start in range(3):
            edge = corners[(start + 1) % 3] - corners[start]
            cosines.append(abs(edge @ normal) / np.linalg.norm(edge))
    assert float(normal_error(mine, true, mesh.faces)) == pytest.approx(np.mean(cosines), rel=1e-3)
    assert float(normal_error(true, true, mesh.faces)) < 1e-5


def test_the_true_hand_costs_nothing(template, mesh) -> None:
    output = hand(template, 3)
    truth = truth_of(output, mesh)
    right = output._replace(joints_crop=truth.keypoints_crop, hand_logit=torch.full((4,), 50.0))
    for name, value in loss_terms(right, truth, mesh, ONES).items():
        assert float(value) < 3e-4, name


def test_turned_terms_train_the_rotation_and_canonical_ones_the_mesh(template, mesh) -> None:
    output, truth = hand(template, 1), truth_of(hand(template, 2), mesh)
    output = output._replace(
        vertices_cm=output.vertices_cm.clone().requires_grad_(), rotation=output.rotation.clone().requires_grad_()
    )
    terms = loss_terms(output, truth, mesh, ONES)
    shape = sum(terms[name] for name in ("mesh", "joints", "normals", "edges"))
    orientation = sum(terms[name] for name in ("turned_mesh", "turned_joints", "rotation"))
    leaves = [output.vertices_cm, output.rotation]
    of_shape = torch.autograd.grad(shape, leaves, allow_unused=True, retain_graph=True)  # type: ignore[arg-type]
    of_turn = torch.autograd.grad(orientation, leaves, allow_unused=True)  # type: ignore[arg-type]
    assert of_shape[1] is None
    assert of_turn[0] is None
    assert float(of_shape[0].abs().sum()) > 0
    assert float(of_turn[1].abs().sum()) > 0


def test_crops_without_a_hand_or_mesh_change_nothing(template, mesh) -> None:
    output, truth = hand(template, 1), truth_of(hand(template, 2), mesh)
    is_hand = torch.tensor([True, False, True, True])
    broken = replace(truth, is_hand=is_hand, vertices_cm=truth.vertices_cm.clone(), rotation=truth.rotation.clone())
    broken.vertices_cm[1], broken.rotation[1] = torch.nan, torch.nan
    broken.vertices_cm[3], broken.rotation[3] = torch.nan, torch.nan
    joints = mesh.regressor @ truth.vertices_cm @ truth.rotation.transpose(1, 2)
    broken = replace(broken, joints_cm=torch.where(torch.arange(4)[:, None, None] == 3, joints, torch.nan))
    leaf = output.vertices_cm.clone().requires_grad_()
    terms = loss_terms(output._replace(vertices_cm=leaf), broken, mesh, ONES)
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(value) for value in terms.values())
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()
    assert float(leaf.grad[1].abs().sum()) == 0
    chosen = [0, 2]
    known = Truth(*(getattr(truth, name)[chosen] for name in Truth.__dataclass_fields__))
    fewer = ModelOutput(*(part[chosen] for part in output[:-1]), output.features)  # type: ignore[arg-type]
    alone = loss_terms(fewer, known, mesh, ONES)
    for name in ("mesh", "edges", "normals", "rotation"):
        assert float(terms[name].detach()) == pytest.approx(float(alone[name]), rel=1e-4), name
    only = Truth(*(getattr(truth, name)[[0, 2, 3]] for name in Truth.__dataclass_fields__))
    three = ModelOutput(*(part[[0, 2, 3]] for part in output[:-1]), output.features)  # type: ignore[arg-type]
    for name in ("turned_joints", "joints_2d", "camera"):
        assert float(terms[name].detach()) == pytest.approx(
            float(loss_terms(three, only, mesh, ONES)[name]), rel=1e-4
        ), "joints suffice"


def test_views_of_a_hand_are_compared_once_where_they_are_the_same(template, mesh) -> None:
    output, other = hand(template, 1), hand(template, 2)
    rows = torch.tensor([0, 0, 1, 1])
    views = output._replace(vertices_cm=output.vertices_cm[rows])
    truth = replace(truth_of(other, mesh), vertices_cm=other.vertices_cm[rows])
    all_rows, once = (loss_terms(views, truth, mesh, ONES, views=number) for number in (1, 2))
    for name, value in all_rows.items():
        assert float(value) == pytest.approx(float(once[name]), rel=1e-5), name


def features(seed: int) -> Features:
    generator = torch.Generator().manual_seed(seed)
    shapes = (2, 5, 4), (2, 9, 3), (2, 3, 2, 2), (2, 6, 2, 2), (2, 4, 6)
    return Features(*(torch.randn(*shape, generator=generator) for shape in shapes))


def test_adaptation_is_the_mean_square_over_the_chosen_crops() -> None:
    student, teacher, rows = features(1), features(2), torch.tensor([True, False])
    config = replace(ONES, shape_features=2.0, orientation_features=3.0)
    terms = adaptation_terms(student, teacher, rows, config)
    shape = np.mean((student.vertex[0].numpy() - teacher.vertex[0].numpy()) ** 2)
    tokens = teacher.orientation[0].numpy().reshape(6, 4).T
    orientation = np.mean((student.enhanced[0].numpy() - tokens) ** 2)
    assert float(terms["shape_features"]) == pytest.approx(2 * shape, rel=1e-5)
    assert float(terms["orientation_features"]) == pytest.approx(3 * orientation, rel=1e-5)
    for place, name in (("joint", "joint"), ("orientation", "orientation")):
        found = adaptation_terms(student, teacher, rows, replace(config, orientation_place=place, shape_place="none"))
        assert found.keys() == {"orientation_features"}
        expected = np.mean((getattr(student, name)[0].numpy() - getattr(teacher, name)[0].numpy()) ** 2)
        assert float(found["orientation_features"]) == pytest.approx(3 * expected, rel=1e-5)


def test_what_is_not_compared_is_not_asked_for() -> None:
    assert ONES.teacher_features == ("vertex", "orientation")
    assert replace(ONES, shape_features=0.0, orientation_place="none").teacher_features == ()
    assert replace(ONES, shape_place="last_vertex", orientation_place="joint").teacher_features == (
        "last_vertex", "joint",
    )  # fmt: skip
    assert adaptation_terms(features(1), features(2), torch.ones(2, dtype=torch.bool), LossConfig(
        shape_features=0.0, orientation_features=0.0)) == {}  # fmt: skip


def test_a_map_becomes_tokens_where_they_are_wanted() -> None:
    assert as_tokens(torch.zeros(2, 6, 3, 3), torch.zeros(2, 9, 6)).shape == (2, 9, 6)
    assert as_tokens(torch.zeros(2, 6, 3, 3), torch.zeros(2, 6, 3, 3)).shape == (2, 6, 3, 3)


@pytest.mark.parametrize("name", ["mesh", "rotation", "shape_features", "orientation_features"])
@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_weights_that_are_none_are_refused(name, value) -> None:
    with raises(ErrorCode.BAD_VALUE, match=name):
        LossConfig(**{name: value})


def test_places_that_are_none_are_refused() -> None:
    for name in ("shape_place", "orientation_place"):
        with raises(ErrorCode.UNKNOWN_NAME, match=name):
            LossConfig(**{name: "elsewhere"})
