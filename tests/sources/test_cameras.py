"""The system's list of cameras, and finding a lost one in it."""

from pathlib import Path
from types import SimpleNamespace

import cv2_enumerate_cameras
import pytest

from handviz.sources import camera
from handviz.sources.camera import CameraInfo, CameraMode, CameraRequest, find_again, list_cameras

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
