"""HanCo's reader against a tiny download whose world, cameras and fits differ from each other."""

from pathlib import Path

import numpy as np
import pytest

from handviz.data.real.hanco import SPLITS, HanCo, open_split
from handviz.data.real.pictures import read_mask
from handviz.data.real.posing import placed_vertices_m
from handviz.data.tiny import hanco as tiny
from handviz.data.tiny.hanco import Moment
from handviz.data.tiny.stand_in_mano import stand_in_template

COUNT = 2


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HANDVIZ_DATASET_CACHE", str(tmp_path / "kept"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("HanCo")
    tiny.write("hanco", folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def moment() -> Moment:
    """The first one that the folder has."""
    return next(tiny.iter_moments(2 * COUNT + 2, 0))


@pytest.fixture
def train(root: Path) -> HanCo:
    return open_split("hanco", root, "train")


def in_camera(points_m: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
    return (np.c_[points_m, np.ones(len(points_m))] @ camera_from_world.T)[:, :3]


def test_splits_have_their_pictures(root: Path) -> None:
    lengths = {split: len(open_split("hanco", root, split)) for split in SPLITS["hanco"]}
    backgrounds = {f"train_{name}": 8 * COUNT for name in ("gs", "merged", "homo", "color_auto", "color_sample", "own")}
    checked = {"train_valid": 16 * (COUNT - 1), "test_valid": 8 * (COUNT - 1)}
    assert lengths == {"train": 16 * COUNT, "test": 8 * COUNT} | backgrounds | checked


def test_fitted_hands_stand_where_they_were_drawn(train: HanCo, moment: Moment) -> None:
    for index in range(8):
        hand, transform = train.hand(index), train.camera_from_world(index)
        expected = in_camera(moment.vertices_m, moment.camera_from_world[index])
        np.testing.assert_array_equal(transform, moment.camera_from_world[index])
        np.testing.assert_allclose(placed_vertices_m(hand, stand_in_template()), expected, atol=1e-7)


def test_keypoints_lie_on_the_mask(train: HanCo) -> None:
    shares = []
    for index in range(8):
        hand = train.hand(index)
        assert hand.mask is not None
        x, y = np.floor(hand.keypoints_px).astype(int).T
        shares.append((read_mask(hand.mask)[y, x] > 100).mean())
    assert np.mean(shares) > 0.8


def test_views_of_a_moment_stand_together(train: HanCo) -> None:
    for index in (0, 9, len(train) - 1):
        views = train.views(index)
        assert index in views
        assert [train.camera(view) for view in views] == list(range(8))
        names = {train.hand(view).name.replace(f"cam{train.camera(view)}", "") for view in views}
        assert len(names) == 1
