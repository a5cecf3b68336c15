"""SSIM, PSNR and colours of hidden vertices; projective sampling; the command."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from handviz.__main__ import main
from handviz.cli import texture as texture_command
from handviz.core.metrics import decibel
from handviz.data.synthetic.dataset import Crops
from handviz.evaluation.texture_scores import (
    Colours,
    Score,
    evaluate_methods,
    projective_sampling,
    rasters,
    scenes,
    scores,
    similarity_and_noise,
    table,
)
from handviz.models.texture.rasterise import interpolated
from tests.small_trainings import with_empty_crops


@pytest.fixture(scope="module")
def scene(texture_hands, template):
    return next(iter(scenes([Crops(texture_hands, 6)], template)))


@pytest.fixture(scope="module")
def faces(template):
    return torch.tensor(template.faces).long()


def known(scene):
    """Return the true colours."""
    return lambda images, points: Colours(scene.lit / 255, scene.even / 255)


def test_limits_are_kept_over_shards(texture_hands, template):
    for limit, wanted in ((6, [6]), (18, [16, 2]), (None, [16, 16])):
        assert [len(part.images) for part in scenes([Crops(texture_hands, limit)], template)] == wanted


def test_crops_without_a_hand_count_in_no_score(texture_hands, template, tmp_path):
    def points(folder, limit):
        return np.concatenate([part.points for part in scenes([Crops(folder, limit)], template)])

    shows = with_empty_crops(texture_hands, tmp_path / "some")
    for limit in (None, 20, 2):
        np.testing.assert_array_equal(points(tmp_path / "some", limit), points(texture_hands, limit)[shows[:limit]])


def test_known_colours_have_no_error_and_wrong_ones_theirs(scene, faces):
    def shifted(images, points):
        return Colours(scene.lit / 255 + 0.1, scene.even / 255 - 0.2)

    found = scores(scene, {"known": known(scene), "shifted": shifted}, faces)
    for right, wrong in zip(found["known"], found["shifted"], strict=True):
        assert right.away_even == right.away_lit == 0
        assert wrong.away_lit == pytest.approx(0.01)
        assert wrong.away_even == pytest.approx(0.04)
        assert math.isnan(right.hidden_lit) or (right.hidden_lit == 0 and wrong.hidden_levels == pytest.approx(25.5))
        assert right.psnr > wrong.psnr


def test_similarity_and_noise_are_those_of_the_region(scene, faces):
    """Against scikit-image's map and a mean over a mask made here."""
    raster = rasters(scene.points, faces)
    colours = known(scene)(None, None)
    drawn = interpolated(torch.from_numpy(colours.rgb).float(), faces, raster).numpy()
    found = scores(scene, {"known": known(scene)}, faces)["known"]
    for row, score in enumerate(found):
        image = scene.images[row] / 255
        region = (raster.triangle[row].numpy() >= 0) & scene.mask[row] & (scene.images[row].max(2) > 4)
        pasted = image.copy()
        pasted[region] = drawn[row][region]
        similar = structural_similarity(image, pasted, channel_axis=2, data_range=1.0, full=True)[1]
        assert score.ssim == pytest.approx(similar[region].mean(), abs=1e-6)
        assert score.psnr == pytest.approx(-10 * np.log10(((pasted - image)[region] ** 2).mean()), abs=1e-4)


def test_a_region_of_few_pixels_says_nothing(scene, faces):
    nowhere = replace(scene, mask=np.zeros_like(scene.mask))
    assert all(math.isnan(score.ssim) for score in scores(nowhere, {"known": known(scene)}, faces)["known"])


def test_projective_sampling_takes_the_pixel_at_each_vertex_seen_or_not(scene):
    found = projective_sampling(scene.float_images, scene.points)
    assert found.rgb is found.albedo
    inside = (np.abs(scene.points[..., :2]) < 0.95).all(2)
    cells = ((scene.points[..., :2] + 1) * 112).astype(int)
    near = [
        scene.images[hand][max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].reshape(-1, 3) / 255
        for hand, vertex in zip(*np.nonzero(inside), strict=True)
        for x, y in [cells[hand, vertex]]
    ]
    low, high = (np.array([pick(part, axis=0) for part in near]) for pick in (np.min, np.max))
    assert (found.rgb[inside] >= low - 1e-5).all()
    assert (found.rgb[inside] <= high + 1e-5).all()


