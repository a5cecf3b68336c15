"""HO-3D is read as its authors write it; whoever forgets a flip, an order or half a pixel is seen."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handviz.data.real import ho3d as reader
from handviz.data.real.ho3d import KEYPOINTS_FROM_HO3D, OPENGL, open_split
from handviz.data.tiny import ho3d as tiny
from handviz.data.tiny.stand_in_mano import stand_in_template
from handviz.geometry import project_points, rotation_from_axis_angle
from handviz.hand_model.mano_parameters import posed, template_pose

COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("HO3D_v2")
    tiny.write("ho3d_v2", folder, COUNT, seed=5)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A download to be spoilt."""
    return Path(shutil.copytree(root, tmp_path / "HO3D_v2"))


def change_meta(root: Path, line: str, change: Callable[[dict[str, Any]], object], split: str = "train") -> None:
    path = root / split / line.split("/")[0] / "meta" / f"{line.split('/')[1]}.pkl"
    meta = pickle.loads(path.read_bytes())
    change(meta)
    path.write_bytes(pickle.dumps(meta, protocol=2))


def first_line(root: Path, split: str = "train") -> str:
    return (root / f"{split}.txt").read_text().splitlines()[0]


def test_both_splits_are_whole(root: Path) -> None:
    for split in ("train", "evaluation"):
        hands = open_split("ho3d_v2", root, split)
        assert (len(hands), hands.name, hands.split, list(hands.remarks)) == (COUNT, "ho3d_v2", split, [])
        names = [hands.hand(index).name for index in range(COUNT)]
        assert names == (root / f"{split}.txt").read_text().split()
        assert hands.picture(0).shape == (480, 640, 3)
        assert {hands.hand(index).handedness for index in range(COUNT)} == {"right"}


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_values_are_those_that_were_rendered(root: Path, split: str) -> None:
    seed = 5 + ["train", "evaluation"].index(split)
    hands = open_split("ho3d_v2", root, split)
    for index, truth in enumerate(tiny.tiny_hands(COUNT, seed=seed, size=tiny.SIZE)):
        hand = hands.hand(index)
        np.testing.assert_array_equal(hands.picture(index), truth.picture)
        np.testing.assert_allclose(hand.intrinsics.matrix, truth.intrinsics.matrix, atol=1e-3)
        assert hand.keypoints_m is not None
        np.testing.assert_allclose(
            hand.keypoints_m[[0, 1, 5, 9, 13, 17]], truth.joints_m[[0, 13, 1, 4, 10, 7]], atol=1e-6
        )
        tips = truth.vertices_m[list(hands.tip_vertices)]
        np.testing.assert_allclose(hand.keypoints_m[4::4], tips, atol=1e-6)
        np.testing.assert_allclose(hand.keypoints_px, project_points(hand.keypoints_m, truth.intrinsics), atol=0.01)
        if split == "evaluation":
            np.testing.assert_allclose(hand.vertices_m, truth.vertices_m, atol=1e-6)


def disagreement_m(hands: reader.Ho3d) -> float:
    """The largest distance between tips of vertices that are posed from MANO's numbers, and annotated tips."""
    template, errors = stand_in_template(), []
    for index in range(len(hands)):
        hand = hands.hand(index)
        assert hand.mano is not None
        assert hand.keypoints_m is not None
        pose = template_pose(hand.mano, template)
        canonical = posed(template, pose[None], hand.mano.shape[None])[0]
        vertices = canonical @ rotation_from_axis_angle(hand.mano.global_rotation).T + hand.keypoints_m[0]
        errors.append(np.linalg.norm(vertices[list(hands.tip_vertices)] - hand.keypoints_m[4::4], axis=1).max())
    return float(max(errors))


def test_vertices_from_mano_agree_with_the_keypoints(root: Path) -> None:
    assert disagreement_m(open_split("ho3d_v2", root, "train")) < 1e-5


def forget_flip(meta: dict[str, Any]) -> None:
    meta["handJoints3D"] = meta["handJoints3D"] * OPENGL


def mean_pose_convention(meta: dict[str, Any]) -> None:
    meta["handPose"][3:] -= stand_in_template().pose_mean


def our_order(meta: dict[str, Any]) -> None:
    meta["handJoints3D"] = meta["handJoints3D"][list(KEYPOINTS_FROM_HO3D)]


def millimetres(meta: dict[str, Any]) -> None:
    meta["handJoints3D"] = meta["handJoints3D"] * 1000


def turn_in_our_axes(meta: dict[str, Any]) -> None:
    rotation = np.diag(OPENGL) @ cv2.Rodrigues(meta["handPose"][:3])[0]
    meta["handPose"][:3] = cv2.Rodrigues(rotation)[0].ravel()


@pytest.mark.parametrize("mistake", [forget_flip, mean_pose_convention, our_order, millimetres, turn_in_our_axes])
def test_a_download_in_another_convention_is_seen(copy: Path, mistake: Callable[[dict[str, Any]], None]) -> None:
    for line in (copy / "train.txt").read_text().split():
        change_meta(copy, line, mistake)
    assert disagreement_m(open_split("ho3d_v2", copy, "train")) > 0.01
