"""DexYCB is read as its toolkit reads it: splits, sides, components, cameras; what is not labelled is left out."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from handviz.core.errors import ErrorCode
from handviz.core.geometry import rotation_from_axis_angle
from handviz.core.records import FloatArray
from handviz.data.datasets.cut import cut
from handviz.data.datasets.dexycb import SPLITS, DexYcb, open_split
from handviz.data.datasets.dexycb_sequences import SPLIT_OF, SUBJECTS, numbers_in, read_yaml
from handviz.data.labels import points_in_crop
from handviz.hand_models.mano.conventions import canonical
from handviz.hand_models.mano.parameters import MIRROR, posed, template_of, template_pose, template_shape
from tests.errors import raises
from tests.fake_datasets import dexycb as tiny
from tests.fake_datasets.stand_in_mano import stand_in_template

COUNT = 4


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dex-ycb")
    tiny.write("dexycb", folder, COUNT, seed=5)
    return folder


@pytest.fixture(scope="module")
def training(root: Path) -> DexYcb:
    return open_split("dexycb", root, "s0_train")


@pytest.fixture
def subject(root: Path, tmp_path: Path) -> Path:
    """Write a download of the second subject alone, to be damaged: val's hands, and one of training."""
    shutil.copytree(root / "calibration", tmp_path / "calibration")
    shutil.copytree(root / SUBJECTS[1], tmp_path / SUBJECTS[1])
    return tmp_path


def label_files(hands: DexYcb) -> list[Path]:
    images = [hands.hand(index).image for index in range(len(hands))]
    return [path.with_name(path.name.replace("color", "labels")).with_suffix(".npz") for path in images]


