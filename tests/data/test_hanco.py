"""HanCo's reader against a tiny download whose world, cameras and fits differ from each other."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Intrinsics
from handviz.data.datasets.annotated import AnnotatedHand
from handviz.data.datasets.cut import cut
from handviz.data.datasets.freiburg import knuckle_of, mano_from
from handviz.data.datasets.hanco import SPLITS, HanCo, open_split
from handviz.data.datasets.images import read_mask
from handviz.data.datasets.posing import keypoint_distances_mm, mano_warning, placed_vertices_m
from handviz.hand_models.mano.parameters import posed
from tests.errors import raises
from tests.fake_datasets import hanco as tiny
from tests.fake_datasets.hanco import MultiViewHand
from tests.fake_datasets.stand_in_mano import stand_in_template

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
def written() -> MultiViewHand:
    """Return the first hand of the folder."""
    return next(tiny.iter_hands(2 * COUNT + 2, 0))


@pytest.fixture
def train(root: Path) -> HanCo:
    return open_split("hanco", root, "train")


def in_camera(points_m: np.ndarray, camera_from_world: np.ndarray) -> np.ndarray:
    return (np.c_[points_m, np.ones(len(points_m))] @ camera_from_world.T)[:, :3]


def test_splits_have_their_images(root: Path) -> None:
    lengths = {split: len(open_split("hanco", root, split)) for split in SPLITS["hanco"]}
    backgrounds = {f"train_{name}": 8 * COUNT for name in ("gs", "merged", "homo", "color_auto", "color_sample", "own")}
    checked = {"train_valid": 16 * (COUNT - 1), "test_valid": 8 * (COUNT - 1)}
    assert lengths == {"train": 16 * COUNT, "test": 8 * COUNT} | backgrounds | checked


def test_fitted_hands_stand_where_they_were_drawn(train: HanCo, written: MultiViewHand) -> None:
    for index in range(8):
        hand, transform = train.hand(index), train.camera_from_world(index)
        expected = in_camera(written.vertices_m, written.camera_from_world[index])
        np.testing.assert_array_equal(transform, written.camera_from_world[index])
        np.testing.assert_allclose(placed_vertices_m(hand, stand_in_template()), expected, atol=1e-7)


def test_cut_hands_hang_on_the_fit_not_on_the_network(train: HanCo, written: MultiViewHand) -> None:
    for index in (0, 3, 7):
        hand = train.hand(index)
        labels = cut(hand, train.image(index), stand_in_template()).labels
        wrist_m = in_camera(written.wrist_m[None], written.camera_from_world[index])[0]
        np.testing.assert_allclose(labels["wrist_camera_m"], wrist_m, atol=1e-6)
        rotation = written.camera_from_world[index, :3, :3] @ written.rotation.as_matrix()
        np.testing.assert_allclose(labels["camera_from_wrist"], rotation, atol=1e-6)


def on_the_mask(dataset: HanCo) -> float:
    """Return the fraction of keypoints of the first frame that lie on a mask."""
    fractions = []
    for index in range(8):
        hand = dataset.hand(index)
        assert hand.mask is not None
        x, y = np.clip(np.floor(hand.keypoints_px).astype(int), 0, 223).T
        fractions.append((read_mask(hand.mask)[y, x] > 100).mean())
    return float(np.mean(fractions))


def world_from_camera(calibration: dict) -> None:
    calibration["M"] = np.linalg.inv(calibration["M"]).tolist()


def next_camera(calibration: dict) -> None:
    calibration["M"] = [*calibration["M"][1:], calibration["M"][0]]


def other_focal_lengths(calibration: dict) -> None:
    for matrix in calibration["K"]:
        matrix[0][0] *= 1.3


def centres_elsewhere(calibration: dict) -> None:
    for matrix in calibration["K"]:
        matrix[0][2] += 40


def test_keypoints_lie_on_the_mask(train: HanCo) -> None:
    assert on_the_mask(train) > 0.8


@pytest.mark.parametrize("spoil", [world_from_camera, next_camera, other_focal_lengths, centres_elsewhere])
def test_other_cameras_miss_the_mask(own: Path, train: HanCo, spoil: Callable[[dict], None]) -> None:
    for path in (own / "calib").glob("*/*.json"):
        change(path, spoil)
    assert on_the_mask_of_all(own) < on_the_mask(train) - 0.15


def on_the_mask_of_all(root: Path) -> float:
    """Return ``on_the_mask``, 0 if views are left out because their hand is outside the image."""
    try:
        dataset = open_split("hanco", root, "train_gs")
    except HandvizError:
        return 0.0
    return on_the_mask(dataset) if len(dataset) == 8 * COUNT else 0.0


def test_views_of_a_timed_result_stand_together(train: HanCo) -> None:
    for index in (0, 9, len(train) - 1):
        views = train.views(index)
        assert index in views
        assert [train.camera(view) for view in views] == list(range(8))
        names = {train.hand(view).name.replace(f"cam{train.camera(view)}", "") for view in views}
        assert len(names) == 1


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """Copy the download for a test that damages it."""
    return shutil.copytree(root, tmp_path / "HanCo")


def change(path: Path, of_content: Callable[[Any], object]) -> None:
    """Rewrite a JSON file with its content changed by ``of_content``."""
    content = json.loads(path.read_text())
    of_content(content)
    path.write_text(json.dumps(content))


def test_fits_of_world_and_camera_say_the_same(root: Path, written: MultiViewHand) -> None:
    """What is in the files of the cameras, which the reader takes the knuckle from alone."""
    for camera in range(8):
        numbers = np.array(json.loads((root / f"shape/0000/cam{camera}/00000000.json").read_text()))
        seen = mano_from(numbers, knuckle_of(numbers, written.matrices[camera]))
        hand = AnnotatedHand("", root, "right", Intrinsics(1, 0, 0), np.zeros((21, 2)), mano=seen)
        expected = in_camera(written.vertices_m, written.camera_from_world[camera])
        np.testing.assert_allclose(placed_vertices_m(hand, stand_in_template()), expected, atol=1e-7)


def test_fits_of_the_world_are_manos_layer(root: Path, written: MultiViewHand) -> None:
    """Turned about MANO's own wrist joint, then moved by global_t: what show_dataset.py draws."""
    world = json.loads((root / "shape/0000/00000000.json").read_text())
    assert [np.shape(world[name]) for name in ("poses", "shapes", "global_t")] == [(1, 48), (1, 10), (1, 1, 3)]
    pose, shape = np.array(world["poses"][0]), np.array(world["shapes"][0])
    canonical = posed(stand_in_template(), pose[None, 3:], shape[None])[0]
    vertices_m = Rotation.from_rotvec(pose[:3]).apply(canonical) + tiny.wrist_rest_m(shape) + world["global_t"][0][0]
    np.testing.assert_allclose(vertices_m, written.vertices_m, atol=1e-6)


