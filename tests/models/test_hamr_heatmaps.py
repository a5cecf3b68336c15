"""HAMR's heatmaps: targets, what is read off them, and both heatmap networks."""

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass

from handviz.core.errors import ErrorCode
from handviz.models.hamr.heatmaps import (
    HEATMAP_SIZE,
    SIGMA,
    CascadeHeatmaps,
    Maps,
    gaussian_heatmaps,
    soft_keypoints,
)
from handviz.models.hamr.hourglass import StackedHourglass
from handviz.models.hamr.model import Inputs, ModelConfig, build_model
from handviz.rendering.heatmaps import spread_of
from tests.errors import raises


def keypoints(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 21, 2, generator=torch.Generator().manual_seed(seed)) * 1.5 - 0.75


def maps(count: int, seed: int = 0) -> Maps:
    generator = torch.Generator().manual_seed(seed)
    shapes = (24, 56, 56), (40, 28, 28), (112, 14, 14)
    return Maps(*(torch.rand(count, *shape, generator=generator) for shape in shapes))


def test_targets_are_gaussians_about_the_keypoint() -> None:
    points = keypoints(2)
    wanted = gaussian_heatmaps(points)
    sigma_px = SIGMA * HEATMAP_SIZE
    for row, keypoint in ((0, 0), (1, 20)):
        centre = (points[row, keypoint].numpy() + 1) * HEATMAP_SIZE / 2 - 0.5
        for y, x in ((10, 12), (30, 41), (55, 0)):
            squared = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
            expected = np.exp(-squared / (2 * sigma_px**2))
            assert float(wanted[row, keypoint, y, x]) == pytest.approx(expected, abs=1e-6)


def test_keypoints_outside_leave_no_peak() -> None:
    assert float(gaussian_heatmaps(torch.full((1, 21, 2), 3.0)).max()) < 1e-6


def test_expectation_finds_the_keypoint_between_pixels() -> None:
    points = keypoints(4)
    found = soft_keypoints(gaussian_heatmaps(points))
    assert float((found.position - points).abs().max()) < 0.002
    assert float(found.peak.min()) > 0.9
    # As scipy sees the map, with the same part of it cut off.
    one = gaussian_heatmaps(points)[0, 5].numpy()
    row, column = center_of_mass(np.maximum(one - 0.25 * one.max(), 0))
    expected = (np.array([column, row]) + 0.5) * 2 / HEATMAP_SIZE - 1
    np.testing.assert_allclose(found.position[0, 5], expected, atol=1e-5)


def test_a_noisy_background_does_not_pull_to_the_centre() -> None:
    points = torch.full((1, 21, 2), 0.6)
    noisy = 0.3 * gaussian_heatmaps(points) + 0.03 * torch.rand(1, 21, 56, 56)
    assert float((soft_keypoints(noisy).position - points).abs().max()) < 0.03


def test_the_covariance_is_that_of_the_weights() -> None:
    heatmaps = torch.zeros(1, 21, 56, 56)
    # Two equal peaks, ten pixels apart along x.
    heatmaps[:, :, 20, 10] = heatmaps[:, :, 20, 20] = 1.0
    found = soft_keypoints(heatmaps)
    step = 2 / 56
    np.testing.assert_allclose(found.covariance[0, 0], [[(5 * step) ** 2, 0], [0, 0]], atol=1e-6)


def test_what_the_view_draws_is_what_was_calibrated() -> None:
    """The view has no torch: both read the same expectation, spread and peak off a map."""
    heatmaps = 0.7 * gaussian_heatmaps(keypoints(1, seed=3)) + 0.02 * torch.rand(1, 21, 56, 56)
    found = soft_keypoints(heatmaps.double())
    for number in (0, 7, 20):
        mean, covariance, peak = spread_of(heatmaps[0, number].double().numpy())
        np.testing.assert_allclose((mean + 0.5) * 2 / 56 - 1, found.position[0, number], atol=1e-9)
        np.testing.assert_allclose(covariance * (2 / 56) ** 2, found.covariance[0, number], atol=1e-9)
        assert peak == pytest.approx(float(found.peak[0, number]))


def weights_of(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_small_form_has_as_many_weights_as_the_page_says() -> None:
    assert round(weights_of(CascadeHeatmaps()) / 1e6, 2) == 0.07


def test_an_empty_map_is_finite_and_has_no_peak() -> None:
    heatmaps = torch.zeros(1, 21, 56, 56, requires_grad=True)
    found = soft_keypoints(heatmaps)
    assert torch.isfinite(found.position).all()
    assert not found.peak.any()
    found.position.sum().backward()  # type: ignore[no-untyped-call]
    assert heatmaps.grad is not None
    assert torch.isfinite(heatmaps.grad).all()


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_every_stage_gives_maps_and_starts_flat(stages: int) -> None:
    torch.manual_seed(0)
    network = CascadeHeatmaps(stages).eval()
    found = network(maps(2))
    assert [tuple(stage.shape) for stage in found.stages] == [(2, 21, 56, 56)] * stages
    assert found.features.shape == (2, CascadeHeatmaps.feature_channels, 28, 28)
    assert float(found.stages[-1].detach().abs().max()) < 0.3


@pytest.mark.slow
def test_the_hourglass_has_the_shapes_of_the_original(template) -> None:
    torch.manual_seed(0)
    config = ModelConfig("hourglass", landmarks=False, pose_numbers=12, rotation="axis_angle", width=1024, dropout=0.5)
    model = build_model(config, template).eval()
    with torch.no_grad():
        found = model(Inputs(None, None, torch.rand(1, 3, 224, 224)))
        inside = model.heatmap_net(torch.rand(1, 3, 224, 224))
    assert isinstance(model.heatmap_net, StackedHourglass)
    assert round(weights_of(model.heatmap_net) / 1e6) == 143
    assert [tuple(stage.shape) for stage in found.heatmaps] == [(1, 21, 64, 64)] * 2
    assert inside.features.shape == (1, 320, 64, 64)
    assert found.hand.pose.shape == (1, 12)
    assert len(found.steps) == 4
    # 28 numbers: camera 3, rotation 3, pose 12, shape 10.
    assert model.regressor.change.out_features == 28


def test_the_hourglass_reads_no_landmarks() -> None:
    with raises(ErrorCode.OPTION_CONFLICT, match="--no-landmarks"):
        ModelConfig("hourglass")