def change_labels(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(path) as archive:
        labels: dict[str, Any] = dict(archive)
    change(labels)
    np.savez_compressed(path, **labels)
    (path.parent / "touched").touch()


def posed_m(hands: DexYcb, index: int) -> FloatArray:
    """Return MANO's layer (778, 3) for the parameters, the wrist joint at the annotated one."""
    hand, template = hands.hand(index), stand_in_template()
    assert hand.mano is not None
    assert hand.keypoints_m is not None
    pose = template_pose(hand.mano, template)
    right = posed(template_of(hand.mano, template), pose[None], hand.mano.shape[None])[0]
    mirror = MIRROR if hand.handedness == "left" else np.ones(3)
    return right * mirror @ rotation_from_axis_angle(hand.mano.global_rotation).T + hand.keypoints_m[0]


def disagreement_m(hands: DexYcb) -> float:
    errors = []
    for index in range(len(hands)):
        hand = hands.hand(index)
        assert hand.keypoints_m is not None
        tips = list(tiny.TIPS[hand.handedness])
        errors.append(np.linalg.norm(posed_m(hands, index)[tips] - hand.keypoints_m[4::4], axis=1).max())
    return float(max(errors))


def test_splits_are_those_of_the_toolkit() -> None:
    assert SPLITS["dexycb"][0] == "s0_train"
    sizes = {name: (len(of.subjects), len(of.serials), len(of.sequences)) for name, of in SPLIT_OF.items()}
    assert sizes["s0_train"] == (10, 8, 80)
    assert sizes["s0_test"] == (8, 8, 20)
    assert sizes["s1_test"] == (2, 8, 100)
    assert sizes["s2_train"] == (10, 6, 100)
    assert sizes["s3_train"] == (10, 8, 75)
    for setup in ("s0", "s1", "s2", "s3"):
        images = [
            {(a, b, c) for a in of.subjects for b in of.serials for c in of.sequences}
            for name, of in SPLIT_OF.items()
            if name.startswith(setup)
        ]
        assert sum(map(len, images)) == len(set.union(*images)) == 8000, f"{setup} has each camera's sequence once"


def test_splits_hold_what_was_written(root: Path) -> None:
    for split, count in (("s0_train", COUNT), ("s0_test", COUNT), ("s0_val", 4)):
        hands = open_split("dexycb", root, split)
        assert len(hands) == count
        assert len(hands.warnings) == 1
        assert f"{7 * count} samples left out, not labelled" in hands.warnings[0]
        assert {hands.hand(index).handedness for index in range(count)} == {"right", "left"}
        names = [hands.hand(index).name for index in range(count)]
        assert names == sorted(set(names)), "in the toolkit's order"
        assert hands.image(0).shape == (480, 640, 3)


def test_every_split_has_a_hand(root: Path) -> None:
    for split in ("s1_train", "s1_val", "s1_test", "s2_val", "s2_test", "s3_val", "s3_test"):
        assert len(open_split("dexycb", root, split)) > 0


def test_hands_lie_where_the_image_has_them(training: DexYcb) -> None:
    """The mask is in the label file; objects cover some hands, so half of all hands is enough."""
    hands, fractions, mirrored = training, [], []
    for index, path in enumerate(label_files(training)):
        with np.load(path) as label:
            mask, joint_2d = label["seg"] == 255, label["joint_2d"][0]
        hand = hands.hand(index)
        np.testing.assert_allclose(hand.keypoints_px, joint_2d + 0.5, atol=2e-3)
        pixels = posed_m(hands, index) @ hand.intrinsics.matrix.T
        x, y = np.floor(pixels[:, :2] / pixels[:, 2:]).astype(int).T
        fractions.append(mask[y, x].mean())
        mirrored.append(mask[y, 2 * x[0] - x].mean())
    assert np.median(fractions) > 0.9
    assert np.median(mirrored) < 0.6


def test_vertices_from_mano_agree_with_the_keypoints(training: DexYcb) -> None:
    assert disagreement_m(training) < 1e-5


def test_a_published_left_hand_is_another_one_and_its_nearest_own_shape_is_near(training: DexYcb) -> None:
    hands, template = training, stand_in_template()
    for index in range(len(hands)):
        mano = hands.hand(index).mano
        assert mano is not None
        pose = template_pose(mano, template)[None]
        exact = posed(template_of(mano, template), pose, mano.shape[None])[0]
        ignored, nearest = (
            np.linalg.norm(posed(template, pose, shape[None])[0] - exact, axis=1).mean()
            for shape in (mano.shape, template_shape(mano, template))
        )
        assert nearest <= ignored
        assert (ignored > 1e-3) == (mano.handedness == "left")


def test_the_translation_puts_the_wrist_where_the_joints_have_it(training: DexYcb) -> None:
    hands = training
    for index in range(len(hands)):
        hand = hands.hand(index)
        assert hand.mano is not None
        assert hand.keypoints_m is not None
        np.testing.assert_allclose(canonical(hand.mano, stand_in_template()).wrist_m, hand.keypoints_m[0], atol=1e-5)


def test_labels_of_both_sides_lie_on_the_joints(training: DexYcb) -> None:
    """Keypoints of the crop are the template's; a left hand's shape is the nearest that the template has."""
    hands, template = training, stand_in_template()
    for index in range(len(hands)):
        hand = hands.hand(index)
        labels = cut(hand, hands.image(index), template).labels
        knuckles = [0, 1, 5, 9, 13, 17]
        expected = points_in_crop(hand.keypoints_px[knuckles], labels["crop_from_image"])
        np.testing.assert_allclose(labels["keypoints_crop"][knuckles], expected, atol=0.08)
        np.testing.assert_array_less(labels["keypoints_crop"] ** 2, 1, "all of the hand is in the crop")


def other_side(meta: dict[str, Any]) -> None:
    meta["mano_sides"] = ["left" if meta["mano_sides"] == ["right"] else "right"]


def test_the_other_side_is_seen(subject: Path) -> None:
    for path in label_files(open_split("dexycb", subject, "s0_val")):
        meta_file = path.parents[1] / "meta.yml"
        meta = yaml.safe_load(meta_file.read_text())
        other_side(meta)
        meta_file.write_text(yaml.safe_dump(meta))
    assert disagreement_m(open_split("dexycb", subject, "s0_val")) > 0.005


def absolute_angles(labels: dict[str, Any]) -> None:
    labels["pose_m"][0, 3:48] = labels["pose_m"][0, 3:48] @ stand_in_template().pose_components


def millimetres(labels: dict[str, Any]) -> None:
    labels["joint_3d"] *= 1000


def opengl(labels: dict[str, Any]) -> None:
    labels["joint_3d"] *= np.float32([1, -1, -1])


@pytest.mark.parametrize("mistake", [absolute_angles, opengl])
def test_labels_in_another_convention_are_seen(subject: Path, mistake: Callable[[dict[str, Any]], None]) -> None:
    for path in label_files(open_split("dexycb", subject, "s0_val")):
        change_labels(path, mistake)
    assert disagreement_m(open_split("dexycb", subject, "s0_val")) > 0.01


def test_a_camera_of_another_download_is_told(subject: Path) -> None:
    hands = open_split("dexycb", subject, "s0_val")
    serial = hands.hand(0).image.parent.name
    path = subject / "calibration" / "intrinsics" / f"{serial}_640x480.yml"
    camera = yaml.safe_load(path.read_text())
    camera["color"]["ppx"] += 20
    path.write_text(yaml.safe_dump(camera))
    assert any(f"{serial} puts joints 20" in warning for warning in open_split("dexycb", subject, "s0_val").warnings)


def not_a_number(labels: dict[str, Any]) -> None:
    labels["joint_3d"][0, 3, 1] = np.nan


def of_another_shape(labels: dict[str, Any]) -> None:
    labels["pose_m"] = labels["pose_m"][:, :48]


def without_joints(labels: dict[str, Any]) -> None:
    del labels["joint_2d"]


def pickled(labels: dict[str, Any]) -> None:
    labels["joint_3d"] = np.array([{"a": 1}], dtype=object)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: change_labels(path, not_a_number), "numbers that are not finite"),
        (lambda path: change_labels(path, millimetres), "numbers that are not finite"),
        (lambda path: change_labels(path, of_another_shape), "label damaged"),
        (lambda path: change_labels(path, without_joints), "label damaged"),
        (lambda path: change_labels(path, pickled), "label damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "label damaged"),
        (lambda path: path.unlink(), "label missing"),
        (lambda path: path.with_name("color_000000.jpg").unlink(), "image missing"),
    ],
)
def test_bad_labels_are_counted_and_named(subject: Path, change: Callable[[Path], Any], words: str) -> None:
    path = label_files(open_split("dexycb", subject, "s0_val"))[0]
    (path.parent / "touched").touch()
    change(path)
    hands = open_split("dexycb", subject, "s0_val")
    assert len(hands) == 1
    warning = next(warning for warning in hands.warnings if words in warning)
    assert warning.startswith("1 sample left out")
    assert f"{path.parts[-3]}/{path.parts[-2]}, frame 0" in warning


