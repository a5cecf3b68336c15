"""HO-3D is read as its authors write it; whoever forgets a flip, an order or half a pixel is seen."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from handviz.core.errors import ErrorCode
from handviz.core.geometry import project_points, rotation_from_axis_angle
from handviz.data.datasets import ho3d as reader
from handviz.data.datasets.ho3d import KEYPOINTS_FROM_HO3D, OPENGL, open_split
from handviz.hand_models.mano.parameters import posed, template_pose
from tests.errors import raises
from tests.fake_datasets import ho3d as tiny
from tests.fake_datasets.stand_in_mano import stand_in_template

COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("HO3D_v2")
    tiny.write("ho3d_v2", folder, COUNT, seed=5)
    return folder


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """Write a download to be damaged."""
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
        assert (len(hands), hands.name, hands.split, list(hands.warnings)) == (COUNT, "ho3d_v2", split, [])
        names = [hands.hand(index).name for index in range(COUNT)]
        assert names == (root / f"{split}.txt").read_text().split()
        assert hands.image(0).shape == (480, 640, 3)
        assert {hands.hand(index).handedness for index in range(COUNT)} == {"right"}


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_values_are_those_that_were_rendered(root: Path, split: str) -> None:
    seed = 5 + ["train", "evaluation"].index(split)
    hands = open_split("ho3d_v2", root, split)
    for index, truth in enumerate(tiny.tiny_hands(COUNT, seed=seed, size=tiny.SIZE)):
        hand = hands.hand(index)
        np.testing.assert_array_equal(hands.image(index), truth.image)
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
    """Return the largest distance between fingertips posed from MANO's numbers and annotated ones."""
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


def rotation_in_our_axes(meta: dict[str, Any]) -> None:
    rotation = np.diag(OPENGL) @ cv2.Rodrigues(meta["handPose"][:3])[0]
    meta["handPose"][:3] = cv2.Rodrigues(rotation)[0].ravel()


@pytest.mark.parametrize("mistake", [forget_flip, mean_pose_convention, our_order, millimetres, rotation_in_our_axes])
def test_a_download_in_another_convention_is_seen(copy: Path, mistake: Callable[[dict[str, Any]], None]) -> None:
    for line in (copy / "train.txt").read_text().split():
        change_meta(copy, line, mistake)
    assert disagreement_m(open_split("ho3d_v2", copy, "train")) > 0.01


