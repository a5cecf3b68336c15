"""Recordings on the disk: complete records whatever happens, and a video with the right times."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import cv2
import numpy as np
import pytest
from hands import made_up_hand

from handviz.core.errors import ErrorCode
from handviz.core.paths import PROJECT_ROOT
from handviz.core.records import Detection, Frame, FrameResult, HandCrop
from handviz.io.recording import recording, video
from handviz.io.recording.recorded import read_entries, read_tracks
from handviz.io.recording.recording import Recording
from handviz.io.recording.timed_results import TimedResult, ViewImage, timed_result_of
from handviz.io.recording.udp import Datagrams
from handviz.io.recording.video import GrowingFile, SteadyVideo, copied_as_mp4, fitted
from tests.errors import raises

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


def test_recording_is_readable_after_the_program_was_killed(tmp_path: Path) -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(PROJECT_ROOT / "tests")!r})
import numpy as np
from pathlib import Path
from tests.io.test_recording import Recording, ViewImage, timed_result
recording = Recording(Path({str(tmp_path / "killed")!r}), reserve_bytes=0)
noise = np.random.default_rng(0).integers(0, 255, (480, 640, 4), np.uint8)
for number in range(40):
    recording.add_result(timed_result(number), number / 30)
    recording.add_image(ViewImage(np.roll(noise, number, axis=1).tobytes(), (640, 480)), number / 30)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_ROOT, check=False, timeout=60)
    assert done.returncode == 9
    folder = tmp_path / "killed"
    with (folder / "hands.jsonl").open("ab") as lines:
        lines.write(b'{"frame": 40, "sou')
    assert [entry["frame"] for entry in read_entries(folder)] == list(range(40))
    (track,) = read_tracks(folder)
    np.testing.assert_allclose(track.vertices_m[39], made_up_hand().vertices_m, atol=1e-7)
    assert len(frames_of(folder / "view.mkv")) >= 20


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
    video = SteadyVideo(tmp_path / "a.mkv", (64, 48), rate_hz=10)
    for level, at_s in ((40, 0.02), (90, 0.3), (120, 0.34), (200, 0.5)):
        video.show(np.full((48, 64, 3), level, np.uint8), at_s)
    video.extend_until(0.8)
    video.close()
    assert levels(tmp_path / "a.mkv") == pytest.approx([40] * 3 + [120] * 2 + [200] * 4, abs=3)


def test_images_of_another_size_are_fitted() -> None:
    image = np.full((41, 81, 3), 200, np.uint8)
    assert fitted(image, (80, 40)).shape == (40, 80, 3)
    assert (fitted(image, (80, 40)) == 200).all()
    taller = fitted(image, (80, 80))
    assert (taller[40] == 200).all()
    assert not taller[:15].any()
    assert not taller[-15:].any()


def test_finished_video_is_mp4_with_the_same_images(tmp_path: Path) -> None:
    video = SteadyVideo(tmp_path / "a.mkv", (64, 48))
    random = np.random.default_rng(0)
    for number in range(75):
        video.show(random.integers(0, 255, (48, 64, 3), np.uint8), number / 30)
    video.close()
    copied_as_mp4(tmp_path / "a.mkv", tmp_path / "a.mp4")
    wanted, found = frames_of(tmp_path / "a.mkv"), frames_of(tmp_path / "a.mp4")
    assert len(wanted) == len(found) == 75
    assert all((a == b).all() for a, b in zip(wanted, found, strict=True))
    reader = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert (reader.get(cv2.CAP_PROP_FPS), reader.get(cv2.CAP_PROP_FRAME_COUNT)) == (30, 75)
    for number in (61, 3):
        reader.set(cv2.CAP_PROP_POS_FRAMES, number)
        assert (reader.read()[1] == wanted[number]).all()
    reader.release()


def test_what_holds_no_images_leaves_no_mp4(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"nothing")
    with raises(ErrorCode.EMPTY_INPUT):
        copied_as_mp4(tmp_path / "a.mkv", tmp_path / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_video_stays_matroska_where_there_is_no_room_for_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Recording(tmp_path / "a", reserve_bytes=0)
    running.add_image(grey(100), 0.0)
    monkeypatch.setattr(recording.shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 100))
    running.close()
    assert levels(tmp_path / "a" / "view.mkv") == pytest.approx([100], abs=6)
    assert not list((tmp_path / "a").glob("*.mp4*"))


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
    crop = HandCrop(np.zeros((224, 224, 3), np.float32), np.eye(2, 3), detection)
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


def test_every_error_of_a_disk_is_a_message() -> None:
    assert "full" in video.disk_message(Path("a/b"), OSError(errno.EDQUOT, "quota"))
    assert "cannot be written any more: Input/output error" in video.disk_message(
        Path("a/b"), OSError(errno.EIO, "Input/output error")
    )