LAUGHS = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20))


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "betas: &b [1]\nother: *b",
        "[" * 200_000,
        "- " * 100_000 + "1",
        "betas: " + "1:" * 300_000 + "1",
        "betas: [" + "1, " * 500_000 + "1]",
        "betas: !!python/object/apply:os.system [true]",
        "betas: [" + ", ".join(["9" * 400] * 10) + "]",
        "betas: [" + ", ".join([".nan"] * 10) + "]",
        "betas: 0x" + "f" * 400,
        "",
    ],
    ids=["laughs", "alias", "brackets", "dashes", "sixties", "long", "object", "digits", "nan", "hex", "empty"],
)
def test_hostile_yaml_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mano.yml"
    path.write_text(text)
    with raises(ErrorCode.FILE_DAMAGED) as refused:
        numbers_in(read_yaml(path, "the hand's shape"), path, 10, "betas")
    assert len(str(refused.value)) < 300 + len(str(path))


# Cameras of a sequence, and what they see of the hand.


@pytest.fixture(scope="module")
def moments_root(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tiny.SeenHand]]:
    """Write two moments, and return them."""
    folder = tmp_path_factory.mktemp("dex-ycb-moments")
    return folder, tiny.write_moments(folder, 2, seed=3)


def test_views_of_a_moment_are_its_cameras(moments_root: tuple[Path, list[tiny.SeenHand]]) -> None:
    hands = open_split("dexycb", moments_root[0], "s0_train")
    numbers = hands.moments()
    assert np.bincount(numbers).tolist() == [8, 7]
    for index in range(len(hands)):
        views = hands.views(index)
        np.testing.assert_array_equal(views, np.flatnonzero(numbers == numbers[index]))
        assert index in views
        cameras = [hands.camera(int(view)) for view in views]
        assert cameras == sorted(set(cameras))
        assert len({hands.hand(int(view)).name.rpartition("/")[0].rpartition("/")[0] for view in views}) == 1


def test_extrinsics_place_the_hand_before_every_camera(moments_root: tuple[Path, list[tiny.SeenHand]]) -> None:
    root, written = moments_root
    hands = open_split("dexycb", root, "s0_train")
    for number, seen in zip(hands.moments()[[0, 8]], written, strict=True):
        for index in np.flatnonzero(hands.moments() == number):
            transform = hands.camera_from_world(int(index))
            np.testing.assert_allclose(transform, seen.camera_from_world[hands.camera(int(index))], atol=1e-9)
            wrist_m = transform[:3, :3] @ seen.hand.wrist_m + transform[:3, 3]
            keypoints_m = hands.hand(int(index)).keypoints_m
            assert keypoints_m is not None
            np.testing.assert_allclose(keypoints_m[0], wrist_m, atol=1e-4)


