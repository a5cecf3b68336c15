"""MP4 files whose tables state more frames than the file has bytes, and those that state as many as they have."""

import struct
from pathlib import Path

import pytest

from handviz.core.errors import ErrorCode
from handviz.sources.clips import ClipSource
from handviz.sources.mp4_tables import check_tables
from tests.errors import raises
from tests.numbered_clips import encode_clip


def with_count(path: Path, box: bytes, at: int, content: bytes) -> Path:
    """Overwrite the content of the first such box from ``at`` on."""
    found = path.read_bytes()
    start = found.index(box) + len(box) + at
    path.write_bytes(found[:start] + content + found[start + len(content) :])
    return path


def test_a_whole_file_passes_and_is_read(tmp_path: Path) -> None:
    path = encode_clip(tmp_path / "a.mp4", ticks=range(5))
    check_tables(path)
    source = ClipSource(path)
    assert source.frame_count == 5
    source.close()


def test_many_samples_of_one_size_are_refused(tmp_path: Path) -> None:
    path = encode_clip(tmp_path / "a.mp4", ticks=range(5))
    with_count(path, b"stsz", 4, struct.pack(">II", 1, 40_000_000))
    with raises(ErrorCode.FILE_DAMAGED, match="more frames than it can hold"):
        ClipSource(path)


@pytest.mark.parametrize(("name", "content"), [("missing.mp4", None), ("empty.mp4", b""), ("other.mp4", b"stsz" * 9)])
def test_other_files_are_left_to_the_reader(name: str, content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    check_tables(path)


def test_a_fragment_of_many_frames_is_refused(tmp_path: Path) -> None:
    moof = (
        struct.pack(">I", 28) + b"moof" + struct.pack(">I", 20) + b"trun" + bytes(4) + struct.pack(">II", 1_000_000, 0)
    )
    path = tmp_path / "a.mp4"
    path.write_bytes(struct.pack(">I", 8) + b"ftyp" + moof)
    with raises(ErrorCode.FILE_DAMAGED):
        check_tables(path)
    path.write_bytes(struct.pack(">I", 8) + b"ftyp" + moof.replace(struct.pack(">I", 1_000_000), struct.pack(">I", 3)))
    check_tables(path)
