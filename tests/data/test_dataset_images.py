"""Images of datasets: their stored pixels, or a sentence."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from handviz.core.errors import ErrorCode
from handviz.data.datasets.images import file_names, read_image, read_mask
from tests.errors import raises


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (8, 6, 3)).astype(np.uint8)


def test_colours_and_rows_are_pillows(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "bild ä 手.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(read_image(path, (6, 8)), pixels)
    assert read_mask(path).shape == (8, 6)


def test_annotations_belong_to_the_stored_pixels(tmp_path: Path, pixels: np.ndarray) -> None:
    """Whatever the camera noted of how it was held."""
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(path, exif=exif)
    assert read_image(path).shape == (8, 6, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "is not an image"),
        (b"\xff\xd8\xff\xd9", "is not an image"),
        (b"hello", "is not an image"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with raises(ErrorCode.FILE_DAMAGED, match=rf"a\.jpg {said}"):
        read_image(path)


def test_a_png_that_states_another_size_is_refused_before_it_is_decoded(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV would allocate gigabytes for it."""
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4) * 2
    path.write_bytes(data)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    for read in (read_image, read_mask):
        with raises(ErrorCode.FILES_DISAGREE, match="30000 x 30000"):
            read(path, (6, 8))


def test_half_a_jpeg_is_refused(tmp_path: Path) -> None:
    """OpenCV would fill the rest with grey."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    data, path = cv2.imencode(".jpg", noise)[1].tobytes(), tmp_path / "a.jpg"
    path.write_bytes(data + b"\0\0")
    read_image(path)
    path.write_bytes(data[: len(data) // 2])
    with raises(ErrorCode.FILE_DAMAGED, match=r"a\.jpg is cut off"):
        read_image(path)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with raises(ErrorCode.FILE_UNREADABLE, match=r"a\.jpg cannot be read \(No such file"):
        read_image(tmp_path / "a.jpg")
    assert file_names(tmp_path / "nowhere") == frozenset()