def test_masks_show_the_hand_as_it_was_drawn(moments_root: tuple[Path, list[tiny.SeenHand]]) -> None:
    hands = open_split("dexycb", moments_root[0], "s0_train")
    seen = moments_root[1][0]
    for index in (0, 5):
        mask = hands.hand_mask(index)
        assert mask.dtype == bool
        np.testing.assert_array_equal(mask, seen.by(hands.camera(index)).mask > 127)


@pytest.mark.parametrize("seg", [np.zeros((480, 640)), np.zeros((10, 10), np.uint8), None])
def test_masks_of_another_kind_are_named(subject: Path, seg: np.ndarray | None) -> None:
    hands = open_split("dexycb", subject, "s0_val")
    path = label_files(hands)[0]
    change_labels(path, lambda labels: labels.update(seg=seg) if seg is not None else labels.pop("seg"))
    with raises(ErrorCode.WRONG_SHAPE, ErrorCode.FILE_DAMAGED, match=path.name):
        hands.hand_mask(0)


@pytest.fixture
def moved(moments_root: tuple[Path, list[tiny.SeenHand]], tmp_path: Path) -> tuple[Path, DexYcb]:
    """Copy a download of moments; return the first sequence's extrinsics and the split."""
    root = shutil.copytree(moments_root[0], tmp_path / "own")
    return root / "calibration" / "extrinsics_2020_0" / "extrinsics.yml", open_split("dexycb", root, "s0_train")


def of_first(hands: DexYcb) -> int:
    """Return a sample of the sequence whose extrinsics are damaged."""
    named = [index for index in range(len(hands)) if "2020_0" in _meta_of(hands, index).read_text()]
    return named[0]


def _meta_of(hands: DexYcb, index: int) -> Path:
    return hands.hand(index).image.parents[1] / "meta.yml"


def numbers_of_a_camera(numbers: object) -> str:
    return yaml.dump({"master": "836212060125", "extrinsics": {"836212060125": numbers}})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "extrinsics: 7",
        "extrinsics: {}",
        LAUGHS,
        "[" * 200_000,
        "extrinsics: !!python/object/apply:os.system [true]",
        numbers_of_a_camera([1.0] * 11),
        numbers_of_a_camera([float("nan")] * 12),
        numbers_of_a_camera([1.0] * 12),
        numbers_of_a_camera((np.eye(3, 4) * 2).ravel().tolist()),
        numbers_of_a_camera((np.eye(3, 4) * [[1], [1], [-1]]).ravel().tolist()),
        numbers_of_a_camera(np.column_stack([np.eye(3), [0, 0, 1e4]]).ravel().tolist()),
    ],
    ids=["empty", "number", "none", "laughs", "brackets", "object", "few", "nan", "ones", "twice", "mirror", "far"],
)
def test_extrinsics_of_another_kind_are_refused(moved: tuple[Path, DexYcb], text: str) -> None:
    path, hands = moved
    path.write_text(text)
    with raises(ErrorCode.FILE_DAMAGED, match="extrinsics.yml"):
        hands.camera_from_world(of_first(hands))


def test_missing_extrinsics_are_named_and_needed_by_nothing_else(moved: tuple[Path, DexYcb]) -> None:
    path, hands = moved
    path.unlink()
    index = of_first(hands)
    assert hands.image(index).shape == (480, 640, 3)
    with raises(ErrorCode.FILE_MISSING, match="extrinsics.yml is missing"):
        hands.camera_from_world(index)


@pytest.mark.parametrize("name", [None, 7, ["a"], "", "../../elsewhere/2020_0"])
def test_a_name_of_extrinsics_is_no_path(moved: tuple[Path, DexYcb], name: object) -> None:
    path, hands = moved
    index = of_first(hands)
    meta = _meta_of(hands, index)
    meta.write_text(yaml.dump({**yaml.safe_load(meta.read_text()), "extrinsics": name}))
    if isinstance(name, str) and name:
        # Its last part is a name in calibration.
        assert np.isfinite(hands.camera_from_world(index)).all()
        assert path.is_file()
        return
    with raises(ErrorCode.FILE_DAMAGED, match="names no extrinsics"):
        hands.camera_from_world(index)
