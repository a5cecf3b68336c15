"""HanCo and DexYCB as rigs: their cameras see the annotated hands as one."""

from pathlib import Path

import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.multiview import CalibratedView, ViewHand, check_views
from handviz.data.datasets.annotated import MultiViewDataset
from handviz.data.datasets.registry import open_dataset
from handviz.data.datasets.rigs import DatasetRig, open_rig
from tests.errors import raises
from tests.fake_datasets import dexycb, hanco


def spec_of(name: str, folder: Path) -> str:
    """Write a small download; return the spec of a split with two moments or more."""
    if name == "hanco":
        hanco.write(name, folder, 1)
        return f"hanco/test:{folder}"
    dexycb.write_moments(folder, 2, seed=3)
    return f"dexycb/s0_train:{folder}"


@pytest.mark.parametrize("name", ["hanco", "dexycb"])
def test_the_annotated_hands_of_a_moment_fit_through_its_cameras(name: str, tmp_path: Path) -> None:
    spec = spec_of(name, tmp_path)
    source, dataset = open_rig(spec), open_dataset(spec)
    assert isinstance(source, DatasetRig)
    assert isinstance(dataset, MultiViewDataset)
    found = list(source.moments())
    assert (len(found), source.is_clip) == (source.count, False)
    assert sum(len(moment.views) for moment in found) == len(dataset)
    moment = found[0]
    assert [view.name for view in moment.views] == [f"cam{number}" for number in range(8)]
    hands = []
    for view in moment.views:
        hand = dataset.hand(view.frame.number)
        np.testing.assert_array_equal(view.frame.image, dataset.image(view.frame.number))
        assert (view.file, view.camera.intrinsics) == (hand.name, hand.intrinsics)
        hands.append(ViewHand(view.name, view.camera, hand.keypoints_px, hand.handedness))
    check = check_views(hands)
    assert check.left_out == ()
    assert check.keypoints_m is not None
    first = dataset.hand(moment.views[0].frame.number)
    assert first.keypoints_m is not None
    in_camera = moment.views[0].camera.in_camera(check.keypoints_m)
    assert np.linalg.norm(in_camera - first.keypoints_m, axis=1).max() < 2e-4
    wrong = ViewHand("cam8", CalibratedView(hands[0].camera.intrinsics, np.eye(4)), hands[0].keypoints_px)
    assert [left.name for left in check_views([*hands[:4], wrong]).left_out] == ["cam8"]


def test_an_image_that_is_damaged_leaves_its_camera_out(tmp_path: Path) -> None:
    source = DatasetRig(spec_of("dexycb", tmp_path))
    next(tmp_path.rglob("839512060362/color_*.jpg")).write_bytes(b"no image")
    left = [(left.name, left.kind) for moment in source.moments() for left in moment.left_out]
    assert left == [("cam1", "unreadable")]


def test_other_datasets_and_files_are_told_apart(tmp_path: Path) -> None:
    with raises(ErrorCode.UNKNOWN_NAME):
        open_rig(f"hanco/none:{tmp_path}")
    with raises(ErrorCode.FILE_MISSING):
        open_rig(str(tmp_path / "RIG.json"))