def test_keypoints_are_the_networks(train: HanCo, written: MultiViewHand) -> None:
    """In our order, from the world to the camera; MANO's own joints lie elsewhere."""
    for index in range(8):
        hand = train.hand(index)
        assert hand.keypoints_m is not None
        offsets_m = hand.keypoints_m - in_camera(written.keypoints_m, written.camera_from_world[index])
        assert 0.001 < np.linalg.norm(offsets_m, axis=1).mean() < 0.01
        pixels = (hand.keypoints_m / hand.keypoints_m[:, 2:]) @ written.matrices[index].T
        np.testing.assert_allclose(hand.keypoints_px, pixels[:, :2] + 0.5, atol=1e-9)


def other_mean(numbers: list) -> list:
    return [*numbers[:3], *(np.array(numbers[3:48]) + stand_in_template().pose_mean), *numbers[48:]]


def test_conventions_of_mano_are_held_against_the_keypoints(own: Path) -> None:
    dataset = open_split("hanco", own, "train_gs")
    assert keypoint_distances_mm(dataset, stand_in_template()).max() < 8, "the network's noise alone"
    assert "are right" in mano_warning(dataset, stand_in_template())
    for path in (own / "shape").glob("*/*.json"):
        change(path, lambda shape: shape["poses"].__setitem__(0, other_mean(shape["poses"][0])))
        path.parent.touch()
    assert "another mean pose" in mano_warning(open_split("hanco", own, "train_gs"), stand_in_template())


def test_nothing_is_read_twice(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_split("hanco", own, "train").hand(3)
    monkeypatch.setattr("handviz.data.datasets.hanco_files._read_frame", lambda *_: pytest.fail("read again"))
    again = open_split("hanco", own, "train_valid").hand(3)
    assert first.name != again.name
    assert len(open_split("hanco", own, "train_gs")) == 8 * COUNT


def test_a_frame_that_came_late_is_read(own: Path) -> None:
    late = own / "xyz" / "0000" / "00000000.json"
    text = late.read_text()
    late.unlink()
    dataset = open_split("hanco", own, "train_gs")
    assert len(dataset) == 8 * (COUNT - 1)
    assert any("an annotation cannot be read" in warning for warning in dataset.warnings)
    late.write_text(text)
    assert len(open_split("hanco", own, "train_gs")) == 8 * COUNT


def nan_keypoint(keypoints: list) -> None:
    keypoints[3][1] = float("nan")


def huge_pose(shape: dict) -> None:
    shape["poses"][0][7] = 1e300


def too_many_digits(shape: dict) -> None:
    shape["poses"][0][7] = 10**400


def no_rotation(calibration: dict) -> None:
    calibration["M"][2][0] = [2.0, 0.0, 0.0, 0.0]


def seven_cameras(calibration: dict) -> None:
    calibration["K"].pop()


def no_camera(calibration: dict) -> None:
    calibration["K"][4][0][0] = -1.0


def other_names(shape: dict) -> None:
    shape["pose"] = shape.pop("poses")


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("xyz", nan_keypoint),
        ("shape", huge_pose),
        ("shape", too_many_digits),
        ("calib", no_rotation),
        ("calib", seven_cameras),
        ("calib", no_camera),
        ("shape", other_names),
    ],
)
def test_unusable_annotations_are_left_out(own: Path, file: str, spoil: Callable[[Any], None]) -> None:
    change(own / file / "0000" / "00000000.json", spoil)
    dataset = open_split("hanco", own, "train_gs")
    assert len(dataset) == 8 * (COUNT - 1)
    assert "0000/00000000.json" in " ".join(dataset.warnings)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"K": 1, "M": 2}', "<html>"])
