"""Sources: every kind of image, clips, folders, and errors for what cannot be read."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from handviz.core.errors import ErrorCode
from handviz.sources import camera, images
from handviz.sources.images import read_image
from handviz.sources.source import ClipSource, FolderSource, open_source
from tests.errors import raises

EXIF_ORIENTATION = 0x0112


@pytest.fixture
def saved() -> NDArray[np.uint8]:
    """Return an image wider than high, smooth, different in every corner and channel."""
    y, x = np.mgrid[0:24, 0:40]
    return np.stack([x * 6, y * 10, 255 - x * 3 - y * 2], axis=2).astype(np.uint8)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write ten frames; frame i is grey 20 * i."""
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 48))
    for number in range(10):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.release()
    return path


def grey_of(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[..., 1]


def test_8_bit_rgb_is_read_unchanged(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    Image.fromarray(saved).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), saved)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_keeps_its_range(tmp_path: Path, saved: NDArray[np.uint8], suffix: str) -> None:
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(grey_of(saved).astype(np.uint16) * 257).save(path)
    image = read_image(path)
    assert image.shape == (24, 40, 3)
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], grey_of(saved))


def test_16_bit_colour_keeps_its_range(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), saved[..., ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), saved)


def test_floating_point_grey_between_0_and_1(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    Image.fromarray(grey_of(saved).astype(np.float32) / 255).save(tmp_path / "float.tif")
    np.testing.assert_array_equal(grey_of(read_image(tmp_path / "float.tif")), grey_of(saved))


def test_grey_becomes_three_equal_channels(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    Image.fromarray(grey_of(saved)).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png"), np.repeat(saved[..., 1:2], 3, axis=2))


def test_transparent_pixels_become_black(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    alpha = np.full(saved.shape[:2], 255, np.uint8)
    alpha[:, :20] = 0
    Image.fromarray(np.dstack([saved, alpha])).save(tmp_path / "alpha.png")
    image = read_image(tmp_path / "alpha.png")
    assert not image[:, :20].any()
    np.testing.assert_array_equal(image[:, 20:], saved[:, 20:])


def test_palette(tmp_path: Path) -> None:
    colours = np.zeros((24, 40, 3), np.uint8)
    colours[:, 20:] = (200, 30, 90)
    Image.fromarray(colours).quantize(4).save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), colours)


def test_exif_turn_is_undone(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    Image.fromarray(saved).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(saved, -1))


def test_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png").tolist() == [[[9, 8, 7]]]


def test_what_is_no_image_is_named(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    Image.fromarray(saved).save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    broken = {
        "empty.jpg": b"",
        "text.png": b"no image",
        "cut.jpg": whole[: len(whole) // 2],
        "header.jpg": whole[:20],
        "odd.avif": _saved_as(saved, tmp_path / "whole.avif").replace(b"av01", b"none"),
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with raises(ErrorCode.EMPTY_INPUT, ErrorCode.FILE_DAMAGED, ErrorCode.UNSUPPORTED_FORMAT, match=name):
            read_image(tmp_path / name)
    with raises(ErrorCode.FILE_MISSING):
        read_image(tmp_path / "absent.jpg")


def _saved_as(saved: NDArray[np.uint8], path: Path) -> bytes:
    Image.fromarray(saved).save(path)
    return path.read_bytes()


def test_an_image_that_is_too_large_is_refused_before_decoding(
    tmp_path: Path, saved: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(saved).save(tmp_path / "large.png")
    monkeypatch.setattr(images, "MAX_IMAGE_PX", 40 * 24 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    with raises(ErrorCode.TOO_LARGE, match="40 x 24 pixels"):
        read_image(tmp_path / "large.png")


def test_a_folder_goes_on_after_an_unreadable_image(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    for name in ("c.png", "a.png", ".hidden.png"):
        Image.fromarray(saved).save(tmp_path / name)
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_source(str(tmp_path))
    assert isinstance(source, FolderSource)
    assert source.frame_count == 3
    first = source.read()
    assert first is not None
    assert (first.number, first.name) == (0, "a.png")
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"b\.png"):
        source.read()
    last = source.read()
    assert last is not None
    assert (last.number, last.name) == (2, "c.png")
    assert source.read() is None
    source.seek(0)
    again = source.read()
    assert again is not None
    assert again.name == "a.png"


def test_one_image_is_a_folder_of_one(tmp_path: Path, saved: NDArray[np.uint8]) -> None:
    Image.fromarray(saved).save(tmp_path / "a.PNG")
    source = open_source(str(tmp_path / "a.PNG"))
    frame = source.read()
    assert frame is not None
    assert frame.name == "a.PNG"
    assert source.read() is None


@pytest.mark.parametrize("text", ["absent.mp4", "camera:x", "camera:", "camera:-1"])
def test_inputs_that_are_not_there(text: str) -> None:
    with raises(ErrorCode.BAD_VALUE, ErrorCode.FILE_MISSING, match=text):
        open_source(text)


def test_a_camera_with_thousands_of_digits_has_a_short_message() -> None:
    with raises(ErrorCode.BAD_VALUE, match="camera:0") as refused:
        open_source("camera:" + "9" * 5000)
    assert len(str(refused.value)) < 200


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with raises(ErrorCode.FILE_UNREADABLE):
        open_source(str(tmp_path))


def test_a_name_that_no_file_can_have() -> None:
    with raises(ErrorCode.FILE_UNREADABLE):
        open_source("x" * 5000)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with raises(ErrorCode.EMPTY_INPUT):
        open_source(str(tmp_path))


def test_a_clip_is_read_to_its_end_and_can_be_sought(clip: Path) -> None:
    source = open_source(str(clip))
    assert isinstance(source, ClipSource)
    assert source.frame_count == 10
    assert source.nominal_fps == pytest.approx(25)
    assert "64x48" in source.description
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert [frame.number for frame in frames] == list(range(10))
    for frame in frames:
        assert abs(float(frame.image.mean()) - 20 * frame.number) < 6
    source.seek(4)
    sought = source.read()
    assert sought is not None
    assert sought.number == 4
    assert abs(float(sought.image.mean()) - 80) < 6
    source.close()
    assert source.read() is None


def test_a_file_that_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip")
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match=r"text\.mp4"):
        open_source(str(tmp_path / "text.mp4"))


def test_a_clip_without_frames(clip: Path) -> None:
    whole = clip.read_bytes()
    begin, end = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    clip.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    with raises(ErrorCode.EMPTY_INPUT):
        open_source(str(clip))


class FakeDevice:
    """A camera that delivers some frames and is then unplugged."""

    def __init__(self, frames_left: int, *, opened: bool = True) -> None:
        self.frames_left, self.opened = frames_left, opened
        self.settings: list[int] = []
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opened

    def set(self, setting: int, _: float) -> bool:
        self.settings.append(setting)
        return True

    def get(self, setting: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 320.0, cv2.CAP_PROP_FRAME_HEIGHT: 240.0, cv2.CAP_PROP_FPS: 15.0}[setting]

    def read(self) -> tuple[bool, NDArray[np.uint8] | None]:
        self.frames_left -= 1
        if self.frames_left < 0:
            return False, None
        return True, np.full((240, 320, 3), (1, 2, 3), np.uint8)

    def release(self) -> None:
        self.released = True


def use_device(device: FakeDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(camera.cv2, "VideoCapture", lambda *_: device)
    monkeypatch.setattr(camera, "Path", lambda _: SimpleNamespace(exists=lambda: True))


def test_a_camera_gives_rgb_says_what_it_gives_and_notices_the_plug(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(2)
    use_device(device, monkeypatch)
    source = open_source("camera:0")
    assert source.is_live
    assert source.description == "camera 0: requested 640x480 at 30, got 320x240 at 15"
    wanted = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert device.settings == wanted
    for number in range(2):
        frame = source.read()
        assert frame is not None
        assert frame.number == number
        assert frame.image[0, 0].tolist() == [3, 2, 1]
    with raises(ErrorCode.CAMERA_LOST):
        source.read()
    source.close()
    assert device.released


def test_a_camera_that_hangs_is_not_asked_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(0)
    use_device(device, monkeypatch)
    clock_ms = iter([0.0, 5000.0])
    monkeypatch.setattr(camera, "now_ms", lambda: next(clock_ms))
    with raises(ErrorCode.CAMERA_LOST):
        open_source("camera:0").read()
    assert device.frames_left == -1


def test_a_busy_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(0, opened=False)
    use_device(device, monkeypatch)
    with raises(ErrorCode.CAMERA_BUSY, match="camera 3 does not open"):
        open_source("camera:3")
    assert device.released
