"""Video files of recordings: images at irregular times become a video of constant rate.

It is written as Matroska, which can be read up to its last cluster whatever ends the program, unlike the other
containers that OpenCV writes without an encoder to install, and then copied to MP4 without encoding it again. OpenCV's
own copying omits the decoder's configuration (DecoderSpecificInfo in ``esds``), without which only FFmpeg can decode
it. Boxes and descriptors as in ISO/IEC 14496-12, -14 and -1; MPEG-4 Visual without B-frames, as OpenCV encodes it.
"""

import errno
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from handviz.core.errors import ErrorCode, HandvizError, write_error_code
from handviz.core.files import open_atomic

TIME_SCALE = 30_000
FRAMES_PER_CHUNK = 30
MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
MPEG4_VISUAL, VISUAL_STREAM = 0x20, 0x11
RESOLUTION_72_DPI = 0x00480000
RATE_HZ = 30.0
CODEC = "mp4v"


@dataclass
class _Track:
    """Content of the index of images."""

    size: tuple[int, int]
    rate_hz: float
    configuration: bytes = b""
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    """Numbers, from 1, of key frames."""
    chunks: list[int] = field(default_factory=list)
    """File offsets of every ``FRAMES_PER_CHUNK`` images."""


def copied_as_mp4(source: Path, target: Path) -> None:
    """Copy a video to MP4 atomically; raises HandvizError if that fails."""
    try:
        with open_atomic(target) as file:
            _write(source, file)
    # Unreadable for OpenCV, or longer than the index's 32 bits can count: some 40 hours.
    except (cv2.error, struct.error, ArithmeticError) as error:
        raise HandvizError(f"{target} cannot be written: {error}", ErrorCode.NOT_WRITABLE) from error


