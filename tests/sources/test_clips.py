"""Clips: correct numbers after every jump, whatever the container, and the times that the file gives."""

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numbered_clips import number_in, write_clip, write_uneven_clip

from handviz.core.errors import ErrorCode

from handviz.sources.clips import ClipSource

from handviz.sources.source import open_source
from tests.errors import raises

COUNT = 60
KINDS = (
    ("a.mp4", "mp4v"),
    ("b.mkv", "MPG2"),
    ("b.ts", "MPG2"),
    ("b.mpg", "MPG2"),
    ("b.avi", "MPG2"),
    ("v.webm", "VP80"),
)


def numbers_after_jumps(source: ClipSource, jumps: list[int]) -> list[tuple[int, int]]:
    """Return the frame's number, and the number in its image."""
    numbers = []
    for number in jumps:
        source.seek(number)
        frame = source.read()
        assert frame is not None
        numbers.append((frame.number, number_in(frame.image)))
    return numbers


def shuffled(count: int) -> list[int]:
    """Return every number once, in random order."""
    return [int(number) for number in np.random.default_rng(2).permutation(count)]


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_numbers_are_true_after_every_jump(tmp_path: Path, name: str, codec: str) -> None:
    source = ClipSource(write_clip(tmp_path / name, codec, COUNT))
    # The header of a program stream states too few frames until its end has been read.
    jumps = shuffled(source.frame_count or 0)
    assert numbers_after_jumps(source, jumps) == [(number, number) for number in jumps]
    source.close()


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_frames_bear_the_time_at_which_they_are_shown(tmp_path: Path, name: str, codec: str) -> None:
    source = ClipSource(write_clip(tmp_path / name, codec, COUNT))
    frames = list(iter(source.read, None))
    assert [number_in(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.time_ms for frame in frames] == pytest.approx([40.0 * number for number in range(COUNT)], abs=1.0)
    assert source.frame_count == COUNT
    source.close()


@pytest.mark.parametrize("name", ["uneven.mp4", "uneven.mov", "uneven.mkv"])
def test_a_variable_rate_keeps_numbers_and_times_true(tmp_path: Path, name: str) -> None:
    ticks = np.concatenate([[0], np.cumsum(np.random.default_rng(3).integers(1, 5, COUNT - 1))])
    source = ClipSource(write_uneven_clip(tmp_path / name, list(ticks)))
    jumps = shuffled(COUNT)
    assert numbers_after_jumps(source, jumps) == [(number, number) for number in jumps]
    source.seek(0)
    times_ms = [frame.time_ms for frame in iter(source.read, None)]
    assert times_ms == pytest.approx(list(ticks * 20.0), abs=1.0)
    source.close()


def test_a_variable_rate_without_any_table_is_walked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_times, "matroska_frame_times_ms", lambda _: [])
    ticks = np.concatenate([[0], np.cumsum(np.random.default_rng(3).integers(1, 5, COUNT - 1))])
    source = ClipSource(write_uneven_clip(tmp_path / "uneven.mkv", list(ticks)))
    jumps = shuffled(COUNT)
    assert numbers_after_jumps(source, jumps) == [(number, number) for number in jumps]
    assert numbers_after_jumps(source, [COUNT + 50]) == [(COUNT - 1, COUNT - 1)]
    source.close()


def test_small_steps_and_a_jump_to_where_one_is_already(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "b.mkv", "MPG2", COUNT))
    jumps = [0, 0, 1, 5, 4, 12, 13, 13, 59, 0]
    assert numbers_after_jumps(source, jumps) == [(number, number) for number in jumps]
    assert numbers_after_jumps(source, [-5, 999]) == [(0, 0), (59, 59)]
    source.close()


@pytest.mark.parametrize(
    ("name", "codec"), [("b.mkv", "MPG2"), ("j.avi", "MJPG"), ("b.ts", "MPG2"), ("v.webm", "VP80")]
)
def test_a_clip_that_breaks_off_ends_where_it_breaks(tmp_path: Path, name: str, codec: str) -> None:
    path = write_clip(tmp_path / name, codec, COUNT)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    source = ClipSource(path)
    source.seek(COUNT - 1)
    last = source.read()
    assert last is not None
    assert 5 < last.number < COUNT - 1
    assert number_in(last.image) == last.number
    assert source.frame_count == last.number + 1
    assert source.read() is None
    source.close()


