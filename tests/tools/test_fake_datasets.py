"""Images, cameras and MANO parameters of the fake datasets belong together; the tool writes all of them."""

from pathlib import Path

import numpy as np
import pytest

import tools
from handviz.__main__ import main
from handviz.core.geometry import rotation_from_axis_angle
from handviz.data.datasets.registry import READERS, splits
from handviz.hand_models.mano.model import load_mano
from handviz.hand_models.mano.parameters import MIRROR, posed
from tests.errors import wrong_usage
from tests.fake_datasets.hands import TinyHand, tiny_hands
from tests.fake_datasets.stand_in_mano import LEFT, MANO_FROM_OPEN, RIGHT, WRIST_M, stand_in_template
from tools.fake_datasets import writer


@pytest.fixture(scope="module")
def hands() -> list[TinyHand]:
    return list(tiny_hands(4, seed=1, size=(320, 240), sides=("right", "left")))


def test_vertices_lie_where_the_image_has_the_hand(hands: list[TinyHand]) -> None:
    assert [hand.handedness for hand in hands] == ["right", "left", "right", "left"]
    for hand in hands:
        assert hand.image.shape == (240, 320, 3)
        x, y = np.floor(hand.vertices_px).astype(int).T
        inside = (x >= 0) & (y >= 0) & (x < 320) & (y < 240)
        assert (hand.mask[y[inside], x[inside]] > 100).mean() > 0.8


def test_parameters_give_the_vertices(hands: list[TinyHand]) -> None:
    template = stand_in_template()
    for hand in hands:
        mirror = MIRROR if hand.handedness == "left" else np.ones(3)
        pose = (hand.pose.reshape(15, 3) * (mirror * mirror[0])).ravel() - template.pose_mean
        canonical = posed(template, pose[None], hand.shape[None])[0] * mirror
        turned = canonical @ rotation_from_axis_angle(hand.global_rotation).T + hand.wrist_m
        np.testing.assert_allclose(turned, hand.vertices_m, atol=1e-6)


def test_axes_are_those_of_manos_right_hand() -> None:
    template = stand_in_template()
    joints = template.joint_regressor @ template.vertices_m
    assert np.linalg.det(MANO_FROM_OPEN) == pytest.approx(1.0)
    assert (joints[1:13, 0] < -0.08).all()
    assert joints[13:, 2].min() > joints[7:10, 2].max(), "the thumb lies towards z, the little finger away"
    assert np.linalg.norm(WRIST_M) > 0.05


def test_fake_mano_is_a_pair_that_the_door_takes(tmp_path: Path) -> None:
    assert tools.run("fake_datasets", ["mano", "--root", str(tmp_path / "mano")]) == 0
    right, left = (load_mano(tmp_path / "mano" / name) for name in (RIGHT, LEFT))
    assert abs(right.vertices_m - left.vertices_m).max() < 1e-6


@pytest.mark.parametrize("name", ["ho3d_v2", "hanco"])
def test_what_is_written_opens(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tools.run("fake_datasets", [name, "--root", str(tmp_path / name), "--count", "2"]) == 0
    assert f"{name}/train:" in capsys.readouterr().out
    assert main(["doctor", "--dataset", name, "--root", str(tmp_path / name)]) == 0
    said = capsys.readouterr().out
    assert [line.split()[1] for line in said.splitlines() if not line.startswith(" ")] == list(splits(name))
    assert "FAIL" not in said


@pytest.mark.parametrize("name", READERS)
def test_every_dataset_has_a_writer(name: str) -> None:
    assert callable(writer(name).write)


@pytest.mark.parametrize("name", ["freihand", "mano"])
def test_a_folder_that_cannot_be_made_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert tools.run("fake_datasets", [name, "--root", str(tmp_path / "file" / "below"), "--count", "2"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_folder_and_no_hands_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").touch()
    assert tools.run("fake_datasets", ["freihand", "--root", str(tmp_path)]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
    with wrong_usage():
        tools.run("fake_datasets", ["freihand", "--root", str(tmp_path / "new"), "--count", "0"])
    assert "--count" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
