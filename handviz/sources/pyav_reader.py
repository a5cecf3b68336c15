"""Video files through PyAV.

A frame's number is the rank of its presentation time among those of all packets. Reading from the beginning learns them
on the way; the first jump beyond reads all packets once, without decoding. A jump decodes on from a key frame.
"""

import re
from array import array
from bisect import bisect_left, insort
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError
from handviz.sources.images import MAX_IMAGE_PX, check_pixels
from handviz.sources.mp4_tables import check_tables
from handviz.sources.readers import Shown, frame_rate, unreadable
from handviz.sources.video_frames import DisplayMatrix, display_matrix, progressive, rgb_of, square_size

JUMPS = ((0, 0), (0, 1), (1, 1), (4, 1))
"""Tries of a jump: how many key frames back, and to which of their times: containers find one or the other."""
PROBED_FRAMES, SAME_FRAME = 1000, 0.45
"""So many entries of the container's table tell whether the rate is constant: each that near to its frame."""
BREAK_S = 0.5
"""If decoding times go back by more, the file was joined from several."""
FORMATS = (
    "3gp,asf,av1,avi,dv,flv,gxf,h264,hevc,ivf,m4v,matroska,mjpeg,mov,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,wtv"
)
"""Containers that never refer to other files or addresses, as playlists do."""
JPEG_SIZE = re.compile(rb"\xff[\xc0-\xc2]\x00.\x08(..)(..)", re.DOTALL)
"""Height and width in a JPEG's header."""
LIMIT = {"max_pixels": str(MAX_IMAGE_PX)}
OPTIONS = {"protocol_whitelist": "file", "format_whitelist": FORMATS, **LIMIT}


