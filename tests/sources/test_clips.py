"""Clips: correct numbers after every jump, whatever the container, and the times that the file gives."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numbered_clips import encode_clip, number_in, write_clip, write_uneven_clip

from handviz.core.errors import ErrorCode
from handviz.core.paths import CLIP_FILE
from handviz.sources.clips import ClipSource
from handviz.sources.pyav_reader import PyavReader
from handviz.sources.readers import OpenCvReader
from handviz.sources.source import open_source
from tests.errors import raises
from tests.waiting import LIMIT_S

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
    source.seek(COUNT - 1)
    assert source.read() is not None
    source.close()


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the import of PyAV fail."""
    monkeypatch.setitem(sys.modules, "handviz.sources.pyav_reader", None)


def test_the_bundled_clip_is_decoded_bit_for_bit_as_opencv_decodes_it() -> None:
    source, capture = ClipSource(CLIP_FILE), cv2.VideoCapture(str(CLIP_FILE), cv2.CAP_FFMPEG)
    for number in range(270):
        frame, (found, image) = source.read(), capture.read()
        assert frame is not None
        assert found
        assert (frame.image[..., ::-1] == image).all(), number
        assert frame.time_ms == pytest.approx(capture.get(cv2.CAP_PROP_POS_MSEC))
    assert source.read() is None
    assert not capture.grab()
    source.close()
    capture.release()


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_opencv_stands_in_where_pyav_is_missing(
    tmp_path: Path, name: str, codec: str, without_pyav: None, caplog: pytest.LogCaptureFixture
) -> None:
    source = open_source(str(write_clip(tmp_path / name, codec, COUNT)))
    assert isinstance(source, ClipSource)
    assert isinstance(source._reader, OpenCvReader)
    assert "pip install av" in caplog.text
    jumps = [0, 1, 30, 12, 59, 58, 0]
    assert numbers_after_jumps(source, jumps) == [(number, number) for number in jumps]
    assert numbers_after_jumps(source, [COUNT + 5]) == [(COUNT - 1, COUNT - 1)]
    assert source.read() is None
    assert source.frame_count == COUNT
    source.close()
    (tmp_path / "text.mp4").write_text("no clip")
    with raises(ErrorCode.UNSUPPORTED_FORMAT):
        ClipSource(tmp_path / "text.mp4")


