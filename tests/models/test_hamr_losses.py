"""HAMR's losses, each against an independent computation."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from handviz.core.errors import ErrorCode
from handviz.hand_models.layer import HandLayer, rotation_from_axis_angle
from handviz.models.hamr.heatmaps import gaussian_heatmaps, soft_keypoints
from handviz.models.hamr.losses import (
    DISTANCES,
    FINGERS,
    LossConfig,
    Mesh,
    finger_geometry,
    heatmap_error,
    loss_terms,
    silhouette_error,
    step_terms,
    step_weights,
)
from handviz.models.hamr.model import ModelOutput
from handviz.models.hamr.regressor import HandParameters
from handviz.models.hamr.silhouette import SIZE, soft_silhouette, true_silhouette
from handviz.models.truth import Truth, in_crop, mean_of
from tests.errors import raises

ONES = LossConfig(
    heatmaps=1, joints_3d=1, joints_2d=1, camera=1, geometry=1, vertices=1, rotation=1, prior=1, presence=1
)


def parameters(template, seed: int, count: int = 3) -> HandParameters:
    generator = torch.Generator().manual_seed(seed)
    pose, shape = (torch.randn(count, number, generator=generator) * 0.3 for number in (45, 10))
    rotation = rotation_from_axis_angle(torch.randn(count, 3, generator=generator))
    log_scale = torch.randn(count, generator=generator) * 0.1 - 0.4
    translation = torch.randn(count, 2, generator=generator) * 0.2
    vertices_cm = HandLayer(template)(pose @ torch.tensor(template.pose_components).float(), shape).vertices_m * 100
    return HandParameters(rotation, log_scale, translation, pose, shape, vertices_cm)


def truth_of(hand: HandParameters, mesh: Mesh, is_hand: torch.Tensor | None = None) -> Truth:
    points = in_crop(mesh.regressor @ hand.vertices_cm, hand.rotation, hand.scale_per_cm, hand.translation)
    scale = hand.scale_per_cm
    kind = torch.ones(len(scale), dtype=torch.bool) if is_hand is None else is_hand
    return Truth(hand.vertices_cm, points[..., :2], hand.rotation, scale, hand.translation, kind)


@pytest.fixture(scope="module")
def mesh(template) -> Mesh:
    regressor = torch.tensor(template.keypoint_regressor, dtype=torch.float32)
    return Mesh(regressor, torch.from_numpy(template.faces.astype(np.int64)))


def of_numpy(distances: str, differences: np.ndarray, small: float) -> float:
    """Return the mean of squared lengths of differences (P, D), or of those that are flat near 0."""
    lengths = np.linalg.norm(differences, axis=1)
    return float(np.mean(lengths**2 if distances == "squared" else np.hypot(lengths, small) - small))


@pytest.mark.parametrize("distances", DISTANCES)
def test_terms_are_those_of_numpy(template, mesh, distances: str) -> None:
    step, hand = parameters(template, 1), parameters(template, 2)
    truth = truth_of(hand, mesh)
    found = step_terms(step, truth, mesh, replace(ONES, distances=distances))
    regressor = mesh.regressor.numpy()
    expected: dict[str, list[float]] = {
        name: [] for name in ("joints_3d", "joints_2d", "camera", "vertices", "rotation")
    }
    for row in range(3):
        mine, true = (regressor @ one.vertices_cm[row].numpy() for one in (step, hand))
        turned = mine @ step.rotation[row].numpy().T
        expected["joints_3d"].append(of_numpy(distances, turned - true @ hand.rotation[row].numpy().T, 0.1))
        seen = math.exp(step.log_scale[row]) / 10 * turned[:, :2] + step.translation[row].numpy()
        expected["joints_2d"].append(of_numpy(distances, seen - truth.keypoints_crop[row].numpy(), 0.01))
        off = float(step.log_scale[row] - hand.log_scale[row]), *(step.translation - hand.translation)[row].tolist()
        expected["camera"].append(sum(number**2 for number in off))
        expected["vertices"].append(of_numpy(distances, (step.vertices_cm - hand.vertices_cm)[row].numpy(), 0.1))
        expected["rotation"].append(np.linalg.norm((step.rotation - hand.rotation)[row].numpy()) ** 2)
    for name, values in expected.items():
        assert float(found[name]) == pytest.approx(np.mean(values), rel=1e-4), name
    prior = step.pose.square().mean() + step.shape.square().mean()
    assert float(found["prior"]) == pytest.approx(float(prior), rel=1e-5)


def test_the_truth_itself_has_no_error(template, mesh) -> None:
    hand = parameters(template, 3)
    found = step_terms(hand, truth_of(hand, mesh), mesh, ONES)
    for name in ("joints_3d", "joints_2d", "camera", "vertices", "rotation"):
        assert float(found[name]) == pytest.approx(0, abs=1e-8)


def test_weights_multiply(template, mesh) -> None:
    step, truth = parameters(template, 4), truth_of(parameters(template, 5), mesh)
    whole, twice = step_terms(step, truth, mesh, ONES), step_terms(step, truth, mesh, LossConfig(vertices=2.0))
    assert float(twice["vertices"]) == pytest.approx(2 * float(whole["vertices"]), rel=1e-6)


def test_a_straight_finger_lies_in_a_plane_and_a_twisted_one_does_not() -> None:
    def hand(*joints: tuple[float, float, float]) -> torch.Tensor:
        points = torch.zeros(1, 21, 3)
        for finger in FINGERS:
            points[:, list(finger)] = torch.tensor(joints, dtype=torch.float32)
        return points

    straight = hand((0, 0, 0), (0, 4, 0), (0, 7, 0), (0, 9, 0))
    curled = hand((0, 0, 0), (0, 4, 0), (0, 6, -2), (0, 6, -4))
    hook = hand((0, 0, 0), (0, 4, 0), (0, 6, -2), (0, 8, -2))
    twisted = hand((0, 0, 0), (0, 4, 0), (0, 6, -2), (2, 6, -4))
    assert float(finger_geometry(straight)) == pytest.approx(0, abs=1e-5)
    assert float(finger_geometry(curled)) == pytest.approx(0, abs=1e-5)
    # Bent one way and then the other: (u x v) . (v x w) is minus the product of two sines of 45 degrees.
    assert float(finger_geometry(hook)) == pytest.approx(0.5, abs=1e-3)
    # u = y, v = (0, 1, -1) / sqrt 2, w = (1, 0, -1) / sqrt 2: |(u x v) . w| = 1/2.
    assert float(finger_geometry(twisted)) == pytest.approx(0.5, abs=1e-3)


def test_heatmaps_of_crops_without_a_hand_are_empty(template, mesh) -> None:
    hand = parameters(template, 6)
    truth = truth_of(hand, mesh, torch.tensor([True, False, True]))
    stages = (torch.rand(3, 21, 56, 56), torch.rand(3, 21, 56, 56))
    wanted = gaussian_heatmaps(truth.keypoints_crop).numpy()
    wanted[1] = 0
    expected = sum(float(np.mean((stage.numpy() - wanted) ** 2)) for stage in stages)
    assert float(heatmap_error(stages, truth)) == pytest.approx(expected, rel=1e-5)


def test_crops_without_a_hand_have_no_say_in_the_hand(template, mesh) -> None:
    shows = torch.tensor([True, False, True])
    step, hand = parameters(template, 7), parameters(template, 8)
    truth = truth_of(hand, mesh, shows)
    truth.vertices_cm[1] = math.nan
    of_all = step_terms(step, truth, mesh, ONES)
    rows = [0, 2]
    part = HandParameters(*(value[rows] for value in step))
    alone = step_terms(part, truth_of(HandParameters(*(value[rows] for value in hand)), mesh), mesh, ONES)
    for name, value in alone.items():
        assert float(of_all[name]) == pytest.approx(float(value), rel=1e-5), name
    assert float(mean_of(torch.tensor([math.nan]), torch.tensor([False]))) == 0


def test_a_hand_without_a_mesh_is_learnt_by_its_joints(template, mesh) -> None:
    step, hand = parameters(template, 20), parameters(template, 21)
    whole = truth_of(hand, mesh)
    nothing = torch.full_like
    joints = (mesh.regressor @ hand.vertices_cm) @ hand.rotation.transpose(1, 2)
    without = replace(
        whole,
        vertices_cm=nothing(whole.vertices_cm, math.nan),
        rotation=nothing(whole.rotation, math.nan),
        joints_cm=joints,
    )
    of_mesh, of_joints = step_terms(step, whole, mesh, ONES), step_terms(step, without, mesh, ONES)
    for name in ("joints_3d", "joints_2d", "camera", "geometry", "prior"):
        assert float(of_joints[name]) == pytest.approx(float(of_mesh[name]), rel=1e-4), name
    assert float(of_joints["vertices"]) == float(of_joints["rotation"]) == 0


def test_no_gradient_comes_of_what_is_not_known(template, mesh) -> None:
    step, hand = parameters(template, 22), parameters(template, 23)
    shows = torch.tensor([True, False, True])
    truth = truth_of(hand, mesh, shows)
    nan = torch.tensor(math.nan)
    unknown = {
        name: torch.where(shows.view(-1, *(1,) * (getattr(truth, name).dim() - 1)), getattr(truth, name), nan)
        for name in ("vertices_cm", "keypoints_crop", "rotation", "scale_per_cm", "translation")
    }
    leaves = HandParameters(*(value.clone().requires_grad_() for value in step))
    sum(step_terms(leaves, replace(truth, **unknown), mesh, ONES).values()).backward()
    for name, leaf in leaves._asdict().items():
        assert torch.isfinite(leaf.grad).all(), name
        assert leaf.grad[1].abs().sum() == 0, name
        assert leaf.grad[0].abs().sum() > 0, name


def test_later_steps_weigh_more_or_alone() -> None:
    assert step_weights(3, "all") == pytest.approx((1 / 7, 2 / 7, 4 / 7))
    assert step_weights(3, "last") == (0.0, 0.0, 1.0)
    assert step_weights(1, "all") == (1.0,)


def output_of(template, count: int = 3) -> ModelOutput:
    heatmaps = (torch.rand(count, 21, 56, 56, requires_grad=True),) * 2
    steps = tuple(parameters(template, seed, count) for seed in range(4))
    keypoints = soft_keypoints(heatmaps[-1])
    return ModelOutput(steps, heatmaps, keypoints, keypoints.position, torch.zeros(count))


@pytest.mark.parametrize("steps", ["all", "last"])
def test_terms_of_steps_add_up(template, mesh, steps: str) -> None:
    output, truth = output_of(template), truth_of(parameters(template, 9), mesh)
    config = LossConfig(supervised_steps=steps)
    found = loss_terms(output, truth, mesh, config)
    weights = step_weights(3, steps)
    expected = sum(
        weight * float(step_terms(step, truth, mesh, config)["vertices"])
        for step, weight in zip(output.steps[1:], weights, strict=True)
    )
    assert float(found["vertices"]) == pytest.approx(expected, rel=1e-5)
    assert float(found["presence"]) == pytest.approx(0.1 * math.log(2), rel=1e-5)


def test_a_batch_without_a_hand_is_finite(template, mesh) -> None:
    truth = truth_of(parameters(template, 9), mesh, torch.zeros(3, dtype=torch.bool))
    found = loss_terms(output_of(template), truth, mesh, LossConfig(silhouette=1.0))
    assert all(torch.isfinite(value) for value in found.values())
    assert float(found["vertices"]) == 0
    assert float(found["silhouette"]) == 0


def test_impossible_weights_are_refused() -> None:
    with raises(ErrorCode.BAD_VALUE, match="geometry"):
        LossConfig(geometry=-1.0)
    with raises(ErrorCode.UNKNOWN_NAME, match="all, last"):
        LossConfig(supervised_steps="first")


def in_crop_xy(hand: HandParameters) -> torch.Tensor:
    return in_crop(hand.vertices_cm, hand.rotation, hand.scale_per_cm, hand.translation)[..., :2]


def test_the_soft_silhouette_is_near_the_true_one(template, mesh) -> None:
    points = in_crop_xy(parameters(template, 10))
    soft, hard = soft_silhouette(points, mesh.faces), true_silhouette(points, mesh.faces)
    assert soft.shape == (3, SIZE, SIZE)
    assert float(hard.mean()) > 0.05
    assert float(((soft > 0.5).float() - hard).abs().mean()) < 0.03
    # Away from the border they agree.
    inner = torch.nn.functional.avg_pool2d(hard[:, None], 5, 1, 2)[:, 0]
    assert float(soft[inner == 1].min()) > 0.8
    assert float(soft[inner == 0].max()) < 0.1


def test_coverage_of_a_pixel_is_that_of_the_formula() -> None:
    """One triangle, against distances by a dense search along its border."""
    corners = np.array([[24.3, 25.1], [27.2, 25.6], [25.2, 27.9]])
    points = torch.tensor((corners + 0.5) * 2 / SIZE - 1, dtype=torch.float64)[None]
    found = soft_silhouette(points, torch.tensor([[0, 1, 2]]))[0].numpy()
    fractions = np.linspace(0, 1, 4001)[:, None]
    border = np.concatenate([corners[n] + fractions * (corners[(n + 1) % 3] - corners[n]) for n in range(3)])
    for x, y in ((25, 26), (24, 25), (27, 27), (26, 25)):
        distance = np.min(np.linalg.norm(border - [x, y], axis=1))
        sides = [
            np.cross(np.append(corners[(n + 1) % 3] - corners[n], 0), np.append([x, y] - corners[n], 0))[2]
            for n in range(3)
        ]
        is_inside = min(sides) >= 0 or max(sides) <= 0
        expected = 1 / (1 + math.exp(-(distance if is_inside else -distance) / 0.35))
        assert found[y, x] == pytest.approx(expected, abs=2e-3)


def test_the_silhouette_has_the_gradient_of_differences(template, mesh) -> None:
    hand = parameters(template, 11, 1)
    points = in_crop_xy(hand).double().requires_grad_()
    wanted = torch.zeros(1, SIZE, SIZE, dtype=torch.float64)
    wanted[:, :, : SIZE // 2] = 1

    def error(given: torch.Tensor) -> torch.Tensor:
        return (soft_silhouette(given, mesh.faces) - wanted).square().mean()

    (gradient,) = torch.autograd.grad(error(points), points)
    for axis in range(2):
        step = torch.zeros(2, dtype=torch.float64)
        step[axis] = 1e-6
        numeric = (error(points.detach() + step) - error(points.detach() - step)) / 2e-6
        assert float(gradient[0, :, axis].sum()) == pytest.approx(float(numeric), rel=1e-3)


def test_moving_along_the_gradient_brings_silhouettes_together(template, mesh) -> None:
    hand = parameters(template, 12, 1)
    truth = truth_of(hand, mesh)
    moved = hand._replace(translation=hand.translation + 0.1)
    shift = moved.translation.clone().requires_grad_()
    before = silhouette_error(moved._replace(translation=shift), truth, mesh.faces, 4)
    (gradient,) = torch.autograd.grad(before, shift)
    better = moved._replace(translation=moved.translation - 0.05 * gradient / gradient.norm())
    assert float(silhouette_error(better, truth, mesh.faces, 4)) < float(before.detach())
