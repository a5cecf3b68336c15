"""Recordings on the disk: complete records whatever happens, and a video with the right times."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import closing
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hands import made_up_hand

from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Detection, Frame, FrameResult, HandCrop, NetworkFile
from handviz.io.recording import mp4, recording
from handviz.io.recording.mp4 import make_seekable
from handviz.io.recording.recorded import read_entries, read_tracks
from handviz.io.recording.recording import ABOUT, GrowingFile, Recording
from handviz.io.recording.timed_results import TimedResult, ViewImage, timed_result_of
from handviz.io.recording.udp import Datagrams
from handviz.io.recording.video import SteadyVideo, fitted
from handviz.sources.source import open_source
from tests.errors import raises
from tests.waiting import LIMIT_S

Usage = namedtuple("Usage", "total used free")


def timed_result(number: int = 0, *, time_ms: float | None = None, captured_ms: float | None = None) -> TimedResult:
    """Return a result with one right hand."""
    captured_ms = 40.0 * number if captured_ms is None else captured_ms
    frame = Frame(number, np.zeros((480, 640, 3), np.uint8), captured_ms, time_ms=time_ms)
    return timed_result_of(FrameResult(frame, "final", hands=(made_up_hand(),)), "clip.mp4")


def grey(level: int, size: tuple[int, int] = (64, 48)) -> ViewImage:
    """Return a uniform image."""
    return ViewImage(bytes([level, level, level, 255]) * (size[0] * size[1]), size)


def frames_of(path: Path) -> list[np.ndarray]:
    """Read all frames with OpenCV."""
    video, frames = cv2.VideoCapture(str(path)), []
    while (found := video.read())[0]:
        frames.append(found[1])
    video.release()
    return frames


def levels(path: Path) -> list[int]:
    """Return the mean grey of every frame."""
    return [round(float(frame.mean())) for frame in frames_of(path)]


class FullDisk:
    """File on a disk with room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.content, self._room = bytearray(), room

    def write(self, piece: memoryview) -> int:
        taken = piece[: self._room - len(self.content)]
        if not taken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.content += taken
        return len(taken)

    def truncate(self, size: int) -> None:
        del self.content[size:]


def test_file_on_a_full_disk_ends_with_a_complete_record(tmp_path: Path) -> None:
    file = GrowingFile(tmp_path / "a")
    file._file.close()
    disk = FullDisk(10)
    file._file = disk  # type: ignore[assignment]
    file.append(b"1234\n")
    file.append(b"56\n")
    with raises(ErrorCode.DISK_FULL):
        file.append(b"7890\n")
    assert bytes(disk.content) == b"1234\n56\n"
    assert file.size_bytes == 8


def test_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with raises(ErrorCode.NOT_WRITABLE):
        GrowingFile(tmp_path / "a")


KILLED = f"""
import sys
sys.path[:0] = [{str(PROJECT_ROOT)!r}, {str(PROJECT_ROOT / "tests")!r}]
import numpy as np
from itertools import count
from pathlib import Path
from tests.io.test_recording import Recording, ViewImage, timed_result
recording = Recording(Path(sys.argv[1]), reserve_bytes=0)
noise = np.random.default_rng(0).integers(0, 255, (96, 128, 4), np.uint8)
for number in count():
    recording.add_result(timed_result(number), number / 30)
    recording.add_image(ViewImage(np.roll(noise, number, axis=1).tobytes(), (128, 96)), number / 30)
    print(number, flush=True)
"""


def test_hands_have_their_number_and_a_name_for_each_side(tmp_path: Path) -> None:
    """The same hand is called by the other side from some frame on, for which another track begins."""
    first, second = made_up_hand(track_id=4), made_up_hand(track_id=2)
    turned = dataclasses.replace(second, handedness="left")
    with closing(Recording(tmp_path / "a", with_video=False)) as writer:
        for number, hands in enumerate([(first, second), (second, first), (turned, first), (turned,)]):
            result = dataclasses.replace(timed_result(number).result, hands=hands)
            writer.add_result(dataclasses.replace(timed_result(number), result=result), number / 30)
    lines = [[(hand["track_id"], hand["track"]) for hand in entry["hands"]] for entry in read_entries(tmp_path / "a")]
    assert lines[0] == [(4, "right"), (2, "right_2")]
    assert lines[1] == [(2, "right_2"), (4, "right")]
    assert lines[2:] == [[(2, "left"), (4, "right")], [(2, "left")]]
    tracks = {track.name: (track.handedness, len(track.times_s)) for track in read_tracks(tmp_path / "a")}
    assert tracks == {"right": ("right", 3), "right_2": ("right", 2), "left": ("left", 2)}