OPEN_GOP = "keyint=12:min-keyint=12:bframes=4:open-gop=1:scenecut=0"
H264, H264_OPEN, HEVC = {"g": "12", "bf": "3"}, {"x264-params": OPEN_GOP}, {"x265-params": f"{OPEN_GOP}:log-level=none"}
REFRESH = {"x264-params": "intra-refresh=1:keyint=20", "bf": "0"}


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("b.mp4", "libx264", H264),
        ("b.ts", "libx264", H264),
        ("b.flv", "libx264", H264),
        ("b.avi", "libx264", H264),
        ("b.h264", "libx264", H264),
        ("open.mp4", "libx264", H264_OPEN),
        ("open.mkv", "libx264", H264_OPEN),
        ("open.ts", "libx264", H264_OPEN),
        ("refresh.ts", "libx264", REFRESH),
        ("open.mp4", "libx265", HEVC),
        ("open.ts", "libx265", HEVC),
        ("packs.mpg", "mpeg2video", {"g": "12"}),
        ("b.wmv", "wmv2", {}),
        ("b.mxf", "mpeg2video", {"g": "12", "bf": "2"}),
        ("a.webm", "libvpx-vp9", {"g": "12"}),
    ],
)
def test_numbers_and_times_are_exact_in_every_container(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    path = encode_clip(tmp_path / name, codec, **options)
    source, jumped = ClipSource(path), ClipSource(path)
    frames = list(iter(source.read, None))
    assert [(frame.number, number_in(frame.image)) for frame in frames] == [(n, n) for n in range(COUNT)]
    assert [frame.time_ms for frame in frames] == pytest.approx([40.0 * number for number in range(COUNT)], abs=1.0)
    assert source.frame_count == COUNT
    for number in shuffled(COUNT):
        jumped.seek(number)
        frame = jumped.read()
        assert frame is not None
        assert (frame.number, frame.time_ms) == (number, frames[number].time_ms)
        np.testing.assert_array_equal(frame.image, frames[number].image)
    source.close()
    jumped.close()


@pytest.mark.parametrize("name", ["early.mkv", "late.mp4", "late.ts"])
def test_times_count_from_the_first_frame_wherever_the_file_begins(tmp_path: Path, name: str) -> None:
    first = -30 if name.startswith("early") else 100
    source = ClipSource(encode_clip(tmp_path / name, ticks=range(first, first + COUNT), g="12", bf="2"))
    times_ms = [frame.time_ms for frame in iter(source.read, None)]
    assert times_ms == pytest.approx([40.0 * number for number in range(COUNT)], abs=1.0)
    source.close()


def test_what_an_edit_list_cuts_away_is_not_a_frame(tmp_path: Path) -> None:
    # An MP4 begins at 0: what was given earlier times is cut by an edit list.
    path = encode_clip(tmp_path / "cut.mp4", ticks=range(-30, 30), g="12", bf="2")
    source = ClipSource(path)
    frames = list(iter(source.read, None))
    assert [(frame.number, number_in(frame.image)) for frame in frames] == [(n, n + 30) for n in range(30)]
    assert [frame.time_ms for frame in frames] == pytest.approx([40.0 * number for number in range(30)])
    assert numbers_after_jumps(source, [20, 3]) == [(20, 50), (3, 33)]
    source.close()


def test_transport_streams_may_begin_anywhere_and_be_joined(tmp_path: Path) -> None:
    whole = encode_clip(tmp_path / "whole.ts", g="12", bf="2").read_bytes()
    (tmp_path / "cut.ts").write_bytes(whole[188 * 40 :])
    source = ClipSource(tmp_path / "cut.ts")
    numbers = [(frame.number, number_in(frame.image)) for frame in iter(source.read, None)]
    first = numbers[0][1]
    assert 0 < first < COUNT - 12
    assert numbers == [(number, number + first) for number in range(COUNT - first)]
    source.close()
    (tmp_path / "joined.ts").write_bytes(whole + whole)
    source = ClipSource(tmp_path / "joined.ts")
    assert numbers_after_jumps(source, [70, 20, 119]) == [(70, 10), (20, 20), (119, 59)]
    assert source.frame_count == 2 * COUNT
    source.close()


def test_numbers_stay_true_after_a_small_step_back_past_what_was_known(tmp_path: Path) -> None:
    for name in ("a.mkv", "a.ts", "a.mp4"):
        source = ClipSource(encode_clip(tmp_path / name, g="12", bf="3"))
        for _ in range(6):
            source.read()
        source.seek(4)
        frames = list(iter(source.read, None))
        assert [(frame.number, number_in(frame.image)) for frame in frames] == [(n, n) for n in range(4, COUNT)]
        assert source.frame_count == COUNT
        assert numbers_after_jumps(source, [50, 13]) == [(50, 50), (13, 13)]
        source.close()


def test_description_says_if_the_rate_varies(tmp_path: Path) -> None:
    for name, ticks, rate in (("even.mp4", range(20), "25 fps"), ("uneven.mp4", [0, 1, 5, 6, 20], "variable rate")):
        source = ClipSource(encode_clip(tmp_path / name, ticks=ticks))
        assert source.description == f"{name}: 160x96, {rate}"
        source.close()


def test_a_long_way_can_be_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ClipSource(encode_clip(tmp_path / "one_key_frame.mkv", g="1000", bf="0"))
    packets = PyavReader._packets

    def interrupted_packets(reader: PyavReader) -> Iterator[av.Packet]:
        for number, packet in enumerate(packets(reader)):
            if number == 40 and reader._is_complete:
                source.interrupt()
            yield packet

    monkeypatch.setattr(PyavReader, "_packets", interrupted_packets)
    ((number, shown),) = numbers_after_jumps(source, [55])
    assert number == shown
    assert 20 < number < 55
    monkeypatch.undo()
    assert numbers_after_jumps(source, [55]) == [(55, 55)]
    source.close()


def test_reading_all_times_can_be_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ClipSource(encode_clip(tmp_path / "a.mkv", g="12"))
    learn = PyavReader._learn

    def learn_and_interrupt(reader: PyavReader, packet: av.Packet) -> None:
        learn(reader, packet)
        source.interrupt()

    monkeypatch.setattr(PyavReader, "_learn", learn_and_interrupt)
    assert numbers_after_jumps(source, [55]) == [(0, 0)]
    monkeypatch.undo()
    assert numbers_after_jumps(source, [55]) == [(55, 55)]
    source.close()


def test_closing_while_another_thread_reads_is_safe(tmp_path: Path) -> None:
    path = encode_clip(tmp_path / "a.mp4", g="12")
    for _ in range(20):
        source, has_read = ClipSource(path), threading.Event()

        def read(source: ClipSource = source, has_read: threading.Event = has_read) -> None:
            while source.read() is not None:
                has_read.set()
                source.seek(50)
                source.seek(0)

        reader = threading.Thread(target=read)
        reader.start()
        assert has_read.wait(LIMIT_S)
        source.close()
        reader.join(LIMIT_S)
        assert not reader.is_alive()


def test_clips_leave_no_files_open(tmp_path: Path) -> None:
    path = encode_clip(tmp_path / "a.mp4", g="12")
    opened: list[av.container.InputContainer] = []
    for _ in range(10):
        source = ClipSource(path)
        source.seek(30)
        assert isinstance(source._reader, PyavReader)
        opened.append(source._reader._container)
        source.close()
    for container in opened:
        with pytest.raises(AssertionError):
            next(container.demux())


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
