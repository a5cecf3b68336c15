"""A Matroska file that OpenCV wrote -> MP4, which more programs play; the pictures are copied, not encoded again.

Written here because OpenCV's own copying leaves out the decoder's configuration (DecoderSpecificInfo in ``esds``),
without which only FFmpeg finds its way. Boxes and descriptors as in ISO/IEC 14496-12, -14 and -1; MPEG-4 Visual without
frames that wait for later ones, as OpenCV encodes it.
"""

import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2

from handviz.core.errors import HandvizError

TIME_SCALE = 30_000
FRAMES_PER_CHUNK = 30
MATRIX = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
MPEG4_VISUAL, VISUAL_STREAM = 0x20, 0x11
RESOLUTION_72_DPI = 0x00480000


@dataclass
class _Track:
    """What the index must say about the pictures."""

    size: tuple[int, int]
    rate_hz: float
    configuration: bytes = b""
    sizes: list[int] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    """Numbers, from 1, of pictures that need no other."""
    chunks: list[int] = field(default_factory=list)
    """Where in the file every ``FRAMES_PER_CHUNK`` pictures begin."""


def copied_as_mp4(source: Path, target: Path) -> None:
    """Write ``target`` whole or not at all; raises HandvizError if that is not possible."""
    part = target.with_name(target.name + ".part")
    try:
        with part.open("wb") as file:
            _write(source, file)
        os.replace(part, target)
    # What OpenCV cannot read, and what the index's 32 bits cannot count: some 40 hours.
    except (OSError, HandvizError, cv2.error, struct.error, ArithmeticError) as error:
        part.unlink(missing_ok=True)
        raise HandvizError(f"{target} cannot be written: {error}") from error


def _write(source: Path, file: BinaryIO) -> None:
    file.write(_box(b"ftyp", b"isom", struct.pack(">I", 512), b"isomiso2mp41"))
    begin = file.tell()
    file.write(struct.pack(">I4sQ", 1, b"mdat", 0))
    track = _copy_pictures(source, file)
    end = file.tell()
    file.seek(begin + 8)
    file.write(struct.pack(">Q", end - begin))
    file.seek(end)
    file.write(_index(track))


def _copy_pictures(source: Path, file: BinaryIO) -> _Track:
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
            picture = reader.retrieve()[1].tobytes()
            file.write(picture)
            track.sizes.append(len(picture))
            if reader.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME):
                track.keys.append(len(track.sizes))
    finally:
        reader.release()
    if not track.sizes or not track.configuration:
        raise HandvizError(f"{source} holds no pictures that could be copied")
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
