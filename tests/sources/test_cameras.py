"""The system's list of cameras, finding a lost one in it, and all kinds of images that cameras give."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import cv2_enumerate_cameras
import numpy as np
import pytest
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode
from handviz.sources import camera
from handviz.sources.camera import (
    CameraInfo,
    CameraMode,
    CameraRequest,
    CameraSource,
    find_again,
    list_cameras,
    rgb_of_camera,
)
from handviz.sources.samples import bits_of
from tests.errors import raises

FRONT, TWIN = CameraInfo(0, "Front", "usb 1"), CameraInfo(2, "Front", "usb 2")


def test_modes_that_a_driver_means_the_same_by() -> None:
    assert CameraMode(640, 480, 30).is_like(CameraMode(640, 480, 29.97))
    assert not CameraMode(640, 480, 30).is_like(CameraMode(640, 480, 25))
    assert not CameraMode(640, 480, 30).is_like(CameraMode(640, 360, 30))
    assert str(CameraMode(1280, 720, 29.97)) == "1280x720 at 30"


def test_a_lost_camera_is_found_at_its_port_or_where_it_has_moved_to() -> None:
    moved = CameraInfo(5, "Front", "usb 9")
    assert find_again(FRONT, [TWIN, CameraInfo(7, "Front", "usb 1")], [TWIN]) == CameraInfo(7, "Front", "usb 1")
    assert find_again(FRONT, [TWIN], [TWIN]) is None, "its twin was there before"
    assert find_again(FRONT, [TWIN, moved], [TWIN]) == moved
    assert find_again(FRONT, [TWIN]) == TWIN, "in another run nothing is known of a twin"
    assert find_again(FRONT, [CameraInfo(0, "Other", "usb 1")]) is None


def test_the_list_has_names_and_ports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = [
        SimpleNamespace(index=2, name="Cam", path="unique 2"),
        SimpleNamespace(index=0, name="Cam", path="unique 1"),
        SimpleNamespace(index=3, name="None", path=None),
    ]
    monkeypatch.setattr(cv2_enumerate_cameras, "enumerate_cameras", lambda _: found)
    monkeypatch.setattr(camera.sys, "platform", "win32")
    expected = [CameraInfo(0, "Cam", "unique 1"), CameraInfo(2, "Cam", "unique 2"), CameraInfo(3, "None", "")]
    assert list_cameras() == expected


@pytest.mark.skipif(not camera.sys.platform.startswith("linux"), reason="the tree of buses is Linux's")
def test_on_linux_the_port_is_the_place_in_the_tree_of_buses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bus, node = tmp_path / "usb1" / "1-2", tmp_path / "class" / "video4"
    bus.mkdir(parents=True)
    node.mkdir(parents=True)
    (node / "device").symlink_to(bus)
    (node / "index").write_text("1\n")
    real = camera.Path
    rename = {"/sys/class/video4linux/video4": node}
    monkeypatch.setattr(camera, "Path", lambda first, *rest: real(rename.get(first, first), *rest))
    assert camera._port(4, "/dev/video4") == f"{bus}:1"
    assert camera._port(5, "/dev/video5") == ""


def test_a_system_that_cannot_list_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise NotImplementedError

    monkeypatch.setattr(cv2_enumerate_cameras, "enumerate_cameras", refuse)
    assert list_cameras() == []


def test_messages_name_the_camera() -> None:
    with pytest.raises(camera.HandvizError, match=r"Front (does not exist|does not open)"):
        camera.CameraSource(93, CameraRequest(camera=CameraInfo(93, "Front")))


RED_BGR = np.full((4, 6, 3), (10, 20, 200), np.uint8)


@pytest.mark.parametrize(
    ("image", "bits"),
    [
        (RED_BGR, 8),
        (RED_BGR[:, ::-1], 8),
        (np.dstack([RED_BGR, np.full((4, 6), 7, np.uint8)]), 8),
        (RED_BGR.astype(np.uint16) * 257, 16),
        (np.rint(RED_BGR * (4095 / 255)).astype(np.uint16), 12),
        (np.rint(RED_BGR * (1023 / 255)).astype(np.int32), 10),
        (RED_BGR / np.float32(255), 8),
        (RED_BGR / 255.0, 8),
    ],
    ids=["BGR", "not contiguous", "BGRA", "16 bits", "12 bits", "10 bits", "float", "double"],
)
def test_a_camera_may_give_any_depth(image: NDArray[Any], bits: int) -> None:
    assert bits_of(image) == bits
    np.testing.assert_array_equal(rgb_of_camera(image, bits), RED_BGR[..., ::-1])


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1)])
def test_a_grey_camera(shape: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(rgb_of_camera(np.full(shape, 99, np.uint8)), np.full((4, 6, 3), 99))


def test_a_camera_that_gives_yuyv() -> None:
    grey = np.dstack([np.full((4, 6), 120, np.uint8), np.full((4, 6), 128, np.uint8)])
    rgb = rgb_of_camera(grey)
    assert rgb.shape == (4, 6, 3)
    assert np.ptp(rgb.astype(int), axis=2).max() <= 1


@pytest.mark.parametrize("is_row", [True, False])
def test_a_camera_that_gives_packed_jpeg(is_row: bool) -> None:
    packed = cv2.imencode(".jpg", np.full((32, 48, 3), (10, 20, 200), np.uint8))[1].ravel()
    rgb = rgb_of_camera(packed[None] if is_row else packed[:, None])
    assert rgb.shape == (32, 48, 3)
    np.testing.assert_allclose(rgb.reshape(-1, 3).mean(axis=0), (200, 20, 10), atol=6)


def test_the_depth_of_a_stream_is_that_of_its_brightest_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [np.full((4, 6, 3), value, np.uint16) for value in (4000, 1000)]
    source = source_of(monkeypatch, frames)
    assert [int(source.read().image[0, 0, 0]) for _ in frames] == [249, 62]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "odd",
    [
        np.zeros((4, 6, 5), np.uint8),
        np.zeros((2, 4, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.complex64),
        np.zeros((4, 6, 3), bool),
        np.zeros((4, 5, 2), np.uint8),
        np.zeros(0, np.uint8),
        None,
        "text",
    ],
    ids=["channels", "dimensions", "complex", "bool", "odd YUYV", "empty", "none", "text"],
)
def test_one_odd_frame_is_passed_over(monkeypatch: pytest.MonkeyPatch, odd: Any) -> None:
    source = source_of(monkeypatch, [odd, RED_BGR])
    frame = source.read()
    assert frame is not None
    assert (frame.number, frame.image[0, 0].tolist()) == (0, [200, 20, 10])


def test_a_camera_of_an_unreadable_kind_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(monkeypatch, [np.zeros((4, 6, 5), np.uint8)] * 9)
    with raises(ErrorCode.CAMERA_LOST, match="another mode"):
        source.read()


def source_of(monkeypatch: pytest.MonkeyPatch, frames: list[Any]) -> CameraSource:
    """Return a camera that gives these frames."""
    waiting = iter(frames)
    device = SimpleNamespace(
        isOpened=lambda: True,
        set=lambda *_: True,
        get=lambda _: 30.0,
        read=lambda: (True, next(waiting)),
        release=lambda: None,
    )
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda *_: device)
    monkeypatch.setattr(camera, "Path", lambda _: SimpleNamespace(exists=lambda: True))
    return CameraSource(0)