def test_the_table_groups_by_what_things_hide():
    def score(value):
        return Score(value, 20 + value, 0.01, 0.001, 10.0, 0.1, 0.1)

    lines = table({"net": [score(0.5), score(0.7), score(0.9)]}, np.array([0.0, 0.3, 0.6])).splitlines()
    assert len(lines) == 5
    assert "| nothing before the hand (1) | net | 0.500 | 20.5 | 20.0 | 30.0 | 10.0 | 10.0 | 10.0 |" in lines
    assert decibel(0.01) == pytest.approx(20)


def test_any_source_of_meshes_will_do(texture_hands, template, small_model):
    predict = texture_command.onnx_predictor(small_model.onnx)
    batches = scenes([Crops(texture_hands, 4)], template, predict)
    found, fractions = evaluate_methods(batches, {"sampling": projective_sampling}, template)
    assert len(found["sampling"]) == len(fractions) == 4


def test_the_command_prints_a_row_a_method(small_texture, texture_hands, monkeypatch, capsys, tmp_path):
    versions = []

    def crops(folder, count, *, keep, version):
        versions.append(version)
        return [Crops(texture_hands, 8)]

    monkeypatch.setattr(texture_command, "held_out_crops", crops)
    command = ["texture", "evaluate", "--model", str(small_texture.onnx), "--results", str(tmp_path / "runs")]
    assert main([*command, "--generator", "2"]) == 0
    assert versions == [2]
    printed = capsys.readouterr().out
    assert printed.startswith("8 crops, meshes: true")
    assert "| texture net |" in printed
    assert "| projective sampling |" in printed
    assert main(["tables", str(tmp_path / "runs"), "--table", "6"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    (net,) = (row for row in rows if "texture regression" in row)
    ours = [cell.strip() for cell in net.strip("|").split("|")]
    assert ours[1::2] == ["–", "–"]
    assert 0 < float(ours[2]) <= 1
    assert float(ours[4]) > 5


def slow_ssim(one, other, row, column):
    """Wang et al. 2004 at one pixel, each colour by itself: 11 x 11 Gaussian weights, K1 0.01, K2 0.03."""
    weights = np.array([[math.exp(-(x * x + y * y) / (2 * 1.5**2)) for x in range(-5, 6)] for y in range(-5, 6)])
    weights /= weights.sum()
    values = []
    for colour in range(3):
        a, b = (part[row - 5 : row + 6, column - 5 : column + 6, colour] for part in (one, other))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        together = (weights * (a - mean_a) * (b - mean_b)).sum()
        values.append(
            (2 * mean_a * mean_b + 0.01**2) * (2 * together + 0.03**2)
            / ((mean_a**2 + mean_b**2 + 0.01**2) * (var_a + var_b + 0.03**2))
        )  # fmt: skip
    return np.mean(values)


def test_the_gaussian_window_is_that_of_the_paper_that_defined_it():
    random = np.random.default_rng(0)
    image = random.uniform(size=(40, 40, 3))
    drawn = np.clip(image + random.normal(scale=0.2, size=image.shape), 0, 1)
    region = np.zeros((40, 40), bool)
    region[10:25, 12:30] = True
    pasted = np.where(region[..., None], drawn, image)
    slow = np.mean([slow_ssim(image, pasted, row, column) for row, column in zip(*np.nonzero(region), strict=True)])
    ssim, psnr = similarity_and_noise(image, drawn, region, "gaussian")
    assert ssim == pytest.approx(slow, abs=1e-6)
    assert psnr == pytest.approx(peak_signal_noise_ratio(image[region], drawn[region], data_range=1.0), abs=1e-6)
    uniform = similarity_and_noise(image, drawn, region)
    assert uniform[1] == psnr
    assert abs(uniform[0] - ssim) > 1e-4