class PyavReader:
    """Reader of all containers that FFmpeg knows and that need no other file."""

    def __init__(self, path: Path) -> None:
        self._path, self._failures, self._decoded_at = path, 0, 0
        self._times, self._is_complete = array("q"), False
        """Presentation times, sorted: of all packets if complete, else of those read from the beginning on."""
        self._keys: list[tuple[int, int]] = []
        """Presentation and decoding times of key frames, sorted."""
        self._reached = 0
        """The last frame whose number is certain while the times are incomplete."""
        self._matrix: DisplayMatrix | None = None
        self._scaler = VideoReformatter()
        check_tables(path)
        self._open()
        stream, codec = self._stream, self._stream.codec_context
        is_avi = self._container.format.name == "avi"
        self._is_counted = is_avi and codec.name in ("h264", "hevc") and bool(codec.has_b_frames)
        """Whether frames are counted, because their times are missing, wrong, or begin again as in joined files."""
        self.fps = frame_rate(stream.average_rate or stream.guessed_rate or 0)
        self._announced = stream.frames or round((self._container.duration or 0) / av.time_base * self.fps)
        entries = stream.index_entries[:PROBED_FRAMES] if len(stream.index_entries) == stream.frames else []
        at = [float(entry.timestamp * self._tick_s) * self.fps for entry in entries]
        self.has_constant_rate = all(abs(number - at[0] - rank) < SAME_FRAME for rank, number in enumerate(at))

    @property
    def count(self) -> int | None:
        """The number of frames, as the header states it until all packets have been seen."""
        return len(self._times) if self._is_complete else max(self._announced, 0) or None

    def frames(self, number: int, is_interrupted: Callable[[], bool]) -> Generator[Shown, None, None]:
        """Yield from this frame on, or from one on the way if interrupted."""
        with self._errors_named(ErrorCode.FILE_DAMAGED):
            if number > self._reached and not self._is_complete and not self._is_counted:
                self._learn_all(is_interrupted)
            if self._is_complete and number >= len(self._times):
                return
            for start in self._starts(number):
                run = self._run(start)
                first = next((shown for shown in run if shown.number >= number or is_interrupted()), None)
                if start is None or is_interrupted() or (first is not None and first.number == number):
                    break
                run.close()
            if first is not None:
                yield first
                yield from run

    def close(self) -> None:
        """Close the file; iterators over it must be closed before."""
        self._container.close()

    def _open(self) -> None:
        with self._errors_named(ErrorCode.UNSUPPORTED_FORMAT):
            self._container = av.open(f"file:{self._path.absolute()}", options=OPTIONS, metadata_errors="replace")
        videos = [one for one in self._container.streams.video if not one.disposition & Disposition.attached_pic]
        if not videos:
            raise HandvizError(f"{self._path}: there is no video in this file: choose another", ErrorCode.EMPTY_INPUT)
        videos = [one for one in videos if one.codec_context]
        if not videos:
            raise unreadable(self._path, None, ErrorCode.UNSUPPORTED_FORMAT)
        self._stream = max(videos, key=lambda one: one.width * one.height)
        self._tick_s = self._stream.time_base or Fraction(1, av.time_base)
        self._size = square_size(self._stream)
        check_pixels(self._path, *self._size)
        self._stream.thread_type, self._stream.codec_context.options = "AUTO", LIMIT

    def _restart(self) -> None:
        self.close()
        self._open()
        self._decoded_at = 0

    def _learn_all(self, is_interrupted: Callable[[], bool]) -> None:
        self._restart()
        for packet in self._packets():
            if is_interrupted():
                return
            self._learn(packet)
        self._is_complete = not self._is_counted

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the packets from the first key frame on, whatever ends the file."""
        is_begun = False
        with suppress(av.FFmpegError):
            for packet in self._container.demux(self._stream):
                is_begun = is_begun or packet.is_keyframe
                if is_begun and packet.size:
                    yield packet

    def _learn(self, packet: av.Packet) -> None:
        if self._is_complete:
            return
        shown_at, decoded_at = packet.pts, self._decoded_at if packet.dts is None else packet.dts
        is_broken = decoded_at < self._decoded_at and (self._decoded_at - decoded_at) * self._tick_s > BREAK_S
        self._is_counted = self._is_counted or is_broken or (shown_at is None and not self._times)
        self._decoded_at = decoded_at
        # The second field of a frame may be a packet without a time; what an edit list cuts is not shown.
        if shown_at is not None and not packet.is_discard:
            self._rank(shown_at)
        if shown_at is not None and packet.is_keyframe and not self._is_key_time(shown_at):
            insort(self._keys, (shown_at, decoded_at))

    def _is_key_time(self, time: int) -> bool:
        return bisect_left(self._keys, (time,)) < bisect_left(self._keys, (time + 1,))

    def _rank(self, time: int) -> int:
        """Return the number of the frame shown at this time, which is taken in if it is new."""
        rank = bisect_left(self._times, time)
        if rank == len(self._times) or self._times[rank] != time:
            self._times.insert(rank, time)
        return rank

    def _starts(self, number: int) -> Iterator[tuple[int, int] | None]:
        """Yield times to seek, with the time of the wanted frame; None for the beginning."""
        if 0 < number < len(self._times) and self._keys and not self._is_counted:
            wanted = self._times[number]
            last = bisect_left(self._keys, (wanted + 1,)) - 1
            # All at once: reading from one start may take times and key frames away.
            yield from [(self._keys[max(last - back, 0)][by], wanted) for back, by in JUMPS]
        yield None

    def _run(self, start: tuple[int, int] | None) -> Generator[Shown, None, None]:
        """Yield frames from a key frame on, none if the jump passes the wanted time; or all from the beginning."""
        if start is None:
            self._restart()
        else:
            with suppress(av.FFmpegError):
                self._container.seek(start[0], stream=self._stream)
        due, self._failures = 0 if start is None else None, 0
        for frame in progressive(self._decoded(start and start[1]), self._tick_s):
            number = due or 0 if self._is_counted or frame.pts is None else self._rank(frame.pts)
            due = number if due is None else due
            if number > due and (due == 0 or not self._failures):
                del self._times[due:number]  # not frames, since decoding had no errors
            elif number > due:
                yield from (self._shown(lost, partial(self._raise, lost)) for lost in range(due, number))
                self._failures, due = max(self._failures - (number - due), 0), number
            self._reached = max(self._reached, due)
            yield self._shown(due, partial(self._image, frame))
            due += 1
        if due is not None:
            self._is_complete, self._announced = not self._is_counted, due
            del self._times[due:]

    def _decoded(self, wanted: int | None) -> Iterator[av.VideoFrame]:
        began_at = None
        for packet in chain(self._packets(), (None,)):
            if packet is not None and wanted is not None and began_at is None:
                # After a jump, program streams give a wrong time to what comes before their next time stamp.
                if packet.pts is None or not packet.is_keyframe or not self._is_key_time(packet.pts):
                    continue
                began_at, self._decoded_at = packet.pts, packet.dts or self._decoded_at
                if began_at > wanted:
                    return
            if packet is not None:
                self._learn(packet)
            try:
                frames = self._stream.codec_context.decode(packet)
            except av.FFmpegError:
                self._failures += 1
                if packet is not None and not self._reached:
                    self._check_jpeg(packet)
                continue
            # Before the key frame's own time: frames that refer to what was not decoded.
            yield from (frame for frame in frames if began_at is None or (frame.pts or 0) >= began_at)

    def _check_jpeg(self, packet: av.Packet) -> None:
        """Raise HandvizError for a JPEG larger than allowed, of which FFmpeg does not tell why it is not decoded."""
        found = JPEG_SIZE.search(bytes(packet)) if self._stream.codec_context.name == "mjpeg" else None
        if found is not None:
            height, width = (int.from_bytes(side, "big") for side in found.groups())
            check_pixels(self._path, width, height)

    def _shown(self, number: int, image: Callable[[], NDArray[np.uint8]]) -> Shown:
        if self._is_counted or not self._times:
            return Shown(number, number * 1000 / self.fps, image)
        # Damaged files have frames without a time: they follow the last one that has.
        known = min(number, len(self._times) - 1)
        ticks, (numerator, denominator) = self._times[known] - self._times[0], self._tick_s.as_integer_ratio()
        return Shown(number, ticks * numerator * 1000 / denominator + (number - known) * 1000 / self.fps, image)

    def _image(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        with self._errors_named(ErrorCode.FILE_DAMAGED):
            # Looked up once, since that takes as long as a tenth of decoding.
            self._matrix = self._matrix or display_matrix(frame)
            return rgb_of(frame, self._size, self._matrix, self._scaler)

    def _raise(self, number: int) -> NDArray[np.uint8]:
        message = f"{self._path}: frame {number} is damaged and left out, the rest is read"
        raise HandvizError(message, ErrorCode.FILE_DAMAGED)

    @contextmanager
    def _errors_named(self, code: ErrorCode) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, MemoryError) as error:
            raise unreadable(self._path, error, code) from error
