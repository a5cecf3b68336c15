"""Images that come when they come -> a video of constant rate in true time.

Matroska, for it can be read up to its last cluster whatever ends the program; no other container that OpenCV writes
without an encoder to install can.
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


# A Matroska file that OpenCV wrote -> MP4, which more programs play; the images are copied, not encoded again.
# Written here because OpenCV's own copying leaves out the decoder's configuration (DecoderSpecificInfo in
# ``esds``), without which only FFmpeg finds its way. Boxes and descriptors as in ISO/IEC 14496-12, -14 and -1;
# MPEG-4 Visual without frames that wait for later ones, as OpenCV encodes it.


@dataclass
class _Track:
    """What the index must say about the images."""

    size: tuple[int, int]
    rate_hz: float
    configuration: bytes = b""
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    """Numbers, from 1, of images that need no other."""
    chunks: list[int] = field(default_factory=list)
    """Where in the file every ``FRAMES_PER_CHUNK`` images begin."""


def copied_as_mp4(source: Path, target: Path) -> None:
    """Write ``target`` whole or not at all; raises HandvizError if that is not possible."""
    try:
        with open_atomic(target) as file:
            _write(source, file)
    # What OpenCV cannot read, and what the index's 32 bits cannot count: some 40 hours.
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
        raise HandvizError(f"{source} holds no images that could be copied", ErrorCode.EMPTY_INPUT)
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
    look = struct.pack(">6xH16x2H2I4xH32xHh", 1, width, height, RESOLUTION_72_DPI, RESOLUTION_72_DPI, 1, 24, -1)
    return _box(b"mp4v", look, stream)


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def _full_box(kind: bytes, flags: int, *content: bytes) -> bytes:
    return _box(kind, struct.pack(">I", flags), *content)


def _descriptor(tag: int, content: bytes) -> bytes:
    """A length in four bytes of seven bits, as all readers take it."""
    size = [0x80 | len(content) >> shift & 0x7F for shift in (21, 14, 7)]
    return bytes([tag, *size, len(content) & 0x7F]) + content


# A file that grows piece by piece and holds whole pieces only, whatever happens to the disk or the program.


class GrowingFile:
    """Append-only and unbuffered: what ``append`` has taken outlives the program."""

    def __init__(self, path: Path) -> None:
        """Raises HandvizError if the file is there already or cannot be made."""
        self.path = path
        self.size_bytes = 0
        try:
            self._file = path.open("xb", buffering=0)
        except OSError as error:
            raise HandvizError(f"{path} cannot be written: {error.strerror}.", write_error_code(error)) from error

    def append(self, piece: bytes) -> None:
        """Add the piece whole or not at all; raises HandvizError if the disk does not take it."""
        try:
            left = memoryview(piece)
            while left:
                left = left[self._file.write(left) or 0 :]
        except OSError as error:
            self._drop_half_a_piece()
            raise HandvizError(disk_message(self.path, error), write_error_code(error)) from error
        self.size_bytes += len(piece)

    def close(self) -> None:
        """Let go of the file; a disk that complains even now has all that it took."""
        try:
            self._file.close()
        except OSError:
            return

    def _drop_half_a_piece(self) -> None:
        try:
            self._file.truncate(self.size_bytes)
        except OSError:
            return  # readers pass over an unfinished end


def disk_message(path: Path, error: OSError) -> str:
    """What a person hears when a file stops growing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {path.parent} takes no more."
    return f"{path} cannot be written any more: {error.strerror}."


class SteadyVideo:
    """Shows every image from its time until the next one's; of two images within one frame the later is shown."""

    def __init__(self, path: Path, size: tuple[int, int], rate_hz: float = RATE_HZ) -> None:
        """``size``: width and height; odd ones lose a row or column. Raises HandvizError if it cannot be written."""
        self.path, self.rate_hz = path, rate_hz
        self.size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self.frame_count = 0
        self._image: NDArray[np.uint8] | None = None
        self._writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, _code(CODEC), rate_hz, self.size)
        if not self._writer.isOpened():
            raise HandvizError(f"{path} cannot be written as a video.", ErrorCode.NOT_WRITABLE)

    def show(self, image_bgr: NDArray[np.uint8], at_s: float) -> None:
        """Show this image (H, W, 3) of any size from ``at_s`` seconds after the beginning on."""
        self.go_on_until(at_s)
        self._image = fitted(image_bgr, self.size)

    def go_on_until(self, at_s: float) -> None:
        """Let the last image stand until then."""
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
    """The image within ``size``: as it is if it fits, else scaled with its proportions kept, in the middle."""
    width, height = size
    if image.shape[0] - height in (0, 1) and image.shape[1] - width in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    fraction = min(width / image.shape[1], height / image.shape[0])
    inner = max(round(image.shape[1] * fraction), 1), max(round(image.shape[0] * fraction), 1)
    whole = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    way = cv2.INTER_AREA if fraction < 1 else cv2.INTER_LINEAR
    whole[top : top + inner[1], left : left + inner[0]] = cv2.resize(image, inner, interpolation=way)
    return whole


def _code(name: str) -> int:
    return int(cv2.VideoWriter.fourcc(*name))
