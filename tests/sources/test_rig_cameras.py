"""Rigs of live cameras: frames of one time make a moment, and cameras that fail are left out until they are back."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from handviz.core.camera_model import camera_model_of_intrinsics
from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.data.datasets.rigs import open_rig
from handviz.sources import rig_cameras
from handviz.sources.rig import Rig, RigView, read_rig, write_rig
from handviz.sources.rig_cameras import MAX_SKEW_MS, LiveRig
from tests.core.test_multiview import NAMES, camera
from tests.errors import raises
from tests.waiting import LIMIT_S


class FakeCamera:
    """A camera that gives the frames that the test puts into it, and fails when the test says so."""

    name, description, is_live, frame_count, nominal_fps = "fake", "fake", True, None, 30.0

    def __init__(self) -> None:
        self.arrived = threading.Condition()
        self.frames: list[Frame] = []
        self.error, self.opened, self.is_closed, self.is_over = "", 0, False, False
        self._number = 0

    def give(self, time_ms: float) -> None:
        """Let the camera deliver a frame of this time."""
        with self.arrived:
            self.frames.append(Frame(self._number, np.zeros((480, 640, 3), np.uint8), time_ms))
            self._number += 1
            self.arrived.notify_all()

    def fail(self, error: str) -> None:
        """Let it fail from now on; empty: no more."""
        with self.arrived:
            self.error = error
            self.arrived.notify_all()

    def read(self) -> Frame | None:
        """Do as a camera."""
        with self.arrived:
            self.arrived.wait_for(lambda: self.frames or self.error or self.is_over, LIMIT_S)
            if self.error:
                raise HandvizError(self.error, ErrorCode.CAMERA_MISSING)
            return self.frames.pop(0) if self.frames else None

    def seek(self, number: int) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Record the call."""
        self.is_closed = True


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeCamera]:
    monkeypatch.setattr(rig_cameras, "RETRY_S", 0.01)
    return {f"camera:{number}": FakeCamera() for number in range(3)}


def views() -> tuple[RigView, ...]:
    """Return three cameras."""
    return tuple(
        RigView(
            NAMES[number],
            f"camera:{number}",
            camera_model_of_intrinsics(camera(number).intrinsics, (640, 480)),
            camera(number).camera_from_world,
        )
        for number in range(3)
    )


@pytest.fixture
def live(cameras: dict[str, FakeCamera]) -> Iterator[LiveRig]:
    def opened(text: str) -> FakeCamera:
        cameras[text].opened += 1
        if cameras[text].error:
            raise HandvizError(cameras[text].error, ErrorCode.CAMERA_MISSING)
        return cameras[text]

    rig = LiveRig(Rig("rig", views()), opened)
    yield rig
    for one in cameras.values():
        one.is_over = True
        one.fail("over")
    rig.close()


def test_frames_of_one_time_make_a_moment(live: LiveRig, cameras: dict[str, FakeCamera]) -> None:
    moments = live.moments()
    for number in range(3):
        for offset, one in enumerate(cameras.values()):
            one.give(1000.0 + 100 * number + 5 * offset)
        moment = next(moments)
        assert moment.number == number
        assert [view.name for view in moment.views] == list(NAMES[:3])
        times = [view.frame.captured_ms for view in moment.views]
        assert max(times) - min(times) == 10
    assert (live.is_clip, live.count) == (True, None)


def test_a_camera_that_lags_is_left_out_of_the_moment(live: LiveRig, cameras: dict[str, FakeCamera]) -> None:
    first, second, third = cameras.values()
    first.give(1000.0)
    second.give(1010.0)
    third.give(1000.0 + 2 * MAX_SKEW_MS + 15)
    moment = next(live.moments())
    assert [view.name for view in moment.views] == list(NAMES[:2])
    assert [(left.name, left.kind) for left in moment.left_out] == [(NAMES[2], "time")]


def test_a_camera_that_fails_is_left_out_with_its_error_and_comes_back(
    live: LiveRig, cameras: dict[str, FakeCamera]
) -> None:
    moments = live.moments()
    cameras["camera:1"].fail("camera 1 stopped delivering images")
    time_ms, left = 1000.0, ()
    while not any(one.kind == "unreadable" for one in left):
        time_ms += 100
        for name in ("camera:0", "camera:2"):
            cameras[name].give(time_ms)
        left = next(moments).left_out
    assert [(one.name, one.reason) for one in left] == [(NAMES[1], "camera 1 stopped delivering images")]
    cameras["camera:1"].fail("")
    seen: list[str] = []
    while len(seen) < 3:
        time_ms += 100
        for one in cameras.values():
            one.give(time_ms)
        seen = [view.name for view in next(moments).views]
    assert cameras["camera:1"].opened > 1


def test_closing_ends_the_moments_and_all_cameras(live: LiveRig, cameras: dict[str, FakeCamera]) -> None:
    found: list[object] = []
    reading = threading.Thread(target=lambda: found.extend(live.moments()))
    reading.start()
    for one in cameras.values():
        one.is_over = True
        one.fail("over")
    live.close()
    reading.join(LIMIT_S)
    assert not reading.is_alive()
    assert not any(thread.name.startswith("camera-") for thread in threading.enumerate())


def test_cameras_stand_in_the_file_of_a_rig_and_only_the_window_opens_them(tmp_path: Path) -> None:
    path = tmp_path / "RIG.json"
    write_rig(path, Rig("RIG.json", views()))
    rig = read_rig(path)
    assert rig.is_live
    assert [view.source for view in rig.views] == ["camera:0", "camera:1", "camera:2"]
    with raises(ErrorCode.OPTION_CONFLICT, "open it in the window"):
        open_rig(str(path))


def test_cameras_and_clips_are_not_mixed(tmp_path: Path) -> None:
    first, second, _ = views()
    mixed = Rig("RIG.json", (first, RigView(second.name, tmp_path / "a.mp4", second.camera, second.camera_from_world)))
    write_rig(tmp_path / "RIG.json", mixed)
    with raises(ErrorCode.OPTION_CONFLICT, "cameras and files"):
        open_rig(str(tmp_path / "RIG.json"), may_be_live=True)


def test_moments_that_nobody_asks_for_are_skipped(live: LiveRig, cameras: dict[str, FakeCamera]) -> None:
    for number in range(5):
        for one in cameras.values():
            one.give(1000.0 + 100 * number)
    started = time.monotonic()
    while not all(reader.frames and reader.frames[-1].number == 4 for reader in live._readers):
        assert time.monotonic() - started < LIMIT_S
    moment = next(live.moments())
    assert {view.frame.number for view in moment.views} == {4}
