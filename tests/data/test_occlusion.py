"""Which hands count as occluded: by the pixels of a mesh in datasets, by vertices on renders."""

from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.stats import spearmanr

from handviz.core.errors import ErrorCode
from handviz.core.geometry import apply_affine
from handviz.core.records import FloatArray
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.datasets.dexycb import open_split as open_dexycb
from handviz.data.datasets.hanco import open_split as open_hanco
from handviz.data.occlusion import (
    dataset_visible_fraction,
    dataset_visible_fractions,
    is_occluded,
    is_occluded_render,
    silhouette,
    visible_fraction,
)
from handviz.data.synthetic.dataset import read_labels, shard_numbers
from handviz.data.synthetic.generator import images_file
from handviz.hand_models.open_hand import load_open_hand
from tests.errors import raises
from tests.fake_datasets import dexycb, hanco
from tests.fake_datasets.stand_in_mano import stand_in_template

SQUARE = np.array([[10.0, 20.0], [50.0, 20.0], [50.0, 40.0], [10.0, 40.0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def test_the_rule() -> None:
    np.testing.assert_array_equal(is_occluded(np.array([0.0, 0.399, 0.4, 1.0, np.nan])), [1, 1, 0, 0, 0])
    assert is_occluded(0.1)
    # As the labels have it: float32.
    shares = np.array([0.0, 0.599, 0.6, 0.9], np.float32)
    np.testing.assert_array_equal(is_occluded_render(shares), [0, 0, 1, 1])
    assert is_occluded_render(0.6)


def test_a_mesh_covers_the_pixels_whose_centres_it_covers() -> None:
    """Against a ray through every pixel's centre, but for the border, which OpenCV draws."""
    hand = trimesh.creation.icosphere(2, 1.0)
    vertices_px = hand.vertices[:, :2] * [9.3, 6.1] + [14.2, 12.9]
    mesh = silhouette(vertices_px, hand.faces, (30, 26))
    y, x = np.mgrid[0:26, 0:30] + 0.5
    inside = ((x - 14.2) / 9.3) ** 2 + ((y - 12.9) / 6.1) ** 2
    assert mesh[inside < 0.85].all()
    assert not mesh[inside > 1.35].any()
    assert mesh.shape == (26, 30)


def test_visible_pixels_of_the_mesh_are_counted() -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 10:50] = True
    assert visible_fraction(mask, SQUARE, FACES) > 0.92  # the border
    half = mask.copy()
    half[:, 30:] = False
    assert visible_fraction(half, SQUARE, FACES) == pytest.approx(0.5, abs=0.04)
    # A forearm beside the mesh is no part of it.
    half[40:, :30] = True
    assert visible_fraction(half, SQUARE, FACES) == pytest.approx(0.5, abs=0.04)
    assert visible_fraction(~mask, SQUARE, FACES) < 0.08


def test_a_mesh_outside_the_image_has_no_fraction() -> None:
    assert np.isnan(visible_fraction(np.ones((60, 80), bool), SQUARE + 1000, FACES))
    assert np.isnan(visible_fraction(np.ones((60, 80), bool), SQUARE * 1e9, FACES))


@pytest.fixture(params=["hanco", "dexycb"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MultiViewDataset:
    """Return a split of which every hand is seen whole."""
    monkeypatch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path / "kept"))
    if request.param == "hanco":
        hanco.write("hanco", tmp_path, 1)
        return open_hanco("hanco", tmp_path, "test")
    dexycb.write_moments(tmp_path, 1)
    return open_dexycb("dexycb", tmp_path, "s0_train")


def test_hands_of_datasets_are_seen_as_their_masks_say(
    dataset: MultiViewDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = stand_in_template()
    fractions = dataset_visible_fractions(dataset, template)
    assert fractions.shape == (len(dataset),)
    np.testing.assert_array_equal(dataset_visible_fractions(dataset, template, [2, 0]), fractions[[2, 0]])
    assert fractions.min() > 0.93
    assert not is_occluded(fractions).any()
    mask = dataset.hand_mask(0)
    part = np.cumsum(mask.ravel()).reshape(mask.shape) < 0.3 * mask.sum()
    monkeypatch.setattr(type(dataset), "hand_mask", lambda *_: mask & part)
    fraction = dataset_visible_fraction(dataset, 0, template)
    assert fraction == pytest.approx(0.3, abs=0.05)
    assert is_occluded(fraction)


def test_a_missing_mask_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path / "kept"))
    hanco.write("hanco", tmp_path, 1)
    hands = open_hanco("hanco", tmp_path, "test")
    for path in (tmp_path / "mask_hand").rglob("*.jpg"):
        path.unlink()
    with raises(ErrorCode.FILE_UNREADABLE, match="mask_hand"):
        hands.hand_mask(0)


def test_hidden_vertices_are_hidden_pixels(rendered_moments: Path) -> None:
    """On renders both are known: the vertices' fraction follows the pixels'."""
    template, pixels, hidden = load_open_hand(), [], []
    for shard in shard_numbers(rendered_moments):
        labels = read_labels(rendered_moments, shard)
        with np.load(images_file(rendered_moments, shard)) as archive:
            masks = np.unpackbits(archive["mask_bits"], axis=1).reshape(-1, 224, 224).astype(bool)
        for row, mask in enumerate(masks):
            pixels.append(
                visible_fraction(mask, crop_vertices({key: labels[key][row] for key in labels}), template.faces)
            )
            hidden.append(labels["hidden_share"][row])
    assert spearmanr(pixels, hidden).statistic < -0.8
    occluded, share = is_occluded(np.array(pixels)), np.array(hidden)
    assert not occluded[share < 0.4].any()
    assert occluded[share > 0.8].all()
    assert (occluded == is_occluded_render(share)).mean() > 0.7


def crop_vertices(labels: dict[str, FloatArray]) -> FloatArray:
    """Return a rendered hand's vertices (778, 2) in its crop, pixels."""
    seen = (labels["vertices"] @ labels["camera_from_wrist"].T + labels["wrist_camera_m"]) @ labels["camera_matrix"].T
    return apply_affine(labels["crop_from_image"], seen[:, :2] / seen[:, 2:])
