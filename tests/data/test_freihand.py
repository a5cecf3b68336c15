"""FreiHAND's reader against a tiny download whose every convention shows if it is taken for another."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from handviz.__main__ import main
from handviz.core.errors import ErrorCode
from handviz.data.datasets.freihand import SPLITS, FreiHand, open_split
from handviz.data.datasets.images import read_mask
from handviz.data.datasets.posing import agreement, mano_warning
from tests.errors import raises
from tests.fake_datasets import freihand as tiny
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.shapes import stretched
from tests.fake_datasets.stand_in_mano import stand_in_template, write_stand_in_mano

COUNT = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("FreiHAND")
    tiny.write("freihand", folder, COUNT)
    return folder


@pytest.fixture(scope="module")
def training(root: Path) -> FreiHand:
    return open_split("freihand", root, "training")


@pytest.fixture(scope="module")
def drawn() -> list[TinyHand]:
    """Return the hands of the training images."""
    hands = tiny_hands(COUNT, seed=0, size=(224, 224), reach=0.95)
    return [stretched(hand, tiny.STRETCH) for hand in hands]


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """Copy the download for a test that damages it."""
    return shutil.copytree(root, tmp_path / "FreiHAND")


def change(path: Path, of_content: Callable[[list], object]) -> None:
    """Rewrite the list of a JSON file with the result of ``of_content``, or the list itself if that is None."""
    content = json.loads(path.read_text())
    changed = of_content(content)
    path.write_text(json.dumps(content if changed is None else changed))


def on_the_mask(dataset: FreiHand) -> float:
    """Return the fraction of keypoints that lie on a mask."""
    fractions = []
    for index in range(COUNT):
        hand = dataset.hand(index)
        assert hand.mask is not None
        x, y = np.clip(np.floor(hand.keypoints_px).astype(int), 0, 223).T
        fractions.append((read_mask(hand.mask)[y, x] > 100).mean())
    return float(np.mean(fractions))


def test_splits_have_their_images(root: Path) -> None:
    lengths = {split: len(open_split("freihand", root, split)) for split in SPLITS["freihand"]}
    assert lengths == {"training": 4 * COUNT, "evaluation": COUNT} | {
        f"training_{version}": COUNT for version in ("gs", "hom", "sample", "auto", "own")
    }


def test_versions_are_blocks_of_numbers(root: Path) -> None:
    for block, version in enumerate(("gs", "hom", "sample", "auto")):
        dataset = open_split("freihand", root, f"training_{version}")
        assert [dataset.hand(index).name for index in range(COUNT)] == [
            f"{number:08d}" for number in range(block * COUNT, (block + 1) * COUNT)
        ]
        assert [hand.mask.name for hand in map(dataset.hand, range(COUNT)) if hand.mask] == [
            f"{number:08d}.jpg" for number in range(COUNT)
        ]


def test_hands_are_those_that_were_drawn(training: FreiHand, drawn: list[TinyHand]) -> None:
    assert training.warnings == ()
    for index, shown in enumerate(drawn):
        hand = training.hand(index)
        assert hand.handedness == "right"
        assert hand.keypoints_m is not None
        assert hand.vertices_m is not None
        np.testing.assert_allclose(hand.intrinsics.matrix, shown.intrinsics.matrix, rtol=1e-12)
        np.testing.assert_allclose(hand.vertices_m, shown.vertices_m, atol=1e-6)
        np.testing.assert_allclose(hand.keypoints_m[[0, 1, 5, 9, 13, 17]], shown.joints_m[[0, 13, 1, 4, 10, 7]])
        np.testing.assert_allclose(hand.keypoints_px[16], shown.vertices_px[555], atol=1e-6)


def test_keypoints_lie_on_the_mask(training: FreiHand) -> None:
    assert on_the_mask(training) > 0.7


def test_parameters_give_the_vertices(root: Path, training: FreiHand) -> None:
    for dataset in (training, open_split("freihand", root, "evaluation")):
        assert agreement(dataset, stand_in_template()).distance_mm.max() < 0.01
        assert "are right" in mano_warning(dataset, stand_in_template())


def test_the_doctor_holds_a_mano_file_against_it(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    right, _ = write_stand_in_mano(tmp_path)
    assert main(["doctor", "--dataset", "freihand", "--root", str(root), "--hand-model", str(right)]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "0.00 mm from the vertices" in line]
    assert len(said) == len(SPLITS["freihand"])


def first_finger_is_the_thumb(order: list) -> list:
    return [[*hand[:1], *hand[5:9], *hand[1:5], *hand[9:]] for hand in order]


def mirrored(points: list) -> list:
    return (np.array(points) * [-1, 1, 1]).tolist()


@pytest.mark.parametrize(
    ("file", "spoil"),
    [
        ("xyz", first_finger_is_the_thumb),
        ("verts", lambda vertices: vertices[1:] + vertices[:1]),
        ("xyz", mirrored),
    ],
)
def test_points_of_other_hands_are_told(own: Path, file: str, spoil: Callable[[list], list]) -> None:
    change(own / f"training_{file}.json", spoil)
    assert any("A fingertip lies" in warning for warning in open_split("freihand", own, "training").warnings)


def absolute_pose(hands: list) -> list:
    mean = stand_in_template().pose_mean
    return [[[*hand[0][:3], *(np.array(hand[0][3:48]) + mean), *hand[0][48:]]] for hand in hands]


def other_turn(hands: list) -> list:
    return [[[hand[0][0] + 0.3, *hand[0][1:]]] for hand in hands]


@pytest.mark.parametrize(("spoil", "message"), [(absolute_pose, "another mean pose"), (other_turn, "poses are right")])
def test_other_conventions_of_mano_are_told(own: Path, spoil: Callable[[list], list], message: str) -> None:
    change(own / "training_mano.json", spoil)
    assert message in mano_warning(open_split("freihand", own, "training"), stand_in_template())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda matrices: [[[k[1][1] * 1.5, 0, k[0][2]], k[1], k[2]] for k in matrices],
        lambda matrices: [[[k[0][0], 0, k[1][2]], [0, k[1][1], k[0][2]], k[2]] for k in matrices],
        lambda matrices: [[[k[0][0], 0, k[0][2]], [0, k[1][1], 224 - k[1][2]], k[2]] for k in matrices],
    ],
)
def test_other_cameras_miss_the_mask(own: Path, training: FreiHand, spoil: Callable[[list], list]) -> None:
    change(own / "training_K.json", spoil)
    assert on_the_mask(open_split("freihand", own, "training")) < on_the_mask(training) - 0.15


def test_both_layouts_are_found(own: Path, tmp_path: Path) -> None:
    beside = tmp_path / "FreiHAND_pub_v2_eval"
    beside.mkdir()
    for name in ("evaluation_xyz.json", "evaluation_verts.json", "evaluation_mano.json"):
        shutil.move(own / name, beside / name)
    shutil.copy(own / "evaluation_K.json", beside)
    first = own.rename(tmp_path / "FreiHAND_pub_v2")
    for root in (first, beside, tmp_path):
        assert len(open_split("freihand", root, "evaluation")) == COUNT


def test_evaluation_needs_no_parameters(own: Path) -> None:
    (own / "evaluation_mano.json").unlink()
    dataset = open_split("freihand", own, "evaluation")
    assert dataset.hand(0).mano is None
    assert "evaluation_mano.json" in dataset.warnings[0]


def test_half_a_download_is_counted(own: Path) -> None:
    for number in (1, 5):
        (own / "training" / "rgb" / f"{number:08d}.jpg").unlink()
    dataset = open_split("freihand", own, "training")
    assert len(dataset) == 4 * COUNT - 2
    assert dataset.warnings == (f"2 images are missing, the first is {own / 'training' / 'rgb' / '00000001.jpg'}.",)


def spoiled(value: float) -> Callable[[list], None]:
    def spoil(hands: list) -> None:
        hands[1][0][0] = value

    return spoil


@pytest.mark.parametrize("file", ["K", "xyz", "verts", "mano"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_unusable_annotations_are_left_out(own: Path, file: str, value: float) -> None:
    change(own / f"training_{file}.json", spoiled(value))
    dataset = open_split("freihand", own, "training")
    assert [dataset.hand(index).name for index in range(2)] == ["00000000", "00000002"]
    assert len(dataset) == 4 * (COUNT - 1)
    assert dataset.warnings[0].startswith("4 images are left out, the first is")


def test_millimetres_are_refused(own: Path) -> None:
    for file in ("xyz", "verts"):
        change(own / f"training_{file}.json", lambda points: (np.array(points) * 1000).tolist())
    with raises(ErrorCode.EMPTY_INPUT, match="in metres"):
        open_split("freihand", own, "training")


@pytest.mark.parametrize("missing", ["training/rgb", "training_xyz.json", "training_verts.json", "training_K.json"])
def test_what_is_missing_is_named(own: Path, missing: str) -> None:
    path = own / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with raises(ErrorCode.FILE_MISSING, match=rf"{missing}.* is missing: .*FreiHAND_pub_v2\.zip"):
        open_split("freihand", own, "training")


def test_nothing_is_there(tmp_path: Path) -> None:
    with raises(ErrorCode.FILE_MISSING, match=r"training_xyz\.json is missing: download"):
        open_split("freihand", tmp_path, "training")
    with raises(ErrorCode.FILE_MISSING):
        open_split("freihand", tmp_path / "nowhere", "training")


@pytest.mark.parametrize(
    "text", ["", "[", "{}", "[]", "[1, 2]", "null", "[[1, 2, 3]]", '["a"]', "<html>", "[[[[[[[[1]]]]]]]]"]
)
def test_other_content_is_a_message(own: Path, text: str) -> None:
    (own / "training_xyz.json").write_text(text)
    with raises(ErrorCode.FILE_DAMAGED, match=r"training_xyz.json is (cut off|empty)"):
        open_split("freihand", own, "training")


def test_lists_of_different_length_are_refused(own: Path) -> None:
    change(own / "training_K.json", lambda matrices: matrices[:2])
    with raises(ErrorCode.FILES_DISAGREE, match=r"training_K\.json 2, training_xyz\.json 3"):
        open_split("freihand", own, "training")


def test_shortened_lists_are_refused(own: Path) -> None:
    """The first 2 of 3 hands would give their annotations to images of other hands."""
    for file in ("K", "xyz", "verts", "mano"):
        change(own / f"training_{file}.json", lambda hands: hands[:2])
    with raises(ErrorCode.FILES_DISAGREE):
        open_split("freihand", own, "training_hom")


def test_images_that_cannot_be_used_are_named(own: Path) -> None:
    folder = own / "training" / "rgb"
    whole = (folder / "00000000.jpg").read_bytes()
    (folder / "00000000.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "00000001.jpg").write_bytes(b"")
    (folder / "00000002.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((256, 256, 3), np.uint8))[1].tobytes())
    dataset = open_split("freihand", own, "training")
    for index, said in enumerate(("is cut off", "is not an image", "is 256 x 256 pixels and its camera")):
        with raises(ErrorCode.FILES_DISAGREE, ErrorCode.FILE_DAMAGED, match=rf"0000000{index}.jpg {said}"):
            dataset.image(index)


def test_hands_stand_before_own_backgrounds(own: Path) -> None:
    for path in (own / "backgrounds").iterdir():
        path.unlink()
    with raises(ErrorCode.EMPTY_INPUT, match="backgrounds has no images"):
        open_split("freihand", own, "training_own")
    cv2.imwrite(str(own / "backgrounds" / "blue.png"), np.full((300, 500, 3), (250, 10, 20), np.uint8))
    dataset, screen = open_split("freihand", own, "training_own"), open_split("freihand", own, "training_gs")
    assert len(dataset) == COUNT
    for index in range(COUNT):
        mask = read_mask(own / "training" / "mask" / f"{index:08d}.jpg")
        inside = cv2.erode(mask, np.ones((9, 9), np.uint8)) > 250
        outside = cv2.dilate(mask, np.ones((9, 9), np.uint8)) < 5
        np.testing.assert_array_equal(dataset.image(index)[inside], screen.image(index)[inside])
        np.testing.assert_array_equal(dataset.image(index)[outside], [[20, 10, 250]] * np.count_nonzero(outside))


def test_an_unknown_split_is_a_message(root: Path) -> None:
    with raises(ErrorCode.UNKNOWN_NAME):
        open_split("freihand", root, "test")
