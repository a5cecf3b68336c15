"""STB is read as its authors and users do: cameras, order, side, the wrist behind the palm."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import loadmat, savemat

from handviz.core.errors import ErrorCode
from handviz.data.datasets.registry import splits
from handviz.data.datasets.stb import OFFICIAL_COUNTS, open_split
from tests.errors import raises
from tests.fake_datasets import stb as tiny
from tests.fake_datasets.hands import tiny_hands

COUNT = 3
CLIP = {"train": "B2Counting", "test": "B1Random"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("STB")
    tiny.write("stb", folder, COUNT, seed=2)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """Write a download to be damaged."""
    return Path(shutil.copytree(root, tmp_path / "STB"))


def change_labels(root: Path, change: Callable[[np.ndarray], np.ndarray], kind: str = "BB") -> None:
    path = root / "labels" / f"B1Random_{kind}.mat"
    savemat(path, {"handPara": change(loadmat(path)["handPara"])}, do_compression=True)


@pytest.mark.parametrize("split", splits("stb"))
def test_every_camera_sees_the_hand_where_it_was_drawn(root: Path, split: str) -> None:
    """The projection is OpenCV's; the drawing is of the mesh, in pixels whose centres lie at whole numbers."""
    hands = open_split("stb", root, split)
    part = split.partition("_")[0]
    truths = list(tiny_hands(COUNT, seed=2 + (part == "test"), size=tiny.SIZE, sides=("left",)))
    assert len(hands) == COUNT * (2 if split.endswith("stereo") else 1)
    assert (hands.name, hands.split, hands.tip_vertices) == ("stb", split, None)
    for index in range(len(hands)):
        hand = hands.hand(index)
        clip, camera, number = hand.name.split("/")
        assert (hand.handedness, clip) == ("left", CLIP[part])
        expected_m = tiny.keypoints_of(truths[int(number)])
        if camera == "BB_right":
            expected_m = expected_m - [0.120054, 0, 0]
        assert hand.keypoints_m is not None
        np.testing.assert_allclose(hand.keypoints_m, expected_m, atol=1e-9)
        matrix = tiny.REALSENSE if camera == "SK_color" else tiny.BUMBLEBEE
        pixels = cv2.projectPoints(expected_m, np.zeros(3), np.zeros(3), matrix, None)[0][:, 0]
        np.testing.assert_allclose(hand.keypoints_px, pixels + 0.5, atol=1e-6)
        image = hands.image(index)
        assert image.shape == (480, 640, 3)
        x, y = np.floor(hand.keypoints_px).astype(int).T
        assert (image[y, x] != tiny.WALL).any(axis=1).mean() > 0.8
        assert (hand.vertices_m, hand.mano, hand.mask, hand.keypoint_visible) == (None, None, None, None)


def test_counts_are_those_of_the_field() -> None:
    assert {split: OFFICIAL_COUNTS["stb", split] for split in splits("stb")} == {
        "train": 15_000,
        "train_stereo": 30_000,
        "train_sk": 15_000,
        "test": 3_000,
        "test_stereo": 6_000,
        "test_sk": 3_000,
    }


def test_missing_sequences_are_warned_of_and_a_folder_of_images_may_lack(copy: Path) -> None:
    assert "9 of 10 sequences are missing" in open_split("stb", copy, "train").warnings[0]
    for sequence in CLIP.values():
        shutil.move(copy / "images" / sequence, copy / sequence)
    (copy / "images").rmdir()
    assert len(open_split("stb", copy, "test")) == COUNT


def number(place: tuple[int, int, int], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def changed(points: np.ndarray) -> np.ndarray:
        points[place] = value
        return points

    return changed


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: (root / "images" / "B1Random" / "BB_left_0.png").unlink(), "the image is missing"),
        (lambda root: change_labels(root, number((0, 4, 0), np.nan)), "cannot be of a hand in millimetres"),
        (lambda root: change_labels(root, number((1, 4, 0), np.inf)), "cannot be of a hand in millimetres"),
        (lambda root: change_labels(root, number((2, 4, 0), -500.0)), "cannot be of a hand in millimetres"),
        (lambda root: change_labels(root, number((2, 4, 0), 0.5)), "cannot be of a hand in millimetres"),
        (lambda root: change_labels(root, number((0, 4, 0), 1e300)), "cannot be of a hand in millimetres"),
    ],
)
def test_bad_frames_are_counted_and_named(copy: Path, damage: Callable[[Path], Any], words: str) -> None:
    damage(copy)
    hands = open_split("stb", copy, "test")
    assert [hands.hand(index).name for index in range(len(hands))] == [f"B1Random/BB_left/000{row}" for row in (1, 2)]
    assert hands.warnings[-1].startswith(f"1 sample left out, {words}" if "image" in words else "1 sample left out")
    assert words in hands.warnings[-1]
    assert "BB_left_0.png" in hands.warnings[-1]


def test_a_hand_outside_the_image_is_left_out(copy: Path) -> None:
    def aside(points: np.ndarray) -> np.ndarray:
        points[0, :, 0] += 3000
        return points

    change_labels(copy, aside)
    hands = open_split("stb", copy, "test")
    assert len(hands) == COUNT - 1
    assert "the hand is outside the image" in hands.warnings[-1]


def test_images_that_the_labels_do_not_reach_are_named(copy: Path) -> None:
    change_labels(copy, lambda points: points[..., :2])
    hands = open_split("stb", copy, "test")
    assert len(hands) == 2
    assert "1 sample left out, the labels do not reach the image" in hands.warnings[-1]
    assert "BB_left_2.png" in hands.warnings[-1]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda root: shutil.rmtree(root / "labels"), "labels is missing"),
        (lambda root: shutil.rmtree(root / "images"), "B1Counting is missing"),
        (lambda root: (root / "labels" / "B1Random_BB.mat").unlink(), "B1Random_BB.mat cannot be read"),
        (lambda root: (root / "labels" / "B1Random_BB.mat").write_bytes(b"MATLAB"), "no MAT file"),
        (lambda root: change_labels(root, lambda points: points[:, :20]), "expected \\(3, 21, 1500\\)"),
        (lambda root: change_labels(root, lambda points: points.transpose(1, 0, 2)), "expected \\(3, 21, 1500\\)"),
        (lambda root: change_labels(root, lambda points: points[0]), "expected \\(3, 21, 1500\\)"),
        (lambda root: change_labels(root, lambda points: points[..., :0]), "expected \\(3, 21, 1500\\)"),
        (lambda root: change_labels(root, lambda points: points / 1000), "No image of STB's test is usable"),
    ],
)
def test_a_download_that_is_not_whole_stops_with_a_message(
    copy: Path, damage: Callable[[Path], Any], words: str
) -> None:
    damage(copy)
    with raises(ErrorCode.EMPTY_INPUT, ErrorCode.FILE_DAMAGED, ErrorCode.FILE_MISSING, match=words):
        open_split("stb", copy, "test")


def test_another_split_is_named(root: Path) -> None:
    with raises(ErrorCode.UNKNOWN_NAME, match="train, train_stereo"):
        open_split("stb", root, "evaluation")