def test_the_table_of_an_mp4_is_read_without_decoding(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", "mp4v", 5)
    assert mp4_frame_times_ms(path) == pytest.approx([0, 40, 80, 120, 160])
    whole = path.read_bytes()
    for broken in (
        b"",
        b"mdat",
        whole[: whole.index(b"stts")],
        whole.replace(b"vide", b"soun"),
        whole.replace(b"moov", b"free"),
    ):
        path.write_bytes(broken)
        assert mp4_frame_times_ms(path) == []


def box(kind: bytes, *parts: bytes) -> bytes:
    """Return one box of an MP4 file."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def test_frames_that_are_coded_out_of_order_are_sorted_by_when_they_are_shown(tmp_path: Path) -> None:
    head = bytes(4)
    durations = box(b"stts", head, struct.pack(">III", 1, 4, 100))
    # Decoded at 0, 100, 200, 300; shown at 100, 400, 200, 300: the second one refers to those after it.
    offsets = box(b"ctts", head, struct.pack(">IIiIiIi", 3, 1, 100, 1, 300, 2, 0))
    clock = box(b"mdhd", head, struct.pack(">IIII", 0, 0, 1000, 400))
    kind = box(b"hdlr", head, bytes(4), b"vide", bytes(13))
    inner = box(b"minf", box(b"stbl", durations, offsets))
    (tmp_path / "a.mp4").write_bytes(box(b"moov", box(b"trak", box(b"mdia", clock, kind, inner))))
    assert mp4_frame_times_ms(tmp_path / "a.mp4") == pytest.approx([0, 100, 200, 300])


@pytest.mark.parametrize(("name", "codec"), [("v.webm", "VP80"), ("b.mkv", "MPG2")])
def test_heads_of_blocks_tell_the_times_of_matroska(tmp_path: Path, name: str, codec: str) -> None:
    path = write_clip(tmp_path / name, codec, 12)
    expected = [40.0 * number for number in range(12)]
    assert container_times.matroska_frame_times_ms(path) == pytest.approx(expected, abs=1.0)
    whole = path.read_bytes()
    segment = whole.index(bytes.fromhex("18538067")) + 4
    # A live recording does not know how long it will become.
    path.write_bytes(whole[:segment] + bytes.fromhex("01ffffffffffffff") + whole[segment + 8 :])
    assert container_times.matroska_frame_times_ms(path) == pytest.approx(expected, abs=1.0)
    half = whole[: len(whole) // 2]
    for broken in (b"", b"\x1a", bytes(50), half):
        path.write_bytes(broken)
        assert len(container_times.matroska_frame_times_ms(path)) < 12
    assert container_times.matroska_frame_times_ms(tmp_path / "none.mkv") == []


def test_several_frames_in_one_block_spoil_the_times(tmp_path: Path) -> None:
    def element(kind: str, body: bytes) -> bytes:
        return bytes.fromhex(kind) + bytes([0x80 | len(body)]) + body

    def clip(flags: int) -> bytes:
        track = element("1654ae6b", element("ae", element("d7", b"\x01") + element("83", b"\x01")))
        blocks = [element("a3", bytes([0x81, 0, shift, flags]) + b"picture") for shift in (5, 45, 25)]
        cluster = element("1f43b675", element("e7", b"\x64") + b"".join(blocks))
        return element("18538067", element("1549a966", element("2ad7b1", b"\x0f\x42\x40")) + track + cluster)

    path = tmp_path / "a.mkv"
    times_ms = []
    for flags in (0x80, 0x08, 0x02):
        path.write_bytes(clip(flags))
        times_ms.append(container_times.matroska_frame_times_ms(path))
    assert times_ms == [[0.0, 20.0, 40.0], [], []]


def test_what_an_edit_cuts_away_spoils_the_table(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", "mp4v", 5)
    whole = bytearray(path.read_bytes())
    edit = whole.index(b"elst")
    entries, _, start = struct.unpack_from(">IIi", whole, edit + 8)
    assert (entries, start) == (1, 0)
    struct.pack_into(">i", whole, edit + 16, 1000)
    path.write_bytes(whole)
    assert mp4_frame_times_ms(path) == []


def test_a_long_way_can_be_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_times, "matroska_frame_times_ms", lambda _: [])
    ticks = list(np.cumsum(np.random.default_rng(3).integers(1, 5, COUNT)))
    source = ClipSource(write_uneven_clip(tmp_path / "uneven.mkv", ticks))
    grab = source._grab

    def grab_and_interrupt() -> bool:
        if source._next == 40:
            source.interrupt()
        return grab()

    monkeypatch.setattr(source, "_grab", grab_and_interrupt)
    (on_the_way,) = numbers_after_jumps(source, [55])
    assert on_the_way == (40, 40)
    monkeypatch.setattr(source, "_grab", grab)
    assert numbers_after_jumps(source, [55]) == [(55, 55)]
    source.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_unicode_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.mp4")
    write_clip(tmp_path / "a.mp4", "mp4v", 3).rename(path)
    with raises(ErrorCode.FILE_UNREADABLE, match=r"udcff\.mp4.*rename"):
        open_source(str(path))


def test_a_closed_clip_stays_as_long_as_it_was(tmp_path: Path) -> None:
    source = ClipSource(write_clip(tmp_path / "a.mp4", "mp4v", COUNT))
    assert source.read() is not None
    source.close()
    source.seek(3)
    assert source.read() is None
    assert source.frame_count == COUNT