def test_recording_is_readable_up_to_two_seconds_before_the_program_was_killed(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    program = [sys.executable, "-c", KILLED, str(folder)]
    with subprocess.Popen(program, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        written = next(int(line) for line in writer.stdout if int(line) >= 200)
        writer.kill()
    with (folder / "hands.jsonl").open("ab") as lines:
        lines.write(b'{"frame": 40, "sou')
    assert [entry["frame"] for entry in read_entries(folder)][: written + 1] == list(range(written + 1))
    (track,) = read_tracks(folder)
    np.testing.assert_allclose(track.vertices_m[39], made_up_hand().vertices_m, atol=1e-7)
    assert len(frames_of(folder / "view.mp4")) > written - 2 * 30
    source = open_source(str(folder / "view.mp4"))
    source.seek(100)
    frame = source.read()
    assert frame is not None
    assert (frame.number, frame.time_ms) == (100, pytest.approx(100 / 30 * 1000, abs=0.1))
    source.close()


def test_the_record_names_the_networks_in_the_order_of_their_use(tmp_path: Path) -> None:
    files = [NetworkFile(f"handviz_{name}.onnx", name * 32, "shipped") for name in ("aa", "bb")]
    with closing(Recording(tmp_path / "made", with_video=False, reserve_bytes=0)) as recording:
        for number, file in enumerate([files[0], files[1], files[0]]):
            timed = timed_result(number)
            result = dataclasses.replace(timed.result, networks={"network": file})
            recording.add_result(dataclasses.replace(timed, result=result), number / 30)
            assert json.loads((tmp_path / "made" / ABOUT).read_text())["networks"][0]["file"] == "handviz_aa.onnx"
    about = json.loads((tmp_path / "made" / ABOUT).read_text())
    assert about["networks"] == [dataclasses.asdict(file) for file in files]


def test_nearly_full_disk_and_a_folder_that_is_gone_are_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Recording(tmp_path / "a")
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 10**7))
    with raises(ErrorCode.DISK_FULL):
        running.check_room()
    with raises(ErrorCode.DISK_FULL):
        Recording(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    monkeypatch.undo()
    running.check_room()
    shutil.rmtree(tmp_path / "a")
    with raises(ErrorCode.NOT_WRITABLE):
        running.check_room()
    running.close()
    assert not (tmp_path / "a").exists()


def test_video_is_in_true_time(tmp_path: Path) -> None:
    video = SteadyVideo(tmp_path / "a.mp4", (64, 48), rate_hz=10)
    for level, at_s in ((40, 0.02), (90, 0.3), (120, 0.34), (200, 0.5)):
        video.show(np.full((48, 64, 3), level, np.uint8), at_s)
    video.extend_until(0.8)
    video.close()
    assert levels(tmp_path / "a.mp4") == pytest.approx([40] * 3 + [120] * 2 + [200] * 4, abs=3)


def test_images_of_another_size_are_fitted() -> None:
    image = np.full((41, 81, 3), 200, np.uint8)
    assert fitted(image, (80, 40)).shape == (40, 80, 3)
    assert (fitted(image, (80, 40)) == 200).all()
    taller = fitted(image, (80, 80))
    assert (taller[40] == 200).all()
    assert not taller[:15].any()
    assert not taller[-15:].any()


def boxes(path: Path) -> list[str]:
    """Return the names of the outermost boxes of an MP4."""
    content, names, at = path.read_bytes(), [], 0
    while at < len(content):
        names.append(content[at + 4 : at + 8].decode())
        at += int.from_bytes(content[at : at + 4])
    return names


def test_finished_video_is_an_mp4_that_browsers_play_and_jump_in(tmp_path: Path) -> None:
    video = SteadyVideo(tmp_path / "a.mp4", (65, 49))
    random = np.random.default_rng(0)
    for number in range(75):
        video.show(random.integers(0, 255, (49, 65, 3), np.uint8), number / 30)
    video.close()
    assert boxes(tmp_path / "a.mp4")[:4] == ["ftyp", "moov", "moof", "mdat"]
    wanted = frames_of(tmp_path / "a.mp4")
    make_seekable(tmp_path / "a.mp4")
    found = frames_of(tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert boxes(tmp_path / "a.mp4") == ["ftyp", "moov", "free", "mdat"]
    assert len(wanted) == len(found) == 75
    assert all((a == b).all() for a, b in zip(wanted, found, strict=True))
    with av.open(str(tmp_path / "a.mp4")) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.codec_context.name, stream.codec_context.codec_tag) == ("h264", "avc1")
        assert (stream.codec_context.pix_fmt, stream.width, stream.height) == ("yuv420p", 64, 48)
        assert (stream.start_time, stream.frames, stream.average_rate) == (0, 75, 30)
        assert sum(packet.is_keyframe for packet in container.demux(stream)) >= 3
    reader = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert (reader.get(cv2.CAP_PROP_FPS), reader.get(cv2.CAP_PROP_FRAME_COUNT)) == (30, 75)
    for number in (61, 3):
        reader.set(cv2.CAP_PROP_POS_FRAMES, number)
        assert (reader.read()[1] == wanted[number]).all()
    reader.release()


def test_colours_are_those_of_the_view(tmp_path: Path) -> None:
    colour = np.array([30, 90, 220], np.uint8)
    video = SteadyVideo(tmp_path / "a.mp4", (64, 48))
    video.show(np.broadcast_to(colour, (48, 64, 3)).copy(), 0.0)
    video.close()
    source = open_source(str(tmp_path / "a.mp4"))
    frame = source.read()
    assert frame is not None
    assert frame.image[24, 32].tolist() == pytest.approx(colour[::-1].tolist(), abs=4)
    source.close()


def test_what_holds_no_images_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with raises(ErrorCode.NOT_WRITABLE, match=r"a\.mp4"):
        make_seekable(tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"nothing"


def test_video_stays_in_fragments_where_there_is_no_room_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_image(grey(100), 0.0)
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 100))
    running.close()
    assert levels(tmp_path / "a" / "view.mp4") == pytest.approx([100], abs=6)
    assert "moof" in boxes(tmp_path / "a" / "view.mp4")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_full_disk_ends_a_video_with_a_message() -> None:
    with raises(ErrorCode.DISK_FULL):
        SteadyVideo(Path("/dev/full"), (64, 48))
    with raises(ErrorCode.NOT_WRITABLE):
        SteadyVideo(Path("/dev/null/a.mp4"), (64, 48))


