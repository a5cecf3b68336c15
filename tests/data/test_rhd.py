"""RHD is read as its authors do; whoever forgets an order, a side or half a pixel is seen."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.geometry import project_points
from handviz.data.datasets.rhd import LIMITS, Rhd, open_split
from tests.errors import raises
from tests.fake_datasets import rhd as tiny
from tests.fake_datasets.hands import tiny_hands

COUNT = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("RHD")
    tiny.write("rhd", folder, COUNT, seed=3)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """Write a download to be damaged; return its evaluation folder."""
    shutil.copytree(root, tmp_path / "RHD")
    return tmp_path / "RHD" / tiny.FOLDER / "evaluation"


def opened(folder: Path) -> Rhd:
    return open_split("rhd", folder.parent, "evaluation")


def change(folder: Path, how: Callable[[dict[int, dict[str, Any]]], object]) -> None:
    path = folder / "anno_evaluation.pickle"
    annotations = pickle.loads(path.read_bytes())
    how(annotations)
    tiny.write_pickle(path, annotations)


def test_values_are_those_that_were_rendered(root: Path) -> None:
    for number, split in enumerate(("training", "evaluation")):
        hands = open_split("rhd", root, split)
        assert (len(hands), hands.name, hands.split, list(hands.warnings)) == (COUNT, "rhd", split, [])
        assert hands.tip_vertices is None
        truths = tiny_hands(COUNT, seed=3 + number, size=tiny.SIZE, sides=("right", "left"))
        for index, truth in enumerate(truths):
            hand = hands.hand(index)
            assert (hand.name, hand.handedness) == (f"{index:05d}", truth.handedness)
            np.testing.assert_array_equal(hands.image(index), truth.image)
            np.testing.assert_allclose(hand.intrinsics.matrix, truth.intrinsics.matrix)
            assert hand.keypoints_m is not None
            np.testing.assert_allclose(hand.keypoints_m, tiny.keypoints_of(truth))
            np.testing.assert_allclose(hand.keypoints_px, project_points(hand.keypoints_m, truth.intrinsics))
            # The file's fourth row is hidden: the thumb's second joint.
            assert hand.keypoint_visible is not None
            assert np.flatnonzero(~hand.keypoint_visible).tolist() == [2]
            assert (hand.vertices_m, hand.mano, hand.mask) == (None, None, None)


@pytest.mark.parametrize("folder", ["", tiny.FOLDER])
def test_the_archive_and_its_folder_open(root: Path, folder: str) -> None:
    assert len(open_split("rhd", root / folder, "training")) == COUNT


def test_the_hand_with_more_pixels_in_the_mask_is_taken_the_right_one_of_two_alike(copy: Path) -> None:
    for name, left, right in (("00000", 60, 50), ("00001", 50, 60), ("00002", 50, 50)):
        mask = np.zeros((320, 320), np.uint8)
        mask[:, :left], mask[:, 100 : 100 + right] = 17, 18
        mask[:, 300:] = 1
        tiny.write_png(copy / "mask" / f"{name}.png", mask)

    def both_shown(annotations: dict[int, dict[str, Any]]) -> None:
        for number, record in annotations.items():
            shown = record["xyz"][21:] if number % 2 == 0 else record["xyz"][:21]
            record["xyz"] = np.concatenate([shown, shown])

    change(copy, both_shown)
    hands = opened(copy)
    assert [hands.hand(index).handedness for index in range(3)] == ["left", "right", "right"]


class Bomb:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('it was run')",))


def with_value(key: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, lambda annotations: annotations[0].update({key: value}))


def spoiled(key: str, place: Any, value: float) -> Callable[[Path], None]:
    def spoil(annotations: dict[int, dict[str, Any]]) -> None:
        annotations[0][key][place] = value

    return lambda folder: change(folder, spoil)


def grown_mask(folder: Path) -> None:
    tiny.write_png(folder / "mask" / "00000.png", np.full((320, 320), 34, np.uint8))


def empty_mask(folder: Path) -> None:
    tiny.write_png(folder / "mask" / "00000.png", np.ones((320, 320), np.uint8))


def other_size(folder: Path) -> None:
    tiny.write_png(folder / "mask" / "00000.png", np.full((32, 32), 20, np.uint8))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "color" / "00000.png").unlink(), "the image is missing"),
        (lambda folder: (folder / "mask" / "00000.png").unlink(), "the mask is missing"),
        (lambda folder: (folder / "mask" / "00000.png").write_bytes(b"x"), "the mask cannot be read"),
        (grown_mask, "other numbers than those of parts"),
        (empty_mask, "no hand is to be seen"),
        (other_size, "the mask cannot be read"),
        (with_value("xyz", np.zeros((41, 3))), "expected (42, 3)"),
        (with_value("xyz", np.array([["a"] * 3] * 42)), "not plain numbers"),
        (with_value("K", "text"), "it is a str"),
        (with_value("uv_vis", None), "it is a NoneType"),
        (lambda folder: change(folder, lambda all_of: all_of[0].pop("K")), "not RHD's: 0"),
        (lambda folder: change(folder, lambda all_of: all_of.update({0: [1, 2]})), "not RHD's: 0"),
        (spoiled("xyz", (24, 1), np.nan), "cannot be of a hand in metres"),
        (spoiled("xyz", (24, 2), -0.3), "cannot be of a hand in metres"),
        (spoiled("xyz", (24, 0), 1e30), "cannot be of a hand in metres"),
        (spoiled("uv_vis", (24, 0), np.inf), "cannot be of a hand in metres"),
        (spoiled("K", (0, 0), 0.0), "K is not a camera's"),
        (spoiled("K", (0, 2), np.nan), "K is not a camera's"),
        (spoiled("K", (0, 2), -5000.0), "outside the image"),
    ],
)
def test_bad_annotations_are_counted_and_named(copy: Path, damage: Callable[[Path], Any], words: str) -> None:
    """The first image shows a right hand."""
    damage(copy)
    hands = opened(copy)
    assert [hands.hand(index).name for index in range(len(hands))] == ["00001", "00002", "00003"]
    (warning,) = hands.warnings
    assert warning.startswith("1 sample left out")
    assert words in warning


def test_an_image_without_an_annotation_is_named(copy: Path) -> None:
    shutil.copy(copy / "color" / "00000.png", copy / "color" / "00009.png")
    hands = opened(copy)
    assert len(hands) == COUNT
    assert "1 sample left out, the image has no annotation" in hands.warnings[0]
    assert "00009.png" in hands.warnings[0]


def millimetres(annotations: dict[int, dict[str, Any]]) -> None:
    for record in annotations.values():
        record["xyz"] *= 1000


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "anno_evaluation.pickle").unlink(), "anno_evaluation.pickle is missing"),
        (lambda folder: shutil.rmtree(folder / "mask"), "mask is missing"),
        (lambda folder: shutil.rmtree(folder / "color"), "color is missing"),
        (lambda folder: truncate(folder, 0), "damaged"),
        (lambda folder: truncate(folder, 999), "damaged"),
        (lambda folder: change(folder, lambda all_of: all_of.clear()), "not RHD's"),
        (lambda folder: change(folder, lambda all_of: all_of.update({"a": 1})), "not RHD's"),
        (lambda folder: change(folder, lambda all_of: all_of.update({-1: 1})), "not RHD's"),
        (lambda folder: change(folder, lambda all_of: all_of.update({10**9: 1})), "not RHD's"),
        (lambda folder: change(folder, lambda all_of: all_of.update({True: 1, 1.5: 2})), "not RHD's"),
        (lambda folder: change(folder, lambda all_of: all_of.update({7: Bomb()})), "exec, .* it was not run"),
        (lambda folder: tiny.write_pickle(folder / "anno_evaluation.pickle", [1, 2]), "expected a dictionary"),
        (lambda folder: change(folder, millimetres), "No image of RHD's evaluation is usable"),
    ],
)
def test_a_download_that_is_not_whole_stops_with_a_message(
    copy: Path, damage: Callable[[Path], Any], words: str
) -> None:
    damage(copy)
    codes = (ErrorCode.EMPTY_INPUT, ErrorCode.FILE_DAMAGED, ErrorCode.FILE_MISSING, ErrorCode.UNSAFE_FILE)
    with raises(*codes, match=words):
        opened(copy)


def truncate(folder: Path, size: int) -> None:
    path = folder / "anno_evaluation.pickle"
    path.write_bytes(path.read_bytes()[:size])


def test_a_pickle_that_is_far_too_large_is_not_read(copy: Path) -> None:
    with (copy / "anno_evaluation.pickle").open("wb") as file:
        file.truncate(LIMITS.file_bytes + 1)
    with raises(ErrorCode.TOO_LARGE):
        opened(copy)


def test_a_shape_that_promises_more_than_the_bytes_hold_leaves_the_image_out(copy: Path) -> None:
    path = copy / "anno_evaluation.pickle"
    content = path.read_bytes()
    # The shape (42, 3) as the pickle writes it, once.
    assert content.count(b"K*K\x03\x86") >= 1
    path.write_bytes(content.replace(b"K*K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86", 1))
    hands = opened(copy)
    assert len(hands) == COUNT - 1
    assert "do not make up the shape" in hands.warnings[0]


def test_cameras_of_other_images_are_suspected(copy: Path) -> None:
    def zoom(annotations: dict[int, dict[str, Any]]) -> None:
        for record in annotations.values():
            record["K"][0, 0] *= 1.2

    change(copy, zoom)
    assert "pixels from where the annotations have them" in opened(copy).warnings[-1]


def test_annotations_are_cached_until_the_file_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(copy)
    reads = []
    real = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: reads.append(1) or real(*arguments))
    assert len(opened(copy)) == COUNT
    assert not reads
    change(copy, lambda annotations: annotations.pop(3))
    (copy / "color" / "00003.png").unlink()
    assert len(opened(copy)) == COUNT - 1


def test_another_split_is_named(root: Path) -> None:
    with raises(ErrorCode.UNKNOWN_NAME, match="training, evaluation"):
        open_split("rhd", root, "test")