class Bomb:
    """What a pickle could run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('it was run')",))


def no_number(meta: dict[str, Any]) -> None:
    meta["handJoints3D"][3, 1] = np.nan


def of_another_shape(meta: dict[str, Any]) -> None:
    meta["handPose"] = meta["handPose"][:45]


def text(meta: dict[str, Any]) -> None:
    meta["camMat"] = "600 0 320"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root, line: change_meta(root, line, lambda meta: meta.update(handPose=None)), "not annotated"),
        (
            lambda root, line: change_meta(root, line, lambda meta: meta.update(bomb=Bomb())),
            "exec, which a file of numbers does not need; it was not run",
        ),
        (lambda root, line: change_meta(root, line, lambda meta: meta.pop("handBeta")), "has no handBeta"),
        (lambda root, line: change_meta(root, line, no_number), "numbers that are not finite"),
        (lambda root, line: change_meta(root, line, of_another_shape), "expected (48,)"),
        (lambda root, line: change_meta(root, line, text), "it is a str"),
        (lambda root, line: meta_file(root, line).write_bytes(meta_file(root, line).read_bytes()[:99]), "damaged"),
        (lambda root, line: meta_file(root, line).write_bytes(b""), "damaged"),
        (lambda root, line: meta_file(root, line).unlink(), "annotation missing"),
        (lambda root, line: image_file(root, line).unlink(), "image missing"),
    ],
)
def test_bad_annotations_are_counted_and_named(copy: Path, change: Callable[[Path, str], Any], words: str) -> None:
    line = first_line(copy)
    change(copy, line)
    hands = open_split("ho3d_v2", copy, "train")
    assert [hands.hand(index).name for index in range(len(hands))] == (copy / "train.txt").read_text().split()[1:]
    (warning,) = hands.warnings
    assert warning.startswith("1 sample left out")
    assert words in warning
    assert line.split("/")[1] in warning


def meta_file(root: Path, line: str, split: str = "train") -> Path:
    return root / split / line.split("/")[0] / "meta" / f"{line.split('/')[1]}.pkl"


def image_file(root: Path, line: str, split: str = "train") -> Path:
    return root / split / line.split("/")[0] / "rgb" / f"{line.split('/')[1]}.png"


def test_a_frame_without_annotation_that_the_list_names_is_left_out(copy: Path) -> None:
    sequence = first_line(copy).split("/")[0]
    with (copy / "train.txt").open("a") as file:
        file.write(f"{sequence}/{tiny.WITHOUT_ANNOTATION}\n")
    hands = open_split("ho3d_v2", copy, "train")
    assert len(hands) == COUNT
    assert "1 sample left out, not annotated" in hands.warnings[0]


def test_a_left_out_image_does_not_shift_the_ground_truth(copy: Path) -> None:
    whole = open_split("ho3d_v2", copy, "evaluation")
    expected = whole.hand(1).keypoints_m
    image_file(copy, first_line(copy, "evaluation"), "evaluation").unlink()
    rest = open_split("ho3d_v2", copy, "evaluation")
    assert len(rest) == COUNT - 1
    np.testing.assert_array_equal(rest.hand(0).keypoints_m, expected)


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e30, -1e300, 5e5])
@pytest.mark.parametrize("file", ["evaluation_xyz.json", "evaluation_verts.json"])
def test_truth_that_is_no_hand_is_left_out(copy: Path, number: float, file: str) -> None:
    def spoil(lists: list[list[list[float]]]) -> list[list[list[float]]]:
        lists[0][3][1] = number
        return lists

    expected = open_split("ho3d_v2", copy, "evaluation").hand(1).keypoints_m
    rewrite(copy / file, spoil)
    rest = open_split("ho3d_v2", copy, "evaluation")
    assert len(rest) == COUNT - 1
    np.testing.assert_array_equal(rest.hand(0).keypoints_m, expected)
    assert "1 sample left out, released ground truth that is no hand" in rest.warnings[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda root: shutil.rmtree(root / "train"), "train is missing"),
        (lambda root: (root / "train.txt").unlink(), "train.txt is missing"),
        (lambda root: (root / "train.txt").write_text("../../etc/passwd\n"), "is not SEQUENCE/NUMBER"),
        (lambda root: (root / "train.txt").write_text("ABF10/0007\n" * 2), "more than once"),
        (lambda root: (root / "train.txt").write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda root: (root / "train.txt").write_text("Nowhere/0001\n"), "nothing of ho3d_v2/train can be used"),
        (lambda root: (root / "evaluation_xyz.json").unlink(), "evaluation_xyz.json is missing"),
        (lambda root: (root / "evaluation_xyz.json").write_text("[[1"), "evaluation_xyz.json is cut off"),
        (lambda root: rewrite(root / "evaluation_xyz.json", lambda lists: lists[:-1]), "different versions"),
        (lambda root: rewrite(root / "evaluation_verts.json", lambda lists: lists[:-1]), "different versions"),
        (lambda root: rewrite(root / "evaluation_xyz.json", lambda lists: lists[::-1]), "another version's"),
        (lambda root: rewrite(root / "evaluation_verts.json", lambda lists: [a[:5] for a in lists]), "cut off"),
    ],
)
def test_a_download_that_is_not_whole_stops_with_a_message(
    copy: Path, change: Callable[[Path], Any], words: str
) -> None:
    change(copy)
    with raises(
        ErrorCode.EMPTY_INPUT,
        ErrorCode.FILES_DISAGREE,
        ErrorCode.FILE_DAMAGED,
        ErrorCode.FILE_MISSING,
        ErrorCode.FILE_UNREADABLE,
        match=words,
    ):
        [open_split("ho3d_v2", copy, split) for split in ("train", "evaluation")]


def test_the_other_version_is_named(root: Path) -> None:
    with raises(ErrorCode.FILES_DISAGREE):
        open_split("ho3d_v3", root, "train")


def test_ground_truth_may_lie_in_a_folder_of_its_own_and_lack_vertices(copy: Path) -> None:
    (copy / "HO3D_v2_official_gt").mkdir()
    (copy / "evaluation_xyz.json").rename(copy / "HO3D_v2_official_gt" / "evaluation_xyz.json")
    (copy / "evaluation_verts.json").unlink()
    hands = open_split("ho3d_v2", copy, "evaluation")
    assert hands.hand(0).vertices_m is None
    assert "only joints" in hands.warnings[0]


def test_evaluation_annotations_with_whole_hands_are_read_too(copy: Path) -> None:
    lines = (copy / "evaluation.txt").read_text().split()
    for line, joints in zip(lines, json.loads((copy / "evaluation_xyz.json").read_text()), strict=True):
        change_meta(copy, line, lambda meta, joints=joints: meta.update(handJoints3D=np.array(joints)), "evaluation")
    assert len(open_split("ho3d_v2", copy, "evaluation")) == COUNT


def test_a_image_of_another_size_is_named(copy: Path) -> None:
    path = image_file(copy, first_line(copy))
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    with raises(ErrorCode.FILES_DISAGREE, match=f"{path.name} is 64 x 48"):
        open_split("ho3d_v2", copy, "train").image(0)
