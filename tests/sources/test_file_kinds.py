"""Content decides whether a file is an image, a clip, or of a kind that is not read; what is left out is named."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import number_in, pattern
from PIL import Image

from handviz.core.errors import ErrorCode
from handviz.pipeline.image_request import listed_images
from handviz.sources import file_kinds
from handviz.sources.clips import ClipSource
from handviz.sources.file_kinds import is_image_file, kind_of, left_out, left_out_message
from handviz.sources.images import read_image
from handviz.sources.source import FolderSource, open_source
from tests.errors import raises

HARD, CLIPS = Path(__file__).parent / "hard_images", Path(__file__).parent / "hard_clips"
NAMES = ("a.jfif", "a.jpe", "a.mpo", "a.tga", "a", "a.JPG", "a.dat", "named.png", "named.heic")
FORMATS = {"a.tga": "TGA", "a.mpo": "MPO", "a": "PNG", "a.dat": "WEBP"}


def written(path: Path, image_format: str = "JPEG") -> Path:
    """Write the image with number 5, whatever the suffix."""
    Image.fromarray(pattern(5)).save(path, image_format, **({"lossless": True} if image_format == "WEBP" else {}))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_an_image_under_any_name_is_a_still_image(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, FORMATS.get(name, "JPEG"))
    source = open_source(str(path))
    assert isinstance(source, FolderSource)
    frame = source.read()
    assert frame is not None
    assert number_in(frame.image) == 5
    assert [listed.name for listed in FolderSource.of_folder(tmp_path).paths] == [name]
    for given in (tmp_path, path):
        assert [listed.file for listed in listed_images(given, recursive=False, leave_out=tmp_path / "o")] == [name]


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.heic"])
def test_a_clip_under_any_name_is_a_clip(tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(CLIPS / "sar2.mp4", tmp_path / name))
    source = open_source(str(path))
    assert isinstance(source, ClipSource)
    source.close()
    with raises(ErrorCode.UNSUPPORTED_FORMAT, match="clip"):
        read_image(path)


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("a.cr2", b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(40), "raw"),
        ("a.dng", b"II*\x00\x08\x00\x00\x00" + bytes(40), "raw"),
        ("a.jpg", b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom" + bytes(40), "raw"),
        ("a.psd", b"8BPS\x00\x01" + bytes(40), "PNG"),
        ("a.jpg", b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(40), "PNG"),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "PNG"),
    ],
)
def test_raw_and_other_formats_are_refused_with_the_way_out(
    tmp_path: Path, name: str, content: bytes, named: str
) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (open_source, lambda text: read_image(Path(text))):
        with raises(ErrorCode.UNSUPPORTED_FORMAT, match=named):
            read(str(tmp_path / name))


def test_what_a_folder_holds_besides_its_images_is_named(tmp_path: Path) -> None:
    written(tmp_path / "a.jpg")
    for name, content in {
        "b.psd": b"8BPS", "c.psd": b"8BPS", "d.nef": b"II*\x00", "notes.txt": b"?", "e": b"%PDF", ".f.psd": b"8BPS"
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    (tmp_path / "below").mkdir()
    shutil.copy(CLIPS / "sar2.mp4", tmp_path / "below" / "g.mp4")
    found = left_out(tmp_path)
    assert [name for name, _ in found] == ["b.psd", "c.psd", "d.nef"]
    assert left_out_message(found) == "3 files of kinds that are not read as images: .nef, .psd x2"
    assert [name for name, _ in left_out(tmp_path, recursive=True)] == ["b.psd", "below/g.mp4", "c.psd", "d.nef"]
    source = FolderSource.of_folder(tmp_path)
    assert source.description.endswith("1 image; 3 files of kinds that are not read as images: .nef, .psd x2")
    assert (left_out(tmp_path / "none"), left_out_message([])) == ([], "")


def test_a_folder_without_images_names_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.arw").write_bytes(b"II*\x00")
    with raises(ErrorCode.EMPTY_INPUT, match=r"\.arw"):
        open_source(str(tmp_path))


def test_listing_opens_only_files_of_unknown_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    head_of = file_kinds.head_of
    monkeypatch.setattr(file_kinds, "head_of", lambda path: read.append(path.name) or head_of(path))
    for name in ("a.png", "b.heic", "c.mp4", "d.txt", "e.psd", "f", "g.dat", ".h"):
        written(tmp_path / name)
    names = [listed.file for listed in listed_images(tmp_path, recursive=False, leave_out=tmp_path / "o")]
    assert names == ["a.png", "b.heic", "f", "g.dat"]
    assert sorted(read) == ["f", "g.dat"]


@pytest.mark.parametrize(
    "head", [b"BM is how this text begins", b"P6 is no image", b"RIFF1234WAVE", b"", b"\xff", b"GIF", b"P"]
)
def test_text_that_begins_like_an_image_is_none(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "a").write_bytes(head)
    assert kind_of(tmp_path / "a") == ""
    assert not is_image_file(tmp_path / "a")


def test_a_damaged_tga_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.tga").write_bytes(np.random.default_rng(0).integers(7, 256, 400, np.uint8).tobytes())
    with raises(ErrorCode.UNSUPPORTED_FORMAT, ErrorCode.FILE_DAMAGED):
        read_image(tmp_path / "a.tga")


def test_nothing_of_this_is_logged_while_listing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.psd").write_bytes(b"8BPS")
    written(tmp_path / "b.jpg")
    with caplog.at_level(logging.WARNING):
        assert [frame.name for frame in iter(open_source(str(tmp_path)).read, None)] == ["b.jpg"]
    assert not caplog.records