def _write(source: Path, file: BinaryIO) -> None:
    file.write(_box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2mp41"))
    begin = file.tell()
    file.write(struct.pack(">I4sQ", 1, b"mdat", 0))
    track = _copy_images(source, file)
    end = file.tell()
    file.seek(begin + 8)
    file.write(struct.pack(">Q", end - begin))
    file.seek(end)
    file.write(_index(track))


def _copy_images(source: Path, file: BinaryIO) -> _Track:
    reader = cv2.VideoCapture(str(source), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    try:
        size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
        track = _Track(size, reader.get(cv2.CAP_PROP_FPS))
        at = int(reader.get(cv2.CAP_PROP_CODEC_EXTRADATA_INDEX))
        while reader.grab():
            if not track.sizes:
                track.configuration = reader.retrieve(flag=at)[1].tobytes()
            if len(track.sizes) % FRAMES_PER_CHUNK == 0:
                track.chunks.append(file.tell())
            image = reader.retrieve()[1].tobytes()
            file.write(image)
            track.sizes.append(len(image))
            if reader.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
                track.keys.append(len(track.sizes))
    finally:
        reader.release()
    if not track.sizes or not track.configuration:
        raise HandvizError(f"{source} contains no images: record it again", ErrorCode.EMPTY_INPUT)
    return track


def _index(track: _Track) -> bytes:
    width, height = track.size
    frame_time = round(TIME_SCALE / track.rate_hz)
    duration = frame_time * len(track.sizes)
    header = struct.pack(">5I8x4H", 0, 0, 1, 0, duration, 0, 0, 0, 0) + MATRIX
    header += struct.pack(">2I", width << 16, height << 16)
    media = _box(
        b"mdia",
        _full_box(b"mdhd", 0, struct.pack(">4I2H", 0, 0, TIME_SCALE, duration, 0x55C4, 0)),
        _full_box(b"hdlr", 0, struct.pack(">I4s12x", 0, b"vide") + b"handviz\0"),
        _box(
            b"minf",
            _full_box(b"vmhd", 1, bytes(8)),
            _box(b"dinf", _full_box(b"dref", 0, struct.pack(">I", 1), _full_box(b"url ", 1))),
            _box(b"stbl", *_tables(track, frame_time)),
        ),
    )
    movie = struct.pack(">4I", 0, 0, TIME_SCALE, duration) + struct.pack(">IH10x", 0x10000, 0x100)
    movie += MATRIX + bytes(24) + struct.pack(">I", 2)
    return _box(b"moov", _full_box(b"mvhd", 0, movie), _box(b"trak", _full_box(b"tkhd", 3, header), media))


def _tables(track: _Track, frame_time: int) -> list[bytes]:
    count = len(track.sizes)
    full, rest = divmod(count, FRAMES_PER_CHUNK)
    runs = [(1, FRAMES_PER_CHUNK, 1)] if full else []
    runs += [(full + 1, rest, 1)] if rest else []
    return [
        _full_box(b"stsd", 0, struct.pack(">I", 1), _sample_entry(track)),
        _full_box(b"stts", 0, struct.pack(">3I", 1, count, frame_time)),
        _full_box(b"stss", 0, struct.pack(f">{len(track.keys) + 1}I", len(track.keys), *track.keys)),
        _full_box(b"stsc", 0, struct.pack(">I", len(runs)), *(struct.pack(">3I", *run) for run in runs)),
        _full_box(b"stsz", 0, struct.pack(f">2I{count}I", 0, count, *track.sizes)),
        _full_box(b"co64", 0, struct.pack(f">I{len(track.chunks)}Q", len(track.chunks), *track.chunks)),
    ]


def _sample_entry(track: _Track) -> bytes:
    width, height = track.size
    rate_bits = round(sum(track.sizes) * 8 * track.rate_hz / len(track.sizes))
    decoder = struct.pack(">2B3s2I", MPEG4_VISUAL, VISUAL_STREAM, bytes(3), rate_bits, rate_bits)
    decoder = _descriptor(4, decoder + _descriptor(5, track.configuration))
    stream = _full_box(b"esds", 0, _descriptor(3, struct.pack(">HB", 1, 0) + decoder + _descriptor(6, b"\x02")))
    visual_entry = struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, RESOLUTION_72_DPI, RESOLUTION_72_DPI, 1, 24, -1)
    return _box(b"mp4v", visual_entry, stream)


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", flags), *content)


def _descriptor(tag: int, content: bytes) -> bytes:
    """Return a descriptor with its length in four bytes of seven bits, which all readers accept."""
    size = [0x80 | len(content) >> shift & 0x7F for shift in (21, 14, 7)]
    return bytes([tag, *size, len(content) & 0x7F]) + content


class GrowingFile:
    """Append-only unbuffered file of complete records, which survive a crash of the program."""

    def __init__(self, path: Path) -> None:
        """Create the file; raises HandvizError if it exists already or cannot be made."""
        self.path = path
        self.size_bytes = 0
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise HandvizError(f"{path} cannot be written: {error.strerror}.", write_error_code(error)) from error

    def append(self, record: bytes) -> None:
        """Append the record whole or not at all; raises HandvizError if writing fails."""
        try:
            left = memoryview(record)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._truncate_incomplete_record()
            raise HandvizError(disk_message(self.path, error), write_error_code(error)) from error
        self.size_bytes += len(record)

    def close(self) -> None:
        """Close the file; errors are ignored, since all records are written."""
        try:
            self._file.close()
        except OSError:
            return

    def _truncate_incomplete_record(self) -> None:
        try:
            self._file.truncate(self.size_bytes)
        except OSError:
            return  # readers skip an incomplete last record


def disk_message(path: Path, error: OSError) -> str:
    """Return the message for an error while writing a file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: free some space for {path.parent}."
    return f"{path} cannot be written any more: {error.strerror}."


class SteadyVideo:
    """Video of constant rate in which each image lasts until the next; of two within one frame the later is shown."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float = RATE_HZ) -> None:
        """Create a video of ``size`` (width, height), rounded down to even; raises HandvizError if that fails."""
        self.path, self.rate_hz = path, rate_hz
        self.size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self.frame_count = 0
        self._image: NDArray[np.uint8] | None = None
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, _code(CODEC), rate_hz, self.size)
        if not self._writer.isOpened():
            raise HandvizError(f"{path} cannot be written as a video: choose another folder.", ErrorCode.NOT_WRITABLE)

    def show(self, image_bgr: NDArray[np.uint8], at_s: float) -> None:
        """Show this image (H, W, 3) of any size from ``at_s`` seconds after the start on."""
        self.extend_until(at_s)
        self._image = fitted(image_bgr, self.size)

    def extend_until(self, at_s: float) -> None:
        """Repeat the last image until then."""
        while self._image is not None and self.frame_count < int(at_s * self.rate_hz):
            self._writer.write(self._image)
            self.frame_count += 1

    def close(self) -> None:
        """Write the last image and the container's end."""
        if self._image is not None:
            self._writer.write(self._image)
            self.frame_count += 1
        self._writer.release()


def fitted(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Fit an image to ``size`` (width, height): cropped by one pixel, or scaled and centred on black."""
    width, height = size
    if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    fraction = min(width / image.shape[1], height / image.shape[0])
    inner = max(round(image.shape[1] * fraction), 1), max(round(image.shape[0] * fraction), 1)
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    method = cv2.INTER_AREA if fraction < 1 else cv2.INTER_LINEAR
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=method)
    return whole


def _code(name: str) -> int:
    return int(cv2.VideoWriter.fourcc(*name))