LIMITED = f"""
import resource, sys
sys.path[:0] = [{str(PROJECT_ROOT)!r}, {str(PROJECT_ROOT / "tests")!r}]
import numpy as np
from pathlib import Path
from handviz.core.errors import HandvizError
from handviz.io.recording.video import SteadyVideo
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
video, noise = SteadyVideo(Path(sys.argv[1]), (64, 48)), np.random.default_rng(0)
try:
    for number in range(1000):
        video.show(noise.integers(0, 255, (48, 64, 3), np.uint8), number / 30)
except HandvizError as error:
    video.show(np.zeros((48, 64, 3), np.uint8), 50.0)
    video.close()
    print(error.code, error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of file sizes")
def test_video_that_can_grow_no_more_keeps_what_it_has(tmp_path: Path) -> None:
    program = [sys.executable, "-c", LIMITED, str(tmp_path / "a.mp4")]
    done = subprocess.run(program, capture_output=True, text=True, check=True, timeout=LIMIT_S)
    assert done.stdout.startswith(ErrorCode.NOT_WRITABLE)
    assert "a.mp4 cannot be written" in done.stdout
    assert len(frames_of(tmp_path / "a.mp4")) >= 30


def test_another_encoder_stands_in_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mp4, "ENCODERS", ("none264", "mpeg4"))
    video = SteadyVideo(tmp_path / "a.mp4", (64, 48), rate_hz=10)
    video.show(np.full((48, 64, 3), 90, np.uint8), 0.0)
    video.extend_until(0.5)
    video.close()
    assert "encoded by mpeg4" in caplog.text
    assert levels(tmp_path / "a.mp4") == pytest.approx([90] * 6, abs=3)


def test_opencv_writes_the_video_where_pyav_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "handviz.io.recording.mp4", None)
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_image(grey(100), 0.0)
    running.extend_until(0.2)
    assert running.size_bytes > 0
    running.close()
    assert "pip install av" in caplog.text
    assert levels(tmp_path / "a" / "view.mkv") == pytest.approx([100] * 7, abs=6)
    assert not list((tmp_path / "a").glob("*.mp4*"))
    with raises(ErrorCode.NOT_WRITABLE):
        SteadyVideo(tmp_path / "none" / "a.mp4", (64, 48))


def test_view_is_the_right_way_up(tmp_path: Path) -> None:
    running = Recording(tmp_path / "a", reserve_bytes=0)
    upper, lower = bytes([250, 0, 0, 255]) * (64 * 24), bytes([0, 0, 250, 255]) * (64 * 24)
    running.add_image(ViewImage(lower + upper, (64, 48)), 0.0)
    running.close()
    (frame,) = frames_of(tmp_path / "a" / "view.mp4")
    assert frame[5, 32, 2] > 200
    assert frame[40, 32, 0] > 200


def test_times_are_the_clips_own_where_one_clip_went_on(tmp_path: Path) -> None:
    for name, clip_ms, wanted in (("once", [0.0, 40.0, 80.0], 0.08), ("looped", [40.0, 80.0, 0.0], 0.2)):
        running = Recording(tmp_path / name, reserve_bytes=0)
        for number, time_ms in enumerate(clip_ms):
            running.add_result(timed_result(number, time_ms=time_ms, captured_ms=100.0 * number), 0.0)
        running.close()
        (track,) = read_tracks(tmp_path / name)
        assert track.times_s[-1] == pytest.approx(wanted)


def test_hands_that_hold_no_numbers_are_left_out() -> None:
    good, bad = made_up_hand(), made_up_hand(handedness="left")
    broken = dataclasses.replace(bad, keypoints_m=np.full((21, 3), np.nan))
    result = FrameResult(Frame(0, np.zeros((4, 4, 3), np.uint8), 0.0), "final", hands=(broken, good))
    assert [hand.handedness for hand in timed_result_of(result, "x").result.hands] == ["right"]
    unsure = dataclasses.replace(bad, keypoint_std_mm=np.full(21, np.inf))
    assert timed_result_of(dataclasses.replace(result, hands=(unsure,)), "x").result.hands == ()


def test_what_waits_holds_no_images_and_names_are_text(tmp_path: Path) -> None:
    frame = Frame(0, np.zeros((4, 4, 3), np.uint8), 0.0, name=os.fsdecode(b"a\xff.png"))
    detection = Detection("right", 0.9, np.zeros((21, 2)))
    crop = HandCrop(np.zeros((224, 224, 3), np.uint8), np.eye(2, 3), detection)
    hands = (made_up_hand(),)
    waiting = timed_result_of(
        FrameResult(frame, "final", hands=hands, crops=(crop,), others={"prior": hands}), os.fsdecode(b"\xff.mp4")
    )
    assert (waiting.result.crops, dict(waiting.result.others)) == ((), {})
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_result(waiting, 0.0)
    running.close()
    assert [entry["source"] for entry in read_entries(tmp_path / "a")] == ["\\udcff.mp4"]
    for kind in ("OSC", "JSON"):
        assert Datagrams(kind).of(waiting)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"track":"right"', b'"track":"../../right"'),
        (b'"track":"right"', b'"track":[]'),
        (b'"handedness":"right"', b'"handedness":"foot"'),
        (b'"vertices_row":0', b'"vertices_row":0.5'),
        (b'"monotonic_ms":0.0', b'"monotonic_ms":NaN'),
        (b'"monotonic_ms":0.0', b'"monotonic_ms":1' + b"0" * 400),
        (b'"wrist_camera_m":[', b'"wrist_camera_m":[1.0,'),
        (b'"wrist_camera_m":[', b'"wrist_camera_m":[NaN],"x":['),
    ],
)
def test_recording_of_a_stranger_is_a_message(tmp_path: Path, old: bytes, new: bytes) -> None:
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_result(timed_result(0), 0.0)
    running.add_result(timed_result(1), 0.1)
    running.close()
    assert len(read_tracks(tmp_path / "a")) == 1
    lines = tmp_path / "a" / "hands.jsonl"
    assert old in lines.read_bytes()
    lines.write_bytes(lines.read_bytes().replace(old, new, 1))
    with raises(ErrorCode.FILE_DAMAGED):
        read_tracks(tmp_path / "a")


def test_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_result(timed_result(0), 0.0)
    running.close()
    lines = tmp_path / "a" / "hands.jsonl"
    lines.write_bytes(b"{broken\n" + lines.read_bytes())
    with raises(ErrorCode.FILE_DAMAGED, match="line 1"):
        list(read_entries(tmp_path / "a"))
    lines.write_bytes(lines.read_bytes().replace(b"{broken", b'{"frame": 3}'))
    with raises(ErrorCode.FILE_DAMAGED):
        read_tracks(tmp_path / "a")
    about = tmp_path / "a" / "recording.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"handviz_recording": 99}))
    lines.write_bytes(lines.read_bytes().split(b"\n", 1)[1])
    with raises(ErrorCode.VERSION_MISMATCH):
        read_tracks(tmp_path / "a")
