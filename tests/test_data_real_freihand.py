"""FreiHAND's reader against a tiny download whose every convention shows if it is taken for another."""

from pathlib import Path

import numpy as np
import pytest

from handviz.data.real.freihand import SPLITS, FreiHand, open_split
from handviz.data.real.pictures import read_mask
from handviz.data.real.posing import agreement
from handviz.data.tiny import freihand as tiny
from handviz.data.tiny.stand_in_mano import stand_in_template

COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("FreiHAND")
    tiny.write("freihand", folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def training(root: Path) -> FreiHand:
    return open_split("freihand", root, "training")


def test_splits_have_their_pictures(root: Path) -> None:
    lengths = {split: len(open_split("freihand", root, split)) for split in SPLITS["freihand"]}
    assert lengths == {"training": 4 * COUNT, "evaluation": COUNT} | {
        f"training_{version}": COUNT for version in ("gs", "hom", "sample", "auto")
    }


def test_keypoints_lie_on_the_mask(training: FreiHand) -> None:
    for index in range(len(training)):
        hand = training.hand(index)
        assert hand.mask is not None
        mask = read_mask(hand.mask)
        x, y = np.floor(hand.keypoints_px).astype(int).T
        assert (mask[y, x] > 100).mean() > 0.8


def test_parameters_give_the_vertices(root: Path, training: FreiHand) -> None:
    for dataset in (training, open_split("freihand", root, "evaluation")):
        assert agreement(dataset, stand_in_template()).distance_mm.max() < 0.01
