"""Video files through OpenCV, with frame numbers that stay correct after a jump and times from the file.

OpenCV jumps by nominal time, so it misses the frame where the rate varies, and in transport streams without a key frame
there. Therefore the time of the frame after a jump identifies it; if it is too late, the jump is repeated further back,
and the frames between are skipped without decoding them to RGB.
"""

from bisect import bisect_left
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.core.records import Frame
from handviz.sources.container_times import matroska_frame_times_ms, mp4_frame_times_ms
from handviz.sources.images import now_ms, rgb_from_bgr

CLIP_FALLBACK_FPS = 30.0
FRAMES_BACK = (0, 4, 32, 256)
"""How much further back a jump is tried when it lands too late."""
NEAR_FRAMES = 8
"""So few frames are skipped faster than by a jump."""
PROBED_FRAMES = 32
"""After so many frames at the nominal rate, a clip without a table counts as one of constant rate."""
MAX_FRAMES = 2_000_000_000
"""Above this a header's frame count is ignored."""
SAME_FRAME = 0.45
"""Of a frame's duration: times nearer than this are the same frame."""


class ClipSource:
    """Frames of a video file."""

    is_live = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.name = path.name
        self._capture = _open_clip(path)
        self._is_interrupted = self._has_read_block_times = False
        self._is_closed, self._next, self._has_grabbed = False, 0, self._capture.grab()
        first = self._decode()
        if first is None:
            self.close()
            raise HandvizError(f"{path}: the clip has no frames that can be read", ErrorCode.EMPTY_INPUT)
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count: int | None = count if 0 < count <= MAX_FRAMES else None
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.nominal_fps = fps if 0.1 < fps < 1000 else CLIP_FALLBACK_FPS
        self._start_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        table_ms = mp4_frame_times_ms(path)
        self._times_ms = table_ms if table_ms and len(table_ms) == count else [0.0]
        """Exact times of the first frames, as far as they are known."""
        self._has_constant_rate = self._is_at_nominal_rate()
        height, width = first.shape[:2]
        rate = f"{self.nominal_fps:.3g} fps" if self._has_constant_rate else "variable rate"
        self.description = f"{path.name}: {width}x{height}, {rate}"

    def read(self) -> Frame | None:
        """Return the next frame, None at the end; a truncated clip corrects ``frame_count`` there."""
        image = self._decode() if self._has_grabbed or self._grab() else None
        if image is None:
            if not self._is_closed and self._next > 0:
                self.frame_count = self._next
            return None
        frame = Frame(number=self._next, image=image, captured_ms=now_ms(), time_ms=self._time_ms())
        self._skip_grabbed()
        if self.frame_count is not None:
            self.frame_count = max(self.frame_count, self._next)
        return frame

    def seek(self, number: int) -> None:
        """Go to a frame; numbers outside are clamped."""
        self._is_interrupted = False
        last = (self.frame_count or number + 1) - 1
        number = min(max(number, 0), last)
        if self._is_closed or self._reach(number) or self._is_interrupted:
            return
        # The clip is shorter than its header states; reading on has shown its length.
        self.frame_count = max(self._next, 1)
        self._reach(self.frame_count - 1)

    def interrupt(self) -> None:
        """End a long ``seek``, from any thread: the next frame is one on the way, with its correct number."""
        self._is_interrupted = True

    def close(self) -> None:
        """Close the file; ``read`` then returns None."""
        self._is_closed, self._has_grabbed = True, False
        self._capture.release()

    def _reach(self, number: int) -> bool:
        """Make this the next frame."""
        if 0 <= number - self._next <= NEAR_FRAMES:
            return self._skip_until(number)
        return self._jump(number) or (not self._is_interrupted and self._read_until(number))

    def _jump(self, number: int) -> bool:
        """Jump to a frame; False if no jump lands before it at a frame whose number is certain."""
        if number >= len(self._times_ms) and not self._check_constant_rate() and number >= len(self._times_ms):
            return False
        for back in FRAMES_BACK:
            aim = max(number - back, 0)
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, self._nominal_position(aim))
            self._has_grabbed = self._capture.grab()
            landed = self._number_of_grabbed(aim) if self._has_grabbed else None
            if landed is not None and landed <= number:
                self._next = landed
                return self._skip_until(number)
        return False

    def _check_constant_rate(self) -> bool:
        """Return whether frame numbers follow from times by a constant rate; reads the first frames to decide."""
        if self._has_constant_rate and len(self._times_ms) < PROBED_FRAMES:
            self._read_until(PROBED_FRAMES)
        if not self._has_constant_rate and not self._has_read_block_times:
            self._read_block_times()
        return self._has_constant_rate

    def _read_block_times(self) -> None:
        """Read the times from all block headers, which takes longer than a table, so only if needed."""
        self._has_read_block_times = True
        all_ms, known_ms = matroska_frame_times_ms(self._path), self._times_ms
        same = SAME_FRAME * 1000 / self.nominal_fps
        fits = len(all_ms) >= len(known_ms) and np.allclose(all_ms[: len(known_ms)], known_ms, rtol=0, atol=same)
        if fits:
            self._times_ms, self.frame_count = all_ms, len(all_ms)

    def _read_until(self, number: int) -> bool:
        """Skip frame by frame from the last one with a known time; False if the clip ends before."""
        known = len(self._times_ms) - 1
        if not (0 < known < number and self._jump(known)):
            self._reopen()
        return self._skip_until(number)

    def _reopen(self) -> None:
        self._capture.release()
        self._capture = _open_clip(self._path)
        self._next, self._has_grabbed = 0, False

    def _skip_until(self, number: int) -> bool:
        while self._has_grabbed or self._grab():
            if self._next == number:
                return True
            if self._is_interrupted:
                return False
            self._skip_grabbed()
        return False

    def _grab(self) -> bool:
        self._has_grabbed = not self._is_closed and self._capture.grab()
        if self._has_grabbed and self._next == len(self._times_ms):
            self._times_ms.append(self._time_ms())
            self._has_constant_rate = self._has_constant_rate and self._is_nominal(self._next, self._times_ms[-1])
        return self._has_grabbed

    def _skip_grabbed(self) -> None:
        self._next += 1
        self._has_grabbed = False

    def _decode(self) -> NDArray[np.uint8] | None:
        found, image = self._capture.retrieve()
        return rgb_from_bgr(image) if found and image is not None else None

    def _time_ms(self) -> float:
        """Return the grabbed frame's time since the first frame."""
        if self._next < len(self._times_ms):
            return self._times_ms[self._next]
        time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC)
        # A decoder's last frames may have no time.
        if time_ms <= self._start_ms:
            return self._next * 1000 / self.nominal_fps
        return time_ms - self._start_ms

    def _number_of_grabbed(self, aim: int) -> int | None:
        """Return the grabbed frame's number, by its time, after a jump to ``aim``; None if unknown."""
        time_ms = self._capture.get(cv2.CAP_PROP_POS_MSEC) - self._start_ms
        frame_ms = 1000 / self.nominal_fps
        if time_ms <= 0 < aim:
            return None
        if time_ms <= self._times_ms[-1] + SAME_FRAME * frame_ms:
            return self._nearest_known(time_ms)
        return round(time_ms / frame_ms) if self._has_constant_rate else None

    def _nearest_known(self, time_ms: float) -> int:
        times_ms, after = self._times_ms, bisect_left(self._times_ms, time_ms)
        candidates = (max(after - 1, 0), min(after, len(times_ms) - 1))
        return min(candidates, key=lambda number: abs(times_ms[number] - time_ms))

    def _nominal_position(self, number: int) -> float:
        """Return the position of this frame in OpenCV's count."""
        if self._has_constant_rate or number >= len(self._times_ms):
            return number
        return max(int(self._times_ms[number] * self.nominal_fps / 1000) - 1, 0)

    def _is_at_nominal_rate(self) -> bool:
        return all(self._is_nominal(number, time_ms) for number, time_ms in enumerate(self._times_ms))

    def _is_nominal(self, number: int, time_ms: float) -> bool:
        return abs(time_ms * self.nominal_fps / 1000 - number) < SAME_FRAME


def _open_clip(path: Path) -> cv2.VideoCapture:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        # OpenCV 5.0 aborts the process at such a name.
        raise HandvizError(
            f"{str(path)!a}: the name is not valid Unicode, rename the file", ErrorCode.FILE_UNREADABLE
        ) from error
    for backend in (cv2.CAP_FFMPEG, cv2.CAP_ANY):
        capture = cv2.VideoCapture(str(path), backend)
        if capture.isOpened():
            return capture
        capture.release()
    raise HandvizError(
        f"{path}: neither an image nor a clip in a format that this machine can read: convert it",
        ErrorCode.UNSUPPORTED_FORMAT,
    )