def test_other_content_is_left_out(own: Path, text: str) -> None:
    (own / "calib" / "0000" / "00000000.json").write_text(text)
    assert len(open_split("hanco", own, "train_gs")) == 8 * (COUNT - 1)


def test_images_that_are_not_there_are_counted(own: Path) -> None:
    (own / "rgb" / "0000" / "cam5" / "00000000.jpg").unlink()
    shutil.rmtree(own / "rgb_merged" / "0000" / "cam1")
    dataset = open_split("hanco", own, "train")
    assert len(dataset) == 16 * COUNT - 2
    assert any(warning.startswith("2 samples left out, the image is missing") for warning in dataset.warnings)
    assert 5 not in [dataset.camera(view) for view in dataset.views(0)]


def test_a_hand_outside_the_image_is_left_out(own: Path) -> None:
    def look_away(calibration: dict) -> None:
        calibration["K"][6][0][2] += 1000

    change(own / "calib" / "0000" / "00000000.json", look_away)
    dataset = open_split("hanco", own, "train_gs")
    assert len(dataset) == 8 * COUNT - 1
    assert any("outside the image" in warning for warning in dataset.warnings)


def test_without_the_cameras_fit_the_wrist_holds_the_hand(own: Path, train: HanCo) -> None:
    shutil.rmtree(own / "shape" / "0000" / "cam0")
    hand, whole = open_split("hanco", own, "train").hand(2), train.hand(2)
    assert hand.mano is not None
    assert whole.mano is not None
    assert hand.mano.knuckle_m is None
    np.testing.assert_array_equal(hand.mano.global_rotation, whole.mano.global_rotation)


def test_archives_in_folders_of_their_own_are_found(own: Path) -> None:
    for archive, names in {"HanCo_calib_meta": ("calib", "meta.json"), "HanCo_rgb": ("rgb",)}.items():
        (own / archive).mkdir()
        for name in names:
            shutil.move(own / name, own / archive / name)
    assert len(open_split("hanco", own, "train_gs")) == 8 * COUNT


@pytest.mark.parametrize(
    ("missing", "archive"),
    [
        ("meta.json", "HanCo_calib_meta"),
        ("calib", "HanCo_calib_meta"),
        ("xyz", "HanCo_xyz"),
        ("shape", "HanCo_shape"),
        ("rgb", "HanCo_rgb"),
        ("rgb_merged", "HanCo_rgb_merged"),
    ],
)
def test_what_is_missing_is_named(own: Path, missing: str, archive: str) -> None:
    path = own / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with raises(ErrorCode.FILE_MISSING, match=rf"{missing} is missing: download {archive}\.zip"):
        open_split("hanco", own, "train")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"is_train": [[true]], "is_valid": [[true]], "has_fit": [[]]}'])
def test_a_damaged_meta_file_is_a_message(own: Path, text: str) -> None:
    (own / "meta.json").write_text(text)
    with raises(ErrorCode.FILE_DAMAGED, match=r"meta\.json"):
        open_split("hanco", own, "train")


def test_without_a_mask_no_background_is_replaced(own: Path) -> None:
    shutil.rmtree(own / "mask_hand")
    assert open_split("hanco", own, "train").hand(0).mask is None
    with raises(ErrorCode.FILE_MISSING, match="mask_hand is missing"):
        open_split("hanco", own, "train_own")


def test_moments_are_frames_before_a_background(train: HanCo) -> None:
    numbers = train.moments()
    assert np.bincount(numbers).tolist() == [8] * 2 * COUNT
    for index in (0, 9, len(train) - 1):
        np.testing.assert_array_equal(train.views(index), np.flatnonzero(numbers == numbers[index]))
